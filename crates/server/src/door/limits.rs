//! Limits on the resources of clients.

use std::time::Duration;

/// Limits on connections, requests, memory and time.
#[derive(Debug, Clone)]
pub struct ServerLimits {
    /// Concurrent connections; more are closed at once.
    pub connections: usize,
    /// Concurrent requests per connection; more wait at the client.
    pub connection_requests: u32,
    /// Concurrent requests; more are rejected.
    pub requests: usize,
    /// Bytes of requests received and not yet answered, including their decoded messages, over all
    /// clients.
    pub received_bytes: u64,
    /// The same, per connection.
    pub connection_bytes: u64,
    /// Bytes of candidates and responses over all requests, beyond the first 64 KiB of each.
    pub work_bytes: u64,
    /// The same, per request.
    pub request_bytes: u64,
    /// Size at which a response to `GetPoints` or `ScrollPoints` is full, in bytes of its points.
    pub page_bytes: u64,
    /// Timeout of the TLS handshake, and of the first bytes of a new connection.
    pub handshake: Duration,
    /// Timeout of a silent connection (clients answer pings every minute), and of a connection
    /// without an admitted request.
    pub silence: Duration,
    /// Timeout of an incomplete message.
    pub message: Duration,
    /// Timeout of a client that leaves a part of a response unread.
    pub unread: Duration,
    /// Timeout of a silent connection without requests once the server is stopping, if its client
    /// does not respond.
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
