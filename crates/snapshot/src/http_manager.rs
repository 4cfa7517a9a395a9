//! The HTTP connection manager, compiled: everything that holds for all requests of a chain.

use std::{sync::Arc, time::Duration};

use crate::{RouteConfig, listener::AccessLogSpec};

/// `envoy.filters.network.http_connection_manager`.
#[derive(Debug)]
pub struct HttpManager {
    pub stat_prefix: Box<str>,
    pub routes: RouteSource,
    pub access_log: Option<Arc<AccessLogSpec>>,
    /// Value of the `server` response header (OVERWRITE); `None` passes the upstream's through.
    pub server_name: Option<http::HeaderValue>,
    /// The edge: the peer's address is the client's, external headers are not trusted.
    pub use_remote_address: bool,
    /// `xff_num_trusted_hops`.
    pub trusted_hops: u32,
    pub client_cert: ClientCertHeader,
    /// Which details XFCC carries when it is set or appended.
    pub client_cert_details: ClientCertDetails,
    /// A UUID is made when the request has no x-request-id (always at the edge).
    pub generate_request_id: bool,
    /// `Upgrade` values let through, lower case; `*` stands for all; any other upgrade is refused with 403.
    pub upgrades: Vec<Box<str>>,
    pub path: PathNormalization,
    /// Keep-alive idle time of the downstream connection. Default 1 h.
    pub idle_timeout: Duration,
    /// From the first byte to the end of the request headers. Default 60 s at gateways, none says Istio on sidecars:
    /// we keep 60 s everywhere (slowloris).
    pub request_headers_timeout: Duration,
    /// No byte in either direction of a stream. 0 in Istio: `None`.
    pub stream_idle_timeout: Option<Duration>,
    /// Bytes of request headers. Default 60 KiB.
    pub header_bytes_max: u32,
    /// Lines of request headers. Default 100.
    pub header_count_max: u32,
    /// HTTP/2 streams at once. Default 100 at the edge, 1,000 else.
    pub streams_max: u32,
    /// The `istio.alpn` filter: upstream ALPN follows the downstream protocol.
    pub alpn_by_downstream: bool,
}

/// Where routes come from.
#[derive(Clone, Debug)]
pub enum RouteSource {
    Inline(Arc<RouteConfig>),
    /// RDS name.
    Named(Arc<str>),
}

/// Envoy's `forward_client_cert_details`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientCertHeader {
    Sanitize,
    ForwardOnly,
    AppendForward,
    SanitizeSet,
    AlwaysForwardOnly,
}

/// Parts of an XFCC element beside `By` and `Hash`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[expect(clippy::struct_excessive_bools, reason = "Envoy's own independent switches")]
pub struct ClientCertDetails {
    pub subject: bool,
    pub cert: bool,
    pub chain: bool,
    pub uri: bool,
    pub dns: bool,
}

/// Istio's `pathNormalization`, as the wire says it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathNormalization {
    /// RFC 3986 dot segments and percent-encoding of unreserved characters.
    pub normalize: bool,
    pub merge_slashes: bool,
    pub escaped_slashes: EscapedSlashes,
}

/// What `%2F` and `%5C` become.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum EscapedSlashes {
    #[default]
    Keep,
    Reject,
    Unescape,
}
