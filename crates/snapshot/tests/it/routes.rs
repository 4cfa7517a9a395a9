//! Routes: what is read, and what is refused where.

use std::{sync::Arc, time::Duration};

use envoy_types::pb::{
    envoy::{
        config::{
            core::v3::{DataSource, HeaderValue, HeaderValueOption, RuntimeFractionalPercent, data_source},
            route::v3::{
                Decorator, DirectResponseAction, HeaderMatcher, QueryParameterMatcher, RedirectAction, RetryPolicy,
                Route, RouteAction, RouteConfiguration, RouteMatch, Vhds, VirtualHost, WeightedCluster,
                header_matcher::HeaderMatchSpecifier,
                query_parameter_matcher::QueryParameterMatchSpecifier,
                retry_policy::{RetryBackOff, RetryHostPredicate, RetryPriority},
                route::Action,
                route_action::{ClusterSpecifier, HostRewriteSpecifier, MaxStreamDuration, RequestMirrorPolicy},
                route_match::PathSpecifier,
                weighted_cluster::{ClusterWeight, cluster_weight},
            },
        },
        r#type::matcher::v3::{RegexMatchAndSubstitute, RegexMatcher, StringMatcher, string_matcher::MatchPattern},
    },
    google::protobuf::{BoolValue, Duration as WireDuration, UInt32Value},
};
use http::StatusCode;
use mizzen_snapshot::{
    RouteAction as Compiled,
    route::{Forward, HeaderAction, HeaderOps, PathRewrite, RetryOn},
};

use crate::{
    clusters::{metadata, provenance, seconds},
    given::{Proxy, forward, host, no, refused, routes, to, vhds, yes},
};

fn regex(pattern: &str) -> RegexMatcher {
    RegexMatcher { regex: pattern.into(), engine_type: None }
}

fn action(action: RouteAction) -> Route {
    Route { action: Some(Action::Route(action)), ..to("a") }
}

fn matching(path: PathSpecifier) -> Option<RouteMatch> {
    Some(RouteMatch { path_specifier: Some(path), ..RouteMatch::default() })
}

fn configuration(route: Route) -> RouteConfiguration {
    routes("80", &[host("h", &["*"], &[route])])
}

/// The one route of a configuration.
fn compiled(wire: &RouteConfiguration) -> Arc<mizzen_snapshot::Route> {
    let mut proxy = Proxy::default();
    proxy.add("80", wire);
    let config = proxy.snapshot.route_config("80").known().expect("the configuration is there");
    let host = config.virtual_hosts().next().expect("there is a host");
    Arc::clone(&host.routes[0])
}

fn forwarding(route: &mizzen_snapshot::Route) -> &Forward {
    match &route.action {
        Compiled::Forward(forward) => forward,
        Compiled::Direct(direct) => panic!("answered here: {direct:?}"),
    }
}

fn header(name: &str, value: &str, append_action: i32) -> HeaderValueOption {
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), raw_value: Vec::new() }),
        append_action,
        ..HeaderValueOption::default()
    }
}

fn told(ops: &HeaderOps) -> String {
    let remove = ops.remove.iter().map(|name| format!("-{name}"));
    let set = ops.set.iter().map(|(name, value, action)| {
        let sign = match action {
            HeaderAction::Append => "+",
            HeaderAction::AddIfAbsent => "?+",
            HeaderAction::Overwrite => "=",
            HeaderAction::OverwriteIfExists => "?=",
        };
        format!("{name}{sign}{}", value.to_str().unwrap_or_default())
    });
    remove.chain(set).collect::<Vec<_>>().join(" ")
}

