//! What a client shows to a server, and what it expects of it.

use std::path::{Path, PathBuf};

use clap::Args;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use super::error::{CliError, Result};

/// Keys and certificates, for --server.
#[derive(Args, Debug, Clone, Default)]
pub struct Credentials {
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

/// Adds the key to every request.
#[derive(Clone)]
pub struct Authorization(Option<MetadataValue<Ascii>>);

impl Interceptor for Authorization {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(key) = &self.0 {
            request.metadata_mut().insert("authorization", key.clone());
        }
        Ok(request)
    }
}

impl Credentials {
    /// What requests carry.
    pub fn authorization(&self) -> Result<Authorization> {
        let Some(key) = self.api_key.as_deref().filter(|key| !key.is_empty()) else {
            return Ok(Authorization(None));
        };
        let value = MetadataValue::try_from(format!("Bearer {}", key.trim()));
        let mut value = value.map_err(|_| {
            CliError::Usage("--api-key: expected printable ASCII characters".into())
        })?;
        // Kept out of what is printed for debugging.
        value.set_sensitive(true);
        Ok(Authorization(Some(value)))
    }

    /// How the connection is encrypted, if it is.
    pub fn tls(&self) -> Result<Option<ClientTlsConfig>> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        Ok(Some(match (&self.client_cert, &self.client_key) {
            (Some(certificate), Some(key)) => {
                config.identity(Identity::from_pem(read(certificate)?, read(key)?))
            }
            _ => config,
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(CliError::file("read", path))
}
