//! The program, run as a user would: on a folder and against a server.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use common::Random;
use support::program::{f32_bytes, lanner, npy, ok, refused};
use support::server::ServerProcess;

/// Three points of two dimensions, and what belongs to them.
struct Files {
    folder: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap() };
        npy(&files.path("v.npy"), "<f4", "(3, 2)", &f32_bytes(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]));
        npy(&files.path("t.npy"), "|i1", "(4, 2)", &[127, 0, 0, 127, 127, 127, 0, 127]);
        let offsets: Vec<u8> = [0_i64, 2, 3, 4].iter().flat_map(|x| x.to_le_bytes()).collect();
        npy(&files.path("o.npy"), "<i8", "(4,)", &offsets);
        fs::write(files.path("v.ids"), "a\nb\nc\n").unwrap();
        fs::write(files.path("p.jsonl"), "{\"n\":1}\n{\"n\":2}\n{\"n\":3}\n").unwrap();
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn arg(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// The tour of all data commands on `target`, which is `--data DIR` or `--server ADDRESS`.
fn tour(files: &Files, target: [&str; 2]) {
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let create = ["create", "c", "--field", "v:single:2:cosine", "--field", "t:multi:2:dot:f16"];
    assert!(fail(&[&create[..], &["--memory", "hot"]].concat()).contains("pinned cached cold"));
    assert!(fail(&[&create[..], &["--memory", "x=cold"]].concat()).contains("has: t, v"));
    run(&[&create[..], &["--memory", "pinned", "--memory", "t=cold"]].concat());
    assert!(fail(&["create", "c", "--field", "v:single:2:dot"]).contains("`c` exists already"));
    assert!(fail(&["create", "C", "--field", "v:single:2:dot"]).contains("[a-z0-9_-]{1,64}"));

    let vectors = format!("v={}", files.arg("v.npy"));
    let tokens = format!("t={},{}", files.arg("t.npy"), files.arg("o.npy"));
    let (ids, payloads) = (files.arg("v.ids"), files.arg("p.jsonl"));
    let ingest = ["ingest", "c", "--vectors", &vectors, "--tokens", &tokens, "--ids", &ids];
    let done = run(&[&ingest[..], &["--payloads", &payloads, "--batch", "2"]].concat());
    assert!(done.starts_with("3 points in"), "{done}");
    let line = "{\"id\": 7, \"vectors\": {\"v\": [0, -1], \"t\": [[1, 0], [0, 1]]}, \"payload\": {\"big\": 9007199254740993}}";
    fs::write(files.path("more.jsonl"), line).unwrap();
    run(&["ingest", "c", "--jsonl", &files.arg("more.jsonl"), "--buffered"]);
    assert_eq!(run(&["count", "c"]), "4\n");

    let hits = run(&["query", "c", "--field", "v", "--vector", "[0, 2]", "--limit", "2"]);
    let order: Vec<&str> = hits.lines().filter_map(|line| line.split('"').nth(1)).collect();
    assert_eq!(order, ["b", "c"], "{hits}");
    assert!(hits.contains("{\"n\":2}"), "{hits}");
    let hits = run(&["query", "c", "--field", "t", "--vector", "[[1,0],[0,1]]", "--json"]);
    assert_eq!(hits.lines().count(), 4);
    let by_file = run(&["query", "c", "--field", "v", "--npy", &files.arg("v.npy"), "--row", "1"]);
    assert!(by_file.lines().next().unwrap().contains("\"b\""), "{by_file}");
    let by_point = run(&["query", "c", "--field", "v", "--point", "b", "--limit", "1"]);
    assert!(by_point.contains("\"c\"") && !by_point.contains("\"b\""), "{by_point}");

    let query = ["query", "c", "--field", "v", "--vector", "[0, 2]", "--limit", "9"];
    let above = run(&[&query[..], &["--score-threshold", "0.7"]].concat());
    assert_eq!(above.lines().count(), 2, "{above}");
    assert_eq!(run(&[&query[..], &["--score-threshold", "-0.5"]].concat()).lines().count(), 3);
    let like = run(&["query", "c", "--field", "v", "--positive", "b,c", "--negative", "7"]);
    assert!(like.contains("\"a\"") && like.lines().count() == 1, "{like}");
    let refused = fail(&["query", "c", "--field", "t", "--positive", "b"]);
    assert!(refused.contains("got a multi field"), "{refused}");
    assert!(fail(&["query", "c", "--field", "v", "--negative", "7"]).contains("--positive"));
    two_stages(files, target);

    let point = run(&["get", "c", "7", "--with-vectors"]);
    assert!(point.contains("9007199254740993") && point.contains("[0.0,-1.0]"), "{point}");
    assert!(fail(&["get", "c", "\"7\""]).contains("point \"7\" does not exist"));
    run(&["flush", "c"]);
    assert_eq!(run(&["delete", "c", "a", "nothing"]), "deleted 1\n");
    run(&["optimize", "c"]);
    let info = run(&["inspect", "c"]);
    assert!(info.contains("3 points") && info.contains("vector_offsets"), "{info}");
    assert!(info.contains("auto, pinned") && info.contains("read on demand"), "{info}");
    let info: serde_json::Value = serde_json::from_str(&run(&["inspect", "c", "--json"])).unwrap();
    assert_eq!(info["segments"][0]["rows"], 3);
    let verified = lanner(&[&["inspect", "c", "--verify"], &target[..]].concat());
    assert!(verified.status.success());
    assert!(String::from_utf8_lossy(&verified.stderr).contains("no damage"));
    assert_eq!(run(&["list"]), "c  3 points\n");

    bad_input(files, &run, &fail);
    run(&["drop", "c"]);
    assert!(fail(&["count", "c"]).contains("`c` does not exist"));
}

/// Queries that find in one field and order by another, on the four points of the tour.
fn two_stages(files: &Files, target: [&str; 2]) {
    let by_v = ["query", "c", "--field", "v", "--vector", "[0, 2]"];
    let run = |arguments: &[&str]| ok(&[&by_v[..], arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[&by_v[..], arguments, &target].concat());
    let scores = |arguments: &[&str]| -> Vec<(String, f64)> {
        let hits = run(&[arguments, &["--json"]].concat());
        let hit = |line: &str| -> (String, f64) {
            let hit: serde_json::Value = serde_json::from_str(line).unwrap();
            (hit["id"].to_string(), hit["score"].as_f64().unwrap())
        };
        hits.lines().map(hit).collect()
    };
    // By `v`: b, c, a, 7. The tokens of a and 7 are [1, 0] and [0, 1], of b [1, 1], of c [0, 1].
    let tokens = ["--rescore-field", "t", "--rescore-vector", "[[1, 0]]", "--candidates"];
    let pairs = |pairs: &[(&str, f64)]| -> Vec<(String, f64)> {
        pairs.iter().map(|&(id, score)| (id.to_owned(), score)).collect()
    };
    let found = scores(&[&tokens[..], &["2", "--limit", "2"]].concat());
    assert_eq!(found, pairs(&[("\"b\"", 1.0), ("\"c\"", 0.0)]));
    let file = files.arg("t.npy");
    let by_file = ["--rescore-field", "t", "--rescore-npy", &file, "--rescore-row", "0..2"];
    let found = scores(&[&by_file[..], &["--candidates", "9", "--limit", "9"]].concat());
    assert_eq!(found, pairs(&[("7", 2.0), ("\"a\"", 2.0), ("\"b\"", 2.0), ("\"c\"", 1.0)]));
    let above = [&by_file[..], &["--candidates", "10", "--score-threshold", "1.5"]].concat();
    assert_eq!(scores(&above), found[..3]);
    let by_point = ["--rescore-field", "t", "--rescore-point", "b", "--candidates", "2"];
    let found = scores(&[&by_point[..], &["--limit", "2"]].concat());
    assert_eq!(found, pairs(&[("\"a\"", 1.0), ("\"c\"", 1.0)]), "without b itself");

    let explained =
        lanner(&[&by_v[..], &tokens, &["2", "--limit", "1", "--explain"], &target].concat());
    let stages = String::from_utf8(explained.stderr).unwrap();
    assert!(stages.contains("rescore 2 rows of vectors"), "{stages}");
    let few = fail(&[&tokens[..], &["2"]].concat());
    assert!(few.contains("rescore.candidates: expected 10 to 100000, got 2"), "{few}");
    assert!(fail(&tokens[..4]).contains("--candidates"), "how many is needed");
    assert!(fail(&["--candidates", "20"]).contains("--rescore-field"));
    let bad = ["--rescore-field", "t", "--rescore-npy", &file, "--rescore-row", "3..9"];
    let error = fail(&[&bad[..], &["--candidates", "20"]].concat());
    assert!(error.contains("--rescore-row: `") && error.contains("has 4 rows"), "{error}");
}

/// Each refusal names the file or field, and nothing is written.
fn bad_input(files: &Files, run: &dyn Fn(&[&str]) -> String, fail: &dyn Fn(&[&str]) -> String) {
    let write = |name: &str, shape: &str, data: &[u8]| npy(&files.path(name), "<f4", shape, data);
    write("wide.npy", "(1, 3)", &f32_bytes(&[1.0, 2.0, 3.0]));
    write("nan.npy", "(1, 2)", &f32_bytes(&[1.0, f32::NAN]));
    write("short.npy", "(3, 2)", &f32_bytes(&[1.0; 5]));
    fs::write(files.path("garbage.npy"), "no array").unwrap();
    fs::write(files.path("two.ids"), "a\nb\n").unwrap();
    let jsonl = |name: &str, text: &str| fs::write(files.path(name), text).unwrap();
    jsonl("ragged.jsonl", "{\"id\":9,\"vectors\":{\"t\":[[1,0],[1]]}}");
    jsonl("payload.jsonl", "{\"id\":9,\"vectors\":{\"v\":[1,0]},\"payload\":[1]}");
    jsonl("broken.jsonl", "{\"id\":9,");
    let vectors = |name: &str| format!("v={}", files.arg(name));
    let cases: [(Vec<String>, &str); 8] = [
        (vec!["--vectors".into(), vectors("wide.npy")], "expected 2 dimensions, got 3"),
        (vec!["--vectors".into(), vectors("nan.npy")], "got NaN at position 1"),
        (vec!["--vectors".into(), vectors("short.npy")], "short.npy"),
        (vec!["--vectors".into(), vectors("garbage.npy")], "garbage.npy"),
        (
            vec!["--vectors".into(), vectors("v.npy"), "--ids".into(), files.arg("two.ids")],
            "two.ids` has 2 entries",
        ),
        (
            vec!["--jsonl".into(), files.arg("ragged.jsonl")],
            "line 1: vectors.t: expected vectors of equal",
        ),
        (vec!["--jsonl".into(), files.arg("payload.jsonl")], "payload: expected a JSON object"),
        (vec!["--jsonl".into(), files.arg("broken.jsonl")], "broken.jsonl` line 1"),
    ];
    for (arguments, expected) in cases {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = fail(&[&["ingest", "c"], &arguments[..]].concat());
        assert!(error.contains(expected), "{error} / {expected}");
        assert_eq!(run(&["count", "c"]), "3\n");
    }
    assert!(fail(&["query", "c", "--field", "x", "--vector", "[1]"]).contains("has: t, v"));
    assert!(fail(&["query", "c", "--vector", "[1]"]).contains("give --field"));
    let zero = fail(&["query", "c", "--field", "v", "--vector", "[1,0]", "--limit", "0"]);
    assert!(zero.contains("limit: expected 1 to 10000, got 0"), "{zero}");
}

/// Runs `lanner` with something on its standard input.
fn piped(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_lanner"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // It may have refused the input already.
    child.stdin.take().unwrap().write_all(input).ok();
    child.wait_with_output().unwrap()
}

#[test]
fn points_come_from_pipes_and_compressed_files_and_no_points_are_no_success() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let db = folder.path().join("db").display().to_string();
    ok(&["create", "c", "--data", &db, "--field", "v:single:2:dot"]);
    let count = || ok(&["count", "c", "--data", &db]);
    let ingest = ["ingest", "c", "--data", &db];
    let line = |id: u64| format!("{{\"id\": {id}, \"vectors\": {{\"v\": [1, {id}]}}}}\n");
    for (id, path) in [(1, "-"), (2, "/dev/stdin")] {
        let done = piped(&[&ingest[..], &["--jsonl", path]].concat(), line(id).as_bytes());
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
        assert_eq!(count(), format!("{id}\n"));
    }
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(format!("\u{feff}{}{}\n\n", line(3), line(4)).as_bytes()).unwrap();
    fs::write(files.path("packed"), packed.finish().unwrap()).unwrap();
    ok(&[&ingest[..], &["--jsonl", &files.arg("packed")]].concat());
    assert_eq!(count(), "4\n");

    for input in ["", "\n\n"] {
        let done = piped(&[&ingest[..], &["--jsonl", "-"]].concat(), input.as_bytes());
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && error.contains("holds no points"), "{error}");
    }
    let latin = b"{\"id\": \"caf\xe9\", \"vectors\": {\"v\": [1, 2]}}\n";
    let done = piped(&[&ingest[..], &["--jsonl", "-"]].concat(), latin);
    let error = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(error.contains("-:1: expected utf-8") && error.contains("iconv"), "{error}");

    // Payloads from a pipe are compared as they come.
    let vectors = format!("v={}", files.arg("v.npy"));
    let arrays = [&ingest[..], &["--vectors", &vectors, "--payloads", "-"]].concat();
    for (payloads, expected) in
        [("{}\n", "fewer payloads than 3"), ("{}\n{}\n{}\n{}\n", "got more")]
    {
        let done = piped(&arrays, payloads.as_bytes());
        let error = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(!done.status.success() && error.contains(expected), "{error}");
    }
    assert_eq!(count(), "4\n");
    assert!(piped(&arrays, b"{}\n{}\n{}\n\n").status.success());
}

