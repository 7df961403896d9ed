//! `lanner create`, `list`, `drop`, `inspect`, `flush`, `optimize`.

use std::path::PathBuf;

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::error::Result;
use super::fields::FieldArgument;
use super::index;
use super::target::Target;
use super::train::{self, ForField};
use crate::{
    CodecReport, CollectionConfig, CollectionInfo, Compression, IndexSettings, SegmentInfo,
};

/// Create a collection.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner create docs --data db --field text:single:384:cosine
  lanner create docs --server 127.0.0.1:7700 --field text:single:384:cosine --field tokens:multi:128:dot:f16

  lanner create docs --data db --field text:single:384:cosine --compression auto/lvq8/drop-raw

Kinds: single (one vector a point), multi (many, scored by MaxSim). Metrics: dot, cosine, l2.
Elements: f32 (default), f16.

Compression, of single-vector fields: auto (default: the smallest codes that keep the neighbours,
as measured), none, or a code (lvq8, lvq4, lvq4x4, lvq4x8); lvq8 and lvq4 with [:dimension
[:reduction]], reductions being pca, eigen_search, frank_wolfe and sphering. After slashes: what
re-ranks (raw, lvq8, f16), and drop-raw to keep the codes alone.

Index, of compressed fields, in segments of 10,000 rows and more: auto (default: what calibration
finds to be the least work), graph, ivf, or flat. After colons, for a graph degree=32, window=100,
alpha=1.2, prune=28; for ivf lists=N.")]
pub struct Create {
    /// Name, [a-z0-9_-]{1,64}
    name: String,
    #[command(flatten)]
    target: Target,
    /// A vector field; repeat for more
    #[arg(long, value_name = "NAME:KIND:DIM:METRIC[:ELEMENT]", required = true)]
    field: Vec<FieldArgument>,
    /// How fields are compressed; without FIELD= all single-vector fields
    #[arg(long, value_name = "[FIELD=]COMPRESSION")]
    compression: Vec<ForField<Compression>>,
    /// How fields are indexed; without FIELD= all single-vector fields
    #[arg(long, value_name = "[FIELD=]INDEX")]
    index: Vec<ForField<IndexSettings>>,
    /// Queries of the kind that will come, to train compression and to calibrate indexes on: a .npy
    /// matrix, a query a row
    #[arg(long, value_name = "[FIELD=]FILE")]
    training_queries: Vec<ForField<PathBuf>>,
}

impl Create {
    pub fn run(self) -> Result<()> {
        let mut config = CollectionConfig::new();
        for argument in self.field {
            config = config.with_field(argument.name, argument.field);
        }
        train::apply(&mut config, &self.compression, |field, value| field.compression = value)?;
        train::apply(&mut config, &self.index, |field, value| field.index = value)?;
        let queries = train::training_queries(&config, &self.training_queries)?;
        // Before a folder is made a database for nothing.
        crate::model::validate_name("name", &self.name)?;
        config.validate()?;
        self.target.open_or_create()?.create(&self.name, &config, &queries)?;
        println!("created {}", self.name);
        Ok(())
    }
}

/// List the collections.
#[derive(Args)]
pub struct List {
    #[command(flatten)]
    target: Target,
}

impl List {
    pub fn run(self) -> Result<()> {
        for (name, found) in self.target.open()?.list()? {
            match found {
                Ok(points) => println!("{name}  {} points", HumanCount(points)),
                Err(reason) => println!("{name}  unusable: {reason}"),
            }
        }
        Ok(())
    }
}

