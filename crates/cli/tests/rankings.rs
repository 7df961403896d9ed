//! Rankings, counts and orders of the program, on a folder and against a server.

mod support;

use std::fs;

use support::program::{f32_bytes, lanner, npy, ok, refused};
use support::server::ServerProcess;

/// The collection `c` of six points: `v` points from [1, 0] to [0, 1], as ids rise; `t` the other way.
fn fill(folder: &std::path::Path, target: [&str; 2]) {
    let create = ["create", "c", "--field", "v:single:2:dot", "--field", "t:multi:2:dot"];
    let paths = ["--payload", "shelf=keyword,year=integer"];
    ok(&[&create[..], &paths, &target].concat());
    let point = |id: u32| {
        let (x, shelf) =
            (id as f32 / 5.0, ["art", "maths", "art", "music", "art", "maths"][id as usize]);
        let payload = match id {
            3 => "{\"shelf\": \"music\"}".to_owned(),
            4 => "{\"shelf\": [\"art\", \"music\"], \"year\": 2001}".to_owned(),
            id => format!("{{\"shelf\": \"{shelf}\", \"year\": {}}}", 2000 + id % 4),
        };
        format!(
            "{{\"id\": {id}, \"vectors\": {{\"v\": [{}, {x}], \"t\": [[{x}, 0]]}}, \"payload\": {payload}}}\n",
            1.0 - x
        )
    };
    let points = folder.join("points.jsonl");
    fs::write(&points, (0..6).map(point).collect::<String>()).unwrap();
    ok(&[&["ingest", "c", "--jsonl", points.to_str().unwrap()][..], &target].concat());
}

/// The ids of JSON lines.
fn ids(lines: &str) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64();
    lines.lines().map(|line| id(line).unwrap()).collect()
}

fn fusion(folder: &std::path::Path, target: [&str; 2]) {
    let by_v = ["query", "c", "--field", "v", "--vector", "[1, 0]", "--json"];
    let run = |arguments: &[&str]| ok(&[&by_v[..], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&by_v[..], arguments, &target].concat());
    assert_eq!(ids(&run(&[])), [0, 1, 2, 3, 4, 5]);
    let by_t = "{\"field\": \"t\", \"vector\": [[1, 0]]}";
    // The rankings are the reverse of each other: 1/61 + 1/66 is the most that a point gets.
    let fused = run(&["--fuse", by_t]);
    assert_eq!(ids(&fused), [0, 5, 1, 4, 2, 3]);
    let first: serde_json::Value = serde_json::from_str(fused.lines().next().unwrap()).unwrap();
    let expected = 1.0 / 61.0 + 1.0 / 66.0;
    assert!((first["score"].as_f64().unwrap() - expected).abs() < 1e-7, "{first}");
    let heavy = "{\"field\": \"t\", \"vector\": [[1, 0]], \"weight\": 3}";
    assert_eq!(ids(&run(&["--fuse", heavy, "--limit", "3"])), [5, 4, 3]);
    assert_eq!(ids(&run(&["--fuse", heavy, "--fuse-weight", "9", "--offset", "4"])), [4, 5]);
    let one =
        "{\"field\": \"t\", \"vector\": [[1, 0]], \"limit\": 1, \"filter\": {\"ids\": [2, 3]}}";
    assert_eq!(ids(&run(&["--fuse", one, "--fuse-hits", "2", "--fuse-k", "1"])), [0, 3, 1]);
    // By scores: v from 1 to 0, and three times t from 0 to 1, so that ids come in falling order.
    let added = run(&["--fuse", heavy, "--fuse-scores", "min-max"]);
    assert_eq!(ids(&added), [5, 4, 3, 2, 1, 0]);
    let first: serde_json::Value = serde_json::from_str(added.lines().next().unwrap()).unwrap();
    assert!((first["score"].as_f64().unwrap() - 3.0).abs() < 1e-6, "{first}");
    let unbounded = fail(&["--fuse", by_t, "--fuse-scores", "theoretical-min-max"]);
    assert!(unbounded.contains("queries[0].field \"v\"") && unbounded.contains("got dot"));
    assert!(fail(&["--fuse", by_t, "--fuse-scores", "max"]).contains("expected min-max, z-score"));
    npy(&folder.join("q.npy"), "<f4", "(2, 2)", &f32_bytes(&[0.0, 1.0, 1.0, 0.0]));
    let file = folder.join("q.npy").display().to_string();
    let by_file =
        format!("{{\"field\": \"t\", \"npy\": \"{file}\", \"row\": \"1..2\", \"weight\": 3}}");
    let three = ["--fuse", &by_file, "--fuse", "{\"field\": \"v\", \"point\": 5, \"weight\": 0}"];
    assert_eq!(ids(&run(&[&three[..], &["--limit", "3"]].concat())), [5, 4, 3]);
    let filtered = run(&["--fuse", by_t, "--filter", "{\"field\": \"shelf\", \"eq\": \"maths\"}"]);
    assert_eq!(ids(&filtered), [1, 5]);

    let explained = [&by_v[..], &["--fuse", by_t, "--explain"], &target].concat();
    let stages = String::from_utf8(lanner(&explained).stderr).unwrap();
    assert!(
        stages.contains("search of v\nscan") && stages.contains("search of t\nscan"),
        "{stages}"
    );
    assert!(fail(&["--fuse", "{\"field\": \"t\"}"]).contains("got 0 of them"));
    let wide = fail(&["--fuse", "{\"field\": \"t\", \"vector\": [[1, 0, 0]]}"]);
    assert!(wide.contains("queries[1].vector: expected 2 dimensions, got 3"), "{wide}");
    let text = fail(&["--fuse", "{\"field\": \"t\", \"vector\": \"x\"}"]);
    assert!(text.contains("--fuse 1: vector: expected an array"), "{text}");
    assert!(fail(&["--fuse", by_t, "--score-threshold", "1"]).contains("cannot be used with"));
    assert!(fail(&["--fuse-k", "1"]).contains("--fuse"));
}

