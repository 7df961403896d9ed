//! Words on the command line, on a folder and against a server, and judged the way BEIR does.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::fs;
use std::path::Path;

use common::shared_data;
use support::program::{ok, refused};
use support::server::ServerProcess;

/// The ids of JSON lines.
fn ids(lines: &str) -> Vec<u64> {
    let id = |line: &str| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].as_u64();
    lines.lines().map(|line| id(line).unwrap()).collect()
}

fn words(folder: &Path, target: [&str; 2]) {
    let create =
        ["create", "c", "--text", "words:title^2,text:english", "--field", "v:single:2:dot"];
    ok(&[&create[..], &target].concat());
    let texts = [
        ("Blue sky", "light is scattered", Some([1.0, 0.0])),
        ("Oceans", "blue is the ocean, and the sky above", Some([0.9, 0.0])),
        ("Green", "plants take up light", Some([0.8, 0.0])),
        ("Skies of blue light", "", None),
    ];
    let line = |(id, (title, text, vector)): (usize, &(&str, &str, Option<[f64; 2]>))| {
        let payload = serde_json::json!({ "title": title, "text": text });
        let vectors = vector.map(|vector| serde_json::json!({ "v": vector }));
        let mut point = serde_json::json!({ "id": id, "payload": payload });
        if let Some(vectors) = vectors {
            point["vectors"] = vectors;
        }
        format!("{point}\n")
    };
    let points = folder.join("points.jsonl");
    fs::write(&points, texts.iter().enumerate().map(line).collect::<String>()).unwrap();
    ok(&[&["ingest", "c", "--jsonl", points.to_str().unwrap()][..], &target].concat());

    let described = ok(&[&["inspect", "c"][..], &target].concat());
    let field = "  text words: text,title^2:english:k1=0.9:b=0.4\n";
    assert!(described.contains(field), "{described}");
    let run =
        |arguments: &[&str]| ok(&[&["query", "c", "--json"][..], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&["query", "c"][..], arguments, &target].concat());
    assert_eq!(ids(&run(&["--text", "the plants?"])), [2]);
    assert_eq!(ids(&run(&["--text", "blue sky", "--limit", "2"])), [0, 3]);
    assert_eq!(ids(&run(&["--match", "+sky -ocean"])), [0, 3]);
    assert_eq!(ids(&run(&["--match", "\"blue light\""])), [3]);
    assert_eq!(ids(&run(&["--match", "plunts~1"])), [2]);
    assert_eq!(ids(&run(&["--match", "-blue light"])), [2]);
    let filter = ["--filter", r#"{"title": {"match": "blue"}}"#];
    assert_eq!(ids(&run(&[&["--text", "light"][..], &filter].concat())), [3, 0]);
    let vector = ["--field", "v", "--vector", "[1, 0]"];
    assert_eq!(ids(&run(&[&vector[..], &filter].concat())), [0]);
    // By vectors 0, 1, 2; by words 2 alone.
    let fused = run(&[&vector[..], &["--fuse", r#"{"text": "plants"}"#]].concat());
    assert_eq!(ids(&fused), [2, 0, 1]);
    let heavy = r#"{"match": "+plants", "weight": 5}"#;
    let fused = run(&[&vector[..], &["--fuse", heavy, "--fuse-scores", "min-max"]].concat());
    assert_eq!(ids(&fused), [2, 0, 1]);
    let staged = ["--rescore-field", "words", "--rescore-text", "ocean", "--candidates", "10"];
    assert_eq!(ids(&run(&[&vector[..], &staged].concat())), [1]);
    let staged = ["--rescore-field", "v", "--rescore-vector", "[-1, 0]", "--candidates", "10"];
    assert_eq!(ids(&run(&[&["--text", "blue"][..], &staged].concat())), [1, 0]);

    // Parts of texts, as JSON and in lines of their own.
    let shown = run(&["--text", "blue sky", "--limit", "1", "--highlight"]);
    let shown: serde_json::Value = serde_json::from_str(shown.trim()).unwrap();
    let title =
        serde_json::json!({"path": "title", "text": "Blue sky", "matches": [[0, 4], [5, 8]]});
    assert_eq!(shown["fragments"], serde_json::json!([title]));
    let plain = ["query", "c", "--text", "sky", "--highlight", "2", "--highlight-length", "30"];
    let shown = ok(&[&plain[..], &["--no-payload"], &target].concat());
    assert!(shown.contains("\n                 text: the ocean, and the *sky* above\n"), "{shown}");
    let fused = run(&[&vector[..], &["--fuse", r#"{"text": "plants"}"#, "--highlight"]].concat());
    assert!(fused.lines().next().unwrap().contains("\"matches\":[[0,6]]"), "{fused}");
    let error = fail(&[&vector[..], &["--highlight"]].concat());
    assert!(error.contains("highlight: expected a query with words"), "{error}");

    let error = fail(&["--match", "\"blue"]);
    assert!(error.contains("text: expected a closing quote, got the end after \"blue"), "{error}");
    let error = fail(&["--field", "v", "--text", "blue"]);
    assert!(
        error.contains("expected a vector or points, for a vector field, got words"),
        "{error}"
    );
    let error = fail(&["--text", "light", "--filter", r#"{"nothing": {"match": "blue"}}"#]);
    assert!(error.contains("filter.nothing: expected a text field, or a path of one"), "{error}");
    let error = refused(&[&["create", "d", "--text", "words:title:klingon"][..], &target].concat());
    assert!(error.contains("analyzer: expected standard, cjk"), "{error}");
}

#[test]
fn words_are_searched_in_a_folder_and_behind_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db").display().to_string();
    words(folder.path(), ["--data", &data]);
    let server = ServerProcess::start(&folder.path().join("served"), &[]);
    words(folder.path(), ["--server", server.address()]);
}

fn report(dataset: &str, folder: &Path, arguments: &[&str]) -> serde_json::Value {
    let report = folder.join("report.json");
    let own = ["beir", "--dataset", dataset, "--text", "--json-report", report.to_str().unwrap()];
    ok(&[&own[..], arguments].concat());
    serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap()
}

#[test]
fn a_beir_folder_is_searched_by_words_alone_and_with_vectors() {
    let dataset = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/demo");
    let file = |name: &str| dataset.join(name).display().to_string();
    let folder = tempfile::tempdir().unwrap();
    let alone = report(dataset.to_str().unwrap(), folder.path(), &[]);
    let (corpus, queries) = (file("corpus.f16.npy"), file("queries.f16.npy"));
    let vectors = ["--corpus-vectors", &corpus, "--query-vectors", &queries];
    let all = report(dataset.to_str().unwrap(), folder.path(), &vectors);
    let value = |report: &serde_json::Value, key: &str| report[key].as_f64().unwrap();
    let names: Vec<&str> =
        all.as_array().unwrap().iter().map(|report| report["mode"].as_str().unwrap()).collect();
    assert_eq!(names, ["text", "single", "text+single"]);
    assert_eq!(value(&alone, "ndcg_10"), value(&all[0], "ndcg_10"));
    let best = value(&all[0], "ndcg_10").max(value(&all[1], "ndcg_10"));
    assert!(value(&all[2], "ndcg_10") > best, "{all}");
    assert!(value(&all[2], "bytes_per_document") > value(&all[0], "bytes_per_document"));
    let weak = report(dataset.to_str().unwrap(), folder.path(), &["--analyzer", "standard"]);
    assert!(value(&weak, "ndcg_10") != value(&alone, "ndcg_10"), "the analyzer matters");
}

/// Anserini's flat index has 0.322 (k1 = 0.9, b = 0.4, title and text, Porter's stemmer).
#[test]
fn nfcorpus_is_found_by_words_as_well_as_by_anserini() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let report = report(data.to_str().unwrap(), folder.path(), &[]);
    let ndcg = report["ndcg_10"].as_f64().unwrap();
    assert!((ndcg - 0.322).abs() <= 0.005, "{ndcg}");
}
