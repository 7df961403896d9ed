//! `import` and `export` of Parquet and Arrow: points come back as they were, tables of other programs
//! are read by columns, and what does not fit is named.
#![cfg(feature = "parquet")]

mod support;

use std::fs::{self, File};
use std::path::Path;
use std::sync::Arc;

use arrow_array::builder::{FixedSizeListBuilder, Float32Builder, LargeListBuilder, ListBuilder};
use arrow_array::builder::{Float64Builder, StringBuilder};
use arrow_array::types::{Float32Type, Int32Type};
use arrow_array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, DictionaryArray,
    FixedSizeListArray, Float32Array, Int64Array, LargeStringArray, ListArray, RecordBatch,
    StringArray, StructArray, TimestampMicrosecondArray,
};
use arrow_schema::{DataType, Field};
use parquet::arrow::ArrowWriter;
use serde_json::{Value, json};
use support::case::Case;
use support::server::ServerProcess;

const FORMATS: [&str; 2] = ["parquet", "arrow"];

fn objects(lines: &str) -> Vec<Value> {
    lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn create(case: &Case, name: &str) {
    let fields = ["--field", "v:single:3:dot", "--field", "h:single:4:dot:f16"];
    let others = ["--field", "t:multi:2:dot", "--field", "s:sparse"];
    case.run(&[&["create", name], &fields[..], &others].concat());
}

/// Points of both kinds of ids that lack vectors and payloads, with values of every kind.
fn points() -> String {
    let payloads = [
        json!({"n": 1, "f": 0.1, "year": 1999, "text": "", "big": u64::MAX, "flag": true}),
        json!({"n": -5, "f": 3, "text": "a\nb", "tags": ["a", "b"], "v": "the name of a field"}),
        json!({"n": i64::MIN, "tags": [], "id": 7, "payload": [1, 2], "payload.x": 0.5}),
        json!({"mixed": 1, "nulls": null, "nested": {"a": [null, {"b": 1}]}, "numbers": [1, 2]}),
        json!({"mixed": "1", "nulls": 2, "flag": false, "": "no name", "numbers": [3]}),
    ];
    let mut lines = String::new();
    let mut point = |id: Value, vectors: Value, payload: Option<&Value>| {
        let mut point = json!({"id": id, "vectors": vectors});
        if let Some(payload) = payload {
            point["payload"] = payload.clone();
        }
        lines += &format!("{point}\n");
    };
    let v = [0.1_f32, -0.0, 1e-42];
    point(json!(7), json!({"v": v, "h": [0.5, -0.0, 65504, 6e-8]}), payloads.first());
    let sparse = json!({"indices": [0, 9, u32::MAX], "values": [0.1, 1e-42, 3e17]});
    point(json!(u64::MAX), json!({"t": [[1, 0], [0.1, 1], [2, 3]], "s": sparse}), None);
    point(json!("7"), json!({"v": [1, 2, 3], "t": [[4, 5]]}), payloads.get(1));
    point(json!("ä"), json!({"h": [1, 2, 3, 4]}), payloads.get(2));
    point(json!("b"), json!({"v": [3e17, -1e-30, 0]}), payloads.get(3));
    let none = json!({"indices": [], "values": []});
    point(json!("c"), json!({"v": [0, 0, 0], "h": [0, 0, 0, 0], "s": none}), payloads.get(4));
    lines
}

/// Whatever the format and the form of payloads, all points are the same when they come back.
fn round_trips(case: &Case) {
    create(case, "a");
    fs::write(case.path("points.jsonl"), points()).unwrap();
    case.run(&["import", "a", &case.arg("points.jsonl")]);
    let printed = case.run(&["export", "a"]);
    assert_eq!(objects(&printed).len(), 6);
    for format in FORMATS {
        for form in ["columns", "json"] {
            let file = case.arg(&format!("{form}.{format}"));
            let done = case.run(&["export", "a", "--output", &file, "--payload-as", form]);
            assert!(done.starts_with("6 points in"), "{done}");
            let copy = format!("{form}-{format}");
            create(case, &copy);
            let done = case.run(&["import", &copy, &file, "--batch", "4"]);
            assert!(done.starts_with("6 points in"), "{done}");
            let again = case.run(&["export", &copy]);
            match form {
                "json" => assert_eq!(again, printed, "{format}"),
                _ => same_points(&again, &printed),
            }
        }
    }
    only_numbers(case);
}

/// As JSON; a float that was an integer is the same number.
fn same_points(left: &str, right: &str) {
    let (left, mut right) = (objects(left), objects(right));
    for point in &mut right {
        if point["payload"]["f"] == json!(3) {
            point["payload"]["f"] = json!(3.0);
        }
    }
    left.iter().zip(&right).for_each(|(left, right)| assert_eq!(left, right));
    assert_eq!(left.len(), right.len());
}

/// Filters, limits, orders and what is left out hold for tables, too; ids of one kind have its type.
fn only_numbers(case: &Case) {
    let file = case.arg("few.parquet");
    let export = ["export", "a", "--output", &file, "--force", "--limit"];
    case.run(&[&export[..], &["2", "--no-payload"]].concat());
    let table = read(Path::new(&file));
    let names: Vec<&str> = table.schema_ref().fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["id", "h", "s", "t", "v"]);
    assert_eq!(table.num_rows(), 2);
    assert_eq!(*table.column(0).data_type(), DataType::UInt64);
    let list = |number, length| {
        DataType::FixedSizeList(Arc::new(Field::new("element", number, false)), length)
    };
    assert_eq!(*table.column(1).data_type(), list(DataType::Float16, 4));
    assert_eq!(*table.column(4).data_type(), list(DataType::Float32, 3));
    let Value::Array(ids) = json!(["b", "c"]) else { unreachable!() };
    let filter = json!({"ids": ids}).to_string();
    case.run(&["export", "a", "--output", &file, "--force", "--filter", &filter]);
    assert_eq!(*read(Path::new(&file)).column(0).data_type(), DataType::Utf8);
    let error = case.fail(&["export", "a", "--output", &file]);
    assert!(error.contains("exists already"), "{error}");
}