/// Delete a collection with all its points.
#[derive(Args)]
pub struct Drop {
    /// Collection to delete
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Drop {
    pub fn run(self) -> Result<()> {
        self.target.open()?.drop_collection(&self.name)?;
        println!("deleted {}", self.name);
        Ok(())
    }
}

/// Move everything written so far into sealed segments.
#[derive(Args)]
pub struct Flush {
    /// Collection to flush
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Flush {
    pub fn run(self) -> Result<()> {
        self.target.open()?.flush(&self.name)
    }
}

/// Merge segments into as few as the size limit allows and drop deleted rows.
#[derive(Args)]
pub struct Optimize {
    /// Collection to optimize
    name: String,
    #[command(flatten)]
    target: Target,
}

impl Optimize {
    pub fn run(self) -> Result<()> {
        self.target.open()?.optimize(&self.name)
    }
}

/// Show what a collection consists of: configuration, segments, files, sections.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner inspect docs --data db")]
pub struct Inspect {
    /// Collection to describe
    name: String,
    #[command(flatten)]
    target: Target,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let info = self.target.open()?.info(&self.name)?;
        if self.json {
            println!("{:#}", as_json(&info));
        } else {
            print(&info);
        }
        Ok(())
    }
}

fn print(info: &CollectionInfo) {
    println!("{}: {} points, {} writes", info.name, HumanCount(info.points), info.sequence);
    for (name, field) in &info.config.fields {
        let settings = json!(field);
        let word = |key: &str| settings[key].as_str().unwrap_or("?").to_owned();
        println!(
            "  field {name}: {} vectors of {} dimensions, {}, {}, compression {}, index {}",
            word("kind"),
            field.dimension,
            word("metric"),
            word("element"),
            field.compression,
            field.index
        );
    }
    for segment in &info.segments {
        let title = match segment.number {
            Some(number) => format!("segment {number}"),
            None => "in memory".to_owned(),
        };
        println!(
            "  {title}: {} rows, {} deleted, {}",
            HumanCount(segment.rows),
            HumanCount(segment.deleted),
            HumanBytes(segment.size_bytes)
        );
        for (name, report) in &segment.codecs {
            print_codec(name, report);
        }
        for (name, status) in &segment.indexes {
            index::print(name, status);
        }
        for file in &segment.files {
            println!("    {:<14} {:>12}", file.name, HumanBytes(file.size_bytes).to_string());
            for (section, size) in &file.sections {
                println!("      {section:<16} {:>8}", HumanBytes(*size).to_string());
            }
        }
    }
    if let Some(error) = &info.background_error {
        println!("  background work failed: {error}");
    }
}

/// What was chosen, and the codes that were tried before it.
fn print_codec(field: &str, report: &CodecReport) {
    println!(
        "    {field}: trained on {} rows and {} queries, loses {:.2}% of the variance",
        HumanCount(report.trained_rows as u64),
        HumanCount(report.trained_queries as u64),
        100.0 * report.loss
    );
    println!("      {:<24} {:>6}   top 10 among 20 / 50 candidates", "code", "bytes");
    for (index, rung) in report.ladder.iter().enumerate() {
        let recall = |recall: Option<[f32; 2]>| {
            recall.map(|[first, second]| format!("{first:.4} / {second:.4}"))
        };
        let rows = recall(rung.recall).unwrap_or_else(|| "not measured".into());
        let queries = recall(rung.query_recall).map(|text| format!(", of training queries {text}"));
        let mark = if index + 1 == report.ladder.len() { "←" } else { "" };
        let queries = queries.unwrap_or_default();
        println!("      {:<24} {:>6}   {rows}{queries} {mark}", rung.code, rung.bytes);
    }
}

fn as_json(info: &CollectionInfo) -> serde_json::Value {
    let segment = |segment: &SegmentInfo| {
        let files: Vec<_> = segment
            .files
            .iter()
            .map(|file| {
                let sections: serde_json::Map<_, _> =
                    file.sections.iter().map(|(name, size)| (name.clone(), json!(size))).collect();
                json!({"name": file.name, "size_bytes": file.size_bytes, "sections": sections})
            })
            .collect();
        json!({
            "number": segment.number,
            "rows": segment.rows,
            "deleted": segment.deleted,
            "size_bytes": segment.size_bytes,
            "codecs": segment.codecs,
            "indexes": index::as_json(&segment.indexes),
            "files": files,
        })
    };
    json!({
        "name": info.name,
        "config": info.config,
        "points": info.points,
        "sequence": info.sequence,
        "segments": info.segments.iter().map(segment).collect::<Vec<_>>(),
        "background_error": info.background_error,
    })
}