#[test]
fn the_tour_on_a_folder() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    tour(&files, ["--data", folder.path().join("db").to_str().unwrap()]);
}

#[test]
fn work_that_nobody_waits_for_is_a_servers() {
    let folder = tempfile::tempdir().unwrap();
    let target = ["--no-wait", "--data", folder.path().to_str().unwrap()];
    for command in
        [&["optimize", "c"][..], &["train", "c", "--field", "v"], &["inspect", "c", "--verify"]]
    {
        let error = refused(&[command, &target[..]].concat());
        assert!(error.contains("--no-wait is for a server"), "{command:?}: {error}");
    }
}

#[test]
fn the_help_of_each_command_has_an_example() {
    let all = ok(&["--help"]);
    let commands = all.lines().skip_while(|line| *line != "Commands:").skip(1);
    let commands = commands.take_while(|line| !line.is_empty());
    let names = commands.filter_map(|line| line.split_whitespace().next());
    let names: Vec<&str> = names.filter(|name| *name != "help").collect();
    assert!(names.len() > 20, "{names:?}");
    for name in names {
        let help = ok(&[name, "--help"]);
        assert!(help.contains(&format!("  lanner {name} ")), "{name}: {help}");
    }
}

#[test]
fn the_tour_on_a_server() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let server = ServerProcess::start(folder.path(), &[]);
    tour(&files, ["--server", server.address()]);
    let locked = refused(&["list", "--data", folder.path().to_str().unwrap()]);
    assert!(locked.contains(&format!("is locked by process {}", server.id())), "{locked}");
    let target = ["--server", server.address()];
    ok(&[&["create", "jobs", "--field", "v:single:2:dot"], &target[..]].concat());
    let begun = ok(&[&["optimize", "jobs", "--no-wait"], &target[..]].concat());
    let id = begun.split([' ', ':']).nth(1).unwrap();
    ok(&[&["jobs", "--wait", id], &target[..]].concat());
    let listed = ok(&[&["jobs"], &target[..]].concat());
    let line = listed.lines().last().unwrap();
    assert!(line.starts_with(&format!("{id}  optimize  jobs  ")) && line.ends_with("done"));
    let error = refused(&[&["jobs", "--cancel", "999"], &target[..]].concat());
    assert!(error.contains("job 999 does not exist"), "{error}");
    ok(&[&["drop", "jobs"], &target[..]].concat());
    assert_eq!(server.terminate(), Some(0), "SIGTERM ends it in order");
}

