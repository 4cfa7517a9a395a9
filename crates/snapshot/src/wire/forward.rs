//! `Route` → what happens to a request.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use envoy_types::pb::envoy::config::{
    core::v3::data_source::Specifier,
    route::v3::{
        self as wire,
        route::Action,
        route_action::{ClusterNotFoundResponseCode, ClusterSpecifier, HostRewriteSpecifier, InternalRedirectAction},
        weighted_cluster::{ClusterWeight, cluster_weight},
    },
};
use http::HeaderValue;
use mizzen_rules::{PathMatch, WeightTable};

use super::{
    At, FOREVER, Result, duration, each, headers, is_positive, is_true, metadata, named, number, refuse, required,
    retry, rewrite, timeout, unsupported,
};
use crate::route::{DirectResponse, Forward, HeaderOps, RetryPolicy, Route, RouteAction, Target};

/// Envoy's route timeout where it is unset.
const TIMEOUT: Duration = Duration::from_secs(15);
/// Bytes of a direct response (Istio's limit).
const DIRECT_RESPONSE_BYTES_MAX: usize = 1 << 20;

/// What a route takes from the levels around it.
#[derive(Debug, Default)]
pub(crate) struct Outer {
    pub(crate) request_headers: HeaderOps,
    pub(crate) response_headers: HeaderOps,
    pub(crate) retry: Option<Arc<RetryPolicy>>,
}

/// `matched` is the route's condition on the path.
pub(crate) fn from_wire(wire: &wire::Route, matched: &PathMatch, outer: &Outer) -> Result<Route> {
    unsupported(&[
        ("typed_per_filter_config", !wire.typed_per_filter_config.is_empty()),
        ("route_specifiers", !wire.route_specifiers.is_empty()),
    ])?;
    let action = match &wire.action {
        Some(Action::Route(action)) => {
            forward(action, matched, outer).at("route").map(Box::new).map(RouteAction::Forward)
        }
        Some(Action::DirectResponse(direct)) => direct_response(direct).at("direct_response").map(RouteAction::Direct),
        Some(Action::Redirect(_)) => refuse("is not supported in this release").at("redirect"),
        Some(Action::FilterAction(_)) => refuse("is not supported in this release").at("filter_action"),
        Some(Action::NonForwardingAction(_)) => refuse("is not supported in this release").at("non_forwarding_action"),
        None => refuse("expected route or direct_response"),
    }?;
    let request = headers::from_wire("request", &wire.request_headers_to_add, &wire.request_headers_to_remove)?;
    let response = headers::from_wire("response", &wire.response_headers_to_add, &wire.response_headers_to_remove)?;
    Ok(Route {
        name: wire.name.as_str().into(),
        origin: metadata::origin(wire.metadata.as_ref()),
        action,
        decorator: decorator(wire.decorator.as_ref()).at("decorator.operation")?,
        request_headers: headers::chain(request, &outer.request_headers),
        response_headers: headers::chain(response, &outer.response_headers),
    })
}

fn decorator(wire: Option<&wire::Decorator>) -> Result<Option<HeaderValue>> {
    let Some(wire) = wire else { return Ok(None) };
    let is_kept = wire.propagate.as_ref().is_some_and(|propagate| !propagate.value);
    if is_kept || wire.operation.is_empty() { Ok(None) } else { literal(&wire.operation).map(Some) }
}

fn direct_response(wire: &wire::DirectResponseAction) -> Result<DirectResponse> {
    unsupported(&[("body_format", wire.body_format.is_some())])?;
    let status = retry::status(wire.status).at("status")?;
    if status.is_informational() {
        return refuse("expected a final status").at("status");
    }
    let body = match wire.body.as_ref().and_then(|body| body.specifier.as_ref()) {
        None => Bytes::new(),
        Some(Specifier::InlineString(text)) => Bytes::copy_from_slice(text.as_bytes()),
        Some(Specifier::InlineBytes(bytes)) => Bytes::copy_from_slice(bytes),
        Some(Specifier::Filename(_) | Specifier::EnvironmentVariable(_)) => {
            return refuse("expected inline_string or inline_bytes").at("body");
        }
    };
    if body.len() > DIRECT_RESPONSE_BYTES_MAX {
        return refuse(format!("{} bytes are more than {DIRECT_RESPONSE_BYTES_MAX}", body.len())).at("body");
    }
    Ok(DirectResponse { status, body })
}

fn forward(wire: &wire::RouteAction, matched: &PathMatch, outer: &Outer) -> Result<Forward> {
    refuse_unsupported(wire)?;
    let (targets, weights) = targets(wire)?;
    let stream = wire.max_stream_duration.as_ref();
    let grpc_timeout_max = stream.and_then(|stream| stream.grpc_timeout_header_max.as_ref());
    let grpc_timeout_max = grpc_timeout_max.or(wire.max_grpc_timeout.as_ref());
    Ok(Forward {
        targets,
        weights,
        path: rewrite::from_wire(wire, matched)?,
        authority: authority(wire)?,
        timeout: timeout("timeout", wire.timeout.as_ref(), TIMEOUT)?,
        grpc_timeout_max: duration("max_grpc_timeout", grpc_timeout_max)?,
        idle_timeout: duration("idle_timeout", wire.idle_timeout.as_ref())?
            .map(|idle| if idle.is_zero() { FOREVER } else { idle }),
        retry: match &wire.retry_policy {
            Some(policy) => retry::from_wire(policy).at("retry_policy")?,
            None => outer.retry.clone(),
        },
    })
}

