//! `lanner serve`.

use std::io::IsTerminal;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::error::{CliError, Result};
use lanner::DatabaseOptions;
use lanner_server::{
    KeyRing, Role, ServerConfig, ServerLimits, Tls, TlsFiles, serve, shutdown_signal,
};

/// Variables with a key, and what it allows.
const KEY_VARIABLES: [(&str, Role); 2] =
    [("LANNER_API_KEY", Role::ReadWrite), ("LANNER_READ_ONLY_API_KEY", Role::ReadOnly)];

/// Serve a database folder over gRPC until SIGTERM or SIGINT.
#[derive(Args)]
#[command(after_help = "\
Example:
  lanner serve --data db
  grpcurl -plaintext 127.0.0.1:7700 lanner.v1.CollectionService/ListCollections
  curl http://127.0.0.1:7700/metrics

  lanner key ingest >> keys
  lanner serve --data db --address 0.0.0.0:7700 --api-keys keys --tls-cert cert.pem --tls-key key.pem

Keys come from --api-keys, LANNER_API_KEY (read-write) and LANNER_READ_ONLY_API_KEY; if there is one,
every request needs one. Logs go to stderr; RUST_LOG sets how much (default: info).")]
pub struct Serve {
    /// Database folder; created if it is missing or empty
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Address to listen on; port 0 takes a free one
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:7700")]
    address: SocketAddr,
    /// File of hashed API keys, as `lanner key` prints them; read again when it changes
    #[arg(long, value_name = "FILE")]
    api_keys: Option<PathBuf>,
    /// Certificate chain of the server (PEM); read again when it changes
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// Private key of --tls-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Roots of clients' certificates (PEM): clients then need one
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_client_ca: Option<PathBuf>,
    /// A name that clients reach the server by, where requests need no key
    #[arg(long, value_name = "NAME")]
    allow_host: Vec<String>,
    /// Let other machines in without a key: whoever reaches the address may do everything
    #[arg(long)]
    insecure_without_key: bool,
    /// Let other machines in without TLS: whoever is on the way reads and changes everything
    #[arg(long)]
    insecure_without_tls: bool,
    /// Threads that queries run on; 0 for one a core
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Threads that seal, merge, train and index in the background; 0 for one a core
    #[arg(long, default_value_t = 0)]
    build_threads: usize,
    /// Size in memory at which points are sealed into files, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u64).range(1..=65_536))]
    seal_mib: u64,
    /// Largest message to read, in MiB
    #[arg(long, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=2047))]
    max_message_mib: u32,
    /// Memory for the messages of all clients, in MiB
    #[arg(long, default_value_t = 384, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_received_mib: u64,
    /// Memory for candidates and answers of all clients, in MiB
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u64).range(1..=1_048_576))]
    max_work_mib: u64,
    /// Connections at a time; more are closed at once
    #[arg(long, default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Log queries that take longer, with their plan, in milliseconds
    #[arg(long, value_name = "MS")]
    slow_query_ms: Option<u64>,
    /// Form of the log
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum LogFormat {
    /// For people
    Text,
    /// An object a line
    Json,
}

impl Serve {
    pub fn run(self) -> Result<()> {
        #[cfg(all(unix, target_env = "gnu"))]
        super::arenas::limit();
        self.log();
        // Also what RocksDB creates belongs to this user alone.
        #[cfg(unix)]
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
        let config = self.config()?;
        let options =
            DatabaseOptions::new().threads(self.threads).build_threads(self.build_threads);
        let database = Arc::new(options.seal_bytes(self.seal_mib << 20).open(&self.data)?);
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

    fn log(&self) {
        let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
        let log = tracing_subscriber::fmt()
            .with_env_filter(filter)
            .with_writer(std::io::stderr)
            .with_ansi(std::io::stderr().is_terminal());
        match self.log_format {
            LogFormat::Text => log.init(),
            LogFormat::Json => log.json().flatten_event(true).init(),
        }
    }

    fn config(&self) -> Result<ServerConfig> {
        let (keys, tls) = (self.keys()?, self.tls()?);
        if !self.address.ip().is_loopback() {
            let refuse = |missing: &str, give: &str, waive: &str| {
                let address = self.address;
                Err(CliError::Usage(format!(
                    "{address} can be reached from other machines: expected {missing}, got none; \
                     use 127.0.0.1, give {give}, or say {waive}"
                )))
            };
            if keys.is_none() && !self.insecure_without_key {
                let give = "--api-keys or LANNER_API_KEY";
                return refuse("an API key", give, "--insecure-without-key");
            }
            if tls.is_none() && !self.insecure_without_tls {
                let give = "--tls-cert and --tls-key";
                return refuse("a certificate", give, "--insecure-without-tls");
            }
        }
        let limits = ServerLimits {
            received_bytes: self.max_received_mib << 20,
            work_bytes: self.max_work_mib << 20,
            connections: self.max_connections as usize,
            ..ServerLimits::default()
        };
        Ok(ServerConfig {
            max_message_bytes: (self.max_message_mib as usize) << 20,
            keys: keys.map(Arc::new),
            tls: tls.map(Arc::new),
            allowed_hosts: self.allow_host.clone(),
            limits,
            slow_query: self.slow_query_ms.map(Duration::from_millis),
            ..ServerConfig::default()
        })
    }

    fn keys(&self) -> Result<Option<KeyRing>> {
        let given: Vec<(&str, String, Role)> = KEY_VARIABLES
            .into_iter()
            .filter_map(|(name, role)| Some((name, std::env::var(name).ok()?, role)))
            .filter(|(_, key, _)| !key.is_empty())
            .collect();
        if given.is_empty() && self.api_keys.is_none() {
            return Ok(None);
        }
        let given: Vec<(&str, &str, Role)> =
            given.iter().map(|(name, key, role)| (*name, key.trim(), *role)).collect();
        let keys = KeyRing::new(&given, self.api_keys.as_deref());
        keys.map(Some).map_err(|error| CliError::Usage(error.to_string()))
    }

    fn tls(&self) -> Result<Option<Tls>> {
        let (Some(certificate), Some(private_key)) = (&self.tls_cert, &self.tls_key) else {
            return Ok(None);
        };
        let files = TlsFiles {
            certificate: certificate.clone(),
            private_key: private_key.clone(),
            client_ca: self.tls_client_ca.clone(),
        };
        Tls::new(files).map(Some).map_err(|error| CliError::Usage(error.to_string()))
    }
}
