//! `import` and `export` of JSON lines and matrices: what is written is read again, half files are
//! never seen, and what is refused is named.

mod support;

use std::fs;

use serde_json::Value;
use support::case::Case;
use support::program::{f32_bytes, npy};
use support::server::ServerProcess;

fn create(case: &Case, name: &str) {
    let fields = ["--field", "v:single:3:dot", "--field", "h:single:2:dot:f16"];
    case.run(&[&["create", name], &fields[..], &["--field", "t:multi:2:dot"]].concat());
}

/// Points of both kinds of ids, without some vectors, without payloads.
const POINTS: &str = r#"{"id":7,"vectors":{"v":[0.1,-0.0,1e-42],"h":[0.5,-0.0],"t":[[1,0],[0.1,1]]},"payload":{"n":1}}
{"id":18446744073709551615,"vectors":{"t":[[0.3,0.4]]}}
{"id":"7","vectors":{"v":[1,2,3]},"payload":{"text":"sieben","v":null,"tags":["a","b"]}}
{"id":"a\nb","vectors":{"h":[65504,2]},"payload":{}}
"#;

fn filled(case: &Case, name: &str) {
    create(case, name);
    fs::write(case.path("points.jsonl"), POINTS).unwrap();
    case.run(&["import", name, &case.arg("points.jsonl")]);
}

fn lines(case: &Case) {
    filled(case, "a");
    let printed = case.run(&["export", "a"]);
    assert_eq!(printed.lines().count(), 4, "{printed}");
    let done = case.run(&["export", "a", "--output", &case.arg("out.jsonl")]);
    assert!(done.starts_with("4 points in"), "{done}");
    assert_eq!(fs::read_to_string(case.path("out.jsonl")).unwrap(), printed);
    create(case, "b");
    case.run(&["import", "b", &case.arg("out.jsonl")]);
    assert_eq!(case.run(&["export", "b"]), printed);

    let again = ["export", "a", "--output", &case.arg("out.jsonl")];
    let error = case.fail(&again);
    assert!(error.contains("out.jsonl` exists already; --force"), "{error}");
    let few = ["--force", "--filter", "{\"field\": \"n\", \"eq\": 1}"];
    case.run(&[&again[..], &few].concat());
    assert_eq!(fs::read_to_string(case.path("out.jsonl")).unwrap().lines().count(), 1);
    assert!(case.fail(&["export", "a", "--output", &case.arg("x.csv")]).contains(".parquet"));
    assert!(case.fail(&["export", "a", "--ids", "x"]).contains("--ids is for a file"));
}

fn vectors_of(case: &Case, collection: &str, field: &str) -> Vec<Value> {
    let lines = case.run(&["export", collection, "--no-payload"]);
    let lines = lines.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines.filter_map(|point| point["vectors"].get(field).cloned()).collect()
}

fn matrices(case: &Case) {
    filled(case, "m");
    for (field, dimension, name) in
        [("v", 3, "v.npy"), ("v", 3, "v.fvecs"), ("h", 2, "h.npy"), ("h", 2, "h.fvecs")]
    {
        let (file, ids) = (case.arg(name), case.arg(&format!("{name}.ids")));
        let export = ["export", "m", "--output", &file, "--field", field, "--filter"];
        let numbered = [&export[..], &["{\"ids\": [7]}", "--ids", &ids]].concat();
        let done = case.run(&numbered);
        assert!(done.starts_with("1 points in"), "{done}");
        assert_eq!(fs::read_to_string(&ids).unwrap(), "7\n");

        case.run(&["export", "m", "--output", &file, "--field", field, "--force"]);
        let copy = name.replace('.', "-");
        let spec = format!("v:single:{dimension}:dot");
        case.run(&["create", &copy, "--field", &spec]);
        let import = ["import", &copy, &file];
        assert!(case.run(&[&import[..], &["--number-from", "5"]].concat()).starts_with("2 points"));
        assert_eq!(vectors_of(case, &copy, "v"), vectors_of(case, "m", field), "{name}");
        assert!(case.run(&["get", &copy, "6"]).contains("\"id\":6"));
        // The other command reads the same files.
        case.run(&["ingest", &copy, "--vectors", &format!("v={file}")]);
        assert_eq!(case.run(&["count", &copy]), "4\n");
    }
    let header = fs::read(case.path("h.npy")).unwrap();
    assert!(header[..60].windows(3).any(|window| window == b"<f2"), "as the field has it");
    for (arguments, expected) in [
        (&["--output", "m.npy"][..], "say which (fields: h, t, v)"),
        (&["--output", "m.npy", "--field", "t"], "the field `t` has many"),
        (&["--output", "m.npy", "--field", "x"], "has: h, t, v"),
        (&["--output", "m.bvecs", "--field", "v"], "bvecs is read, not written"),
        (&["--output", "m.npy", "--field", "v", "--no-vectors"], "leaves nothing"),
        (&["--output", "m.jsonl", "--field", "v"], "--field is for .npy and .fvecs"),
    ] {
        let arguments: Vec<String> =
            arguments.iter().map(|word| word.replace("m.", &case.arg("m."))).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let error = case.fail(&[&["export", "m"], &arguments[..]].concat());
        assert!(error.contains(expected), "{error} / {expected}");
    }
    let mixed = ["export", "m", "--output", &case.arg("m.npy"), "--field", "v", "--ids"];
    let error = case.fail(&[&mixed[..], &[&case.arg("m.ids")]].concat());
    assert!(error.contains("all numbers or all texts of a line, got \"7\""), "{error}");
    assert!(!case.path("m.npy").exists() && !case.path("m.ids").exists(), "no half file");
}

