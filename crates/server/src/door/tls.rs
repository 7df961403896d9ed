//! TLS: certificates, and how they are renewed without a restart.

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
    /// The server's certificate, and those between it and its root.
    pub certificate: PathBuf,
    /// The private key of the certificate.
    pub private_key: PathBuf,
    /// Roots of clients' certificates; clients need none if not set.
    pub client_ca: Option<PathBuf>,
}

/// Why TLS cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// A file cannot be read or is not PEM.
    #[error("cannot read {what} from `{}`: {source}", path.display())]
    File {
        /// What it should hold.
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
    /// Certificate and key do not fit, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
    /// The roots of clients' certificates cannot be used.
    #[error("roots of client certificates cannot be used: {0}")]
    ClientRoots(#[from] VerifierBuilderError),
}

/// What TLS connections are accepted with.
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

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    /// [`TlsError`]; then certificates are those from before.
    pub fn reload(&self) -> Result<(), TlsError> {
        self.config.store(Some(Arc::new(load(&self.files)?)));
        Ok(())
    }

    /// The files.
    pub fn files(&self) -> impl Iterator<Item = &Path> {
        let TlsFiles { certificate, private_key, client_ca } = &self.files;
        [certificate, private_key].into_iter().chain(client_ca).map(PathBuf::as_path)
    }

    /// Accepts a connection with the files as they were read last.
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
