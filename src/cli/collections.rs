//! `lanner create`, `list`, `drop`, `inspect`, `flush`, `optimize`.

use clap::Args;
use indicatif::{HumanBytes, HumanCount};
use serde_json::json;

use super::error::Result;
use super::fields::FieldArgument;
use super::target::Target;
use crate::{CollectionConfig, CollectionInfo, SegmentInfo};

/// Create a collection.
#[derive(Args)]
#[command(after_help = "\
Examples:
  lanner create docs --data db --field text:single:384:cosine
  lanner create docs --server 127.0.0.1:7700 --field text:single:384:cosine --field tokens:multi:128:dot:f16

Kinds: single (one vector a point), multi (many, scored by MaxSim). Metrics: dot, cosine, l2.
Elements: f32 (default), f16.")]
pub struct Create {
    /// Name, [a-z0-9_-]{1,64}
    name: String,
    #[command(flatten)]
    target: Target,
    /// A vector field; repeat for more
    #[arg(long, value_name = "NAME:KIND:DIM:METRIC[:ELEMENT]", required = true)]
    field: Vec<FieldArgument>,
}

impl Create {
    pub fn run(self) -> Result<()> {
        let mut config = CollectionConfig::new();
        for argument in self.field {
            config = config.with_field(argument.name, argument.field);
        }
        // Before a folder is made a database for nothing.
        crate::model::validate_name("name", &self.name)?;
        config.validate()?;
        self.target.open_or_create()?.create(&self.name, &config)?;
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
            "  field {name}: {} vectors of {} dimensions, {}, {}",
            word("kind"),
            field.dimension,
            word("metric"),
            word("element")
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