fn facets(target: [&str; 2]) {
    let run = |arguments: &[&str]| ok(&[&["facet", "c"], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&["facet", "c"], arguments, &target].concat());
    let shelves = run(&["shelf"]);
    let lines: Vec<&str> = shelves.lines().map(str::trim).collect();
    assert_eq!(lines, ["3  \"art\"", "2  \"maths\"", "2  \"music\""]);
    assert_eq!(run(&["year", "--json", "--limit", "1"]), "{\"count\":3,\"value\":2001}\n");
    let limited = lanner(&[&["facet", "c", "shelf", "--limit", "1"], &target[..]].concat());
    assert_eq!(String::from_utf8(limited.stderr).unwrap(), "1 of 3 values\n");
    let maths = "{\"field\": \"shelf\", \"eq\": \"maths\"}";
    assert_eq!(run(&["year", "--filter", maths]).trim(), "2  2001");
    assert!(fail(&["pages"]).contains("path.pages: the path is not declared"));
    assert!(fail(&["shelf", "--limit", "0"]).contains("limit: expected 1 to 10000, got 0"));
}

fn orders(target: [&str; 2]) {
    let run = |arguments: &[&str]| ok(&[&["scroll", "c"], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&["scroll", "c"], arguments, &target].concat());
    // The years are 2000, 2001, 2002, none, 2001 and 2001.
    assert_eq!(ids(&run(&["--order-by", "year"])), [0, 1, 4, 5, 2]);
    assert_eq!(ids(&run(&["--order-by", "year:desc", "--limit", "2"])), [2, 1]);
    let after = ["--order-by", "year:desc", "--after", "1", "--after-value", "2001"];
    assert_eq!(ids(&run(&after)), [4, 5, 0]);
    // Of art and music the first counts.
    assert_eq!(ids(&run(&["--order-by", "shelf", "--no-vectors"])), [0, 2, 4, 1, 5, 3]);
    assert_eq!(ids(&run(&["--order-by", "shelf:desc"])), [3, 4, 1, 5, 0, 2]);
    let maths = "{\"field\": \"shelf\", \"eq\": \"maths\"}";
    assert_eq!(ids(&run(&["--order-by", "year", "--filter", maths])), [1, 5]);
    assert!(fail(&["--order-by", "pages"]).contains("order_by.pages: the path is not declared"));
    assert!(fail(&["--order-by", "year", "--after", "1"]).contains("give --after-value"));
    assert!(fail(&["--after-value", "1", "--after", "1"]).contains("--order-by"));
    let text = fail(&["--order-by", "year", "--after", "1", "--after-value", "\"x\""]);
    assert!(text.contains("after.value: expected an integer"), "{text}");
}

fn groups(folder: &std::path::Path, target: [&str; 2]) {
    let by_v = ["query", "c", "--field", "v", "--vector", "[1, 0]", "--group-by"];
    let run = |arguments: &[&str]| ok(&[&by_v[..], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&by_v[..], arguments, &target].concat());
    // By `v`: 0 art, 1 maths, 2 art, 3 music, 4 art and music, 5 maths.
    let groups = run(&["shelf", "--group-size", "2", "--json"]);
    assert_eq!(ids(&groups), [0, 2, 1, 5, 3, 4]);
    let group =
        |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["group"].to_string();
    let values: Vec<String> = groups.lines().map(group).collect();
    assert_eq!(values, ["\"art\"", "\"art\"", "\"maths\"", "\"maths\"", "\"music\"", "\"music\""]);
    let shown = run(&["year", "--limit", "1", "--group-size", "1", "--no-payload"]);
    assert_eq!(shown.split_whitespace().collect::<Vec<_>>(), ["2000", "1", "1.00000", "0"]);
    let points = run(&["shelf", "--with-vectors", "--limit", "1"]);
    fs::write(folder.join("group.jsonl"), points).unwrap();
    let path = folder.join("group.jsonl").display().to_string();
    ok(&[&["ingest", "c", "--jsonl", &path], &target[..]].concat());
    assert!(fail(&["pages"]).contains("group_by.pages: the path is not declared"));
    assert!(fail(&["shelf", "--offset", "1"]).contains("cannot be used with"));
    assert!(
        fail(&["shelf", "--group-size", "0"]).contains("group_size: expected 1 to 1000, got 0")
    );
}

/// Runs all of it on `target`, which is `--data DIR` or `--server ADDRESS`.
fn all(target: [&str; 2]) {
    let folder = tempfile::tempdir().unwrap();
    fill(folder.path(), target);
    fusion(folder.path(), target);
    facets(target);
    orders(target);
    groups(folder.path(), target);
}

#[test]
fn rankings_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    all(["--data", folder.path().join("db").to_str().unwrap()]);
}

#[test]
fn rankings_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    all(["--server", server.address()]);
}
