//! `lanner serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use tracing_subscriber::EnvFilter;

use super::error::{CliError, Result};
use crate::DatabaseOptions;
use crate::service::{ServerConfig, serve, shutdown_signal};

/// Serve a database folder over gRPC until SIGTERM or SIGINT.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner serve --data db
  grpcurl -plaintext 127.0.0.1:7700 lanner.v1.CollectionService/ListCollections
  curl http://127.0.0.1:7700/metrics

Logs go to stderr; RUST_LOG sets how much (default: info).")]
pub struct Serve {
    /// Database folder; created if it is missing or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700")]
    address: SocketAddr,
    /// Allow an address that other machines reach; there is no authentication yet
    #[arg(long)]
    insecure: bool,
    /// Threads that queries run on; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Size in memory at which points are sealed into files, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    seal_mib: u64,
    /// Largest message to read, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2047))]
    max_message_mib: u32,
}

impl Serve {
    pub fn run(self) -> Result<()> {
        if !self.address.ip().is_loopback() && !self.insecure {
            return Err(CliError::Usage(format!(
                "{} can be reached from other machines and there is no authentication yet: \
                 use 127.0.0.1, or say --insecure",
                self.address
            )));
        }
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal())
            .init();
        let options = DatabaseOptions::new().threads(self.threads).seal_bytes(self.seal_mib << 20);
        let database = Arc::new(options.open(&self.data)?);
        let max_message_bytes = (self.max_message_mib as usize) << 20;
        let config = ServerConfig { max_message_bytes, ..ServerConfig::default() };
        let failed = |what: &str, error: &dyn std::fmt::Display| {
            CliError::Usage(format!("cannot {what}: {error}"))
        };
        let runtime = tokio::runtime::Runtime::new().map_err(|e| failed("start threads", &e))?;
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind(self.address)
                .await
                .map_err(|error| failed(&format!("listen on {}", self.address), &error))?;
            let address = listener.local_addr().map_err(|e| failed("read the address", &e))?;
            println!("lanner serves {} on {address}", self.data.display());
            serve(database.clone(), listener, config, shutdown_signal())
                .await
                .map_err(|error| failed("serve", &error))
        })?;
        // Requests have ended with the runtime: this is the last handle, and closes the database.
        drop(runtime);
        drop(database);
        println!("stopped");
        Ok(())
    }
}
