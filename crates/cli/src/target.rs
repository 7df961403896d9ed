//! `--data` or `--server`: where a data command works.

use std::path::PathBuf;

use clap::Args;

use super::credentials::CredentialArguments;
use super::error::{CliError, Result};
use lanner_client::Backend;
use lanner_client::Embedded;
use lanner_client::Remote;

/// Where the database is.
#[derive(Args)]
pub struct Target {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    credentials: CredentialArguments,
}

#[derive(Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// Database folder, opened by this process
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of a running server
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
}

impl Target {
    /// Opens the folder, which must hold a database, or connects to the server.
    pub fn open(&self) -> Result<Box<dyn Backend>> {
        if let Some(folder) = &self.place.data
            && !folder.join(lanner_storage::identity::FILE).exists()
        {
            let folder = folder.display();
            let hint = format!("`{folder}` holds no database; `lanner create` makes one");
            return Err(CliError::Usage(hint));
        }
        self.open_or_create()
    }

    /// Opens the folder, making it a database if it is missing or empty, or connects.
    pub fn open_or_create(&self) -> Result<Box<dyn Backend>> {
        match (&self.place.data, &self.place.server) {
            (Some(folder), _) => Ok(Box::new(Embedded::open(folder)?)),
            (None, Some(address)) => {
                Ok(Box::new(Remote::connect(address, &self.credentials.credentials())?))
            }
            (None, None) => Err(CliError::Usage("give --data or --server".into())),
        }
    }
}
