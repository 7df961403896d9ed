//! next-plaid (PLAID in Rust) as a worker of `multivector.py`:
//!
//!     next-plaid-peer build DIR INDEX BITS    prints the seconds
//!     next-plaid-peer search DIR INDEX CORES  answers each line of search parameters by a line
//!
//! Lines are JSON; parameters that are left out have next-plaid's defaults. rayon takes the number of cores
//! from its environment.

use std::error::Error;
use std::fs::File;
use std::io::{BufRead, Write, stdin, stdout};
use std::path::Path;
use std::time::Instant;

use ndarray::{Array1, Array2, s};
use ndarray_npy::ReadNpyExt;
use next_plaid::{IndexConfig, MmapIndex, SearchParameters};
use serde_json::{Value, json};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match arguments[..] {
        ["build", folder, index, bits] => build(Path::new(folder), index, bits.parse()?),
        ["search", folder, index, _] => search(Path::new(folder), index),
        _ => Err("expected build DIR INDEX BITS or search DIR INDEX CORES".into()),
    }
}

fn build(folder: &Path, index: &str, nbits: usize) -> Result<()> {
    let tokens: Array2<i8> = read(folder, "corpus_tokens.i8.npy")?;
    let tokens = tokens.mapv(|value| f32::from(value) / 127.0);
    let documents = split(&tokens, &read(folder, "corpus_tokens_offsets.i64.npy")?);
    drop(tokens);
    let config = IndexConfig { nbits, ..IndexConfig::default() };
    let started = Instant::now();
    MmapIndex::create_with_kmeans(&documents, index, &config)?;
    println!("{}", json!({ "seconds": started.elapsed().as_secs_f64() }));
    Ok(())
}

fn search(folder: &Path, index: &str) -> Result<()> {
    let queries: Array2<f32> = read(folder, "queries_tokens.f32.npy")?;
    let queries = split(&queries, &read(folder, "queries_tokens_offsets.i64.npy")?);
    let before = resident()?;
    let index = MmapIndex::load(index)?;
    for line in stdin().lock().lines() {
        let mut parameters = serde_json::to_value(SearchParameters::default())?;
        let given: Value = serde_json::from_str(&line?)?;
        for (name, value) in given.as_object().ok_or("expected an object")? {
            parameters[name] = value.clone();
        }
        let parameters: SearchParameters = serde_json::from_value(parameters)?;
        let (mut ids, mut seconds) = (Vec::new(), Vec::new());
        for query in &queries {
            let started = Instant::now();
            let found = index.search(query, &parameters, None)?;
            seconds.push(started.elapsed().as_secs_f64());
            ids.push(found.passage_ids);
        }
        let bytes = resident()?.saturating_sub(before);
        println!("{}", json!({ "ids": ids, "seconds": seconds, "resident": bytes }));
        stdout().flush()?;
    }
    Ok(())
}

fn read<T: ReadNpyExt>(folder: &Path, name: &str) -> Result<T> {
    Ok(T::read_npy(File::open(folder.join(name))?)?)
}

fn split(rows: &Array2<f32>, starts: &Array1<i64>) -> Vec<Array2<f32>> {
    let pairs = starts.iter().zip(starts.iter().skip(1));
    pairs.map(|(&from, &to)| rows.slice(s![from as usize..to as usize, ..]).to_owned()).collect()
}

/// Resident bytes of this process.
fn resident() -> Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).ok_or("no VmRSS")?;
    let kilobytes = line.split_whitespace().nth(1).ok_or("no VmRSS")?;
    Ok(kilobytes.parse::<u64>()? * 1024)
}
