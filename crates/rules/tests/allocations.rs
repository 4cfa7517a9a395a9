//! The decisions of the request path allocate nothing.

use http::{HeaderMap, HeaderValue};
use mizzen_rules::{
    ChainMatch, ChainTable, ConnectionFacts, HeaderMatch, HostTable, Named, PathMatch, QueryMatch, RequestFacts,
    RouteMatch, RouteTable, Silent, TextMatch, Transport, WeightTable,
};

#[derive(Clone)]
struct Host;

impl Named for Host {
    fn name(&self) -> &'static str {
        "host"
    }
}

/// Decides once (a regular expression makes its scratch memory at first use), then counts.
fn assert_free<T>(what: &str, decide: impl Fn() -> Option<T>) {
    assert!(decide().is_some(), "{what} decides nothing");
    let counted = allocation_counter::measure(|| {
        for _ in 0..100 {
            std::hint::black_box(decide());
        }
    });
    assert_eq!(counted.count_total, 0, "{what} allocates");
}

#[test]
fn decisions_allocate_nothing() {
    let mut hosts = HostTable::new();
    for n in 0..100 {
        hosts.insert(&format!("s{n}.default.svc"), Host).expect("a new domain");
        hosts.insert(&format!("*.w{n}.test"), Host).expect("a new domain");
    }
    for authority in ["S7.Default.svc:9080", "s8.default.svc.", "x.w99.test:80"] {
        assert_free(authority, || hosts.decide(authority, &mut Silent).map(drop));
    }

    let table = routes();
    let mut headers = HeaderMap::new();
    headers.insert("x", HeaderValue::from_static("1"));
    headers.append("x", HeaderValue::from_static("2"));
    for path in ["/exact/50", "/prefix/50/and/more", "/REGEX/7", "/rest"] {
        let facts = RequestFacts {
            method: "GET",
            scheme: "http",
            authority: "a",
            path,
            query: Some("p=1&q=2"),
            headers: &headers,
        };
        assert_free(path, || table.decide(&facts, &mut Silent));
    }

    let chains = (0..50).map(|n| ChainMatch {
        destination_port: Some(n),
        server_names: vec![format!("*.{n}.test").into()],
        protocols: vec!["h2".into()],
        ..ChainMatch::default()
    });
    let chains = ChainTable::compile(chains.collect()).expect("chains that differ");
    let facts = ConnectionFacts {
        destination: "10.0.0.1:7".parse().expect("an address"),
        source: "10.0.0.2:80".parse().expect("an address"),
        transport: Transport::Tls,
        server_name: "a.b.7.test",
        protocols: &["http/1.1", "h2"],
    };
    assert_free("a filter chain", || chains.decide(&facts, &mut Silent));

    let weights = WeightTable::new(&[80, 10, 10]);
    assert_free("weights", || weights.pick(1 << 63));
}

fn routes() -> RouteTable {
    let joined = HeaderMatch {
        name: "x".into(),
        value: Some(TextMatch::Exact { value: "1,2".into(), ignore_case: false }),
        invert: false,
        missing_is_empty: false,
    };
    let whole = HeaderMatch {
        name: ":path".into(),
        value: Some(TextMatch::regex(".*q=2").expect("a valid pattern")),
        invert: false,
        missing_is_empty: false,
    };
    let parameter = QueryMatch { name: "q".into(), value: None };
    let route = |path| RouteMatch {
        path,
        headers: vec![joined.clone(), whole.clone()],
        query: vec![parameter.clone()],
        grpc: false,
    };
    let mut routes = Vec::new();
    for n in 0..100 {
        routes.push(route(PathMatch::Exact { path: format!("/exact/{n}").into(), ignore_case: false }));
        routes.push(route(PathMatch::Prefix { prefix: format!("/prefix/{n}").into(), ignore_case: true }));
    }
    routes.push(route(PathMatch::regex("(?i)/regex/[0-9]+").expect("a valid pattern")));
    routes.push(route(PathMatch::SegmentPrefix { prefix: "/".into(), ignore_case: false }));
    RouteTable::compile(routes).expect("routes that compile")
}