fn read(path: &Path) -> RecordBatch {
    let reader = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(
        File::open(path).unwrap(),
        1024,
    );
    reader.unwrap().next().unwrap().unwrap()
}

fn table(columns: Vec<(&str, ArrayRef)>) -> RecordBatch {
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .unwrap()
}

fn write_parquet(path: &Path, table: &RecordBatch) {
    let mut writer =
        ArrowWriter::try_new(File::create(path).unwrap(), table.schema(), None).unwrap();
    writer.write(table).unwrap();
    writer.close().unwrap();
}

fn write_arrow(path: &Path, table: &RecordBatch) {
    let file = File::create(path).unwrap();
    let mut writer = arrow_ipc::writer::FileWriter::try_new(file, &table.schema()).unwrap();
    writer.write(table).unwrap();
    writer.finish().unwrap();
}

fn write_stream(path: &Path, table: &RecordBatch) {
    let file = File::create(path).unwrap();
    let mut writer = arrow_ipc::writer::StreamWriter::try_new(file, &table.schema()).unwrap();
    writer.write(table).unwrap();
    writer.finish().unwrap();
}

fn texts(values: &[&str]) -> ArrayRef {
    Arc::new(StringArray::from_iter_values(values))
}

fn lists(rows: &[&[f32]]) -> ArrayRef {
    let rows = rows.iter().map(|row| Some(row.iter().copied().map(Some)));
    Arc::new(ListArray::from_iter_primitive::<Float32Type, _, _>(rows))
}

