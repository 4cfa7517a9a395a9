//! One record per request or connection: filled by the proxy's phases as they learn things, emitted once at the end.
//!
//! ```text
//!  ConnFacts   fixed once a connection is identified; shared by its requests
//!  Flow        what an HTTP request and a TCP connection have in common; the whole record of a TCP connection
//!  HttpRecord  a Flow and what only HTTP has
//! ```

use std::{
    borrow::Cow,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Method, Version, uri::PathAndQuery};

use crate::{
    access_log::Captured,
    flags::Flags,
    metrics::{HttpOutcome, RequestProtocol},
};

/// What is known of a downstream connection.
#[derive(Clone, Debug)]
pub struct ConnFacts {
    /// Distinct among the process' connections.
    pub id: u64,
    /// The peer of the socket.
    pub remote: SocketAddr,
    /// Where it was going: the original destination where traffic was captured.
    pub local: SocketAddr,
    /// SNI of its `ClientHello`.
    pub server_name: Option<Arc<str>>,
    /// What its handshake showed; none for plain text.
    pub tls: Option<Arc<TlsFacts>>,
}

/// What a handshake showed.
#[derive(Clone, Debug, Default)]
pub struct TlsFacts {
    /// `TLSv1.3`
    pub version: &'static str,
    /// `TLS_AES_128_GCM_SHA256`
    pub cipher: &'static str,
    /// The group's IANA name, such as `X25519MLKEM768`.
    pub key_exchange: Option<Arc<str>>,
    /// URI SANs of the peer's certificate, none without one.
    pub peer_uri_sans: Vec<Arc<str>>,
    /// Distinguished name of the peer's certificate, often empty.
    pub peer_subject: Option<Arc<str>>,
    /// Serial number of the peer's certificate, hex.
    pub peer_serial: Option<Arc<str>>,
    /// SHA-256 of the peer's certificate, hex.
    pub peer_fingerprint: Option<Arc<str>>,
    /// URI SAN of our own certificate.
    pub local_uri_san: Option<Arc<str>>,
}

/// The upstream end, as far as it came.
#[derive(Clone, Debug, Default)]
pub struct Upstream {
    /// The cluster that was chosen.
    pub cluster: Option<Arc<str>>,
    /// The endpoint that was chosen.
    pub host: Option<SocketAddr>,
    /// Our end of the connection to it.
    pub local: Option<SocketAddr>,
    /// Why the transport (TLS mostly) could not be set up.
    pub transport_failure: Option<Cow<'static, str>>,
    /// How often it was tried: 1 without a retry.
    pub attempts: u32,
}

/// What an HTTP request and a TCP connection have in common.
#[derive(Clone, Debug)]
pub struct Flow {
    /// When it began.
    pub start: SystemTime,
    /// How long it took; set at the end.
    pub duration: Duration,
    /// The client's address where it is not the socket's peer: taken from a trusted `x-forwarded-for`.
    pub client: Option<SocketAddr>,
    /// Bytes of body (HTTP) or stream (TCP) from the downstream.
    pub bytes_received: u64,
    /// Bytes of body or stream to the downstream.
    pub bytes_sent: u64,
    /// Why it ended so.
    pub flags: Flags,
    /// Where the answer comes from: `via_upstream`, `route_not_found` …, without spaces.
    pub details: Option<Cow<'static, str>>,
    /// Why the downstream connection was closed by policy.
    pub termination: Option<Cow<'static, str>>,
    /// Name of the route that was chosen.
    pub route: Option<Arc<str>>,
    /// The upstream end.
    pub upstream: Upstream,
}

impl Flow {
    /// A flow that began at `start` and of which nothing more is known.
    pub fn new(start: SystemTime) -> Self {
        Self {
            start,
            duration: Duration::ZERO,
            client: None,
            bytes_received: 0,
            bytes_sent: 0,
            flags: Flags::default(),
            details: None,
            termination: None,
            route: None,
            upstream: Upstream::default(),
        }
    }
}

/// The record of an HTTP request.
#[derive(Clone, Debug)]
pub struct HttpRecord {
    /// What TCP has too.
    pub flow: Flow,
    /// The downstream's protocol.
    pub version: Version,
    /// Whether it is gRPC, and the status it ended with.
    pub protocol: RequestProtocol,
    /// As received.
    pub method: Method,
    /// `http` or `https`
    pub scheme: &'static str,
    /// Path and query as last rewritten (the original is then in `x-envoy-original-path`); none for CONNECT.
    pub path: Option<PathAndQuery>,
    /// `:authority` or `Host`.
    pub authority: Option<HeaderValue>,
    /// The response's status; 0 if there was none.
    pub code: u16,
    /// From the start to the last byte of the request.
    pub request_done: Option<Duration>,
    /// From the start to the first byte of the upstream's response.
    pub response_begun: Option<Duration>,
    /// From the downstream, headers and framing included.
    pub request_wire_bytes: u64,
    /// To the downstream, headers and framing included.
    pub response_wire_bytes: u64,
    /// The headers the access log wants.
    pub captured: Captured,
}

impl HttpRecord {
    /// A request of which only its beginning is known.
    pub fn new(start: SystemTime, version: Version, method: Method) -> Self {
        Self {
            flow: Flow::new(start),
            version,
            protocol: RequestProtocol::Http,
            method,
            scheme: "http",
            path: None,
            authority: None,
            code: 0,
            request_done: None,
            response_begun: None,
            request_wire_bytes: 0,
            response_wire_bytes: 0,
            captured: Captured::default(),
        }
    }

    /// What the metrics count.
    pub fn outcome(&self) -> HttpOutcome {
        HttpOutcome {
            protocol: self.protocol,
            code: self.code,
            flags: self.flow.flags,
            duration: self.flow.duration,
            request_bytes: self.request_wire_bytes,
            response_bytes: self.response_wire_bytes,
        }
    }

    /// Whether it counts as a success on its edge: HTTP below 500 and answered, gRPC status 0.
    pub fn succeeded(&self) -> bool {
        match self.protocol {
            RequestProtocol::Http => (1..500).contains(&self.code),
            RequestProtocol::Grpc { status } => status == Some(0),
        }
    }
}