#[test]
fn inspect_verify_names_what_is_damaged_and_fails() {
    let (files, folder) = (Files::new(), tempfile::tempdir().unwrap());
    let data = folder.path().join("db");
    let target = ["--data", data.to_str().unwrap()];
    ok(&[&["create", "c", "--field", "v:single:2:dot"], &target[..]].concat());
    let vectors = format!("v={}", files.arg("v.npy"));
    ok(&[&["ingest", "c", "--vectors", &vectors], &target[..]].concat());
    ok(&[&["flush", "c"], &target[..]].concat());
    let file = data.join("collections/1/1/field-0.sec");
    let sound = fs::read(&file).unwrap();
    let values = f32_bytes(&[1.0, 0.0, 0.0, 1.0, 0.6, 0.8]);
    let at = sound.windows(values.len()).position(|window| window == values).unwrap();
    let mut spoilt = sound.clone();
    spoilt[at + 3] ^= 1;
    fs::write(&file, spoilt).unwrap();
    for command in [&["query", "c", "--vector", "[1, 0]"][..], &["inspect", "c", "--verify"]] {
        let error = refused(&[command, &target[..]].concat());
        assert!(error.contains("field-0.sec` is corrupted in section `vectors`"), "{error}");
    }
    fs::write(&file, sound).unwrap();
    ok(&[&["inspect", "c", "--verify"], &target[..]].concat());
}

