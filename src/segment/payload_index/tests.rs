//! Errors of an index for damage that checksums cannot detect.

use lanner_storage::{LocalDirectory, SectionWriter};

use super::*;
use crate::model::{Metric, Payload, Point, PointBatchBuilder, VectorField};
use crate::segment::builder::{BuildPlan, BuildSource};
use crate::segment::{MutableReader, MutableSegment};

fn config() -> CollectionConfig {
    CollectionConfig::new()
        .with_field("v", VectorField::single(1, Metric::Dot))
        .with_payload("k", PayloadType::Keyword)
        .with_payload("n", PayloadType::Integer)
}

/// Writes the index of four rows into a folder.
fn write(folder: &std::path::Path) -> SectionFile {
    let config = config();
    let mut batch = PointBatchBuilder::new(&config);
    let payloads = [
        r#"{"k": "b", "n": 3}"#,
        r#"{"k": ["a", "b"], "n": [2, 1]}"#,
        "{}",
        r#"{"k": null, "n": -7}"#,
    ];
    for (id, payload) in (0_u64..).zip(payloads) {
        let payload = Payload::parse(payload).unwrap();
        batch.push(Point::new(id).with_vector("v", vec![1.0]).with_payload(payload)).unwrap();
    }
    let segment = std::sync::Arc::new(MutableSegment::default());
    segment.append(batch.finish());
    let reader = std::sync::Arc::new(MutableReader::new(segment, 4));
    let directory = LocalDirectory::new(folder);
    let plan = BuildPlan {
        directory: &directory,
        folder: "",
        number: 1,
        config: &config,
        settings_generation: 1,
        codecs: &[],
        pool: &rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap(),
        progress: &crate::index::BuildProgress::default(),
    };
    std::fs::create_dir(folder.join("s")).unwrap();
    let source = BuildSource { reader, deleted: std::sync::Arc::default() };
    write_payload_index(&plan, "s", &[source]).unwrap();
    SectionFile::open(&directory, &format!("s/{}", sections::PAYLOAD_INDEX_FILE)).unwrap()
}

/// A copy of the file with other bytes in one section.
fn exchanged(
    file: &SectionFile,
    folder: &std::path::Path,
    name: &str,
    bytes: &[u8],
) -> SectionFile {
    let directory = LocalDirectory::new(folder);
    let mut writer = SectionWriter::create(&directory, "damaged.sec").unwrap();
    for info in file.sections() {
        let kept = file.section(&info.name).unwrap();
        writer.write_section(&info.name, if info.name == name { bytes } else { kept }).unwrap();
    }
    writer.finish().unwrap();
    let opened = SectionFile::open(&directory, "damaged.sec").unwrap();
    std::fs::remove_file(folder.join("damaged.sec")).unwrap();
    opened
}

fn numbers<T: bytemuck::Pod>(values: &[T]) -> Vec<u8> {
    bytemuck::cast_slice(values).to_vec()
}

#[test]
fn what_was_written_is_there() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let section = |name: &str| file.section(name).unwrap().to_vec();
    assert_eq!(section("0.terms"), b"ab");
    assert_eq!(section("0.values"), numbers(&[1_u32, 0, 1]));
    assert_eq!(section("0.term_rows"), numbers(&[1_u32, 2]));
    assert_eq!(section("1.offsets"), numbers(&[0_u64, 1, 3, 3, 4]));
    assert_eq!(section("1.values"), numbers(&[3_i64, 1, 2, -7]));
    assert_eq!(section("1.sorted_values"), numbers(&[-7_i64, 1, 2, 3]));
    assert_eq!(section("1.sorted_rows"), numbers(&[3_u32, 1, 1, 0]));
}

