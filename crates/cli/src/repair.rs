//! `lanner repair`.

use std::path::PathBuf;

use clap::Args;

use super::error::Result;
use lanner::Database;

/// Make a database that does not open usable again, and say what is missing.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner repair --data db

Rebuilds the catalog from what is sound in its logs and from the copies of the manifests beside the
segments. Nothing is deleted: what is damaged is moved to the folder `lost` of the database. A
database that is sound is left as it is. Stop the server first, and copy the folder if there is
room.")]
pub struct Repair {
    /// Database folder, which no process may have open
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
}

impl Repair {
    pub fn run(self) -> Result<()> {
        let report = Database::repair(&self.data)?;
        for damage in &report.catalog {
            println!("catalog: {damage}");
        }
        for collection in &report.collections {
            println!("{}:", collection.name);
            collection.done.iter().for_each(|done| println!("  {done}"));
            collection.missing.iter().for_each(|missing| println!("  missing: {missing}"));
        }
        if report.catalog.is_empty() && report.collections.is_empty() {
            println!("nothing to repair");
        }
        Ok(())
    }
}