#[test]
fn a_route_with_everything() {
    let weight = |name: &str, weight| ClusterWeight {
        name: name.into(),
        weight: Some(UInt32Value { value: weight }),
        request_headers_to_add: vec![header("x-target", name, 2)],
        host_rewrite_specifier: Some(cluster_weight::HostRewriteSpecifier::HostRewriteLiteral(name.into())),
        ..ClusterWeight::default()
    };
    let weighted = WeightedCluster { clusters: vec![weight("a", 80), weight("b", 20)], ..WeightedCluster::default() };
    let wire = Route {
        name: "reviews".into(),
        metadata: metadata(&[provenance()]),
        decorator: Some(Decorator { operation: "reviews:9080/*".into(), propagate: None }),
        ..action(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::WeightedClusters(weighted)),
            timeout: seconds(3),
            idle_timeout: seconds(0),
            max_stream_duration: Some(MaxStreamDuration { grpc_timeout_header_max: seconds(0), ..Default::default() }),
            prefix_rewrite: "/v2".into(),
            host_rewrite_specifier: Some(HostRewriteSpecifier::HostRewriteLiteral("other".into())),
            ..RouteAction::default()
        })
    };
    let route = compiled(&configuration(wire));
    assert_eq!(&*route.name, "reviews");
    assert!(route.origin.is_some());
    assert_eq!(route.decorator.as_ref().and_then(|value| value.to_str().ok()), Some("reviews:9080/*"));
    let forward = forwarding(&route);
    let targets: Vec<_> =
        forward.targets.iter().map(|target| (&*target.cluster, told(&target.request_headers))).collect();
    assert_eq!(targets, [("a", "x-target=a".into()), ("b", "x-target=b".into())]);
    assert_eq!(forward.targets[1].authority.as_ref().and_then(|host| host.to_str().ok()), Some("b"));
    assert_eq!((forward.weights.pick(0), forward.weights.pick(u64::MAX)), (Some(0), Some(1)));
    assert_eq!(forward.authority.as_ref().and_then(|host| host.to_str().ok()), Some("other"));
    assert_eq!((forward.timeout, forward.grpc_timeout_max), (Some(Duration::from_secs(3)), Some(Duration::ZERO)));
    assert!(forward.idle_timeout.is_some_and(|idle| idle > Duration::from_hours(24)), "zero is never");
    assert!(
        matches!(&forward.path, Some(PathRewrite::Prefix { matched_len: 1, replacement }) if &**replacement == "/v2")
    );
}

#[test]
fn timeouts_are_envoys_where_unset() {
    let route = compiled(&configuration(to("a")));
    let forward = forwarding(&route);
    assert_eq!((forward.timeout, forward.idle_timeout), (Some(Duration::from_secs(15)), None));
    assert!(forward.grpc_timeout_max.is_none() && forward.retry.is_none() && forward.path.is_none());
    let route = compiled(&configuration(action(RouteAction { timeout: seconds(0), ..crate::given::forward("a") })));
    assert_eq!(forwarding(&route).timeout, None);
}