/// A table as other programs make it, of two rows.
fn foreign() -> RecordBatch {
    let fixed = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(
        [Some([Some(1.0), Some(2.0)]), None],
        2,
    );
    let mut tokens = LargeListBuilder::new(ListBuilder::new(Float64Builder::new()));
    for row in [&[[1.0, 2.0], [3.0, 4.0]][..], &[[5.0, 6.0]]] {
        for vector in row {
            tokens.values().append_value(vector.iter().copied().map(Some));
        }
        tokens.append(true);
    }
    let mut labels = ListBuilder::new(StringBuilder::new());
    labels.append_value([Some("x"), None]);
    labels.append_null();
    let dictionary: DictionaryArray<Int32Type> = [Some("en"), None].into_iter().collect();
    let author = StructArray::from(vec![
        (Arc::new(Field::new("name", DataType::Utf8, true)), texts(&["Jane", "Herman"])),
        (
            Arc::new(Field::new("born", DataType::Int64, true)),
            Arc::new(Int64Array::from(vec![Some(1775), None])) as ArrayRef,
        ),
    ]);
    let moments = TimestampMicrosecondArray::from(vec![1_714_564_800_500_000, -1]);
    let price = Decimal128Array::from(vec![1250, 300]).with_precision_and_scale(10, 2).unwrap();
    table(vec![
        ("key", Arc::new(LargeStringArray::from(vec!["a", "b"]))),
        ("embedding", Arc::new(fixed)),
        ("t", Arc::new(tokens.finish())),
        ("lang", Arc::new(dictionary)),
        ("labels", Arc::new(labels.finish())),
        ("author", Arc::new(author)),
        ("at", Arc::new(moments.with_timezone("Europe/Berlin"))),
        ("day", Arc::new(Date32Array::from(vec![0, 19_844]))),
        ("price", Arc::new(price)),
        ("ratio", Arc::new(Float32Array::from(vec![0.1, f32::NAN]))),
        ("new", Arc::new(BooleanArray::from(vec![Some(true), None]))),
        ("payload.text", texts(&["one", "two"])),
        ("image", Arc::new(BinaryArray::from_vec(vec![b"1", b"2"]))),
    ])
}

fn tables_of_others(case: &Case) {
    let create = ["--field", "text:single:2:dot", "--field", "t:multi:2:dot"];
    write_parquet(&case.path("a.parquet"), &foreign());
    write_arrow(&case.path("a.feather"), &foreign());
    write_stream(&case.path("a.arrows"), &foreign());
    for name in ["a.parquet", "a.feather", "a.arrows"] {
        let collection = name.replace('.', "-");
        case.run(&[&["create", &collection, "--payload", "at=datetime"], &create[..]].concat());
        let import =
            ["import", &collection, &case.arg(name), "--vectors", "text=embedding", "--id"];
        case.run(&[&import[..], &["key", "--without", "image"]].concat());
        let expected = [
            json!({"id": "a", "vectors": {"text": [1.0, 2.0], "t": [[1.0, 2.0], [3.0, 4.0]]},
                "payload": {"lang": "en", "labels": ["x", null], "ratio": 0.1, "new": true,
                    "author": {"name": "Jane", "born": 1775}, "at": "2024-05-01T12:00:00.5Z",
                    "day": "1970-01-01", "price": 12.5, "text": "one"}}),
            json!({"id": "b", "vectors": {"t": [[5.0, 6.0]]}, "payload": {
                "author": {"name": "Herman"}, "at": "1969-12-31T23:59:59.999999Z",
                "day": "2024-05-01", "price": 3.0, "text": "two"}}),
        ];
        assert_eq!(objects(&case.run(&["export", &collection])), expected, "{name}");
    }
    which_columns(case, &create);
}

/// Flags that choose columns, and structs as whole payloads.
fn which_columns(case: &Case, create: &[&str]) {
    case.run(&[&["create", "chosen"], create].concat());
    let import = ["import", "chosen", &case.arg("a.parquet"), "--vectors", "text=embedding"];
    let numbered = [&import[..], &["--number-from", "10"]].concat();
    case.run(&[&numbered[..], &["--payload", "lang,payload.text"]].concat());
    let point = || objects(&case.run(&["get", "chosen", "10"])).remove(0);
    assert_eq!(point(), json!({"id": 10, "payload": {"lang": "en", "text": "one"}}));
    case.run(&[&numbered[..], &["--no-payload"]].concat());
    assert_eq!(point(), json!({"id": 10}));

    let payload = foreign().column_by_name("author").unwrap().clone();
    let ids = Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let vectors = lists(&[&[1.0, 2.0], &[3.0, 4.0]]);
    let whole = table(vec![("id", ids), ("text", vectors), ("payload", payload)]);
    write_parquet(&case.path("whole.parquet"), &whole);
    case.run(&["import", "chosen", &case.arg("whole.parquet")]);
    let second = objects(&case.run(&["get", "chosen", "2"])).remove(0);
    assert_eq!(second["payload"], json!({"name": "Herman"}));
}

