//! `lanner beir`: judged as published, embedded and served, and measured as it was asked.

#[path = "../../../tests/common/mod.rs"]
mod common;
mod support;

use std::fs;
use std::path::Path;

use common::shared_data;
use support::program::{lanner, npy, ok};
use support::server::ServerProcess;

/// Runs `lanner beir` on NFCorpus and returns its report and run files.
fn nfcorpus(data: &Path, out: &Path, target: &[&str]) -> (serde_json::Value, [String; 2]) {
    let file = |name: &str| data.join(name).display().to_string();
    let pair = |name: &str, element: &str| {
        format!(
            "{},{}",
            file(&format!("{name}.{element}.npy")),
            file(&format!("{name}_offsets.i64.npy"))
        )
    };
    let (run, report) = (out.join("run"), out.join("report.json"));
    let by_query = out.join("queries.tsv");
    let arguments = [
        "beir",
        "--dataset",
        data.to_str().unwrap(),
        "--corpus-vectors",
        &file("corpus.f32.npy"),
        "--query-vectors",
        &file("queries.f32.npy"),
        "--tokens",
        &pair("corpus_tokens", "i8"),
        "--query-tokens",
        &pair("queries_tokens", "f32"),
        "--run",
        run.to_str().unwrap(),
        "--json-report",
        report.to_str().unwrap(),
        "--per-query",
        by_query.to_str().unwrap(),
        "--reference",
        "best",
        // Which segments are compressed by when the queries come depends on time.
        "--exact",
    ];
    ok(&[&arguments[..], target].concat());
    let report = serde_json::from_str(&fs::read_to_string(report).unwrap()).unwrap();
    let runs = ["single", "multi"]
        .map(|mode| fs::read_to_string(out.join(format!("run.{mode}"))).unwrap());
    (report, runs)
}

/// Checks that the means of the values by query are those of the report, and that the systems are
/// compared.
fn by_query(out: &Path, report: &serde_json::Value) {
    let text = fs::read_to_string(out.join("queries.tsv")).unwrap();
    let measures = [("nDCG@10", "ndcg_10"), ("AP@100", "map_100"), ("R@100", "recall_100")];
    for (mode, system) in ["single", "multi"].into_iter().enumerate() {
        for (measure, key) in measures {
            let start = format!("{system}\t{measure}\t");
            let of_system = text.lines().filter(|line| line.starts_with(&start));
            let values: Vec<f64> =
                of_system.map(|line| line.rsplit('\t').next().unwrap().parse().unwrap()).collect();
            assert_eq!(values.len(), 323);
            let mean = values.iter().sum::<f64>() / 323.0;
            assert!((mean - report[mode][key].as_f64().unwrap()).abs() < 1e-12, "{system} {key}");
        }
        assert_eq!(report[mode]["reference"], "multi");
    }
    assert!(report[1]["p_ndcg_10"].is_null());
    let p = |key: &str| report[0][key].as_f64().unwrap();
    assert!(p("p_ndcg_10") > 0.0 && p("p_recall_100") < 1.0, "{report}");
}

/// Document and score at each rank, by query.
fn rankings(run: &str) -> std::collections::BTreeMap<String, Vec<(String, f32)>> {
    let mut rankings = std::collections::BTreeMap::<String, Vec<(String, f32)>>::new();
    for line in run.lines() {
        let columns: Vec<&str> = line.split(' ').collect();
        let hit = (columns[2].to_owned(), columns[4].parse().unwrap());
        rankings.entry(columns[0].to_owned()).or_default().push(hit);
    }
    rankings
}