#[test]
fn contents_that_do_not_fit_are_reported_with_file_and_section() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let many = bitmap_of(&[0, 9]);
    let cases: [(&str, Vec<u8>, &str); 16] = [
        ("paths", b"{\"k\":\"boolean\"}".to_vec(), "the paths differ"),
        ("0.present", many.clone(), "rows out of bounds"),
        ("0.nulls", many, "rows out of bounds"),
        ("0.present", b"nonsense".to_vec(), ""),
        ("0.present", bitmap_of(&[0]), "2 rows have values, 1 should"),
        ("0.offsets", numbers(&[0_u64, 1, 3, 3]), "expected 5 values, got 4"),
        ("0.offsets", numbers(&[0_u64, 9, 3, 3, 3]), "offsets do not rise"),
        ("0.values", numbers(&[1_u32, 0, 2]), "ordinals out of bounds"),
        ("0.term_offsets", numbers(&[0_u64, 1, 3]), "offsets do not rise from 0 to 2"),
        ("0.terms", b"ba".to_vec(), "not in order"),
        ("0.terms", b"a\xff".to_vec(), "not UTF-8"),
        ("0.term_rows", numbers(&[1_u32, 1]), "expected 3 rows, got 2"),
        ("0.bitmap_offsets", numbers(&[0_u64, 1, 2]), "offsets do not rise"),
        ("1.sorted_values", numbers(&[1_i64, -7, 2, 3]), "not in order"),
        ("1.sorted_rows", numbers(&[4_u32, 1, 1, 0]), "rows out of bounds"),
        ("1.sorted_rows", numbers(&[3_u32, 1, 1]), "expected 4 values, got 3"),
    ];
    for (name, bytes, detail) in cases {
        let damaged = exchanged(&file, folder.path(), name, &bytes);
        let error = PayloadIndex::open(damaged, &config(), 4).unwrap_err().to_string();
        // The counts of `offsets` and `present` must agree: either may be wrong.
        let name = if detail.contains("rows have values") { "0.offsets" } else { name };
        assert!(error.contains(&format!("in section `{name}`")), "{name} {detail}: {error}");
        assert!(error.contains("damaged.sec") && error.contains(detail), "{name}: {error}");
    }
    PayloadIndex::open(file, &config(), 4).unwrap();
}

#[test]
fn a_bitmap_of_other_rows_is_reported_when_it_is_read() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path());
    let mut bytes = file.section("0.bitmaps").unwrap().to_vec();
    // The last number is a row of the last term.
    let last = bytes.len() - 2;
    bytes[last] = 9;
    let damaged = exchanged(&file, folder.path(), "0.bitmaps", &bytes);
    let index = PayloadIndex::open(damaged, &config(), 4).unwrap();
    let rows = |term: &str| {
        let Node::Terms(terms) = index.test(0, &ColumnTest::Terms(vec![term.into()])).unwrap()
        else {
            panic!("a node of terms");
        };
        terms.bitmap()
    };
    assert_eq!(rows("a").unwrap(), RoaringBitmap::from([1]));
    let error = rows("b").unwrap_err().to_string();
    assert!(error.contains("`0.bitmaps`") && error.contains("not the rows"), "{error}");
}

fn bitmap_of(rows: &[u32]) -> Vec<u8> {
    crate::field::bitmap_bytes(&rows.iter().copied().collect()).unwrap()
}

#[test]
fn an_index_has_the_paths_that_were_declared_when_it_was_written() {
    let folder = tempfile::tempdir().unwrap();
    let more = config()
        .with_payload("a", PayloadType::Float)
        .with_payload("l", PayloadType::Keyword)
        .with_payload("z", PayloadType::Boolean);
    let index = PayloadIndex::open(write(folder.path()), &more, 4).unwrap();
    let found: Vec<_> = more.declared_paths().map(|path| index.find(&path)).collect();
    assert_eq!(found, [None, Some(0), None, Some(1), None]);
    // Declared paths keep their type.
    let field = || VectorField::single(1, Metric::Dot);
    let fewer = CollectionConfig::new().with_field("v", field());
    let fewer = fewer.with_payload("k", PayloadType::Keyword);
    for other in [fewer.clone(), fewer.with_payload("n", PayloadType::Float)] {
        std::fs::remove_dir_all(folder.path().join("s")).unwrap();
        let error = PayloadIndex::open(write(folder.path()), &other, 4).unwrap_err().to_string();
        assert!(error.contains("the paths differ from the collection's"), "{error}");
    }
}