#[test]
fn rewrites() {
    let rewritten = |path, wire: RouteAction| {
        let route = Route { r#match: matching(path), ..action(wire) };
        forwarding(&compiled(&configuration(route))).path.as_ref().map(|rewrite| format!("{rewrite:?}"))
    };
    let prefix = || RouteAction { prefix_rewrite: "/x".into(), ..forward("a") };
    let matched_len = |length| Some(format!("Prefix {{ matched_len: {length}, replacement: \"/x\" }}"));
    assert_eq!(rewritten(PathSpecifier::Path("/abc".into()), prefix()), matched_len(4));
    assert_eq!(rewritten(PathSpecifier::Prefix("/ab".into()), prefix()), matched_len(3));
    assert_eq!(rewritten(PathSpecifier::PathSeparatedPrefix("/ab/".into()), prefix()), matched_len(3));
    assert_eq!(rewritten(PathSpecifier::SafeRegex(regex("/.*")), prefix()), matched_len(usize::MAX));
    let substitution = RegexMatchAndSubstitute { pattern: Some(regex("^/(.*)$")), substitution: r"/v1/\1".into() };
    let by_regex = RouteAction { regex_rewrite: Some(substitution), ..forward("a") };
    let wanted = Some(r#"Regex { pattern: Regex("^/(.*)$"), substitution: "/v1/${1}" }"#.to_owned());
    assert_eq!(rewritten(PathSpecifier::Prefix("/".into()), by_regex), wanted);
}

#[test]
fn header_operations_of_all_levels_in_order() {
    let wire = RouteConfiguration {
        request_headers_to_add: vec![header("c", "config", 0)],
        request_headers_to_remove: vec!["gone".into()],
        virtual_hosts: vec![VirtualHost {
            request_headers_to_add: vec![header("a", "host", 2), header("empty", "", 0)],
            response_headers_to_remove: vec!["Server".into()],
            ..host(
                "h",
                &["*"],
                &[Route {
                    request_headers_to_add: vec![
                        header("a", "route", 2),
                        header("gone", "route", 1),
                        header("p", "100%%", 3),
                    ],
                    request_headers_to_remove: vec!["b".into()],
                    response_headers_to_add: vec![header("server", "x", 0)],
                    ..to("a")
                }],
            )
        }],
        ..routes("80", &[])
    };
    let route = compiled(&wire);
    // What the configuration removes is gone, though the route added it: its operations come last.
    assert_eq!(told(&route.request_headers), "-b -gone a=route p?=100% a=host c+config");
    assert_eq!(told(&route.response_headers), "-server");
}

#[test]
fn retries() {
    let policy = |change: fn(&mut RetryPolicy)| {
        let mut policy = RetryPolicy { retry_on: "5xx, connect-failure,".into(), ..RetryPolicy::default() };
        change(&mut policy);
        let wire = configuration(action(RouteAction { retry_policy: Some(policy), ..forward("a") }));
        forwarding(&compiled(&wire)).retry.clone()
    };
    let plain = policy(|_| {}).expect("a policy");
    assert_eq!(plain.on, RetryOn { server_error: true, connect_failure: true, ..RetryOn::default() });
    assert_eq!((plain.retries, plain.per_try_timeout), (1, None));
    assert_eq!((plain.backoff_base, plain.backoff_max), (Duration::from_millis(25), Duration::from_millis(250)));
    assert_eq!((plain.avoid_previous_hosts, plain.host_selection_attempts), (false, 1));
    let full = policy(|policy| {
        policy.num_retries = Some(UInt32Value { value: 2 });
        policy.per_try_timeout = seconds(2);
        policy.retriable_status_codes = vec![503];
        policy.host_selection_retry_max_attempts = 5;
        policy.retry_host_predicate =
            vec![RetryHostPredicate { name: "envoy.retry_host_predicates.previous_hosts".into(), config_type: None }];
        policy.retry_priority =
            Some(RetryPriority { name: "envoy.retry_priorities.previous_priorities".into(), config_type: None });
        policy.retry_back_off = Some(RetryBackOff { base_interval: seconds(1), max_interval: None });
    });
    let full = full.expect("a policy");
    assert_eq!((full.retries, full.per_try_timeout), (2, Some(Duration::from_secs(2))));
    assert_eq!(full.statuses, [StatusCode::SERVICE_UNAVAILABLE]);
    assert_eq!((full.backoff_base, full.backoff_max), (Duration::from_secs(1), Duration::from_secs(10)));
    assert_eq!((full.avoid_previous_hosts, full.host_selection_attempts), (true, 5));
    assert!(policy(|policy| policy.num_retries = Some(UInt32Value { value: 0 })).is_none());
    assert!(policy(|policy| policy.retry_on.clear()).is_none());
}

#[test]
fn a_host_lends_its_retries() {
    let lent = RetryPolicy { retry_on: "reset".into(), ..RetryPolicy::default() };
    let own =
        RetryPolicy { retry_on: "5xx".into(), num_retries: Some(UInt32Value { value: 0 }), ..RetryPolicy::default() };
    let host = |route| VirtualHost { retry_policy: Some(lent.clone()), ..host("h", &["*"], &[route]) };
    let route = compiled(&routes("80", &[host(to("a"))]));
    assert!(forwarding(&route).retry.as_ref().is_some_and(|retry| retry.on.reset));
    let route = compiled(&routes("80", &[host(action(RouteAction { retry_policy: Some(own), ..forward("a") }))]));
    assert!(forwarding(&route).retry.is_none(), "a route that retries nothing says so");
}

#[test]
fn direct_responses() {
    let body =
        DataSource { specifier: Some(data_source::Specifier::InlineString("no".into())), ..DataSource::default() };
    let direct = DirectResponseAction { status: 502, body: Some(body), body_format: None };
    let route = compiled(&configuration(Route { action: Some(Action::DirectResponse(direct)), ..to("a") }));
    let Compiled::Direct(direct) = &route.action else { panic!("forwarded") };
    assert_eq!((direct.status, &*direct.body), (StatusCode::BAD_GATEWAY, &b"no"[..]));
}

#[test]
fn routes_that_are_refused() {
    let mirror = RouteAction { request_mirror_policies: vec![RequestMirrorPolicy::default()], ..forward("a") };
    let retry = |policy| action(RouteAction { retry_policy: Some(policy), ..forward("a") });
    let direct = |status, body| Route {
        action: Some(Action::DirectResponse(DirectResponseAction { status, body, body_format: None })),
        ..to("a")
    };
    let file = DataSource { specifier: Some(data_source::Specifier::Filename("x".into())), ..DataSource::default() };
    let substitute = |pattern: &str, substitution: &str| {
        let rewrite = RegexMatchAndSubstitute { pattern: Some(regex(pattern)), substitution: substitution.into() };
        action(RouteAction { regex_rewrite: Some(rewrite), ..forward("a") })
    };
    let no_weight = ClusterWeight { name: "a".into(), ..ClusterWeight::default() };
    let zero = ClusterWeight { weight: Some(UInt32Value { value: 0 }), ..no_weight.clone() };
    let weighted = |clusters| {
        let weighted = WeightedCluster { clusters, ..WeightedCluster::default() };
        action(RouteAction {
            cluster_specifier: Some(ClusterSpecifier::WeightedClusters(weighted)),
            ..RouteAction::default()
        })
    };
    let cases = [
        (Route { r#match: None, ..to("a") }, "match: is required"),
        (
            Route { r#match: Some(RouteMatch::default()), ..to("a") },
            "match: expected path, prefix, path_separated_prefix or safe_regex",
        ),
        (Route { action: None, ..to("a") }, "expected route or direct_response"),
        (
            Route { action: Some(Action::Redirect(RedirectAction::default())), ..to("a") },
            "redirect: is not supported in this release",
        ),
        (action(RouteAction::default()), "route: expected cluster or weighted_clusters"),
        (action(mirror), "route.request_mirror_policies: is not supported in this release"),
        (weighted(vec![no_weight]), "route.weighted_clusters.clusters[0].weight: is required"),
        (weighted(vec![zero]), "route.weighted_clusters.clusters: expected a weight above 0"),
        (
            action(RouteAction {
                host_rewrite_specifier: Some(HostRewriteSpecifier::AutoHostRewrite(BoolValue { value: true })),
                ..forward("a")
            }),
            "route: expected host_rewrite_literal",
        ),
        (
            retry(RetryPolicy { retry_on: "5xx,nope".into(), ..RetryPolicy::default() }),
            "route.retry_policy.retry_on: `nope` is not supported in this release",
        ),
        (
            retry(RetryPolicy { retriable_status_codes: vec![99], ..RetryPolicy::default() }),
            "route.retry_policy.retriable_status_codes[0]: 99 is no HTTP status",
        ),
        (
            retry(RetryPolicy {
                retry_back_off: Some(RetryBackOff { base_interval: seconds(2), max_interval: seconds(1) }),
                ..RetryPolicy::default()
            }),
            "route.retry_policy.retry_back_off.max_interval: is less than base_interval",
        ),
        (direct(101, None), "direct_response.status: expected a final status"),
        (direct(600, None), "direct_response.status: 600 is no HTTP status"),
        (direct(200, Some(file)), "direct_response.body: expected inline_string or inline_bytes"),
        (substitute("(", ""), "route.regex_rewrite.pattern: regex parse error:\n    (\n    ^\nerror: unclosed group"),
        (substitute("(a)", r"\2"), r"route.regex_rewrite.substitution: expected `\\` or `\` and the number of a group"),
    ];
    for (route, wanted) in cases {
        let message = refused("80", &configuration(route));
        assert_eq!(message.strip_prefix("virtual_hosts[0].routes[0]"), Some(&*joined(wanted)), "{message}");
    }
}

#[test]
fn header_operations_that_are_refused() {
    let adding = |option| Route { request_headers_to_add: vec![option], ..to("a") };
    let cases = [
        (
            adding(header("x", "%DOWNSTREAM_REMOTE_ADDRESS%", 0)),
            "header.value: `%DOWNSTREAM_REMOTE_ADDRESS%` has a format operator, which is not \
             supported in this release; `%%` is `%`",
        ),
        (
            adding(header("x", "5%", 0)),
            "header.value: `5%` has a format operator, which is not supported in this release; \
             `%%` is `%`",
        ),
        (adding(header("x", "a\r\nb", 0)), "header.value: `a\\r\\nb` is no header value"),
        (adding(header(":path", "/", 0)), "header.key: `:path` is no header that can be changed"),
        (adding(header("Host", "/", 0)), "header.key: `host` is changed by `host_rewrite_literal` only"),
        (adding(header("x", "a", 9)), "append_action: 9 is no action"),
    ];
    for (route, wanted) in cases {
        let wanted = format!("virtual_hosts[0].routes[0].request_headers_to_add[0].{wanted}");
        assert_eq!(refused("80", &configuration(route)), wanted);
    }
}

/// A path goes on with a dot, a problem with a colon.
fn joined(rest: &str) -> String {
    if rest.starts_with("expected") { format!(": {rest}") } else { format!(".{rest}") }
}

#[test]
fn conditions_that_are_refused() {
    let with_header = |name: &str, specifier| RouteMatch {
        headers: vec![HeaderMatcher {
            name: name.into(),
            header_match_specifier: specifier,
            ..HeaderMatcher::default()
        }],
        ..matching(PathSpecifier::Prefix("/".into())).unwrap_or_default()
    };
    let query = QueryParameterMatcher {
        name: "q".into(),
        query_parameter_match_specifier: Some(QueryParameterMatchSpecifier::StringMatch(StringMatcher::default())),
    };
    let bad = StringMatcher { match_pattern: Some(MatchPattern::SafeRegex(regex("("))), ignore_case: false };
    let cases = [
        (with_header("", None), "headers[0].name: must not be empty"),
        (
            with_header("x", Some(HeaderMatchSpecifier::StringMatch(bad))),
            "headers[0].string_match.safe_regex: `(` is not a usable regular expression: regex parse error:\n    (\n    ^\n\
             error: unclosed group",
        ),
        (
            RouteMatch { query_parameters: vec![query], ..with_header("x", None) },
            "query_parameters[0].string_match: expected exact, prefix, suffix, contains or safe_regex",
        ),
        (
            RouteMatch { runtime_fraction: Some(RuntimeFractionalPercent::default()), ..with_header("x", None) },
            "runtime_fraction: is not supported in this release",
        ),
    ];
    for (conditions, wanted) in cases {
        let route = Route { r#match: Some(conditions), ..to("a") };
        assert_eq!(refused("80", &configuration(route)), format!("virtual_hosts[0].routes[0].match.{wanted}"));
    }
    let route = Route { r#match: Some(with_header(":status", None)), ..to("a") };
    let wanted = "virtual_hosts[0].routes: route 0: no request can carry a header named `:status`";
    assert_eq!(refused("80", &configuration(route)), wanted);
}

#[test]
fn configurations_that_are_refused() {
    let hosts = [host("a", &["x"], &[]), host("b", &["X"], &[])];
    let cases = [
        (routes("81", &[]), "name: expected `80`, the name of the resource, found `81`"),
        (routes("80", &hosts), "virtual_hosts[1].domains: domain `X` is served by another virtual host already"),
        (
            RouteConfiguration { vhds: Some(Vhds { config_source: None }), ..routes("80", &[]) },
            "vhds.config_source: expected ads",
        ),
        (
            RouteConfiguration { request_headers_to_remove: vec!["x".into()], ..vhds("80") },
            "has header operations, which are not supported beside vhds: write them on its virtual hosts",
        ),
        (
            routes("80", &[VirtualHost { require_tls: 2, ..host("a", &["x"], &[]) }]),
            "virtual_hosts[0].require_tls: is not supported in this release",
        ),
    ];
    for (wire, wanted) in cases {
        assert_eq!(refused("80", &wire), wanted);
    }
    let ignored = RouteConfiguration { validate_clusters: yes(), ignore_port_in_host_matching: true, ..vhds("80") };
    Proxy::default().add("80", &ignored);
    let kept = Decorator { operation: "x".into(), propagate: no() };
    assert!(compiled(&configuration(Route { decorator: Some(kept), ..to("a") })).decorator.is_none());
    let negative = action(RouteAction { timeout: Some(WireDuration { seconds: 0, nanos: -1 }), ..forward("a") });
    assert!(refused("80", &configuration(negative)).ends_with("is no duration"));
}
