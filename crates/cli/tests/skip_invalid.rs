//! `ingest --skip-invalid`: refused points, of lines and of arrays, leave no valid point out.

mod support;

use std::fs;

use serde_json::Value;
use support::case::Case;
use support::program::{f32_bytes, npy};
use support::server::ServerProcess;

fn created(flag: &str, place: &str) -> Case {
    let case = Case::new(flag, place);
    let create = ["create", "s", "--field", "v:single:2:cosine", "--field", "t:multi:2:dot"];
    case.run(&[&create[..], &["--payload", "n=integer"]].concat());
    case
}

/// What the file says of refused points. What is malformed is known before what does not fit.
fn reported(case: &Case, place: &str) -> Vec<Value> {
    let text = fs::read_to_string(case.path("refused.jsonl")).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap());
    let mut reported: Vec<Value> = lines.collect();
    reported.sort_by_key(|refused| refused[place].as_u64());
    reported
}

fn good(id: u64) -> String {
    with_vectors(id, &format!("{{\"v\": [1, {id}]}}"))
}

fn with_vectors(id: u64, vectors: &str) -> String {
    format!("{{\"id\": {id}, \"vectors\": {vectors}}}\n")
}

/// Lines of which 1, 3, 9 and 11 are points.
fn mixed() -> Vec<u8> {
    let lines = [
        good(1),
        with_vectors(2, "{\"v\": [0, 0]}"),
        good(3),
        with_vectors(4, "{\"v\": [1, 2, 3]}"),
        with_vectors(5, "{\"t\": []}"),
        "{\"id\": \"six\",\n".to_owned(),
        good(7).replace("}}", "}, \"payload\": {\"n\": \"seven\"}}"),
        with_vectors(8, "{\"t\": [[1, 0], [1]]}"),
        good(9),
    ];
    let mut lines = lines.concat().into_bytes();
    lines.extend(b"{\"id\": \"caf\xe9\"}\n");
    lines.extend(good(11).into_bytes());
    lines
}

fn lines(case: &Case) {
    fs::write(case.path("mixed.jsonl"), mixed()).unwrap();
    let (input, refusals) = (case.arg("mixed.jsonl"), case.arg("refused.jsonl"));
    let ingest = ["ingest", "s", "--jsonl", &input, "--batch"];
    assert!(case.fail(&[&ingest[..], &["2"]].concat()).contains("zero"), "one refuses its batch");
    assert_eq!(case.run(&["count", "s"]), "0\n");
    let expected = [
        (2, "2", "vectors.v: expected a vector of non-zero length"),
        (4, "4", "vectors.v: expected 2 dimensions, got 3"),
        (5, "5", "vectors.t: expected a multi vector, got a single vector"),
        (6, "null", "EOF while parsing"),
        (7, "7", "payload.n: expected an integer"),
        (8, "8", "vectors.t: expected vectors of equal dimension"),
        (10, "null", "expected utf-8"),
    ];
    for batch in ["2", "100"] {
        let done = case.run(&[&ingest[..], &[batch, "--skip-invalid", &refusals]].concat());
        assert!(done.starts_with("4 points in") && done.ends_with("7 skipped\n"), "{done}");
        assert_eq!(case.run(&["count", "s"]), "4\n");
        let reported = reported(case, "line");
        assert_eq!(reported.len(), expected.len(), "{reported:?}");
        for (refused, (line, id, reason)) in reported.iter().zip(expected) {
            assert_eq!((refused["line"].as_u64(), &*refused["id"].to_string()), (Some(line), id));
            assert!(refused["reason"].as_str().unwrap().contains(reason), "{refused}");
        }
    }
}

/// A document without tokens, and a payload of another type.
fn arrays(case: &Case) {
    npy(&case.path("t.npy"), "<f4", "(4, 2)", &f32_bytes(&[1.0; 8]));
    let offsets: Vec<u8> = [0_i64, 2, 2, 4].iter().flat_map(|x| x.to_le_bytes()).collect();
    npy(&case.path("o.npy"), "<i8", "(4,)", &offsets);
    fs::write(case.path("ids"), "a\nb\nc\n").unwrap();
    fs::write(case.path("payloads"), "{\"n\":1}\n{\"n\":2}\n{\"n\":[3,0.5]}\n").unwrap();
    let tokens = format!("t={},{}", case.arg("t.npy"), case.arg("o.npy"));
    let (ids, payloads, refusals) =
        (case.arg("ids"), case.arg("payloads"), case.arg("refused.jsonl"));
    let arrays = ["ingest", "s", "--tokens", &tokens, "--ids", &ids, "--payloads", &payloads];
    assert!(case.fail(&arrays).contains("vectors.t: expected at least one vector, got none"));
    let done = case.run(&[&arrays[..], &["--skip-invalid", &refusals]].concat());
    assert!(done.starts_with("1 points in") && done.ends_with("2 skipped\n"), "{done}");
    let reported = reported(case, "row");
    assert_eq!((&reported[0]["row"], &reported[0]["id"]), (&1.into(), &"b".into()));
    assert_eq!((&reported[1]["row"], &reported[1]["id"]), (&2.into(), &"c".into()));
    assert_eq!(case.run(&["count", "s"]), "5\n");
}

fn files(case: &Case) {
    let (input, refusals) = (case.arg("mixed.jsonl"), case.arg("refused.jsonl"));
    fs::write(case.path("bad.jsonl"), with_vectors(2, "{\"v\": [0, 0]}")).unwrap();
    let bad = case.arg("bad.jsonl");
    let error = case.fail(&["ingest", "s", "--jsonl", &bad, "--skip-invalid", &refusals]);
    assert!(error.contains("all 1 points were refused"), "{error}");
    let skip = ["ingest", "s", "--jsonl", &input, "--skip-invalid"];
    let error = case.fail(&[&skip[..], &[&case.arg("missing/refused.jsonl")]].concat());
    assert!(error.contains("cannot write `") && error.contains("missing/refused"), "{error}");
    let error = case.fail(&[&skip[..], &[&input]].concat());
    assert!(error.contains("expected a file of its own"), "{error}");
    assert_eq!(fs::read(case.path("mixed.jsonl")).unwrap(), mixed());
    assert_eq!(case.run(&["count", "s"]), "5\n", "known before the work");
}

fn all(case: &Case) {
    lines(case);
    arrays(case);
    files(case);
}

#[test]
fn invalid_points_are_skipped_and_reported_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    all(&created("--data", folder.path().join("db").to_str().unwrap()));
}

#[test]
fn invalid_points_are_skipped_and_reported_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    all(&created("--server", server.address()));
}
