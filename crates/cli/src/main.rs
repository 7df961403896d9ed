//! The program `lanner`: one file a subcommand.
//!
//! Every data command works on a folder (`--data`, embedded) and against a server (`--server`)
//! through `lanner_client::Backend`. Results go to stdout, progress and errors to stderr.

// Nothing that comes from a user, a file or the network may panic.
#![cfg_attr(not(test), warn(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

#[cfg(all(unix, target_env = "gnu"))]
mod arenas;
mod beir;
mod bench;
mod collections;
mod completions;
mod credentials;
mod declare;
mod demo;
mod error;
mod exchange;
mod export;
mod facet;
mod fields;
mod fuse;
mod import;
mod index;
mod ingest;
mod input;
mod jobs;
mod key;
mod load;
mod output;
mod points;
mod progress;
mod query;
mod repair;
mod serve;
mod skipped;
mod target;
mod train;
mod update;
mod writing;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Vector search for single- and multi-vector embeddings.
#[derive(Parser)]
#[command(
    name = "lanner",
    version,
    about,
    max_term_width = 100,
    after_help = "\
Data commands take --data DIR (a database folder of this machine, opened by this process) or
--server HOST:PORT (a running `lanner serve`). Start with `lanner demo`."
)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Serve a database folder over gRPC
    Serve(serve::Serve),
    /// Make an API key
    Key(key::Key),
    /// Create a collection
    Create(collections::Create),
    /// List the collections
    List(collections::List),
    /// Delete a collection with all its points
    Drop(collections::Drop),
    /// Declare payload paths of a collection that has points, and build their indexes
    Declare(declare::Declare),
    /// Write points from arrays with ids and payloads beside them, or from JSON lines
    Ingest(ingest::Ingest),
    /// Write points from a Parquet, Arrow, JSONL, .npy, .fvecs or .bvecs file
    Import(import::Import),
    /// Find the points most similar to a vector or to a point
    Query(Box<query::Query>),
    /// Print points by id
    Get(points::Get),
    /// Print all points as JSON lines, or write them to a file, as `import` reads them
    #[command(visible_alias = "scroll")]
    Export(export::Export),
    /// Change payloads or single vectors of points
    Update(update::Update),
    /// Delete points by id or filter
    Delete(points::Delete),
    /// Count the points of a collection
    Count(points::Count),
    /// Count how many points have each value of a payload path
    Facet(facet::Facet),
    /// Show what a collection consists of: configuration, segments, files, sections
    Inspect(collections::Inspect),
    /// Move everything written so far into sealed segments
    Flush(collections::Flush),
    /// Merge segments and drop deleted rows
    Optimize(collections::Optimize),
    /// Train the compression of a field on queries of the kind that will come
    Train(train::Train),
    /// List the work that was asked for, wait for it, or cancel it
    Jobs(jobs::Jobs),
    /// Make a database that does not open usable again, and say what is missing
    Repair(repair::Repair),
    /// Measure retrieval quality and speed on a BEIR data set
    Beir(beir::Beir),
    /// Measure recall and speed of compressions on given vectors
    Bench(bench::Bench),
    /// Print completions for a shell, or a manual page
    Completions(completions::Completions),
    /// See Lanner at work on a small collection that ships with it
    Demo(demo::Demo),
}

/// Ends the program quietly where printing panics because the reader is gone (`lanner … | head`).
/// Only the message tells that panic from others. Panics that become errors are not reported.
fn leave_when_nobody_reads() {
    let others = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        #[cfg(feature = "parquet")]
        if exchange::table::is_guarded() {
            return;
        }
        let message = panic.payload_as_str().unwrap_or_default();
        if message.starts_with("failed printing to stdout") && message.contains("Broken pipe") {
            std::process::exit(0);
        }
        others(panic);
    }));
}

fn main() -> ExitCode {
    leave_when_nobody_reads();
    let arguments = Arguments::parse();
    let done = match arguments.command {
        Command::Serve(command) => command.run(),
        Command::Key(command) => command.run(),
        Command::Create(command) => command.run(),
        Command::List(command) => command.run(),
        Command::Drop(command) => command.run(),
        Command::Declare(command) => command.run(),
        Command::Ingest(command) => command.run(),
        Command::Import(command) => command.run(),
        Command::Query(command) => command.run(),
        Command::Get(command) => command.run(),
        Command::Export(command) => command.run(),
        Command::Update(command) => command.run(),
        Command::Delete(command) => command.run(),
        Command::Count(command) => command.run(),
        Command::Facet(command) => command.run(),
        Command::Inspect(command) => command.run(),
        Command::Flush(command) => command.run(),
        Command::Optimize(command) => command.run(),
        Command::Train(command) => command.run(),
        Command::Jobs(command) => command.run(),
        Command::Repair(command) => command.run(),
        Command::Beir(command) => command.run(),
        Command::Bench(command) => command.run(),
        Command::Completions(command) => command.run(),
        Command::Demo(command) => command.run(),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(hint) = error.hint() {
                eprintln!("hint: {hint}");
            }
            ExitCode::FAILURE
        }
    }
}