/// 1,200 vectors of eight dimensions, and queries.
fn many_vectors(files: &Files) {
    let mut random = Random::new(11);
    for (name, rows) in [("base.npy", 1200), ("queries.npy", 40)] {
        let values = random.vector(8 * rows);
        npy(&files.path(name), "<f4", &format!("({rows}, 8)"), &f32_bytes(&values));
    }
}

/// Compression on `target`, from its creation to its training.
fn compressed_tour(target: [&str; 2]) {
    let files = Files::new();
    many_vectors(&files);
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let create = ["create", "z", "--field", "v:single:8:dot", "--compression"];
    assert!(fail(&[&create[..], &["lvq2"]].concat()).contains("lvq8, lvq4, lvq4x4, lvq4x8"));
    assert!(fail(&[&create[..], &["v=lvq8:9"]].concat()).contains("expected 1 to 8, got 9"));
    assert!(fail(&[&create[..], &["w=lvq8"]].concat()).contains("no such vector field"));
    let short = files.arg("v.npy");
    let error = fail(&[&create[..], &["auto", "--training-queries", &short]].concat());
    assert!(error.contains("expected 8 dimensions, got 2"), "{error}");
    assert_eq!(run(&["list"]), "", "nothing was created");

    let queries = files.arg("queries.npy");
    let rest = ["lvq8:4:sphering/lvq8/drop-raw", "--training-queries", &queries];
    run(&[&create[..], &rest].concat());
    run(&["ingest", "z", "--vectors", &format!("v={}", files.arg("base.npy"))]);
    run(&["optimize", "z"]);
    let info = run(&["inspect", "z"]);
    assert!(info.contains("compression lvq8:4:sphering/lvq8/drop-raw"), "{info}");
    assert!(info.contains("1,200 rows, 0 deleted") && info.contains("27 queries"), "{info}");
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", "z", "--json"])).unwrap();
    assert_eq!(json["segments"][0]["codecs"]["v"]["ladder"][0]["code"], "lvq8:4:sphering");
    assert_eq!(json["config"]["fields"]["v"]["compression"]["keep_raw"], false);
    assert!(run(&["get", "z", "7", "--with-vectors"]).contains("\"reconstructed\":[\"v\"]"));

    let query = ["query", "z", "--npy", &queries, "--row", "0", "--limit", "3"];
    let coded = run(&[&query[..], &["--rerank", "1200"]].concat());
    assert_eq!(coded, run(&[&query[..], &["--exact"]].concat()));
    let explained = lanner(&[&query[..], &["--explain", "--rerank", "20"], &target].concat());
    let stages = String::from_utf8(explained.stderr).unwrap();
    assert!(stages.contains("scan    1,200 rows of codes lvq8:4:sphering"), "{stages}");
    assert!(stages.contains("rerank  20 rows of secondary codes"), "{stages}");
    assert!(fail(&[&query[..], &["--rerank", "2"]].concat()).contains("expected 3 to 100000"));

    let trained = run(&["train", "z", "--field", "v", "--queries", &files.arg("base.npy")]);
    assert_eq!(trained, "trained v on 1200 queries\n");
    // A third of them judges and calibrates.
    assert!(run(&["inspect", "z"]).contains("800 queries"));
    let error = fail(&["train", "z", "--field", "v", "--queries", &short]);
    assert!(error.contains("queries[0]: expected 8 dimensions, got 2"), "{error}");
}