#[test]
fn nfcorpus_is_judged_as_published_embedded_and_served() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let (embedded, served) = (folder.path().join("a"), folder.path().join("b"));
    fs::create_dir(&embedded).unwrap();
    fs::create_dir(&served).unwrap();
    let (report, runs) = nfcorpus(&data, &embedded, &[]);
    let ndcg = |mode: usize| report[mode]["ndcg_10"].as_f64().unwrap();
    assert!((ndcg(0) - 0.316).abs() <= 0.002, "single: {}", ndcg(0));
    assert!((ndcg(1) - 0.330).abs() <= 0.002, "multi: {}", ndcg(1));
    // pytrec_eval's numbers for these runs, made once.
    let golden =
        [[0.3159, 0.1424, 0.5040, 0.1550, 0.3115], [0.3292, 0.1553, 0.5415, 0.1565, 0.2909]];
    let keys = ["ndcg_10", "map_100", "mrr_10", "recall_10", "recall_100"];
    for (mode, golden) in golden.iter().enumerate() {
        for (key, golden) in keys.iter().zip(golden) {
            let got = report[mode][key].as_f64().unwrap();
            assert!((got - golden).abs() < 1e-4, "{key} of {mode}: {got}, expected {golden}");
        }
    }
    exact_maxsim(&data, &rankings(&runs[1]));
    by_query(&embedded, &report);

    let server = ServerProcess::start(&folder.path().join("db"), &[]);
    let (_, over_grpc) = nfcorpus(&data, &served, &["--server", server.address()]);
    assert!(runs == over_grpc, "the run files are the same, byte for byte");
}

/// A data set of BEIR of six documents and four queries, of which two are judged.
fn small_beir(folder: &Path) -> [String; 4] {
    let path = |name: &str| folder.join(name).to_str().unwrap().to_owned();
    fs::create_dir_all(folder.join("small/qrels")).unwrap();
    let line = |id: String| format!("{{\"_id\": \"{id}\", \"title\": \"\", \"text\": \"x\"}}\n");
    let lines = |ids: std::ops::Range<usize>, name: &str| -> String {
        ids.map(|id| line(format!("{name}{id}"))).collect()
    };
    fs::write(path("small/corpus.jsonl"), lines(0..6, "d ")).unwrap();
    fs::write(path("small/queries.jsonl"), lines(0..4, "q")).unwrap();
    let qrels = "query-id\tcorpus-id\tscore\nq1\td 1\t1\nq3\td 3\t1\n";
    fs::write(path("small/qrels/test.tsv"), qrels).unwrap();
    let matrix = |name: &str, rows: &[usize]| {
        let element = |at: usize, id: usize| if at == id { 1.0_f32 } else { 0.0 };
        let bytes = rows.iter().flat_map(|&id| (0..8).map(move |at| element(at, id).to_le_bytes()));
        let bytes: Vec<u8> = bytes.flatten().collect();
        npy(Path::new(&path(name)), "<f4", &format!("({}, 8)", rows.len()), &bytes);
    };
    matrix("corpus.npy", &[0, 1, 2, 3, 4, 5]);
    matrix("all.npy", &[0, 1, 2, 3]);
    matrix("judged.npy", &[1, 3]);
    [path("small"), path("corpus.npy"), path("all.npy"), path("judged.npy")]
}

