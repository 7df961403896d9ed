//! The server: all services on one port, and how it stops.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic::transport::server::TcpIncoming;
use tower::util::MapResponseLayer;

use super::collections::Collections;
use super::metrics;
use super::points::Points;
use super::proto::FILE_DESCRIPTOR_SET;
use super::proto::collection_service_server::CollectionServiceServer;
use super::proto::point_service_server::PointServiceServer;
use super::proto::query_service_server::QueryServiceServer;
use super::query::Queries;
use super::status;
use crate::Database;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Largest message the server reads, in bytes.
    pub max_message_bytes: usize,
    /// How long requests in flight may take once the server stops.
    pub grace: Duration,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self { max_message_bytes: 64 << 20, grace: Duration::from_secs(30) }
    }
}

/// Why a server could not start or go on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The service's own definition is broken.
    #[error("reflection is not available: {0}")]
    Reflection(#[from] tonic_reflection::server::Error),
}

/// Serves a database on `listener` until `shutdown` is ready, then finishes the requests in flight.
///
/// # Errors
/// [`ServeError`] if the transport fails.
pub async fn serve(
    database: Arc<Database>,
    listener: TcpListener,
    config: ServerConfig,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> Result<(), ServeError> {
    let (stop, stopping) = watch::channel(false);
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<CollectionServiceServer<Collections>>().await;
    health.set_serving::<PointServiceServer<Points>>().await;
    health.set_serving::<QueryServiceServer<Queries>>().await;

    let limit = config.max_message_bytes;
    let points = Points { database: database.clone(), stopping: stopping.clone() };
    let reflection = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    let routes = Routes::new(health_service)
        .add_service(reflection().build_v1()?)
        .add_service(reflection().build_v1alpha()?)
        .add_service(
            CollectionServiceServer::new(Collections(database.clone()))
                .max_decoding_message_size(limit),
        )
        .add_service(PointServiceServer::new(points).max_decoding_message_size(limit))
        .add_service(
            QueryServiceServer::new(Queries(database.clone())).max_decoding_message_size(limit),
        );
    let routes: Routes = metrics::route(routes.into_axum_router(), database).into();
    let router = Server::builder()
        // For metrics alone: gRPC is HTTP/2.
        .accept_http1(true)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        // A batch of vectors has megabytes: the default of 64 KiB would wait for each part.
        .initial_stream_window_size(Some(4 << 20))
        .initial_connection_window_size(Some(16 << 20))
        .layer(MapResponseLayer::new(status::oversized_response))
        .add_routes(routes);

    tokio::spawn(async move {
        shutdown.await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        stop.send_replace(true);
    });
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true));
    let server = router.serve_with_incoming_shutdown(incoming, stopped(stopping.clone()));
    let grace = async {
        stopped(stopping).await;
        tokio::time::sleep(config.grace).await;
    };
    tokio::select! {
        served = server => served?,
        () = grace => tracing::warn!("requests in flight were cut off after the grace period"),
    }
    Ok(())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, and with it whoever could stop the server otherwise.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Ready when the process is asked to stop, by SIGTERM or SIGINT.
pub async fn shutdown_signal() {
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    #[cfg(unix)]
    let terminate = async {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut signal) => drop(signal.recv().await),
            Err(_) => std::future::pending::<()>().await,
        }
    };
    #[cfg(not(unix))]
    let terminate = std::future::pending::<()>();
    tokio::select! {
        () = interrupt => {}
        () = terminate => {}
    }
}
