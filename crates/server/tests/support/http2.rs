//! Requests of clients that do as they like: bare HTTP/1 and HTTP/2.

use std::net::SocketAddr;

use h2::client::{ResponseFuture, SendRequest};
use h2::{RecvStream, SendStream};
use http::{HeaderMap, Request, Response};
use prost::bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// A connection, and the task that ends with it.
pub struct Connection {
    requests: SendRequest<Bytes>,
    pub closed: JoinHandle<()>,
}

impl Connection {
    pub async fn open(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).await.unwrap();
        let (requests, connection) = h2::client::handshake(stream).await.unwrap();
        let closed = tokio::spawn(async {
            connection.await.ok();
        });
        Self { requests, closed }
    }

    /// Starts a request whose body is still to come.
    pub async fn start(&self, request: Request<()>) -> (ResponseFuture, SendStream<Bytes>) {
        self.try_start(request).await.unwrap()
    }

    /// As [`Self::start`], on a connection that may end.
    pub async fn try_start(
        &self,
        request: Request<()>,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        self.requests.clone().ready().await?.send_request(request, false)
    }

    /// Sends a request with this body.
    pub async fn send(&self, request: Request<()>, body: &[u8]) -> Response<RecvStream> {
        let (response, mut stream) = self.start(request).await;
        // The server may have refused it already.
        stream.send_data(Bytes::copy_from_slice(body), true).ok();
        response.await.unwrap()
    }
}

/// A gRPC request for a method of `lanner.v1`, such as `QueryService/Query`.
pub fn grpc(method: &str) -> http::request::Builder {
    Request::post(format!("http://127.0.0.1/lanner.v1.{method}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
}

/// A message as gRPC frames it.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0];
    bytes.extend((message.len() as u32).to_be_bytes());
    bytes.extend(message);
    bytes
}

/// The gRPC code and message of an answer.
pub async fn outcome(mut response: Response<RecvStream>) -> (i32, String) {
    let of = |headers: &HeaderMap| {
        let status = tonic::Status::from_header_map(headers)?;
        Some((status.code() as i32, status.message().to_owned()))
    };
    if let Some(outcome) = of(response.headers()) {
        return outcome;
    }
    let body = response.body_mut();
    while let Some(data) = body.data().await {
        let data = data.unwrap();
        body.flow_control().release_capacity(data.len()).unwrap();
    }
    of(&body.trailers().await.unwrap().unwrap()).unwrap()
}

/// The head and body of an answer to these bytes of HTTP/1.1.
pub async fn http1(address: SocketAddr, request: &[u8]) -> (String, String) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    (head.to_owned(), body.to_owned())
}
