//! `--data` or `--server`: where a data command works.

use std::path::PathBuf;

use clap::Args;

use super::credentials::CredentialArguments;
use super::error::{CliError, Result};
use lanner_client::Backend;
use lanner_client::Embedded;
use lanner_client::Remote;

/// Where the database is, if the command does not say.
const DATA_VARIABLE: &str = "LANNER_DATA";
const SERVER_VARIABLE: &str = "LANNER_SERVER";

/// Where the database is.
#[derive(Args)]
pub struct Target {
    #[command(flatten)]
    place: Place,
    #[command(flatten)]
    credentials: CredentialArguments,
}

#[derive(Args)]
#[group(multiple = false)]
struct Place {
    /// Database folder, opened by this process [or LANNER_DATA]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Address of a running server, by default of port 7700 [or LANNER_SERVER]
    #[arg(long, value_name = "HOST:PORT")]
    server: Option<String>,
}

impl Place {
    /// What the command says, else the environment.
    fn resolve(&self) -> Result<Self> {
        if self.data.is_some() || self.server.is_some() {
            return Ok(Self { data: self.data.clone(), server: self.server.clone() });
        }
        let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
        match (variable(DATA_VARIABLE), variable(SERVER_VARIABLE)) {
            (Some(folder), None) => Ok(Self { data: Some(folder.into()), server: None }),
            (None, Some(address)) => Ok(Self { data: None, server: Some(address) }),
            (None, None) => {
                let give = "give --data or --server, or set LANNER_DATA or LANNER_SERVER";
                Err(CliError::Usage(give.into()))
            }
            (Some(_), Some(_)) => {
                Err(CliError::Usage("expected LANNER_DATA or LANNER_SERVER, got both".into()))
            }
        }
    }
}

impl Target {
    /// Opens the folder, which must hold a database, or connects to the server.
    pub fn open(&self) -> Result<Box<dyn Backend>> {
        if let Some(folder) = &self.place.resolve()?.data
            && !folder.join(lanner_storage::identity::FILE).exists()
        {
            return Err(CliError::NoDatabase { folder: folder.clone() });
        }
        self.open_or_create()
    }

    /// The flags that say where, each after a space; none if the environment does.
    pub fn flags(&self) -> String {
        let data = self.place.data.iter().map(|folder| format!(" --data {}", folder.display()));
        let server = self.place.server.iter().map(|address| format!(" --server {address}"));
        data.chain(server).collect()
    }

    /// As [`Self::open`], for work that goes on by itself if nobody waits for it: of a server alone.
    pub fn open_for_job(&self, waits: bool) -> Result<Box<dyn Backend>> {
        if !waits && self.place.resolve()?.server.is_none() {
            let hint = "--no-wait is for a server (--server), which goes on by itself";
            return Err(CliError::Usage(hint.into()));
        }
        self.open()
    }

    /// Opens the folder, making it a database if it is missing or empty, or connects.
    pub fn open_or_create(&self) -> Result<Box<dyn Backend>> {
        let Place { data, server } = self.place.resolve()?;
        match (&data, &server) {
            (Some(folder), _) => Ok(Box::new(Embedded::open(folder)?)),
            (None, Some(address)) => {
                Ok(Box::new(Remote::connect(address, &self.credentials.credentials())?))
            }
            (None, None) => Err(CliError::Usage("give --data or --server".into())),
        }
    }
}