fn bytes_and_foreign_files(case: &Case) {
    case.run(&["create", "s", "--field", "v:single:2:l2"]);
    let bytes = [2, 0, 0, 0, 0, 255, 2, 0, 0, 0, 7, 8];
    fs::write(case.path("a.bvecs"), bytes).unwrap();
    case.run(&["import", "s", &case.arg("a.bvecs")]);
    assert_eq!(
        vectors_of(case, "s", "v"),
        [serde_json::json!([0.0, 255.0]), [7.0, 8.0][..].into()]
    );

    npy(&case.path("wide.npy"), "<f4", "(1, 3)", &f32_bytes(&[1.0, 2.0, 3.0]));
    fs::write(case.path("cut.fvecs"), [bytes.as_slice(), &[1]].concat()).unwrap();
    fs::write(case.path("huge.fvecs"), [0xff, 0xff, 0xff, 0x7f]).unwrap();
    fs::write(case.path("negative.bvecs"), [0xff; 8]).unwrap();
    fs::write(case.path("truth.ivecs"), [1, 0, 0, 0, 0, 0, 0, 0]).unwrap();
    fs::write(case.path("glove.hdf5"), b"\x89HDF\r\n\x1a\n").unwrap();
    fs::write(case.path("plain"), "{\"id\": 1}").unwrap();
    for (name, arguments, expected) in [
        ("wide.npy", &[][..], "expected 2 dimensions, as the field `v` has, got 3"),
        ("cut.fvecs", &[], "got 13 bytes (truncated"),
        ("huge.fvecs", &[], "rows of 1 to 1048576 values, got 2147483647"),
        ("negative.bvecs", &[], "rows of 1 to 1048576 values, got -1"),
        ("truth.ivecs", &[], "the neighbours of queries (`lanner bench --ground-truth`)"),
        ("glove.hdf5", &[], "this is HDF5, which is not read"),
        ("plain", &[], "expected a name ending in"),
        ("plain", &["--format", "jsonl"], "vectors: expected at least one vector"),
        ("plain", &["--format", "jsonl", "--id", "x"], "--id is about columns"),
        ("missing.fvecs", &[], "missing.fvecs"),
        ("wide.npy", &["--vectors", "a=b"], "--vectors: expected the field"),
    ] {
        let error = case.fail(&[&["import", "s", &case.arg(name)], arguments].concat());
        assert!(error.contains(expected), "{error} / {expected}");
        assert!(!error.contains("panicked"), "{error}");
    }
    assert_eq!(case.run(&["count", "s"]), "2\n");
}

/// The error that there is no collection says how to create it, and that works.
fn a_missing_collection(case: &Case) {
    fs::write(case.path("new.jsonl"), POINTS.lines().next().unwrap()).unwrap();
    let error = case.fail(&["import", "new", &case.arg("new.jsonl")]);
    let command = error.lines().find_map(|line| line.trim().strip_prefix("lanner ")).unwrap();
    let fields = "--field h:single:2:cosine --field t:multi:2:cosine --field v:single:3:cosine";
    assert!(command.starts_with("create new --") && command.ends_with(fields), "{error}");
    let words: Vec<&str> = command.split(' ').collect();
    support::program::ok(&words);
    case.run(&["import", "new", &case.arg("new.jsonl")]);
    assert_eq!(case.run(&["count", "new"]), "1\n");
}

/// The place of what is refused is named, beside the file.
fn places(case: &Case) {
    case.run(&["create", "p", "--field", "v:single:2:cosine"]);
    npy(&case.path("zero.npy"), "<f4", "(3, 2)", &f32_bytes(&[1.0, 0.0, 1.0, 1.0, 0.0, 0.0]));
    let import = ["import", "p", &case.arg("zero.npy"), "--batch", "2"];
    let error = case.fail(&import);
    assert!(error.contains("row 2: ") && error.contains("of non-zero length"), "{error}");
    assert!(error.contains("(2 of 3 points were stored before)"), "{error}");
    let refused = case.arg("refused.jsonl");
    let done = case.run(&[&import[..], &["--skip-invalid", &refused]].concat());
    assert!(done.ends_with("1 skipped\n"), "{done}");
    assert!(fs::read_to_string(&refused).unwrap().starts_with("{\"row\":2,\"id\":2,\"reason\""));
}

fn all(case: &Case) {
    lines(case);
    matrices(case);
    bytes_and_foreign_files(case);
    a_missing_collection(case);
    places(case);
}

#[test]
fn lines_and_matrices_go_out_and_in_again_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    all(&Case::new("--data", folder.path().join("db").to_str().unwrap()));
}

#[test]
fn lines_and_matrices_go_out_and_in_again_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    all(&Case::new("--server", server.address()));
}

#[test]
fn a_folder_without_a_database_is_named_with_what_to_do() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("--data", folder.path().join("none").to_str().unwrap());
    fs::write(case.path("a.jsonl"), POINTS).unwrap();
    let error = case.fail(&["import", "c", &case.arg("a.jsonl")]);
    assert!(error.contains("holds no database") && error.contains("lanner create c"), "{error}");
}

#[cfg(not(feature = "parquet"))]
#[test]
fn a_program_without_tables_says_how_to_build_one() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("--data", folder.path().join("db").to_str().unwrap());
    filled(&case, "a");
    fs::write(case.path("a.parquet"), b"PAR1").unwrap();
    for arguments in [["import", "a", &case.arg("a.parquet")], ["export", "a", "--output=a.arrow"]]
    {
        assert!(case.fail(&arguments).contains("--features parquet"));
    }
}