fn refusals(case: &Case) {
    case.run(&["create", "r", "--field", "text:single:2:dot", "--field", "t:multi:2:dot"]);
    let columns = |columns| write_parquet(&case.path("r.parquet"), &table(columns));
    let numbers = || Arc::new(Int64Array::from(vec![1, 2])) as ArrayRef;
    let file = case.arg("r.parquet");
    let fail = |arguments: &[&str], expected: &str| {
        let error = case.fail(&[&["import", "r", &file], arguments].concat());
        assert!(error.contains(expected) && !error.contains("panicked"), "{error} / {expected}");
    };
    write_parquet(&case.path("r.parquet"), &foreign());
    fail(&[], "no column `id`: give --id COLUMN");
    fail(
        &["--vectors", "text=embedding", "--id", "x"],
        "--id: there is no column `x`, but key, emb",
    );
    fail(&["--vectors", "text=embedding", "--id", "key"], "`image`: Binary has no form in JSON");
    fail(&["--vectors", "text=embedding", "--id", "price"], "expected ids, texts or integers, got");
    fail(&["--vectors", "text=t"], "expected lists of numbers for the single field `text`, got");
    fail(&["--vectors", "x=t"], "has: t, text");
    fail(&["--vectors", "text"], "expected FIELD=COLUMN, got \"text\"");

    columns(vec![("id", numbers()), ("text", texts(&["a", "b"]))]);
    fail(&[], "expected lists of numbers for the single field `text`, got Utf8");
    columns(vec![("id", numbers()), ("e", lists(&[&[1.0, 2.0], &[3.0, 4.0]]))]);
    fail(&[], "give --vectors FIELD=COLUMN; columns of vectors are e (single, 2 dimensions)");
    columns(vec![("id", numbers()), ("a", numbers())]);
    fail(&[], "no column holds vectors for the fields t, text");
    columns(vec![("id", numbers()), ("text", lists(&[&[1.0, 2.0], &[1.0]]))]);
    fail(&[], "r.parquet` row 1: vectors.text: expected 2 dimensions, got 1 (0 of 2 points");
    let mut wide = FixedSizeListBuilder::new(Float32Builder::new(), 3);
    wide.values().append_slice(&[1.0, 2.0, 3.0]);
    wide.append(true);
    let one = Arc::new(Int64Array::from(vec![1])) as ArrayRef;
    columns(vec![("id", one), ("text", Arc::new(wide.finish()) as ArrayRef)]);
    fail(&[], "column `text`: expected 2 dimensions, as the field `text` has, got 3");
    let negative = Arc::new(Int64Array::from(vec![Some(1), Some(-1)])) as ArrayRef;
    columns(vec![("id", negative), ("text", lists(&[&[1.0, 2.0], &[3.0, 4.0]]))]);
    fail(&["--batch", "1"], "row 1: id: expected an unsigned number or a text, got -1 (1 of 2");
    let none = Arc::new(Int64Array::from(vec![None::<i64>, Some(1)])) as ArrayRef;
    columns(vec![("id", none), ("text", lists(&[&[1.0, 2.0], &[3.0, 4.0]]))]);
    fail(&[], "row 0: id: expected an unsigned number or a text, got null");
    skipped(case, &file);

    fs::write(&file, b"PAR1PAR1").unwrap();
    fail(&[], "r.parquet`: ");
    assert_eq!(case.run(&["count", "r"]), "2\n");
}

/// Rows that are refused are skipped and named.
fn skipped(case: &Case, file: &str) {
    let mut vectors = ListBuilder::new(Float32Builder::new());
    vectors.append_value([Some(1.0), None]);
    vectors.append_value([Some(f32::INFINITY), Some(1.0)]);
    vectors.append_value([Some(1.0), Some(1.0)]);
    vectors.append_null();
    let ids = Arc::new(Int64Array::from(vec![4, 5, 6, 7])) as ArrayRef;
    let table = table(vec![("id", ids), ("text", Arc::new(vectors.finish()) as ArrayRef)]);
    write_parquet(Path::new(file), &table);
    let refused = case.arg("refused.jsonl");
    let done = case.run(&["import", "r", file, "--skip-invalid", &refused]);
    assert!(done.starts_with("1 points") && done.ends_with("3 skipped\n"), "{done}");
    let mut reported = objects(&fs::read_to_string(refused).unwrap());
    reported.sort_by_key(|line| line["row"].as_u64());
    for (line, (row, reason)) in reported.iter().zip([
        (0, "vectors.text: expected numbers, got null at position 1"),
        (1, "vectors.text: expected finite values, got inf at position 0"),
        (3, "vectors: expected at least one vector"),
    ]) {
        assert_eq!((&line["row"], &line["id"]), (&json!(row), &json!(row + 4)));
        assert!(line["reason"].as_str().unwrap().contains(reason), "{line}");
    }
}

