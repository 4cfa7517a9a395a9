//! Why an exchange failed, as data; and the one table that says what the client and the log see of it.
//!
//! Statuses, flags, details and bodies are Envoy's (istio documentation, "Envoy response flags"; Envoy's access-log and
//! response-code-details pages), because people search for them.

use http::StatusCode;
use mizzen_telemetry::Flag;

/// What went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// No virtual host or no route.
    NoRoute,
    /// The route names a cluster that does not exist.
    NoCluster,
    /// The cluster has no healthy endpoint.
    NoHealthyUpstream,
    /// The connection could not be made.
    ConnectFailed,
    /// The connection was not made in time.
    ConnectTimeout,
    /// The upstream's TLS failed: certificate, name, version.
    TlsFailed,
    /// The upstream closed before the response began.
    ConnectionTermination,
    /// The upstream reset the stream.
    RemoteReset,
    /// The upstream refused the stream and did nothing with it (HTTP/2 `REFUSED_STREAM`, GOAWAY).
    RefusedStream,
    /// The upstream's bytes are no HTTP.
    UpstreamProtocol,
    /// A limit that the user set.
    Overflow,
    /// The route's timeout passed.
    Timeout,
    /// The timeout of each try of the last try passed.
    PerTryTimeout,
    /// The client went away.
    ClientGone,
    /// The request is ambiguous or malformed.
    BadRequest(&'static str),
    /// More header bytes or lines than allowed.
    HeadersTooLarge,
    /// An `Upgrade` that the chain does not let through.
    UpgradeRefused,
    /// `CONNECT`, which no route here takes.
    ConnectRefused,
}

/// Who caused it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    Downstream,
    Upstream,
    Internal,
}

/// Whether the same request may be sent again without the user's asking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Retry {
    Never,
    /// Nothing of the request reached an application.
    IfUnsent,
}

/// An exchange that failed.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.row().reason)]
pub(crate) struct ProxyError {
    pub(crate) kind: Kind,
    pub(crate) retry: Retry,
    /// For `%UPSTREAM_TRANSPORT_FAILURE_REASON%`.
    pub(crate) transport: Option<Box<str>>,
}

/// What is seen of a kind of failure.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Row {
    pub(crate) origin: Origin,
    pub(crate) status: StatusCode,
    pub(crate) flag: Option<Flag>,
    /// `%RESPONSE_CODE_DETAILS%`.
    pub(crate) details: &'static str,
    /// Body, or for an upstream reset the reason in its body.
    pub(crate) reason: &'static str,
    /// The body is `upstream connect error …. reset reason: REASON`.
    pub(crate) reset: bool,
}

impl Kind {
    /// The table.
    pub(crate) fn row(self) -> Row {
        use Origin::{Downstream, Internal, Upstream};
        let reset = |flag, details, reason| Row {
            origin: Upstream,
            status: StatusCode::SERVICE_UNAVAILABLE,
            flag: Some(flag),
            details,
            reason,
            reset: true,
        };
        let local = |origin, status, flag, details, reason| Row { origin, status, flag, details, reason, reset: false };
        match self {
            Self::NoRoute => local(Internal, StatusCode::NOT_FOUND, Some(Flag::NoRoute), "route_not_found", ""),
            Self::NoCluster => {
                local(Internal, StatusCode::SERVICE_UNAVAILABLE, Some(Flag::NoCluster), "cluster_not_found", "")
            }
            Self::NoHealthyUpstream => local(
                Upstream,
                StatusCode::SERVICE_UNAVAILABLE,
                Some(Flag::NoHealthyUpstream),
                "no_healthy_upstream",
                "no healthy upstream",
            ),
            Self::ConnectFailed => reset(
                Flag::UpstreamConnectFailure,
                "upstream_reset_before_response_started{remote_connection_failure}",
                "remote connection failure",
            ),
            Self::ConnectTimeout => reset(
                Flag::UpstreamConnectFailure,
                "upstream_reset_before_response_started{connection_timeout}",
                "connection timeout",
            ),
            Self::TlsFailed => reset(
                Flag::UpstreamConnectFailure,
                "upstream_reset_before_response_started{remote_connection_failure|TLS_error}",
                "remote connection failure, transport failure reason: TLS error",
            ),
            Self::ConnectionTermination => reset(
                Flag::UpstreamConnectionTermination,
                "upstream_reset_before_response_started{connection_termination}",
                "connection termination",
            ),
            Self::RemoteReset => {
                reset(Flag::UpstreamRemoteReset, "upstream_reset_before_response_started{remote_reset}", "remote reset")
            }
            Self::RefusedStream => reset(
                Flag::UpstreamRemoteReset,
                "upstream_reset_before_response_started{remote_refused_stream_reset}",
                "remote refused stream reset",
            ),
            Self::UpstreamProtocol => reset(
                Flag::UpstreamProtocolError,
                "upstream_reset_before_response_started{protocol_error}",
                "protocol error",
            ),
            Self::Overflow => {
                reset(Flag::UpstreamOverflow, "upstream_reset_before_response_started{overflow}", "overflow")
            }
            Self::Timeout => local(
                Upstream,
                StatusCode::GATEWAY_TIMEOUT,
                Some(Flag::UpstreamTimeout),
                "response_timeout",
                "upstream request timeout",
            ),
            Self::PerTryTimeout => local(
                Upstream,
                StatusCode::GATEWAY_TIMEOUT,
                Some(Flag::UpstreamTimeout),
                "upstream_per_try_timeout",
                "upstream request timeout",
            ),
            Self::ClientGone => local(
                Downstream,
                StatusCode::from_u16(499).unwrap_or(StatusCode::BAD_REQUEST),
                Some(Flag::DownstreamConnectionTermination),
                "downstream_remote_disconnect",
                "",
            ),
            Self::BadRequest(details) => {
                local(Downstream, StatusCode::BAD_REQUEST, Some(Flag::DownstreamProtocolError), details, "")
            }
            Self::HeadersTooLarge => local(
                Downstream,
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
                Some(Flag::DownstreamProtocolError),
                "http1.headers_too_large",
                "Request Header Fields Too Large",
            ),
            Self::UpgradeRefused => local(Downstream, StatusCode::FORBIDDEN, None, "upgrade_failed", ""),
            Self::ConnectRefused => {
                local(Downstream, StatusCode::NOT_FOUND, Some(Flag::NoRoute), "route_not_found", "")
            }
        }
    }
}

impl ProxyError {
    pub(crate) fn new(kind: Kind) -> Self {
        Self { kind, retry: Retry::Never, transport: None }
    }

    /// A failure before anything of the request was sent.
    pub(crate) fn unsent(kind: Kind) -> Self {
        Self { kind, retry: Retry::IfUnsent, transport: None }
    }

    pub(crate) fn with_transport(mut self, reason: impl std::fmt::Display) -> Self {
        self.transport = Some(reason.to_string().into());
        self
    }

    pub(crate) fn row(&self) -> Row {
        self.kind.row()
    }
}
