//! Client credentials and server authentication.

use std::path::{Path, PathBuf};

use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::transport::{Certificate, ClientTlsConfig, Identity};
use tonic::{Request, Status};

use crate::error::{ClientError, Result};

/// Keys and certificates for a server. By default there are none, and connections are not
/// encrypted.
#[derive(Clone, Default)]
pub struct Credentials {
    /// API key.
    pub api_key: Option<String>,
    /// Root certificates of the server (PEM); the connection is encrypted if they are given.
    pub ca: Option<PathBuf>,
    /// Client certificate and private key (PEM), for servers that require one.
    pub identity: Option<(PathBuf, PathBuf)>,
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
    /// The authorization that is added to requests.
    pub(crate) fn authorization(&self) -> Result<Authorization> {
        let Some(key) = self.api_key.as_deref().filter(|key| !key.is_empty()) else {
            return Ok(Authorization(None));
        };
        let value = MetadataValue::try_from(format!("Bearer {}", key.trim()));
        let mut value = value.map_err(|_| ClientError::Credentials {
            what: "API key".into(),
            problem: "expected printable ASCII characters",
        })?;
        // Kept out of debug output.
        value.set_sensitive(true);
        Ok(Authorization(Some(value)))
    }

    /// TLS configuration, if the connection is encrypted.
    pub(crate) fn tls(&self) -> Result<Option<ClientTlsConfig>> {
        let Some(ca) = &self.ca else { return Ok(None) };
        let config = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca)?));
        Ok(Some(match &self.identity {
            Some((certificate, key)) => {
                config.identity(Identity::from_pem(read(certificate)?, read(key)?))
            }
            None => config,
        }))
    }
}

fn read(path: &Path) -> Result<Vec<u8>> {
    std::fs::read(path).map_err(|source| ClientError::File { path: path.to_owned(), source })
}
