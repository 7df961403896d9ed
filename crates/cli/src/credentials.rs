//! Keys and certificates on the command line.

use std::path::PathBuf;

use clap::Args;

/// Keys and certificates, for --server.
#[derive(Args, Debug, Clone, Default)]
pub struct CredentialArguments {
    /// API key for --server; better given as LANNER_API_KEY, which other users do not see
    #[arg(long, env = "LANNER_API_KEY", hide_env_values = true, value_name = "KEY")]
    api_key: Option<String>,
    /// Roots of the server's certificate (PEM); the connection to --server is encrypted
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// Certificate for a server that wants one of its clients (PEM)
    #[arg(long, value_name = "FILE", requires_all = ["ca", "client_key"])]
    client_cert: Option<PathBuf>,
    /// Private key of --client-cert (PEM)
    #[arg(long, value_name = "FILE", requires = "client_cert")]
    client_key: Option<PathBuf>,
}

impl CredentialArguments {
    /// What connections need.
    pub fn credentials(&self) -> lanner_client::Credentials {
        let identity = self.client_cert.clone().zip(self.client_key.clone());
        lanner_client::Credentials { api_key: self.api_key.clone(), ca: self.ca.clone(), identity }
    }
}
