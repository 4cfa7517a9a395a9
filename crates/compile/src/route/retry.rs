//! Retry policies. Istio's default, on every outbound route: two retries of what surely did not reach the application.

use std::time::Duration;

use envoy_types::pb::envoy::config::route::v3::RetryPolicy;
use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_host_predicate::ConfigType as PredicateConfig;
use envoy_types::pb::envoy::config::route::v3::retry_policy::retry_priority::ConfigType as PriorityConfig;
use envoy_types::pb::envoy::config::route::v3::retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority};
use envoy_types::pb::envoy::extensions::retry::host::previous_hosts::v3::PreviousHostsPredicate;
use envoy_types::pb::envoy::extensions::retry::priority::previous_priorities::v3::PreviousPrioritiesConfig;
use mizzen_world::virtual_service::Retries;

use crate::wire::build::{any, duration, u32_value};

const DEFAULT_ATTEMPTS: u32 = 2;
const DEFAULT_CONDITIONS: &str = "connect-failure,refused-stream,unavailable,cancelled,retriable-status-codes";
/// How often an endpoint that was not tried yet is looked for.
const HOST_ATTEMPTS: i64 = 5;
/// Priorities already tried are left after this many attempts.
const PRIORITY_UPDATE: i32 = 2;
/// The longest wait is this many times the base.
const BACKOFF_FACTOR: u32 = 10;

/// The policy of a rule, else of the mesh, else the default; `None` if it turns retries off.
pub(super) fn retry_policy(rule: Option<&Retries>, mesh: Option<&Retries>) -> Option<RetryPolicy> {
    let written = rule.or(mesh);
    let attempts = written.map_or(DEFAULT_ATTEMPTS, |written| written.attempts);
    if attempts == 0 {
        return None;
    }
    let conditions = written.and_then(|written| written.retry_on.as_deref()).unwrap_or(DEFAULT_CONDITIONS);
    let (retry_on, retriable_status_codes) = split(conditions);
    let avoid = written.is_none_or(|written| written.ignore_previous_hosts);
    let remote = written.is_some_and(|written| written.remote_localities);
    Some(RetryPolicy {
        retry_on,
        retriable_status_codes,
        num_retries: Some(u32_value(attempts)),
        per_try_timeout: written.and_then(|written| written.per_try_timeout).map(duration),
        retry_host_predicate: avoid.then(previous_hosts).into_iter().collect(),
        host_selection_retry_max_attempts: HOST_ATTEMPTS,
        retry_priority: remote.then(previous_priorities),
        retry_back_off: written.and_then(|written| written.backoff).map(back_off),
        ..RetryPolicy::default()
    })
}

/// Conditions by name, and the status codes among them.
fn split(conditions: &str) -> (String, Vec<u32>) {
    let mut names: Vec<&str> = Vec::new();
    let mut codes = Vec::new();
    for condition in conditions.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        match condition.parse() {
            Ok(code) => codes.push(code),
            Err(_) => names.push(condition),
        }
    }
    if !codes.is_empty() && !names.contains(&"retriable-status-codes") {
        names.push("retriable-status-codes");
    }
    (names.join(","), codes)
}

fn previous_hosts() -> RetryHostPredicate {
    RetryHostPredicate {
        name: "envoy.retry_host_predicates.previous_hosts".to_owned(),
        config_type: Some(PredicateConfig::TypedConfig(any(&PreviousHostsPredicate {}))),
    }
}

fn previous_priorities() -> RetryPriority {
    let config = PreviousPrioritiesConfig { update_frequency: PRIORITY_UPDATE };
    RetryPriority {
        name: "envoy.retry_priorities.previous_priorities".to_owned(),
        config_type: Some(PriorityConfig::TypedConfig(any(&config))),
    }
}

fn back_off(base: Duration) -> RetryBackOff {
    RetryBackOff {
        base_interval: Some(duration(base)),
        max_interval: Some(duration(base.saturating_mul(BACKOFF_FACTOR))),
    }
}
