//! One HTTP rule of a `VirtualService`.

use super::{
    at_least_1ms, at_most_one, duplicate, exactly_one, percent, port, quoted, set_of,
    strings::{self, Empty},
    timeout,
    virtual_service::{destination, gateway_names, source, weights},
};
use crate::{
    istio::{CorsPolicy, DirectResponse, Fault, HttpMatch, HttpRoute, Redirect, Retries, Rewrite, StringMatchKind},
    node::nearest,
    problem::At,
};

/// Longest body of a direct response, and the length from which it is a burden on every proxy.
const BODY_BYTES_MAX: usize = 1 << 20;
const BODY_BYTES_LARGE: usize = 100 << 10;

/// What `retryOn` may hold besides status codes (Envoy's router filter, `x-envoy-retry-on` and `x-envoy-retry-grpc-on`).
const RETRY_CONDITIONS: &[&str] = &[
    "5xx",
    "gateway-error",
    "reset",
    "reset-before-request",
    "connect-failure",
    "envoy-ratelimited",
    "retriable-4xx",
    "refused-stream",
    "retriable-status-codes",
    "retriable-headers",
    "http3-post-connect-failure",
    "cancelled",
    "deadline-exceeded",
    "internal",
    "resource-exhausted",
    "unavailable",
];

/// The names of gRPC's status codes.
const GRPC_STATUSES: &[&str] = &[
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

pub(super) fn check_all(at: &At<'_>, routes: &[HttpRoute]) {
    let mut all_taken_by = None;
    for (index, route) in routes.iter().enumerate() {
        let at = at.index(index);
        if let Some(earlier) = all_taken_by {
            at.warn(format!("never reached: http[{earlier}] takes every request"), "");
        } else if takes_all(route) {
            all_taken_by = Some(index);
        }
        check(&at, route);
    }
}

/// Whether no request gets past a rule: it has no match, or one that names nothing but the root path.
fn takes_all(route: &HttpRoute) -> bool {
    let only_root = |conditions: &HttpMatch| {
        let rest = HttpMatch { uri: None, name: None, stat_prefix: None, ignore_uri_case: false, ..conditions.clone() };
        let any_path = conditions
            .uri
            .as_ref()
            .is_none_or(|uri| matches!(uri.kind(), StringMatchKind::Prefix("/") | StringMatchKind::Regex(".*")));
        rest == HttpMatch::default() && any_path
    };
    route.matches.is_empty() || route.matches.iter().any(only_root)
}

fn check(at: &At<'_>, route: &HttpRoute) {
    for (index, conditions) in route.matches.iter().enumerate() {
        http_match(&at.field("match").index(index), conditions);
    }
    if let Some((index, _)) = duplicate(route.matches.iter().filter_map(|conditions| conditions.name.as_deref())) {
        at.field("match").index(index).error("the name of a match stands here twice", "");
    }
    action(at, route);
    for (index, target) in route.route.iter().enumerate() {
        let at = at.field("route");
        let at = at.index(index);
        destination(&at.field("destination"), &target.destination);
        strings::header_operations(&at.field("headers"), target.headers.as_ref());
    }
    weights(&at.field("route"), route.route.iter().map(|target| target.weight));
    strings::header_operations(&at.field("headers"), route.headers.as_ref());
    timeout(&at.field("timeout"), route.timeout);
    if let Some(policy) = &route.retries {
        retries(&at.field("retries"), policy);
    }
    if let Some(policy) = &route.rewrite {
        rewrite(&at.field("rewrite"), policy);
    }
    if let Some(policy) = &route.redirect {
        redirect(&at.field("redirect"), policy);
    }
    if let Some(response) = &route.direct_response {
        direct_response(&at.field("directResponse"), response);
    }
    if let Some(policy) = &route.fault {
        fault(&at.field("fault"), policy);
    }
    if let Some(policy) = &route.cors_policy {
        cors(&at.field("corsPolicy"), policy);
    }
    mirrors(at, route);
}

/// A rule does one thing with a request; what else it says must go with that.
fn action(at: &At<'_>, route: &HttpRoute) {
    let actions = [
        ("route", !route.route.is_empty()),
        ("redirect", route.redirect.is_some()),
        ("directResponse", route.direct_response.is_some()),
        ("delegate", route.delegate.is_some()),
    ];
    let set = set_of(&actions);
    match set.as_slice() {
        [] => at.error(
            "a rule needs one of `route`, `redirect`, `directResponse`, `delegate`",
            "route: [{destination: {host: reviews}}]",
        ),
        [_] => {}
        several => at.error(format!("a rule does one thing: {} exclude each other", quoted(several)), several[0]),
    }
    let answered = set_of(&actions[1..3]);
    let beside = [
        ("rewrite", route.rewrite.is_some()),
        ("fault", route.fault.is_some()),
        ("mirror", route.mirror.is_some() || !route.mirrors.is_empty()),
        ("retries", route.retries.is_some()),
        ("timeout", route.timeout.is_some()),
    ];
    if let Some(answer) = answered.first() {
        for name in set_of(&beside[..2]) {
            at.field(name).error(format!("`{name}` has no place beside `{answer}`: nothing is forwarded"), "");
        }
        for name in set_of(&beside[2..]) {
            at.field(name).warn(format!("`{name}` has no effect beside `{answer}`: nothing is forwarded"), "");
        }
    }
    if let Some(delegate) = &route.delegate
        && delegate.name.is_empty()
    {
        at.field("delegate").field("name").error("the name of a VirtualService is required", "reviews-routes");
    }
    if let Some(namespace) = route.delegate.as_ref().and_then(|delegate| delegate.namespace.as_deref()) {
        super::namespace(&at.field("delegate").field("namespace"), namespace);
    }
}

fn http_match(at: &At<'_>, conditions: &HttpMatch) {
    let of_request = [
        ("uri", &conditions.uri),
        ("scheme", &conditions.scheme),
        ("method", &conditions.method),
        ("authority", &conditions.authority),
    ];
    for (name, condition) in of_request {
        if let Some(condition) = condition {
            strings::condition(&at.field(name), condition, Empty::Refused);
        }
    }
    if conditions.ignore_uri_case && conditions.uri.as_ref().is_some_and(|uri| uri.regex.is_some()) {
        at.field("ignoreUriCase").warn("has no effect on a regular expression", "(?i)/v1/.*");
    }
    strings::header_conditions(&at.field("headers"), &conditions.headers);
    strings::header_conditions(&at.field("withoutHeaders"), &conditions.without_headers);
    strings::conditions(&at.field("queryParams"), &conditions.query_params);
    source(at, conditions.port, &conditions.source_labels, conditions.source_namespace.as_deref());
    gateway_names(&at.field("gateways"), &conditions.gateways);
}

pub(super) fn retries(at: &At<'_>, policy: &Retries) {
    at_least_1ms(&at.field("perTryTimeout"), policy.per_try_timeout.filter(|timeout| !timeout.is_zero()));
    at_least_1ms(&at.field("backoff"), policy.backoff);
    let conditions = policy.retry_on.as_deref().unwrap_or_default();
    for condition in conditions.split(',').map(str::trim).filter(|condition| !condition.is_empty()) {
        let is_status = condition.parse::<u16>().is_ok_and(|code| (100..600).contains(&code));
        if !is_status && !RETRY_CONDITIONS.contains(&condition) {
            at.field("retryOn").error(
                format!("{condition:?} is neither a status code nor a condition for retries"),
                nearest(condition, RETRY_CONDITIONS).unwrap_or("connect-failure,refused-stream,503"),
            );
        }
    }
}

fn rewrite(at: &At<'_>, policy: &Rewrite) {
    let uri = [("uri", policy.uri.is_some()), ("uriRegexRewrite", policy.uri_regex_rewrite.is_some())];
    at_most_one(at, &uri);
    if set_of(&uri).is_empty() && policy.authority.is_none() {
        at.error("expected `uri`, `uriRegexRewrite` or `authority`", "uri: /v2");
    }
    if let Some(by_regex) = &policy.uri_regex_rewrite {
        strings::regex(&at.field("uriRegexRewrite").field("match"), &by_regex.pattern);
        if by_regex.pattern.is_empty() {
            at.field("uriRegexRewrite").field("match").error("expected a regular expression", "^/v1/(.*)$");
        }
    }
}

fn redirect(at: &At<'_>, policy: &Redirect) {
    at_most_one(at, &[("uri", policy.uri.is_some()), ("prefixRewrite", policy.prefix_rewrite.is_some())]);
    at_most_one(at, &[("port", policy.port.is_some()), ("derivePort", policy.derive_port.is_some())]);
    if *policy == Redirect::default() {
        at.error("a redirect changes something", "uri: /v2");
    }
    if let Some(number) = policy.port {
        port(&at.field("port"), number);
    }
    if policy.redirect_code.is_some_and(|code| !matches!(code, 301 | 302 | 303 | 307 | 308)) {
        at.field("redirectCode").error("expected 301, 302, 303, 307 or 308", "301");
    }
    if policy.scheme.as_deref().is_some_and(|scheme| !matches!(scheme, "" | "http" | "https")) {
        at.field("scheme").error("expected `http` or `https`", "https");
    }
}

fn direct_response(at: &At<'_>, response: &DirectResponse) {
    if !(200..600).contains(&response.status) {
        at.field("status").error(format!("expected a status from 200 to 599, found {}", response.status), "503");
    }
    let Some(body) = &response.body else { return };
    let at = at.field("body");
    exactly_one(&at, &[("string", body.string.is_some()), ("bytes", body.bytes.is_some())]);
    let bytes = body.string.as_ref().or(body.bytes.as_ref()).map_or(0, String::len);
    if bytes > BODY_BYTES_MAX {
        at.error("a body has at most 1 MiB", "");
    } else if bytes > BODY_BYTES_LARGE {
        at.warn("a body of more than 100 KiB is sent to every proxy with its routes", "");
    }
}

fn fault(at: &At<'_>, policy: &Fault) {
    if policy.delay.is_none() && policy.abort.is_none() {
        at.error("expected `delay` or `abort`", "abort: {httpStatus: 503, percentage: {value: 1}}");
    }
    if let Some(delay) = &policy.delay {
        let at = at.field("delay");
        if delay.exponential_delay.is_some() {
            at.field("exponentialDelay").error("is not supported", "fixedDelay: 2s");
        } else if delay.fixed_delay.is_none() {
            at.error("`fixedDelay` is required", "fixedDelay: 2s");
        }
        at_least_1ms(&at.field("fixedDelay"), delay.fixed_delay);
        percent(&at.field("percentage").field("value"), delay.percentage.map_or(0.0, |share| share.value));
        percent(&at.field("percent"), f64::from(delay.percent.unwrap_or(0)));
        if delay.percentage.is_none() && delay.percent.is_none() {
            at.warn("without `percentage` no request is delayed", "percentage: {value: 10}");
        }
    }
    if let Some(abort) = &policy.abort {
        let at = at.field("abort");
        let kinds = [
            ("httpStatus", abort.http_status.is_some()),
            ("grpcStatus", abort.grpc_status.is_some()),
            ("http2Error", abort.http2_error.is_some()),
        ];
        exactly_one(&at, &kinds);
        if abort.http2_error.is_some() {
            at.field("http2Error").error("is not supported", "httpStatus: 503");
        }
        if abort.http_status.is_some_and(|status| !(200..=600).contains(&status)) {
            at.field("httpStatus").error("expected a status from 200 to 600", "503");
        }
        if let Some(status) = abort.grpc_status.as_deref().filter(|status| !GRPC_STATUSES.contains(status)) {
            at.field("grpcStatus").error(
                format!("{status:?} is no gRPC status"),
                nearest(status, GRPC_STATUSES).unwrap_or("UNAVAILABLE"),
            );
        }
        percent(&at.field("percentage").field("value"), abort.percentage.map_or(0.0, |share| share.value));
        if abort.percentage.is_none() {
            at.warn("without `percentage` no request is aborted", "percentage: {value: 10}");
        }
    }
}

fn mirrors(at: &At<'_>, route: &HttpRoute) {
    at_most_one(at, &[("mirror", route.mirror.is_some()), ("mirrors", !route.mirrors.is_empty())]);
    if let Some(target) = &route.mirror {
        destination(&at.field("mirror"), target);
    }
    for (index, mirror) in route.mirrors.iter().enumerate() {
        let at = at.field("mirrors");
        let at = at.index(index);
        destination(&at.field("destination"), &mirror.destination);
        percent(&at.field("percentage").field("value"), mirror.percentage.map_or(0.0, |share| share.value));
    }
    percent(&at.field("mirrorPercentage").field("value"), route.mirror_percentage.map_or(0.0, |share| share.value));
    percent(&at.field("mirrorPercent"), f64::from(route.mirror_percent.unwrap_or(0)));
    percent(&at.field("mirror_percent"), f64::from(route.mirror_percent_old.unwrap_or(0)));
}

fn cors(at: &At<'_>, policy: &CorsPolicy) {
    at_most_one(
        at,
        &[("allowOrigin", !policy.allow_origin.is_empty()), ("allowOrigins", !policy.allow_origins.is_empty())],
    );
    for (index, origin) in policy.allow_origins.iter().enumerate() {
        strings::condition(&at.field("allowOrigins").index(index), origin, Empty::Refused);
    }
    for (index, method) in policy.allow_methods.iter().enumerate() {
        if method != "*" && (method.is_empty() || !method.bytes().all(|b| b.is_ascii_alphabetic() || b == b'-')) {
            at.field("allowMethods").index(index).error(format!("{method:?} is no method"), "GET");
        }
    }
    if policy.max_age.is_some_and(|age| age.get().subsec_nanos() != 0) {
        at.field("maxAge").error("expected whole seconds", "24h");
    }
}