#[test]
fn compression_on_a_folder_and_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    compressed_tour(["--data", folder.path().join("a").to_str().unwrap()]);
    let server = ServerProcess::start(&folder.path().join("b"), &[]);
    compressed_tour(["--server", server.address()]);
}

/// A multi field on `target`, from its creation to a search by encodings.
fn encoded_tour(target: [&str; 2]) {
    let files = Files::new();
    // As many as a segment with codes has, of one and two tokens.
    let values = Random::new(13).vector(4 * 1800);
    npy(&files.path("tokens.npy"), "<f4", "(1800, 4)", &f32_bytes(&values));
    let starts = (0..=1200_i64).map(|row| row + row / 2);
    let starts: Vec<u8> = starts.flat_map(|start| start.to_le_bytes()).collect();
    npy(&files.path("starts.npy"), "<i8", "(1201,)", &starts);
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let create = ["create", "m", "--field", "t:multi:4:dot", "--encoding"];
    assert!(fail(&[&create[..], &["fde:planes=x"]].concat()).contains("expected auto, or fde"));
    let error = fail(&[&create[..], &["fde:block=5"]].concat());
    assert!(error.contains("encoding.inner_projection: expected 1 to 4, got 5"), "{error}");
    let tokens = format!("{},{}", files.arg("tokens.npy"), files.arg("starts.npy"));
    let sample = format!("t={tokens}");
    let encoding = "t=fde:repetitions=4:planes=2:block=0";
    let more = [encoding, "--compression", "t=lvq8:32/lvq4", "--training-queries", &sample];
    run(&[&create[..], &more].concat());
    run(&["ingest", "m", "--tokens", &sample]);
    run(&["optimize", "m"]);
    run(&["train", "m", "--field", "t", "--queries", &tokens]);
    let info = run(&["inspect", "m"]);
    for expected in [
        "compression lvq8:32/lvq4",
        "encoding fde:repetitions=4:planes=2:block=0, token pooling 1",
        "centroid_lists",
        "token_offsets",
    ] {
        assert!(info.contains(expected), "{expected}: {info}");
    }
    let npy = files.arg("tokens.npy");
    let query = ["query", "m", "--npy", &npy, "--row", "3..5", "--explain", "--rerank", "300"];
    let output = lanner(&[&query[..], &target].concat());
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (hits, stages) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(hits.lines().count(), 10);
    assert!(stages.contains("rows of centroids"), "{stages}");
    assert!(stages.contains("rows of secondary codes"), "{stages}");
    let wrong = ["train", "m", "--field", "t", "--queries", &npy];
    assert!(fail(&wrong).contains("the number of vectors of each query"));
}

#[test]
fn encodings_on_a_folder_and_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    encoded_tour(["--data", folder.path().join("a").to_str().unwrap()]);
    let server = ServerProcess::start(&folder.path().join("b"), &[]);
    encoded_tour(["--server", server.address()]);
}

/// An index on `target`, from its creation to a search for a recall.
fn indexed_tour(target: [&str; 2]) {
    let files = Files::new();
    // As many as a segment with an index has.
    let values = Random::new(12).vector(4 * 10_000);
    npy(&files.path("many.npy"), "<f4", "(10000, 4)", &f32_bytes(&values));
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let create = ["create", "i", "--field", "v:single:4:l2", "--index"];
    assert!(fail(&[&create[..], &["hnsw"]].concat()).contains("expected auto, graph, ivf or flat"));
    assert!(fail(&[&create[..], &["w=graph"]].concat()).contains("no such vector field"));
    let error = fail(&[&create[..], &["graph:degree=7"]].concat());
    assert!(error.contains("expected 8 to 256, got 7"), "{error}");
    run(&[&create[..], &["graph:degree=16"]].concat());
    run(&["ingest", "i", "--vectors", &format!("v={}", files.arg("many.npy"))]);
    run(&["optimize", "i"]);
    let info = run(&["inspect", "i"]);
    assert!(info.contains("index graph:degree=16"), "{info}");
    assert!(info.contains("v: graph of degree 16") && info.contains("768 rows held out"), "{info}");
    assert!(info.contains("target recall"), "{info}");
    let json: serde_json::Value = serde_json::from_str(&run(&["inspect", "i", "--json"])).unwrap();
    let index = &json["segments"][0]["indexes"]["v"];
    assert_eq!((&index["status"], &index["report"]["degree"]), (&"ready".into(), &16.into()));

    let query = ["query", "i", "--npy", &files.arg("many.npy"), "--row", "7", "--explain"];
    let ask = |more: &[&str]| {
        let output = lanner(&[&query[..], more, &target].concat());
        assert!(output.status.success());
        let text = |bytes| String::from_utf8(bytes).unwrap();
        (text(output.stdout), text(output.stderr))
    };
    let (exact, _) = ask(&["--exact"]);
    let (found, stages) = ask(&["--target-recall", "0.999"]);
    assert_eq!(found.lines().next(), exact.lines().next(), "the vector itself");
    assert!(stages.contains("rows of graph "), "{stages}");
    let (_, stages) = ask(&["--search-window", "5"]);
    assert!(stages.contains(", window 5"), "{stages}");
    let error = fail(&[&query[..], &["--target-recall", "1.5"]].concat());
    assert!(error.contains("target_recall: expected 0.5 to 0.999, got 1.5"), "{error}");
    let error = fail(&[&query[..], &["--target-recall", "0.9", "--search-window", "5"]].concat());
    assert!(error.contains("cannot be used with"), "{error}");
}

