//! `lanner key`.

use clap::Args;

use super::error::{CliError, Result};
use lanner_server::{NewKey, Role};

/// Make an API key for `lanner serve --api-keys`.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner key ingest >> keys
  lanner key app --role read-only --collections books,papers >> keys
  lanner serve --data db --api-keys keys

Prints the line for the file of keys to stdout, and the key itself to stderr. The file has its hash
alone: who loses a key makes another. The server reads the file again when it changes.")]
pub struct Key {
    /// Whose key it is, for people who read the file: one word
    name: String,
    /// What it allows: read-only or read-write
    #[arg(long, default_value = "read-write")]
    role: Role,
    /// The only collections that it reaches
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    collections: Vec<String>,
}

impl Key {
    pub fn run(self) -> Result<()> {
        if self.name.contains(|c: char| c.is_whitespace() || c == '#') || self.name.is_empty() {
            let got = &self.name;
            return Err(CliError::Usage(format!(
                "name: expected one word without `#`, got {got:?}"
            )));
        }
        for name in &self.collections {
            lanner::validate_name("collections", name)?;
        }
        let made = NewKey::generate(&self.name, self.role, &self.collections);
        let made = made.map_err(|error| CliError::Usage(error.to_string()))?;
        println!("{}", made.line);
        eprintln!("key: {}", made.key);
        Ok(())
    }
}
