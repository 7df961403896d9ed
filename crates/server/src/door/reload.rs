//! Reloads keys and certificates when their files change, and on SIGHUP.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::keys::KeyRing;
use super::tls::Tls;

/// Polling interval of the files.
const PERIOD: Duration = Duration::from_secs(2);

/// Modification time and size of a file, if it exists.
type Stamp = Option<(SystemTime, u64)>;

fn stamps<'p>(paths: impl Iterator<Item = &'p Path>) -> Vec<Stamp> {
    let stamp = |path: &Path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    };
    paths.map(stamp).collect()
}

/// Reloads keys and certificates when they change, for as long as it is polled.
pub async fn reload(keys: Option<Arc<KeyRing>>, tls: Option<Arc<Tls>>) {
    let now = || {
        let keys = keys.iter().filter_map(|keys| keys.file());
        stamps(keys.chain(tls.iter().flat_map(|tls| tls.files())))
    };
    let mut seen = now();
    loop {
        let asked = tokio::select! {
            () = hang_up() => true,
            () = tokio::time::sleep(PERIOD) => false,
        };
        let found = now();
        if !asked && found == seen {
            continue;
        }
        seen = found;
        let done = |what, result: Result<(), String>| match result {
            Ok(()) => tracing::info!("{what} were read again"),
            Err(error) => tracing::error!(%error, "{what} stay as they were"),
        };
        if let Some(keys) = &keys {
            done("API keys", keys.reload().map_err(|error| error.to_string()));
        }
        if let Some(tls) = &tls {
            done("certificates", tls.reload().map_err(|error| error.to_string()));
        }
    }
}

/// Ready on SIGHUP.
async fn hang_up() {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        if let Ok(mut signal) = signal(SignalKind::hangup()) {
            signal.recv().await;
            return;
        }
    }
    std::future::pending().await
}
