//! Damaged, truncated and hostile headers: each is an error, none a panic.

use proptest::prelude::*;

use super::super::fixture::{TempFile, array, with_header};
use super::super::{NpyMatrix, read_offsets};
use super::*;

fn open_bytes(bytes: &[u8]) -> Result<NpyMatrix, NpyError> {
    NpyMatrix::open(&TempFile::new(bytes).path)
}

fn refusal(bytes: &[u8]) -> String {
    open_bytes(bytes).expect_err("refused").to_string()
}

#[test]
fn versions_two_and_three_have_a_longer_length_field() {
    let first = array("|i1", "(1,)", &[127]);
    for version in [2, 3] {
        let mut bytes = first[..8].to_vec();
        bytes[6] = version;
        bytes.extend([first[8], first[9], 0, 0]);
        bytes.extend(&first[10..]);
        let matrix = open_bytes(&bytes).expect("matrix");
        assert_eq!((matrix.rows(), matrix.cols()), (1, 1));
    }
    for (major, minor) in [(0, 0), (1, 1), (4, 0)] {
        let mut bytes = first.clone();
        (bytes[6], bytes[7]) = (major, minor);
        let message = format!("expected format version 1.0, 2.0 or 3.0, got {major}.{minor}");
        assert!(refusal(&bytes).ends_with(&message));
    }
}

#[test]
fn other_element_types_are_named_with_the_supported_ones() {
    let structured = "{'descr': [('a', '<f4', (2,))], 'fortran_order': False, 'shape': (1,)}";
    for (bytes, got) in [
        (array("|b1", "(1,)", &[0]), "'|b1'"),
        (array(">c8", "(1,)", &[0; 8]), "'>c8'"),
        (array("<u4", "(1,)", &[0; 4]), "'<u4'"),
        (array("<M8[ns]", "(1,)", &[0; 8]), "'<M8[ns]'"),
        (with_header(structured, &[0; 8]), "[('a', '<f4', (2,)), ]"),
    ] {
        let expected = "'<f2', '<f4', '<f8', '|i1', '|u1', '<i2', '<i4' or '<i8'";
        let message = format!("expected elements of type {expected}, got {got}");
        assert!(refusal(&bytes).ends_with(&message), "{got}");
    }
}

#[test]
fn wrong_dictionaries_are_explained() {
    assert!(refusal(b"PK\x03\x04 not numpy").ends_with("got other bytes"));
    for (shape, message) in [
        ("()", "expected 1 or 2 dimensions, got 0"),
        ("(1, 1, 1)", "expected 1 or 2 dimensions, got 3"),
        ("(-1, 1)", "expected no sign, escape or fraction"),
        ("(0x10, 1)", "expected decimal integers"),
    ] {
        let got = refusal(&array("<f4", shape, &[0; 4]));
        assert!(got.ends_with(message), "{shape}: {got}");
    }
    let missing = "{'descr': '<f4', 'shape': (1, 1)}";
    assert!(refusal(&with_header(missing, &[0; 4])).contains("missing key 'fortran_order'"));
}

#[test]
fn a_file_of_the_wrong_length_is_told_both_lengths() {
    let good = array("<f4", "(1, 1)", &[0; 4]);
    let length = good.len();
    let short = refusal(&good[..length - 1]);
    let message = format!("expected {length} bytes, got {} (truncated)", length - 1);
    assert!(short.ends_with(&message), "{short}");
    let long = refusal(&[&good[..], &[0]].concat());
    let message = format!("expected {length} bytes, got {} (trailing bytes)", length + 1);
    assert!(long.ends_with(&message), "{long}");
}

