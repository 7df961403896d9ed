//! The door: the checks that every request passes before anything is done for it.
//!
//! A connection takes a place, optionally with TLS (`incoming`, `tls`), and is watched as long as
//! it lives (`connection`). For each request, the key is checked first (`keys`, `access`), on every
//! path, then its shape and origin (`shape`), and then whether there is capacity for it. From there
//! on its bytes are counted (`body`), and its handler can look up the caller (`caller`).

mod access;
mod body;
mod caller;
mod connection;
mod incoming;
mod keys;
mod limits;
mod method;
mod refusal;
mod reload;
mod shape;
mod tls;
mod turns;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{HeaderMap, Request, Response, StatusCode, header};
use tokio::sync::Semaphore;
use tonic::Code;
use tonic::body::Body;
use tower::{Layer, Service};

pub use access::{Access, Role};
pub use caller::Caller;
pub use incoming::incoming;
pub use keys::{KeyError, KeyRing, NewKey};
pub use limits::ServerLimits;
pub use method::METHODS;
pub use reload::reload;
pub use tls::{Tls, TlsError, TlsFiles};

use self::body::{Answer, Received};
use self::connection::Connection;
use self::method::Method;
use self::refusal::Refusal;
use self::turns::Turns;
use super::traffic::Traffic;
use lanner::MemoryBudget;
use lanner_client::codec;

/// Bytes of candidates and responses that are always available to a request, so that large requests
/// do not starve short queries. A query for ten neighbours takes about 50 kB.
const SURE_BYTES: u64 = 64 << 10;

/// Configuration and shared state of the door.
#[derive(Debug)]
pub struct Rules {
    keys: Option<Arc<KeyRing>>,
    hosts: Vec<String>,
    pub limits: Arc<ServerLimits>,
    /// Budget of bytes received and not yet answered.
    pub received: Arc<MemoryBudget>,
    /// Budget of candidates and responses.
    pub work: Arc<MemoryBudget>,
    places: Arc<Semaphore>,
    turns: Arc<Turns>,
    pub traffic: Traffic,
}

impl Rules {
    /// Requests need one of `keys`; without keys, a host that no web page can have; see [`shape`].
    pub fn new(keys: Option<Arc<KeyRing>>, hosts: Vec<String>, limits: ServerLimits) -> Self {
        Self {
            keys,
            hosts,
            received: MemoryBudget::new("all requests together", limits.received_bytes),
            work: MemoryBudget::new("all requests together", limits.work_bytes),
            places: Arc::new(Semaphore::new(limits.requests)),
            turns: Arc::default(),
            limits: Arc::new(limits),
            traffic: Traffic::default(),
        }
    }

    /// Number of requests in progress.
    pub fn requests_in_progress(&self) -> usize {
        self.limits.requests.saturating_sub(self.places.available_permits())
    }

    /// Checks a request before its body is read.
    fn admit(
        &self,
        request: &Request<Body>,
        method: &Method,
        connection: &Connection,
    ) -> Result<Caller, Refusal> {
        let access = match &self.keys {
            Some(keys) => {
                let key = bearer(request.headers()).ok_or_else(Refusal::unauthenticated)?;
                keys.find(key).ok_or_else(Refusal::unauthenticated)?
            }
            // Web pages have no key; without keys, they are recognized by their host.
            None => {
                shape::check_host(request, &self.hosts)?;
                Access::FULL
            }
        };
        shape::check_origin(request)?;
        shape::check(request, method)?;
        access.check_role(method.needs)?;
        let Ok(place) = self.places.clone().try_acquire_owned() else {
            let message = format!("expected at most {} requests at a time", self.limits.requests);
            let status = StatusCode::SERVICE_UNAVAILABLE;
            return Err(Refusal::new(Code::ResourceExhausted, status, message));
        };
        let received = connection.received.part("one request", self.limits.connection_bytes, 0);
        let work = self.work.part("one request", self.limits.request_bytes, SURE_BYTES);
        Ok(Caller::new(access, received, work, (self.turns.clone(), method.class), place))
    }

    async fn pass<S>(&self, inner: &mut S, mut request: Request<Body>) -> Response<Body>
    where
        S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    {
        let index = method::index_of(request.uri().path());
        let measured = self.traffic.start(index);
        let grpc = shape::is_grpc(&request);
        let connection = request.extensions().get::<Arc<Connection>>().cloned();
        let connection =
            connection.unwrap_or_else(|| Connection::new(&self.received, &self.limits));
        let caller = match self.admit(&request, &METHODS[index], &connection) {
            Ok(caller) => caller,
            Err(refusal) => {
                measured.finish(refusal.code);
                return refusal.into_response(grpc);
            }
        };
        let connection = connection.admit();
        request.extensions_mut().insert(caller.clone());
        let patience = self.limits.message;
        let request = request.map(|body| Body::new(Received::new(body, caller.clone(), patience)));
        let answer = codec::counted(caller.received().clone(), inner.call(request));
        let Ok(response) = answer.await;
        measured.finish(code_of(&response));
        response.map(|body| Body::new(Answer::new(body, connection, caller)))
    }
}

/// The key of a request.
fn bearer(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(header::AUTHORIZATION)?.to_str().ok()?;
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| key.trim())
}

/// The status code of a response, as far as its head tells.
fn code_of(response: &Response<Body>) -> Code {
    match response.headers().get("grpc-status") {
        Some(code) => Code::from_bytes(code.as_bytes()),
        None if response.status().is_success() => Code::Ok,
        None => Code::Unknown,
    }
}

/// Layer that puts the door in front of services.
#[derive(Debug, Clone)]
pub struct DoorLayer(pub Arc<Rules>);

impl<S> Layer<S> for DoorLayer {
    type Service = Door<S>;

    fn layer(&self, inner: S) -> Door<S> {
        Door { rules: self.0.clone(), inner }
    }
}

/// Services behind the door.
#[derive(Debug, Clone)]
pub struct Door<S> {
    rules: Arc<Rules>,
    inner: S,
}

impl<S> Service<Request<Body>> for Door<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S: Clone + Send + 'static,
    S::Future: Send,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The instance that was polled ready is called; the next call polls the clone.
        let clone = self.inner.clone();
        let mut inner = std::mem::replace(&mut self.inner, clone);
        let rules = self.rules.clone();
        Box::pin(async move { Ok(rules.pass(&mut inner, request).await) })
    }
}
