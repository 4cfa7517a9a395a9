//! Whether a failed try is followed by another. Pure.

use http::{HeaderMap, StatusCode};
use mizzen_snapshot::route::{RetryOn, RetryPolicy};

use crate::error::{Kind, Origin, ProxyError};

/// Whether the policy may ask for the request again after it was sent: then its head must be kept.
pub(crate) fn needs_copy(policy: &RetryPolicy, grpc: bool, http2: bool) -> bool {
    let on = policy.on;
    let by_status = on.server_error
        || on.gateway_error
        || on.retriable_4xx
        || on.retriable_status_codes && !policy.statuses.is_empty();
    let by_grpc = grpc
        && (on.grpc_cancelled
            || on.grpc_deadline_exceeded
            || on.grpc_internal
            || on.grpc_resource_exhausted
            || on.grpc_unavailable);
    by_status || by_grpc || on.reset || http2 && on.refused_stream || policy.per_try_timeout.is_some()
}

/// Whether this failure is one that the policy retries.
pub(crate) fn on_error(on: RetryOn, error: &ProxyError) -> bool {
    if error.row().origin != Origin::Upstream {
        return false;
    }
    let any_reset = on.reset || on.server_error;
    match error.kind {
        Kind::ConnectFailed | Kind::ConnectTimeout | Kind::TlsFailed => {
            on.connect_failure || any_reset || on.gateway_error || on.reset_before_request
        }
        Kind::RefusedStream => on.refused_stream || any_reset || on.reset_before_request,
        Kind::ConnectionTermination | Kind::RemoteReset | Kind::UpstreamProtocol => {
            any_reset || on.gateway_error || on.reset_before_request && error.retry == crate::error::Retry::IfUnsent
        }
        Kind::PerTryTimeout => any_reset || on.gateway_error,
        _ => false,
    }
}

/// Whether this answer is one that the policy retries.
pub(crate) fn on_response(policy: &RetryPolicy, grpc: bool, status: StatusCode, headers: &HeaderMap) -> bool {
    let on = policy.on;
    let by_status = on.server_error && status.is_server_error()
        || on.gateway_error && matches!(status.as_u16(), 502..=504)
        || on.retriable_4xx && status == StatusCode::CONFLICT
        || on.retriable_status_codes && policy.statuses.contains(&status);
    by_status || grpc && by_grpc_status(on, headers)
}

/// Only in the headers: a status in trailers comes after a body that has passed already.
fn by_grpc_status(on: RetryOn, headers: &HeaderMap) -> bool {
    match headers.get("grpc-status").map(http::HeaderValue::as_bytes) {
        Some(b"1") => on.grpc_cancelled,
        Some(b"4") => on.grpc_deadline_exceeded,
        Some(b"8") => on.grpc_resource_exhausted,
        Some(b"13") => on.grpc_internal,
        Some(b"14") => on.grpc_unavailable,
        _ => false,
    }
}
