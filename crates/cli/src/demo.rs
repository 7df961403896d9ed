//! `lanner demo`: the whole path on the collection that ships in `examples/demo`.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tokio::sync::oneshot;

use super::beir::{Experiment, Mode, ids};
use super::error::{CliError, Result};
use super::input::Column;
use super::output::scratch;
use lanner::{
    Analyzer, Compression, Database, ElementType, FusionMethod, Language, Metric, Normalization,
    QueryParams, TextField,
};
use lanner_client::Credentials;
use lanner_client::Embedded;
use lanner_client::Remote;
use lanner_eval::{BeirDataset, Report, Run, System, TableStyle, best, compare, comparison_table};
use lanner_server::{ServerConfig, serve};

/// Questions that are printed with their answers.
const QUESTIONS: usize = 5;
/// Passages printed for each.
const PASSAGES: usize = 3;
/// Width of one column of titles.
const WIDTH: usize = 36;
/// Ways to search, before those that put two together.
const PARTS: usize = 3;

/// See Lanner at work on a small collection that ships with it.
#[derive(Args)]
#[command(after_help = "\
Stores passages with their words, with one vector each and with one vector a token, in an embedded
database and through a real server over gRPC; asks questions by each, and by words and vectors together;
and judges the answers the way BEIR does. p compares with the best of the three by itself.

Example:
  lanner demo --dataset examples/demo")]
pub struct Demo {
    /// Folder of the collection
    #[arg(long, value_name = "DIR", default_value = "examples/demo")]
    dataset: PathBuf,
}

impl Demo {
    pub fn run(self) -> Result<()> {
        if !self.dataset.join("corpus.jsonl").exists() {
            let folder = self.dataset.display();
            let hint = "run it from the root of the repository, or give --dataset";
            return Err(CliError::Usage(format!("`{folder}` has no corpus.jsonl; {hint}")));
        }
        let folder = scratch()?;
        let embedded = {
            let backend = Embedded::open(&folder.path().join("embedded"))?;
            self.experiment()?.measure(&backend)?
        };
        let served = self.over_grpc(&folder.path().join("served"))?;
        let same = embedded.iter().zip(&served).all(|(a, b)| a.run == b.run);
        let rankings: usize = embedded.iter().map(|system| system.run.len()).sum();
        self.print_answers(&embedded)?;
        for (place, mut systems) in [("Embedded", embedded), ("Over gRPC", served)] {
            let reference = best(&systems[..PARTS]);
            compare(&mut systems, reference);
            let reports: Vec<Report> = systems.into_iter().map(|system| system.report).collect();
            println!("{place}\n{}", comparison_table(&reports, TableStyle::Plain));
        }
        if !same {
            return Err(CliError::Usage("the server answered otherwise than the library".into()));
        }
        println!("Both gave the same {rankings} rankings.");
        println!("Next: `lanner serve --data db`, and the tour in README.md.");
        Ok(())
    }

    fn experiment(&self) -> Result<Experiment> {
        let file = |name: &str| self.dataset.join(name);
        let dataset = BeirDataset::open(&self.dataset, "test")?;
        let english = Analyzer::Language(Language::English);
        let words = Mode::words(TextField::new(["title", "text"]).analyzed(english));
        let single = Mode::vectors(
            "single",
            Column::single("text", &file("corpus.f16.npy"))?,
            Column::single("text", &file("queries.f16.npy"))?,
        );
        let multi = Mode::vectors(
            "multi",
            Column::multi(
                "tokens",
                &file("corpus_tokens.i8.npy"),
                &file("corpus_tokens_offsets.i64.npy"),
            )?,
            Column::multi(
                "tokens",
                &file("queries_tokens.f16.npy"),
                &file("queries_tokens_offsets.i64.npy"),
            )?,
        );
        let fused = FusionMethod::Scores { normalization: Normalization::MinMax };
        let both = [
            Mode::fused("text+single", &[&single], fused)?,
            Mode::fused("text+multi", &[&multi], fused)?,
            Mode::fused("text+single+multi", &[&single, &multi], fused)?,
        ];
        let modes: Vec<Mode> = [words, single, multi].into_iter().chain(both).collect();
        let (corpus_ids, query_ids) = ids(&dataset, &modes, &None, &None)?;
        Ok(Experiment {
            folder: "demo".into(),
            collection: "demo".into(),
            dataset,
            modes,
            corpus_ids,
            query_ids,
            metric: Metric::Dot,
            element: ElementType::F32,
            limit: 100,
            compression: Compression::default(),
            token_compression: Compression::default(),
            params: QueryParams::default(),
            reuse: false,
            optimize: true,
        })
    }

    /// Starts a server on a free port of this machine, and measures through it.
    fn over_grpc(&self, folder: &std::path::Path) -> Result<Vec<System>> {
        let failed = |error: &dyn std::fmt::Display| {
            CliError::Usage(format!("cannot start a server: {error}"))
        };
        let database = Arc::new(Database::open(folder)?);
        let runtime = tokio::runtime::Runtime::new().map_err(|error| failed(&error))?;
        let listener = runtime
            .block_on(tokio::net::TcpListener::bind("127.0.0.1:0"))
            .map_err(|error| failed(&error))?;
        let address = listener.local_addr().map_err(|error| failed(&error))?;
        let (stop, stopped) = oneshot::channel::<()>();
        let server = runtime.spawn(serve(database, listener, ServerConfig::default(), async {
            let _ = stopped.await;
        }));
        let outcomes = {
            let backend = Remote::connect(&address.to_string(), &Credentials::default())?;
            self.experiment()?.measure(&backend)
        };
        let _ = stop.send(());
        let served = runtime.block_on(server).map_err(|error| failed(&error))?;
        served.map_err(|error| failed(&error))?;
        outcomes
    }

    fn print_answers(&self, systems: &[System]) -> Result<()> {
        let dataset = BeirDataset::open(&self.dataset, "test")?;
        let mut titles = HashMap::new();
        for document in dataset.documents()? {
            let document = document?;
            titles.insert(document.id, document.title);
        }
        println!(
            "{} passages, {} questions. * marks passages judged relevant.\n",
            titles.len(),
            dataset.queries().len()
        );
        let step = (dataset.queries().len() / QUESTIONS).max(1);
        for query in dataset.queries().iter().step_by(step).take(QUESTIONS) {
            println!("{}", query.text);
            let (words, single) = ("words (BM25)", "one vector a passage");
            println!("   {words:<WIDTH$}   {single:<WIDTH$}   many vectors a passage (MaxSim)");
            let judged = dataset.qrels().get(&query.id);
            let row = |run: &Run, rank: usize| {
                let Some((id, _)) = run.get(&query.id).and_then(|hits| hits.get(rank)) else {
                    return String::new();
                };
                let relevant = judged.and_then(|judged| judged.get(id)).is_some_and(|&j| j > 0);
                let title = titles.get(id).map_or(id.as_str(), String::as_str);
                format!("{} {}", if relevant { "*" } else { " " }, cut(title, WIDTH - 2))
            };
            for rank in 0..PASSAGES {
                let cells: Vec<String> = systems
                    .iter()
                    .take(PARTS)
                    .map(|system| format!("{:<WIDTH$}", row(&system.run, rank)))
                    .collect();
                println!("{}. {}", rank + 1, cells.join("   ").trim_end());
            }
            println!();
        }
        Ok(())
    }
}

fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width - 1).chain(['…']).collect()
}
