//! TLS, with certificates that are reloaded without a restart.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use tokio_rustls::rustls::{self, RootCertStore};

/// Files in PEM format.
#[derive(Debug, Clone)]
pub struct TlsFiles {
    /// Certificate chain of the server.
    pub certificate: PathBuf,
    /// Private key of the certificate.
    pub private_key: PathBuf,
    /// Root certificates for clients; clients need no certificate if `None`.
    pub client_ca: Option<PathBuf>,
}

/// Failure to set up TLS.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {what} from `{}`: {source}", path.display())]
    File {
        /// Expected content.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The failure.
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("`{}`: expected at least one certificate, got none", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// Certificate and key do not match, or are not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The root certificates for clients are unusable.
    #[error("roots of client certificates cannot be used: {0}")]
    ClientRoots(#[from] VerifierBuilderError),
}

/// The TLS configuration for accepting connections.
pub struct Tls {
    files: TlsFiles,
    config: ArcSwapOption<rustls::ServerConfig>,
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn new(files: TlsFiles) -> Result<Self, TlsError> {
        let tls = Self { files, config: ArcSwapOption::empty() };
        tls.reload()?;
        Ok(tls)
    }

    /// Reloads the files, for new connections.
    ///
    /// # Errors
    /// [`TlsError`]; the previous certificates then stay in effect.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Some(Arc::new(load(&self.files)?)));
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let TlsFiles { certificate, private_key, client_ca } = &self.files;
        [certificate, private_key].into_iter().chain(client_ca).map(PathBuf::as_path)
    }

    /// An acceptor with the configuration that was loaded last.
    pub(super) fn acceptor(&self) -> Option<TlsAcceptor> {
        self.config.load_full().map(TlsAcceptor::from)
    }
}

fn load(files: &TlsFiles) -> Result<rustls::ServerConfig, TlsError> {
    let provider = Arc::new(default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()?;
    let builder = match &files.client_ca {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(path)? {
                roots.add(certificate)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(roots.into(), provider);
            builder.with_client_cert_verifier(verifier.build()?)
        }
    };
    let path = &files.private_key;
    let key = PrivateKeyDer::from_pem_file(path).map_err(failed("a private key", path))?;
    let mut config = builder.with_single_cert(certificates(&files.certificate)?, key)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let failed = failed("certificates", path);
    let read = CertificateDer::pem_file_iter(path).map_err(&failed)?;
    let read = read.collect::<Result<Vec<_>, _>>().map_err(&failed)?;
    if read.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(read)
}

fn failed(what: &'static str, path: &Path) -> impl Fn(pem::Error) -> TlsError {
    move |source| TlsError::File { what, path: path.to_owned(), source }
}