#[test]
fn beir_measures_what_was_asked() {
    let folder = tempfile::tempdir().unwrap();
    let [dataset, corpus, all, judged] = small_beir(folder.path());
    let beir = |queries: &str, more: &[&str]| {
        let arguments = [
            "beir",
            "--dataset",
            &dataset,
            "--corpus-vectors",
            &corpus,
            "--query-vectors",
            queries,
        ];
        lanner(&[&arguments, more].concat())
    };
    for queries in [&all, &judged] {
        let output = beir(queries, &["--limit", "5"]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{table}");
        assert!(table.starts_with("small/test"), "{table}");
        assert!(!table.contains("nDCG@10") && table.contains("queries"), "{table}");
    }
    let output = beir(&all, &["--limit", "20"]);
    let table = String::from_utf8(output.stdout).unwrap();
    let ndcg = table.lines().find(|line| line.starts_with("nDCG@10")).unwrap();
    assert!(ndcg.ends_with("1.0000") && !table.contains("@100"), "{table}");
    // Both judged queries, of one system, which is compared with nothing.
    let by_query = folder.path().join("queries.tsv").to_str().unwrap().to_owned();
    let output = beir(&all, &["--limit", "20", "--per-query", &by_query]);
    let table = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success() && !table.contains("p (nDCG@10)"), "{table}");
    let lines = fs::read_to_string(&by_query).unwrap();
    let expected = ["nDCG@10", "RR@10", "R@10"]
        .map(|measure| format!("single\t{measure}\tq1\t1\nsingle\t{measure}\tq3\t1\n"));
    assert_eq!(lines, format!("system\tmeasure\tquery-id\tvalue\n{}", expected.concat()));
    let output = beir(&all, &["--reference", "multi"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("expected best or one of single, got \"multi\""), "{error}");
    // Ids with spaces cannot be in a run file, which is known before anything is created.
    let data = folder.path().join("db").to_str().unwrap().to_owned();
    let run = folder.path().join("run.trec").to_str().unwrap().to_owned();
    let output = beir(&all, &["--run", &run, "--data", &data]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains("without whitespace"), "{error}");
    assert_eq!(ok(&["list", "--data", &data]), "");
}

#[test]
fn nfcorpus_through_codes_is_judged_as_exact() {
    let Some(data) = shared_data("nfcorpus") else { return };
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| data.join(name).to_str().unwrap().to_owned();
    let database = folder.path().join("db").to_str().unwrap().to_owned();
    let report = folder.path().join("report.json").to_str().unwrap().to_owned();
    let beir = |more: &[&str]| {
        let [dataset, corpus, queries] = ["", "corpus.f32.npy", "queries.f32.npy"].map(path);
        let arguments = [
            "beir --collection nf --data",
            &database,
            "--dataset",
            &dataset,
            "--corpus-vectors",
            &corpus,
            "--query-vectors",
            &queries,
            "--json-report",
            &report,
        ];
        let arguments: Vec<&str> =
            arguments[0].split(' ').chain(arguments[1..].iter().copied()).collect();
        ok(&[&arguments, more].concat());
        let report: serde_json::Value =
            serde_json::from_str(&fs::read_to_string(&report).unwrap()).unwrap();
        report["ndcg_10"].as_f64().unwrap()
    };
    let coded = beir(&["--compression", "auto/lvq8/drop-raw"]);
    let reconstructed = beir(&["--reuse", "--exact"]);
    for (name, ndcg) in [("coded", coded), ("reconstructed", reconstructed)] {
        assert!((ndcg - 0.3159).abs() <= 0.002, "{name}: {ndcg}");
    }

    // Codes were used, and the vectors themselves are gone.
    let info: serde_json::Value =
        serde_json::from_str(&ok(&["inspect", "nf", "--data", &database, "--json"])).unwrap();
    let segment = &info["segments"][0];
    let tried = segment["codecs"]["text"]["ladder"].as_array().unwrap();
    assert!(!tried.is_empty());
    let bytes_per_point = segment["size_bytes"].as_f64().unwrap() / 3633.0;
    assert!(bytes_per_point <= 600.0, "{bytes_per_point} bytes a point");
    let text = ok(&["inspect", "nf", "--data", &database]);
    assert!(text.contains("top 10 among 20 / 50 candidates") && text.contains('←'), "{text}");
}

/// Compares rankings with the given exact ones: the same document at each rank, unless scores are
/// so close that rounding decides.
fn exact_maxsim(data: &Path, rankings: &std::collections::BTreeMap<String, Vec<(String, f32)>>) {
    let lines = |name: &str| {
        let text = fs::read_to_string(data.join(name)).unwrap();
        text.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    let (corpus, queries) = (lines("corpus.ids"), lines("queries.ids"));
    let bytes = fs::read(data.join("groundtruth_maxsim_top100.i32.npy")).unwrap();
    let rows = &bytes[bytes.len() - 4 * 100 * queries.len()..];
    let truth: Vec<usize> =
        rows.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().unwrap()) as usize).collect();
    for (query, truth) in queries.iter().zip(truth.chunks_exact(100)) {
        let got = &rankings[query];
        assert_eq!(got.len(), 100);
        for (rank, &row) in truth.iter().enumerate() {
            let (document, score) = &got[rank];
            if *document == corpus[row] {
                continue;
            }
            // Where is it then? At a score that differs by rounding only, or just below the cut.
            let other =
                got.iter().find(|(found, _)| *found == corpus[row]).map_or(got[99].1, |f| f.1);
            let close = (other - score).abs() <= 1e-5 * score.abs().max(1.0);
            assert!(
                close,
                "query {query}, rank {rank}: {document} {score}, not {} {other}",
                corpus[row]
            );
        }
    }
}