#[test]
fn indexes_on_a_folder_and_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    indexed_tour(["--data", folder.path().join("a").to_str().unwrap()]);
    let server = ServerProcess::start(&folder.path().join("b"), &[]);
    indexed_tour(["--server", server.address()]);
}

/// Filters on `target`, from the declaration of paths to queries.
fn filtered_tour(target: [&str; 2]) {
    let files = Files::new();
    let run = |arguments: &[&str]| ok(&[arguments, &target].concat());
    let fail = |arguments: &[&str]| refused(&[arguments, &target].concat());
    let create = ["create", "f", "--field", "v:single:2:dot", "--payload"];
    let error = fail(&[&create[..], &["n=number"]].concat());
    assert!(error.contains("expected keyword, integer, float, boolean or datetime"), "{error}");
    assert!(fail(&[&create[..], &["n"]].concat()).contains("expected path=type"));
    run(&[&create[..], &["n=integer,meta.lang=keyword"]].concat());
    let lines = [
        "{\"id\": 1, \"vectors\": {\"v\": [1, 0]}, \"payload\": {\"n\": 1, \"meta\": {\"lang\": \"en\"}}}",
        "{\"id\": 2, \"vectors\": {\"v\": [2, 0]}, \"payload\": {\"n\": 2, \"meta\": {\"lang\": \"de\"}}}",
        "{\"id\": 3, \"vectors\": {\"v\": [3, 0]}, \"payload\": {\"n\": 3}}",
    ];
    fs::write(files.path("f.jsonl"), lines.join("\n")).unwrap();
    run(&["ingest", "f", "--jsonl", &files.arg("f.jsonl")]);
    fs::write(
        files.path("g.jsonl"),
        "{\"id\": 4, \"vectors\": {\"v\": [1, 0]}, \"payload\": {\"n\": \"x\"}}",
    )
    .unwrap();
    let error = fail(&["ingest", "f", "--jsonl", &files.arg("g.jsonl")]);
    assert!(error.contains("payload.n: expected an integer"), "{error}");

    let query = ["query", "f", "--vector", "[1, 0]", "--json", "--filter"];
    for _ in 0..2 {
        let hits = run(&[&query[..], &["{\"field\": \"n\", \"lte\": 2}"]].concat());
        let ids: Vec<String> = hits
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["id"].to_string())
            .collect();
        assert_eq!(ids, ["2", "1"]);
        let none = "{\"not\": {\"field\": \"meta.lang\", \"exists\": true}}";
        assert_eq!(run(&["count", "f", "--filter", none]), "1\n");
        run(&["flush", "f"]);
    }
    let wrong = fail(&[&query[..], &["{\"and\": [{\"field\": \"n\", \"is\": 2}]}"]].concat());
    assert!(wrong.contains("filter.and[0].n: expected one of `eq`"), "{wrong}");
    // A path that is not declared.
    assert_eq!(run(&["count", "f", "--filter", "{\"meta\": {\"exists\": true}}"]), "2\n");
    assert_eq!(run(&["count", "f", "--filter", "{\"n\": {\"nin\": [1, 2]}}"]), "1\n");

    let short = "{\"meta.lang\": \"de\"}";
    let patch = "{\"meta\": {\"lang\": null, \"by\": \"us\"}}";
    assert_eq!(run(&["update", "f", "--filter", short, "--merge", patch]), "updated 1\n");
    let updated = run(&["update", "f", "2", "9", "--delete", "meta.by"]);
    assert_eq!(updated, "updated 1\nwithout a point 1: 9\n");
    assert_eq!(run(&["update", "f", "3", "--set", "{\"n\": 4}"]), "updated 1\n");
    fs::write(files.path("v.jsonl"), "{\"id\": 3, \"vectors\": {\"v\": [0.5, 2]}}\n").unwrap();
    assert_eq!(run(&["update", "f", "--vectors", &files.arg("v.jsonl")]), "updated 1\n");
    let found = run(&["get", "f", "2", "3", "--with-vectors"]);
    let expected = [
        "{\"id\":2,\"vectors\":{\"v\":[2.0,0.0]},\"payload\":{\"meta\":{},\"n\":2}}",
        "{\"id\":3,\"vectors\":{\"v\":[0.5,2.0]},\"payload\":{\"n\":4}}",
    ];
    let parsed = |text: &str| -> Vec<serde_json::Value> {
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(parsed(&found), parsed(&expected.join("\n")));
    assert!(fail(&["update", "f", "3"]).contains("required"));
    assert!(fail(&["update", "f", "3", "--set", "[]"]).contains("expected a JSON object"));
    let error = fail(&["update", "f", "3", "--merge", "{\"n\": \"x\"}"]);
    assert!(error.contains("payload.n: expected an integer"), "{error}");
    let old = "{\"field\": \"n\", \"lt\": 2}";
    assert!(fail(&["delete", "f", "1", "--filter", old]).contains("cannot be used with"));
    assert_eq!(run(&["delete", "f", "--filter", old]), "deleted 1\n");
    run(&["flush", "f"]);
    let info = run(&["inspect", "f"]);
    assert!(info.contains("payload meta.lang: keyword") && info.contains("0.bitmaps"), "{info}");
}

