//! `RetryPolicy`: when and how often a request is tried again (Envoy, "x-envoy-retry-on").

use std::{sync::Arc, time::Duration};

use envoy_types::pb::envoy::{
    config::route::v3::{
        RetryPolicy as Wire,
        retry_policy::{RetryHostPredicate, RetryPriority},
    },
    extensions::retry::{
        host::previous_hosts::v3::PreviousHostsPredicate, priority::previous_priorities::v3::PreviousPrioritiesConfig,
    },
};
use http::StatusCode;

use super::{At, Refused, Result, duration, each, is, is_positive, number, refuse, timeout, unsupported};
use crate::route::{RetryOn, RetryPolicy};

const BACKOFF_BASE: Duration = Duration::from_millis(25);
/// Envoy rounds shorter waits up to this.
const BACKOFF_MIN: Duration = Duration::from_millis(1);
/// `max_interval` where it is unset, as a multiple of the base.
const BACKOFF_MAX_FACTOR: u32 = 10;

/// `None` if nothing is ever retried.
pub(crate) fn from_wire(wire: &Wire) -> Result<Option<Arc<RetryPolicy>>> {
    unsupported(&[
        ("per_try_idle_timeout", is_positive(wire.per_try_idle_timeout.as_ref())),
        ("retry_priority", wire.retry_priority.as_ref().is_some_and(|priority| !is_previous_priorities(priority))),
        ("retry_options_predicates", !wire.retry_options_predicates.is_empty()),
        ("rate_limited_retry_back_off", wire.rate_limited_retry_back_off.is_some()),
        ("retriable_headers", !wire.retriable_headers.is_empty()),
        ("retriable_request_headers", !wire.retriable_request_headers.is_empty()),
        ("refresh_cluster_on_retry", wire.refresh_cluster_on_retry),
    ])?;
    let on = conditions(&wire.retry_on).at("retry_on")?;
    let retries = number(wire.num_retries.as_ref()).unwrap_or(1);
    let statuses = each("retriable_status_codes", &wire.retriable_status_codes, |code| status(*code))?;
    let (backoff_base, backoff_max) = backoff(wire).at("retry_back_off")?;
    each("retry_host_predicate", &wire.retry_host_predicate, previous_hosts)?;
    let avoid_previous_hosts = !wire.retry_host_predicate.is_empty();
    let per_try_timeout = timeout("per_try_timeout", wire.per_try_timeout.as_ref(), Duration::ZERO)?;
    if retries == 0 || on == RetryOn::default() {
        return Ok(None);
    }
    let attempts = if wire.host_selection_retry_max_attempts > 0 { wire.host_selection_retry_max_attempts } else { 1 };
    Ok(Some(Arc::new(RetryPolicy {
        retries,
        on,
        statuses,
        per_try_timeout,
        backoff_base,
        backoff_max,
        avoid_previous_hosts,
        host_selection_attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
    })))
}

fn conditions(list: &str) -> Result<RetryOn> {
    let mut on = RetryOn::default();
    for name in list.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let condition = match name {
            "5xx" => &mut on.server_error,
            "gateway-error" => &mut on.gateway_error,
            "reset" => &mut on.reset,
            "reset-before-request" => &mut on.reset_before_request,
            "connect-failure" => &mut on.connect_failure,
            "refused-stream" => &mut on.refused_stream,
            "retriable-4xx" => &mut on.retriable_4xx,
            "retriable-status-codes" => &mut on.retriable_status_codes,
            "cancelled" => &mut on.grpc_cancelled,
            "deadline-exceeded" => &mut on.grpc_deadline_exceeded,
            "internal" => &mut on.grpc_internal,
            "resource-exhausted" => &mut on.grpc_resource_exhausted,
            "unavailable" => &mut on.grpc_unavailable,
            _ => return refuse(format!("`{name}` is not supported in this release")),
        };
        *condition = true;
    }
    Ok(on)
}

pub(crate) fn status(code: u32) -> Result<StatusCode> {
    let status = u16::try_from(code).ok().filter(|code| (100..600).contains(code));
    let status = status.and_then(|code| StatusCode::from_u16(code).ok());
    status.ok_or_else(|| Refused::new(format!("{code} is no HTTP status")))
}

fn backoff(wire: &Wire) -> Result<(Duration, Duration)> {
    let intervals = wire.retry_back_off.as_ref();
    let base = duration("base_interval", intervals.and_then(|wire| wire.base_interval.as_ref()))?;
    let base = base.unwrap_or(BACKOFF_BASE).max(BACKOFF_MIN);
    let max = duration("max_interval", intervals.and_then(|wire| wire.max_interval.as_ref()))?;
    let max = max.map_or(base.saturating_mul(BACKOFF_MAX_FACTOR), |max| max.max(BACKOFF_MIN));
    if max < base { refuse("is less than base_interval").at("max_interval") } else { Ok((base, max)) }
}

/// Tunes only which priority is tried again: accepted, and left to the load of priorities.
fn is_previous_priorities(wire: &RetryPriority) -> bool {
    use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_priority::ConfigType::TypedConfig;
    match &wire.config_type {
        Some(TypedConfig(config)) => is::<PreviousPrioritiesConfig>(config),
        None => wire.name == "envoy.retry_priorities.previous_priorities",
    }
}

fn previous_hosts(wire: &RetryHostPredicate) -> Result<()> {
    use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType::TypedConfig;
    let is_it = match &wire.config_type {
        Some(TypedConfig(config)) => is::<PreviousHostsPredicate>(config),
        None => wire.name == "envoy.retry_host_predicates.previous_hosts",
    };
    if is_it { Ok(()) } else { refuse(format!("expected previous_hosts, found `{}`", wire.name)) }
}
