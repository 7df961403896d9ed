//! `lanner declare`, on a folder and against a server.

mod support;

use std::fs;

use support::program::{ok, refused};
use support::server::ServerProcess;

/// The collection `c` of eight points, sealed, one of which has a text as its `year`.
fn fill(folder: &std::path::Path, target: [&str; 2]) {
    ok(&[&["create", "c", "--field", "v:single:2:dot", "--payload", "lang=keyword"][..], &target]
        .concat());
    let point = |id: u32| {
        let year = if id == 5 { "\"MM\"".to_owned() } else { (2000 + id % 2).to_string() };
        format!(
            "{{\"id\": {id}, \"vectors\": {{\"v\": [1, {id}]}}, \"payload\": {{\"lang\": \"en\", \"year\": {year}, \"open\": true}}}}\n"
        )
    };
    let points = folder.join("points.jsonl");
    fs::write(&points, (0..8).map(point).collect::<String>()).unwrap();
    ok(&[&["ingest", "c", "--jsonl", points.to_str().unwrap()][..], &target].concat());
    ok(&[&["flush", "c"][..], &target].concat());
}

fn declare(target: [&str; 2]) {
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let error = fail(&["facet", "c", "year"]);
    assert!(error.contains("path.year: the path is not declared"), "{error}");
    let error = fail(&["declare", "c", "year=integer"]);
    let expected = "point 5.payload.year: expected an integer of 64 bits with a sign, got \"MM\"";
    assert!(error.contains(expected), "{error}");
    assert!(!run(&["inspect", "c"]).contains("payload year"));
    run(&["delete", "c", "5"]);
    assert_eq!(run(&["declare", "c", "year=integer", "open=boolean"]), "");
    let inspected = run(&["inspect", "c"]);
    for line in ["payload lang: keyword\n", "payload open: boolean\n", "payload year: integer\n"] {
        assert!(inspected.contains(line), "{inspected}");
    }
    let inspected = run(&["inspect", "c", "--json"]);
    let inspected: serde_json::Value = serde_json::from_str(&inspected).unwrap();
    assert_eq!(inspected["pending_paths"], serde_json::json!({}));
    assert_eq!(run(&["facet", "c", "year"]), "         4  2000\n         3  2001\n");
    // Nothing to do.
    run(&["declare", "c", "year=integer"]);
    let error = fail(&["declare", "c", "year=keyword"]);
    assert!(error.contains("payload.year: the path is declared with the type integer"), "{error}");
    let error = fail(&["declare", "c", "year"]);
    assert!(error.contains("expected path=type"), "{error}");
    let error = fail(&["declare", "c", "year=number"]);
    assert!(error.contains("keyword, integer, float, boolean or datetime"), "{error}");
}

#[test]
fn paths_are_declared_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db");
    let target = ["--data", data.to_str().unwrap()];
    fill(folder.path(), target);
    declare(target);
    let error = refused(&[&["declare", "c", "n=integer", "--no-wait"][..], &target].concat());
    assert!(error.contains("--server"), "{error}");
}

#[test]
fn paths_are_declared_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(&folder.path().join("db"), &[]);
    let target = ["--server", server.address()];
    fill(folder.path(), target);
    declare(target);
    let begun = ok(&[&["declare", "c", "n=integer", "--no-wait"][..], &target].concat());
    let id = begun.split([' ', ':']).nth(1).unwrap();
    ok(&[&["jobs", "--wait", id][..], &target].concat());
    let listed = ok(&[&["jobs"][..], &target].concat());
    let line = listed.lines().last().unwrap();
    assert!(line.starts_with(&format!("{id}  declare  c  ")) && line.ends_with("done"), "{line}");
}