#[test]
fn filters_on_a_folder_and_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    filtered_tour(["--data", folder.path().join("a").to_str().unwrap()]);
    let server = ServerProcess::start(&folder.path().join("b"), &[]);
    filtered_tour(["--server", server.address()]);
}

#[test]
fn bench_measures_compressions_and_writes_what_it_found() {
    let files = Files::new();
    many_vectors(&files);
    let [base, queries, json, markdown, svg] =
        ["base.npy", "queries.npy", "o.json", "o.md", "o.svg"].map(|name| files.arg(name));
    let bench = ["bench", "--base", &base, "--queries", &queries, "--runs", "1"];
    let settings = ["--compression", "none", "--compression", "lvq8:6", "--rerank", "10,40"];
    let outputs = ["--json", &json, "--markdown", &markdown, "--svg", &svg];
    let table = ok(&[&bench[..], &settings, &outputs].concat());
    // Scans are calibrated, too: four targets instead of two budgets.
    assert_eq!(table.trim_end().lines().count(), 2 + 1 + 4, "{table}");
    let points: Vec<lanner_eval::SweepPoint> =
        serde_json::from_str(&fs::read_to_string(&json).unwrap()).unwrap();
    let recall: Vec<f64> = points.iter().map(|point| point.recall).collect();
    assert_eq!(recall[0], 1.0, "exact");
    assert!(recall[1] > 0.87 && recall[4] > 0.96 && recall[4] >= recall[1] - 0.01, "{recall:?}");
    assert!(points.iter().all(|point| point.qps_single > 0.0 && point.qps_all > 0.0));
    assert_eq!(points[1].code_bytes, 16.0);
    assert!(fs::read_to_string(&markdown).unwrap().starts_with("| index"));
    assert!(fs::read_to_string(&svg).unwrap().contains("lvq8:6"));

    let fail = |more: &[&str]| refused(&[&bench[..], more].concat());
    assert!(fail(&["--k", "25"]).contains("no rerank below it"));
    assert!(fail(&["--compression", "lvq8:9"]).contains("expected 1 to 8, got 9"));
    npy(&files.path("gt.npy"), "<i4", "(2, 1)", &[0; 8]);
    let error = fail(&["--ground-truth", &files.arg("gt.npy")]);
    assert!(error.contains("at least 10 neighbours for 40 queries"), "{error}");
}

#[test]
fn targets_that_cannot_be_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_str().unwrap();
    assert!(refused(&["count", "c"]).contains("--data"));
    assert!(
        refused(&["count", "c", "--data", path, "--server", "x:1"]).contains("cannot be used with")
    );
    assert!(refused(&["count", "c", "--data", path]).contains("holds no database"));
    assert!(
        refused(&["count", "c", "--server", "127.0.0.1:1"])
            .contains("cannot connect to 127.0.0.1:1")
    );
    fs::write(folder.path().join("photo.jpg"), "x").unwrap();
    let foreign = refused(&["create", "c", "--field", "v:single:2:dot", "--data", path]);
    assert!(foreign.contains("is not a Lanner database"), "{foreign}");
    fs::write(folder.path().join("LANNER"), "lanner database\nformat 7\n").unwrap();
    assert!(refused(&["list", "--data", path]).contains("has format 7"));
    let open = refused(&["serve", "--data", path, "--address", "0.0.0.0:0"]);
    assert!(open.contains("--insecure"), "{open}");
}