/// Pages of zstd, which pyarrow wrote in both versions, with dictionaries and nulls, in two row groups.
fn zstd(case: &Case) {
    for version in ["1", "2"] {
        let name = format!("z{version}");
        case.run(&["create", &name, "--field", "v:single:2:dot"]);
        let file = format!("{}/tests/data/zstd-{version}.parquet", env!("CARGO_MANIFEST_DIR"));
        let done = case.run(&["import", &name, &file, "--batch", "7"]);
        assert!(done.starts_with("40 points"), "{done}");
        for (row, point) in objects(&case.run(&["export", &name])).iter().enumerate() {
            let value = |place: usize| ((row * 2 + place) % 7) as f32 / 4.0;
            let mut expected = json!({"id": row, "vectors": {"v": [value(0), value(1)]}});
            if row % 5 != 0 {
                expected["payload"]["lang"] = json!(["en", "de"][row % 2]);
            }
            if row % 4 != 1 {
                expected["payload"]["text"] = json!(format!("{}{row}", "call me ".repeat(8)));
            }
            if row % 3 != 0 {
                expected["payload"]["year"] = json!(1900 + row);
            }
            assert_eq!(*point, expected, "version {version}");
        }
    }
}

fn all(case: &Case) {
    round_trips(case);
    tables_of_others(case);
    refusals(case);
    zstd(case);
}

#[test]
fn tables_go_out_and_in_again_on_a_folder() {
    let folder = tempfile::tempdir().unwrap();
    all(&Case::new("--data", folder.path().join("db").to_str().unwrap()));
}

#[test]
fn tables_go_out_and_in_again_on_a_server() {
    let folder = tempfile::tempdir().unwrap();
    let server = ServerProcess::start(folder.path(), &[]);
    all(&Case::new("--server", server.address()));
}

#[test]
fn a_collection_that_is_missing_is_suggested() {
    let folder = tempfile::tempdir().unwrap();
    let case = Case::new("--data", folder.path().join("db").to_str().unwrap());
    write_parquet(&case.path("a.parquet"), &foreign());
    let error = case.fail(&["import", "new", &case.arg("a.parquet")]);
    let command = error.lines().find_map(|line| line.trim().strip_prefix("lanner ")).unwrap();
    let fields = "--field embedding:single:2:cosine --field t:multi:2:cosine";
    assert!(command.ends_with(fields), "{error}");
    support::program::ok(&command.split(' ').collect::<Vec<_>>());
    case.run(&["import", "new", &case.arg("a.parquet"), "--id", "key", "--payload", "lang"]);
    assert_eq!(case.run(&["count", "new"]), "2\n");
}

/// The commands of docs/import-export.md, but for Python, which is thought to change nothing.
#[test]
fn the_commands_of_the_document_run() {
    let folder = tempfile::tempdir().unwrap();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let text = fs::read_to_string(root.join("docs/import-export.md")).unwrap();
    let blocks: Vec<&str> =
        text.split("```sh\n").skip(1).filter_map(|part| part.split("```").next()).collect();
    assert_eq!(blocks.len(), 2);
    let script = blocks.join("cp books.parquet changed.parquet\n");
    let program = Path::new(env!("CARGO_BIN_EXE_lanner")).parent().unwrap().to_owned();
    let paths = [program, "/usr/bin".into(), "/bin".into()];
    let done = std::process::Command::new("sh")
        .args(["-e", "-c", &script])
        .current_dir(folder.path())
        .env("PATH", std::env::join_paths(paths).unwrap())
        .output()
        .unwrap();
    let printed = String::from_utf8_lossy(&done.stdout);
    assert!(done.status.success(), "{printed}{}", String::from_utf8_lossy(&done.stderr));
    let last: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    assert_eq!(last, json!({"id": "emma", "payload": {"title": "Emma", "year": 1815}}));
}
