//! The server: all services on one port behind the door, and shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::watch;
use tonic::service::Routes;
use tonic::transport::Server;
use tower::util::MapResponseLayer;

use super::collections::Collections;
use super::door::{DoorLayer, KeyRing, Rules, ServerLimits, Tls, incoming, reload};
use super::jobs::JobsOf;
use super::plain::{self, State};
use super::points::Points;
use super::query::Queries;
use super::status;
use lanner::Database;
use lanner_client::proto::FILE_DESCRIPTOR_SET;
use lanner_client::proto::collection_service_server::CollectionServiceServer;
use lanner_client::proto::job_service_server::JobServiceServer;
use lanner_client::proto::point_service_server::PointServiceServer;
use lanner_client::proto::query_service_server::QueryServiceServer;

/// Largest size of a request's headers, in bytes.
const MAX_HEADER_BYTES: u32 = 16 << 10;

/// Settings of a server.
#[derive(Debug, Clone)]
pub struct ServerConfig {
    /// Largest message to accept, in bytes.
    pub max_message_bytes: usize,
    /// Grace period for requests in flight when the server stops.
    pub grace: Duration,
    /// API keys, one of which every request needs; without keys, everyone has full access.
    pub keys: Option<Arc<KeyRing>>,
    /// TLS certificates; without them, connections are not encrypted.
    pub tls: Option<Arc<Tls>>,
    /// Host names of the server for requests without a key. Addresses and names without a dot need
    /// not be listed.
    pub allowed_hosts: Vec<String>,
    /// Limits on the resources of clients.
    pub limits: ServerLimits,
    /// Queries that take longer are logged with their plan.
    pub slow_query: Option<Duration>,
}

impl Default for ServerConfig {
    fn default() -> Self {
        Self {
            max_message_bytes: 64 << 20,
            grace: Duration::from_secs(30),
            keys: None,
            tls: None,
            allowed_hosts: Vec::new(),
            limits: ServerLimits::default(),
            slow_query: None,
        }
    }
}

/// Failure to start or run a server.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// The transport failed.
    #[error("the server failed: {0}")]
    Transport(#[from] tonic::transport::Error),
    /// The embedded service definition is broken.
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
    health.set_serving::<JobServiceServer<JobsOf>>().await;
    health.set_serving::<PointServiceServer<Points>>().await;
    health.set_serving::<QueryServiceServer<Queries>>().await;

    let rules = Arc::new(Rules::new(config.keys.clone(), config.allowed_hosts, config.limits));
    let limit = config.max_message_bytes;
    let page_bytes = rules.limits.page_bytes;
    let points = Points { database: database.clone(), stopping: stopping.clone(), page_bytes };
    let jobs = JobsOf { database: database.clone(), stopping: stopping.clone() };
    let queries = Queries { database: database.clone(), slow: config.slow_query };
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
        .add_service(JobServiceServer::new(jobs))
        .add_service(PointServiceServer::new(points).max_decoding_message_size(limit))
        .add_service(QueryServiceServer::new(queries).max_decoding_message_size(limit));
    let state = State { database, rules: rules.clone(), stopping: stopping.clone() };
    let routes: Routes = plain::routes(routes.into_axum_router(), state).into();
    let (received, limits) = (rules.received.clone(), rules.limits.clone());
    let router = Server::builder()
        // Only for metrics and health, as the door ensures.
        .accept_http1(true)
        .max_concurrent_streams(limits.connection_requests)
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(Duration::from_secs(60)))
        // A batch of vectors is megabytes: with the default of 64 KiB it would wait for each part.
        .initial_stream_window_size(Some(4 << 20))
        .initial_connection_window_size(Some(16 << 20))
        .layer(DoorLayer(rules))
        .layer(MapResponseLayer::new(status::refused_response))
        .add_routes(routes);

    tokio::spawn(async move {
        shutdown.await;
        health.set_service_status("", tonic_health::ServingStatus::NotServing).await;
        stop.send_replace(true);
    });
    let connections = incoming(listener, config.tls.clone(), limits, received, stopping.clone());
    let server = router.serve_with_incoming_shutdown(connections, stopped(stopping.clone()));
    let renew = async {
        match (&config.keys, &config.tls) {
            (None, None) => std::future::pending().await,
            (keys, tls) => reload(keys.clone(), tls.clone()).await,
        }
    };
    let grace = async {
        stopped(stopping).await;
        tokio::time::sleep(config.grace).await;
    };
    tokio::select! {
        served = server => served?,
        () = renew => {}
        () = grace => tracing::warn!("requests in flight were cut off after the grace period"),
    }
    Ok(())
}

async fn stopped(mut stopping: watch::Receiver<bool>) {
    // An error means that the sender is gone, so that nobody else can stop the server.
    let _ = stopping.wait_for(|stopping| *stopping).await;
}

/// Ready when the process receives SIGTERM or SIGINT.
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