#[test]
fn the_demo_runs_and_embedded_and_served_answers_agree() {
    let text = ok(&["demo"]);
    assert!(text.contains("Both gave the same 240 rankings."), "{text}");
    // A table of the library, and one of the server.
    let tables: Vec<Vec<f64>> = text
        .lines()
        .filter_map(|line| line.strip_prefix("nDCG@10"))
        .map(|line| line.split_whitespace().map(|score| score.parse().unwrap()).collect())
        .collect();
    let [embedded, served] = tables.as_slice() else { panic!("two tables: {text}") };
    assert_eq!(embedded, served);
    // Exact search on files that do not change: only rounding can move these. They are by words, one
    // vector, MaxSim, and words with either and with both.
    let expected = [0.497, 0.594, 0.636, 0.634, 0.627, 0.642];
    assert_eq!(embedded.len(), expected.len());
    for (score, expected) in embedded.iter().zip(expected) {
        assert!((score - expected).abs() < 0.005, "{embedded:?}");
    }
}

#[test]
fn what_is_printed_can_be_read_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let (data, points, copy) = (path("db"), path("points.jsonl"), path("copy.jsonl"));
    let lines: String = (0..1_100)
        .map(|id| {
            let vectors = format!("\"v\": [{id}, 0.1], \"t\": [[1, {id}], [0.3, 2]]");
            format!("{{\"id\": {id}, \"vectors\": {{{vectors}}}, \"payload\": {{\"n\": {id}}}}}\n")
        })
        .collect();
    fs::write(&points, lines).unwrap();
    let create = |name: &str| {
        let fields = "--field v:single:2:dot --field t:multi:2:dot --payload n=integer".split(' ');
        ok(&["create", name, "--data", &data].into_iter().chain(fields).collect::<Vec<_>>());
    };
    create("a");
    ok(&["ingest", "a", "--data", &data, "--jsonl", &points]);
    ok(&["optimize", "a", "--data", &data]);
    let exported = ok(&["export", "a", "--data", &data]);
    assert_eq!(exported.lines().count(), 1_100);
    fs::write(&copy, &exported).unwrap();
    create("b");
    ok(&["ingest", "b", "--data", &data, "--jsonl", &copy]);
    assert_eq!(ok(&["export", "b", "--data", &data]), exported);
    let server = ServerProcess::start(Path::new(&data), &[]);
    assert_eq!(ok(&["scroll", "b", "--server", server.address()]), exported, "also by a server");
    let filter = r#"{"field": "n", "gte": 1000}"#;
    let part = "--after 1004 --limit 3 --no-vectors".split(' ');
    let some = ["export", "b", "--server", server.address(), "--filter", filter];
    let some = ok(&some.into_iter().chain(part).collect::<Vec<_>>());
    let ids: Vec<u64> = some
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap())
        .inspect(|line| {
            assert!(line.get("vectors").is_none() && line["payload"]["n"] == line["id"])
        })
        .map(|line| line["id"].as_u64().unwrap())
        .collect();
    assert_eq!(ids, [1005, 1006, 1007]);
    // Hits with their vectors and scores are points, too.
    let query = ["query", "b", "--server", server.address(), "--vector", "[1, 0]"];
    let hits = "--field v --limit 2 --with-vectors".split(' ');
    let hits = ok(&query.into_iter().chain(hits).collect::<Vec<_>>());
    assert!(hits.contains("\"score\"") && hits.contains("\"vectors\""), "{hits}");
    fs::write(&copy, &hits).unwrap();
    ok(&["ingest", "b", "--server", server.address(), "--jsonl", &copy]);
    assert_eq!(ok(&["export", "b", "--server", server.address()]), exported);
}

#[test]
fn a_reader_that_goes_is_no_error() {
    let files = Files::new();
    let data = files.arg("db");
    ok(&["create", "c", "--field", "v:single:2:dot", "--data", &data]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let program = Command::new(env!("CARGO_BIN_EXE_lanner"))
        .args(["inspect", "c", "--data", &data])
        .stdout(writer)
        .output()
        .unwrap();
    assert!(program.status.success(), "{program:?}");
    assert_eq!(String::from_utf8_lossy(&program.stderr), "");
}

#[test]
fn the_environment_says_where_the_database_is() {
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("db").to_str().unwrap().to_owned();
    let run = |variables: &[(&str, &str)], arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lanner"));
        command.env_remove("LANNER_DATA").env_remove("LANNER_SERVER").args(arguments);
        let output = command.envs(variables.iter().copied()).output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.success(), text(output.stdout) + &text(output.stderr))
    };
    let (done, text) =
        run(&[("LANNER_DATA", &data)], &["create", "c", "--field", "v:single:2:dot"]);
    assert!(done, "{text}");
    let server = ServerProcess::start(Path::new(&data), &[]);
    let address = [("LANNER_SERVER", server.address())];
    assert_eq!(run(&address, &["list"]), (true, "c  0 points\n".into()));
    // What the command says counts.
    let (done, text) = run(&address, &["list", "--data", &data]);
    assert!(!done && text.contains("is locked by process"), "{text}");
    assert!(text.contains("hint: if a server has it open"), "{text}");
    let both = [address[0], ("LANNER_DATA", &data)];
    assert!(run(&both, &["list"]).1.contains("expected LANNER_DATA or LANNER_SERVER, got both"));
    assert!(run(&[], &["list"]).1.contains("give --data or --server, or set LANNER_DATA"));
    assert!(run(&[], &["completions", "bash"]).1.contains("_lanner"));
    assert!(run(&[], &["completions", "man"]).1.contains(".TH lanner"));
}