#[test]
fn hostile_shapes_overflow_nothing() {
    let max = u64::MAX;
    for shape in [
        format!("({max}, {max})"),
        format!("({max}, 2)"),
        format!("(0, {max}, 2)"),
        format!("({max}0,)"),
        format!("({max},)"),
    ] {
        let error = open_bytes(&array("<f4", &shape, &[0; 4])).expect_err("refused");
        assert!(matches!(error, NpyError::Overflow { .. }), "{shape}: {error}");
    }
    let error = open_bytes(&array("|i1", &format!("({max},)"), &[])).expect_err("refused");
    assert!(matches!(error, NpyError::Overflow { .. }), "{error}");
    let error =
        open_bytes(&array("<f4", "(1000000000, 1000000000)", &[0; 4])).expect_err("refused");
    assert!(matches!(error, NpyError::Truncated { .. }), "{error}");
}

#[test]
fn hostile_header_lengths_and_nesting_are_refused_before_parsing() {
    let mut bytes = b"\x93NUMPY\x02\x00\xff\xff\xff\xff{".to_vec();
    assert!(refusal(&bytes).contains("expected a header of at most 10000 bytes, got 4294967295"));
    bytes[8..12].copy_from_slice(&9_000_u32.to_le_bytes());
    assert!(refusal(&bytes).ends_with("expected 9012 bytes, got 13 (truncated)"));
    for bracket in ["(", "[", "{"] {
        let deep = with_header(&bracket.repeat(9_990), &[]);
        assert!(refusal(&deep).ends_with("expected fewer nested brackets"));
    }
}

#[test]
fn every_truncation_is_an_error() {
    let bytes = array("<i8", "(2,)", &[0; 16]);
    for end in 0..bytes.len() {
        let file = TempFile::new(&bytes[..end]);
        let error = read_offsets(&file.path).expect_err("truncated");
        assert!(matches!(error, NpyError::Truncated { .. }), "{end}: {error}");
    }
}

/// Opens and, when that works, reads: must return, whatever the bytes are.
fn digest(bytes: &[u8]) {
    let file = TempFile::new(bytes);
    let _offsets = read_offsets(&file.path);
    if let Ok(mut matrix) = NpyMatrix::open(&file.path) {
        let mut out = Vec::new();
        matrix.read_rows(0..matrix.rows(), &mut out).expect("an accepted file is complete");
        assert_eq!(out.len(), matrix.rows() * matrix.cols());
        assert!(out.len() <= bytes.len());
    }
}

proptest! {
    #[test]
    fn flipped_bytes_never_panic(
        flips in prop::collection::vec((0_usize..110, any::<u8>()), 1..4),
        cut in 0_usize..160,
    ) {
        let mut bytes = array("<f4", "(3, 2)", &[1; 24]);
        for (position, byte) in flips {
            if let Some(slot) = bytes.get_mut(position) {
                *slot = byte;
            }
        }
        bytes.truncate(cut);
        digest(&bytes);
    }

    #[test]
    fn headers_of_random_tokens_never_panic(
        whole in tokens(),
        descr in tokens(),
        order in tokens(),
        shape in prop_oneof![tokens(), numbers()],
    ) {
        digest(&with_header(&whole, &[0; 4]));
        let text = format!("{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}}}");
        digest(&with_header(&text, &[0; 4]));
        let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({shape})}}");
        digest(&with_header(&text, &[0; 4]));
    }
}

/// Dimensions, many of them too large.
fn numbers() -> impl Strategy<Value = String> {
    let numbers = vec!["0", "1", "7", "4294967296", "18446744073709551615"];
    prop::collection::vec(prop::sample::select(numbers), 0..4).prop_map(|list| list.join(", "))
}

/// Text that resembles a Python literal.
fn tokens() -> impl Strategy<Value = String> {
    let mut tokens: Vec<&str> =
        "{ } ( ) [ ] , : ' \" 0 1 7 4294967296 18446744073709551615 'descr' \
        'shape' '<f4' '<f3' '<U4' '|V99999999999' True False None b' ''' \\ - 1e9 2j é"
            .split_whitespace()
            .collect();
    tokens.extend([" ", "\n", "\0"]);
    prop::collection::vec(prop::sample::select(tokens), 0..8).prop_map(|list| list.concat())
}
