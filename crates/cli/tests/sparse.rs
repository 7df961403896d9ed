//! Sparse vectors on the command line, on a folder and against a server.

mod support;

use std::path::Path;

use serde_json::{Value, json};
use support::program::{ok, refused};
use support::server::ServerProcess;

fn hits(lines: &str) -> Vec<(Value, f64)> {
    let hit = |line: &str| {
        let line: Value = serde_json::from_str(line).unwrap();
        (line["id"].clone(), line["score"].as_f64().unwrap())
    };
    lines.lines().map(hit).collect()
}

fn sparse(folder: &Path, target: [&str; 2]) {
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    run(&["create", "c", "--field", "s:sparse", "--field", "v:single:2:dot"]);
    assert!(
        run(&["inspect", "c"]).contains("field s: sparse vectors, cached"),
        "{}",
        run(&["inspect", "c"])
    );
    // Rows {7: 1.5, 2: 0.5}, {} and {4294967295: 2, 2: 1}, as SciPy and NumPy write them.
    let matrix = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/sparse.npz");
    run(&["ingest", "c", "--sparse", &format!("s={matrix}")]);
    let points = folder.join("points.jsonl");
    let line = json!({"id": "x", "vectors": {"s": {"indices": [7], "values": [3]}, "v": [1, 2]}});
    std::fs::write(&points, line.to_string()).unwrap();
    run(&["ingest", "c", "--jsonl", points.to_str().unwrap()]);

    let query = ["query", "c", "--field", "s", "--json"];
    let by_json = ["--vector", r#"{"indices": [2, 7], "values": [1, 2]}"#];
    let expected = [(json!("x"), 6.0), (json!(0), 3.5), (json!(2), 1.0)];
    assert_eq!(hits(&run(&[&query[..], &by_json].concat())), expected);
    let by_row = ["--npy", matrix, "--row", "2"];
    let expected = [(json!(2), 5.0), (json!(0), 0.5)];
    assert_eq!(hits(&run(&[&query[..], &by_row].concat())), expected);
    assert_eq!(hits(&run(&[&query[..], &["--point", "x"]].concat())), [(json!(0), 4.5)]);
    let exported: Vec<Value> =
        run(&["export", "c"]).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let vectors: Vec<&Value> = exported.iter().map(|point| &point["vectors"]["s"]).collect();
    let largest = json!({"indices": [2, u32::MAX], "values": [1.0, 2.0]});
    let none = json!({"indices": [], "values": []});
    let first = json!({"indices": [2, 7], "values": [0.5, 1.5]});
    let last = json!({"indices": [7], "values": [3.0]});
    assert_eq!(vectors, [&first, &none, &largest, &last]);

    let wrong = |vector: &str| fail(&["query", "c", "--field", "s", "--vector", vector]);
    let cases = [
        (
            r#"{"indices": [1, 1], "values": [1, 2]}"#,
            "indices: expected each index once, got 1 twice",
        ),
        (r#"{"indices": [1], "values": [-1]}"#, "values: expected values of 0 or more"),
        (r#"{"indices": [4294967296], "values": [1]}"#, "expected a whole number below 2^32"),
        (r#"{"indices": [1]}"#, "expected `values`, got none"),
        (r#"{"indices": [1], "weights": [1]}"#, "expected `indices` and `values`, got `weights`"),
        (r#"{"indices": [], "values": []}"#, "expected at least one entry above 0"),
        ("[1, 2]", "expected a sparse vector, got a single vector"),
    ];
    for (vector, expected) in cases {
        let error = wrong(vector);
        assert!(error.contains(expected), "{vector}: {error}");
    }
    let error = fail(&["query", "c", "--field", "s", "--npy", matrix, "--row", "3"]);
    assert!(error.contains("has 3 rows, got 3"), "{error}");
    let error = refused(&[&["create", "d", "--field", "s:sparse:3:dot"][..], &target].concat());
    assert!(error.contains("dimension: expected none for a sparse field"), "{error}");
}

#[test]
fn sparse_vectors_are_searched_in_a_folder_and_behind_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db").display().to_string();
    sparse(folder.path(), ["--data", &data]);
    let server = ServerProcess::start(&folder.path().join("served"), &[]);
    sparse(folder.path(), ["--server", server.address()]);
}
