//! How much clients may use.

use std::time::Duration;

/// Bounds on connections, requests, memory and patience.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Connections at a time; more are closed at once.
    pub connections: usize,
    /// Requests at a time on one connection; more wait at the client.
    pub connection_requests: u32,
    /// Requests at a time; more are refused.
    pub requests: usize,
    /// Bytes of requests that were received and are not answered yet, of all clients, and what they
    /// are decoded into.
    pub received_bytes: u64,
    /// The same of one connection.
    pub connection_bytes: u64,
    /// Bytes of candidates and answers of all requests, beyond the first 64 KiB of each.
    pub work_bytes: u64,
    /// The same of one request.
    pub request_bytes: u64,
    /// Size at which an answer to `GetPoints` or `ScrollPoints` ends, in bytes of its points.
    pub page_bytes: u64,
    /// How long the TLS handshake may take, and a new connection be silent.
    pub handshake: Duration,
    /// How long a connection may be silent (clients answer pings each minute), and how long it may
    /// last before its first request was admitted.
    pub silence: Duration,
    /// How long a message may be under way.
    pub message: Duration,
    /// How long a client may leave a part of an answer unread before its connection is closed.
    pub unread: Duration,
    /// How long a connection without requests may be silent once the server stops, until it is closed
    /// although its client has not answered.
    pub farewell: Duration,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections: 512,
            connection_requests: 128,
            requests: 4_096,
            received_bytes: 384 << 20,
            connection_bytes: 256 << 20,
            work_bytes: 512 << 20,
            request_bytes: 256 << 20,
            page_bytes: 16 << 20,
            handshake: Duration::from_secs(10),
            silence: Duration::from_secs(120),
            message: Duration::from_secs(60),
            unread: Duration::from_secs(60),
            farewell: Duration::from_secs(1),
        }
    }
}