fn refuse_unsupported(wire: &wire::RouteAction) -> Result<()> {
    let stream = wire.max_stream_duration.as_ref();
    let not_found = ClusterNotFoundResponseCode::ServiceUnavailable as i32;
    unsupported(&[
        ("cluster_not_found_response_code", wire.cluster_not_found_response_code != not_found),
        ("metadata_match", wire.metadata_match.is_some()),
        ("append_x_forwarded_host", wire.append_x_forwarded_host),
        ("flush_timeout", is_positive(wire.flush_timeout.as_ref())),
        ("retry_policy_typed_config", wire.retry_policy_typed_config.is_some()),
        ("request_mirror_policies", !wire.request_mirror_policies.is_empty()),
        ("priority", wire.priority != 0),
        ("cors", wire.cors.is_some()),
        ("grpc_timeout_offset", is_positive(wire.grpc_timeout_offset.as_ref())),
        ("upgrade_configs", !wire.upgrade_configs.is_empty()),
        ("internal_redirect_policy", wire.internal_redirect_policy.is_some()),
        (
            "internal_redirect_action",
            wire.internal_redirect_action != InternalRedirectAction::PassThroughInternalRedirect as i32,
        ),
        ("hedge_policy", wire.hedge_policy.is_some()),
        (
            "max_stream_duration.max_stream_duration",
            stream.is_some_and(|stream| is_positive(stream.max_stream_duration.as_ref())),
        ),
        (
            "max_stream_duration.grpc_timeout_header_offset",
            stream.is_some_and(|stream| is_positive(stream.grpc_timeout_header_offset.as_ref())),
        ),
    ])
}

fn targets(wire: &wire::RouteAction) -> Result<(Vec<Target>, WeightTable)> {
    match &wire.cluster_specifier {
        Some(ClusterSpecifier::Cluster(name)) => {
            let target = Target {
                cluster: named("cluster", name)?.into(),
                request_headers: HeaderOps::default(),
                response_headers: HeaderOps::default(),
                authority: None,
            };
            Ok((vec![target], WeightTable::new(&[1])))
        }
        Some(ClusterSpecifier::WeightedClusters(weighted)) => self::weighted(weighted).at("weighted_clusters"),
        _ => refuse("expected cluster or weighted_clusters"),
    }
}

fn weighted(wire: &wire::WeightedCluster) -> Result<(Vec<Target>, WeightTable)> {
    unsupported(&[("random_value_specifier", wire.random_value_specifier.is_some())])?;
    let targets = each("clusters", &wire.clusters, target)?;
    let weights = each("clusters", &wire.clusters, |cluster| {
        required("weight", cluster.weight.as_ref()).map(|weight| number(Some(weight)).unwrap_or_default())
    })?;
    if weights.iter().all(|weight| *weight == 0) {
        return refuse("expected a weight above 0").at("clusters");
    }
    Ok((targets, WeightTable::new(&weights)))
}

fn target(wire: &ClusterWeight) -> Result<Target> {
    unsupported(&[
        ("cluster_header", !wire.cluster_header.is_empty()),
        ("metadata_match", wire.metadata_match.is_some()),
        ("typed_per_filter_config", !wire.typed_per_filter_config.is_empty()),
    ])?;
    let authority = match &wire.host_rewrite_specifier {
        Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(host)) if !host.is_empty() => {
            Some(literal(host).at("host_rewrite_literal")?)
        }
        _ => None,
    };
    Ok(Target {
        cluster: named("name", &wire.name)?.into(),
        request_headers: headers::from_wire("request", &wire.request_headers_to_add, &wire.request_headers_to_remove)?,
        response_headers: headers::from_wire(
            "response",
            &wire.response_headers_to_add,
            &wire.response_headers_to_remove,
        )?,
        authority,
    })
}

fn authority(wire: &wire::RouteAction) -> Result<Option<HeaderValue>> {
    match &wire.host_rewrite_specifier {
        None => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) if host.is_empty() => Ok(None),
        Some(HostRewriteSpecifier::HostRewriteLiteral(host)) => literal(host).at("host_rewrite_literal").map(Some),
        Some(HostRewriteSpecifier::AutoHostRewrite(auto)) if !is_true(Some(auto)) => Ok(None),
        Some(_) => refuse("expected host_rewrite_literal"),
    }
}

/// A header value that is taken as it is.
fn literal(text: &str) -> Result<HeaderValue> {
    HeaderValue::from_str(text).or_else(|_| refuse(format!("`{}` is no header value", text.escape_debug())))
}
