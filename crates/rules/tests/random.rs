//! Random tables and requests: each table decides as a plain reading of its rules does.
//!
//! Alphabets are tiny, so that names, prefixes and networks overlap all the time. Each case is replayed by its seed.

use std::net::SocketAddr;

use http::{HeaderMap, HeaderValue};
use ipnet::IpNet;
use mizzen_rules::{
    ChainMatch, ChainTable, ConnectionFacts, HeaderMatch, HostTable, Named, PathMatch, QueryMatch, RequestFacts,
    RouteMatch, RouteTable, Silent, TextMatch, Transport,
};

const CASES: u64 = 10_000;

/// xorshift64*.
struct Rng(u64);

impl Rng {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 16
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    fn one_in(&mut self, of: usize) -> bool {
        self.below(of) == 0
    }

    fn of<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Up to `count` letters.
    fn text(&mut self, letters: &[&str], count: usize) -> String {
        (0..self.below(count + 1)).map(|_| self.of(letters)).collect()
    }

    fn some<T>(&mut self, count: usize, mut make: impl FnMut(&mut Self) -> T) -> Vec<T> {
        (0..self.below(count + 1)).map(|_| make(self)).collect()
    }
}

#[derive(Clone, Debug, PartialEq)]
struct Host(String);

impl Named for Host {
    fn name(&self) -> &str {
        &self.0
    }
}

#[test]
fn hosts() {
    let mut found_some = 0;
    for seed in 0..CASES {
        let mut rng = Rng::new(seed);
        let mut table = HostTable::new();
        let mut domains: Vec<String> = Vec::new();
        for _ in 0..rng.below(12) {
            let name = rng.text(&["a", "b", ".", "A", "."], 6);
            let domain = match rng.below(4) {
                0 => format!("*{name}"),
                1 => format!("{name}*"),
                _ => name,
            };
            let is_known = domains.iter().any(|known| known.eq_ignore_ascii_case(&domain));
            let is_wanted = !domain.is_empty() && !is_known;
            assert_eq!(table.insert(&domain, Host(domain.clone())).is_ok(), is_wanted, "seed {seed}: {domain}");
            if is_wanted {
                domains.push(domain);
            }
            if rng.one_in(5) && !domains.is_empty() {
                let gone = domains.swap_remove(rng.below(domains.len()));
                assert_eq!(table.remove(&gone), Some(Host(gone)), "seed {seed}");
            }
        }
        let authority = format!("{}{}", rng.text(&["a", "b", ".", "B"], 7), rng.of(&["", "", ":80", ":", ".", ".:1"]));
        let wanted = host_by_reading(&domains, &authority);
        let found = table.decide(&authority, &mut Silent).map(|host| host.0.clone());
        assert_eq!(found, wanted, "seed {seed}: {authority:?} in {domains:?}");
        found_some += u64::from(found.is_some());
    }
    assert!(found_some > CASES / 10, "only {found_some} authorities had a host");
}

fn host_by_reading(domains: &[String], authority: &str) -> Option<String> {
    let authority = authority.to_lowercase();
    let host = authority.split(':').next().unwrap_or_default();
    let bare = host.strip_suffix('.').unwrap_or(host);
    let lower = |domain: &&String| domain.to_lowercase();
    let exact = |name: &str| domains.iter().find(|domain| lower(domain) == name);
    let fits = |domain: &&String, is_suffix: bool| {
        let domain = lower(domain);
        let rest = if is_suffix { domain.strip_prefix('*') } else { domain.strip_suffix('*') };
        rest.filter(|rest| !rest.is_empty()).is_some_and(|rest| {
            bare.len() > rest.len() && if is_suffix { bare.ends_with(rest) } else { bare.starts_with(rest) }
        })
    };
    let wild = |is_suffix| domains.iter().filter(|domain| fits(domain, is_suffix)).max_by_key(|domain| domain.len());
    let found = exact(&authority).or_else(|| exact(host)).or_else(|| exact(bare));
    found.or_else(|| wild(true)).or_else(|| wild(false)).or_else(|| exact("*")).cloned()
}

#[test]
fn routes() {
    let patterns = ["/a*", "/.*b", "/(a|b)+/?", "/[^/]*"];
    let patterns = patterns.map(|pattern| PathMatch::regex(pattern).expect("a valid pattern"));
    let mut found_some = 0;
    for seed in 0..CASES {
        let mut rng = Rng::new(seed);
        let routes = rng.some(12, |rng| random_route(rng, &patterns));
        let table = RouteTable::compile(routes.clone()).expect("routes that compile");
        let mut headers = HeaderMap::new();
        for _ in 0..rng.below(3) {
            headers.append(rng.of(&["x", "y"]), HeaderValue::from_static(rng.of(&["1", "2"])));
        }
        if rng.one_in(3) {
            headers.insert("content-type", HeaderValue::from_static("application/grpc+proto"));
        }
        let path = format!("/{}", rng.text(&["a", "b", "/", "A"], 6));
        let query = rng.text(&["p=1", "q", "&", "p"], 3);
        let facts = RequestFacts {
            method: rng.of(&["GET", "POST"]),
            scheme: "http",
            authority: "a",
            path: &path,
            query: rng.one_in(2).then_some(&query),
            headers: &headers,
        };
        let wanted = routes.iter().position(|route| route_by_reading(route, &facts));
        assert_eq!(table.decide(&facts, &mut Silent), wanted, "seed {seed}: {facts:?} in {routes:#?}");
        found_some += u64::from(wanted.is_some());
    }
    assert!(found_some > CASES / 4, "only {found_some} requests had a route");
}

fn random_route(rng: &mut Rng, patterns: &[PathMatch]) -> RouteMatch {
    let text: Box<str> = format!("/{}", rng.text(&["a", "b", "/", "A"], 4)).into();
    let ignore_case = rng.one_in(3);
    let path = match rng.below(5) {
        0 | 1 => PathMatch::Exact { path: text, ignore_case },
        2 => PathMatch::Prefix { prefix: text, ignore_case },
        3 => PathMatch::SegmentPrefix { prefix: text, ignore_case },
        _ => patterns[rng.below(patterns.len())].clone(),
    };
    let value = |rng: &mut Rng| {
        let value = rng.of(&["1", "2", "1,2", "GET"]).into();
        (!rng.one_in(3)).then_some(TextMatch::Exact { value, ignore_case: false })
    };
    let headers = rng.some(1, |rng| HeaderMatch {
        name: rng.of(&["x", "y", ":method"]).into(),
        value: value(rng),
        invert: rng.one_in(3),
        missing_is_empty: rng.one_in(3),
    });
    let query = rng.some(1, |rng| QueryMatch { name: rng.of(&["p", "q"]).into(), value: value(rng) });
    RouteMatch { path, headers, query, grpc: rng.one_in(6) }
}

fn route_by_reading(route: &RouteMatch, facts: &RequestFacts<'_>) -> bool {
    let header = |condition: &HeaderMatch| {
        let lines: Vec<&str> =
            facts.headers.get_all(&*condition.name).iter().filter_map(|value| value.to_str().ok()).collect();
        let value = match &*condition.name {
            ":method" => Some(facts.method.to_owned()),
            _ => (!lines.is_empty()).then(|| lines.join(",")),
        };
        match (value.or(condition.missing_is_empty.then(String::new)), &condition.value) {
            (None, Some(_)) => false,
            (value, None) => value.is_some() != condition.invert,
            (Some(value), Some(wanted)) => wanted.matches(value.as_bytes()) != condition.invert,
        }
    };
    let query = |condition: &QueryMatch| {
        let mut pairs =
            facts.query.unwrap_or_default().split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        let found = pairs.find(|(name, _)| *name == &*condition.name);
        found.is_some_and(|(_, value)| condition.value.as_ref().is_none_or(|wanted| wanted.matches(value.as_bytes())))
    };
    route.path.matches(facts.path)
        && route.headers.iter().all(header)
        && route.query.iter().all(query)
        && (!route.grpc || facts.headers.contains_key("content-type"))
}

const NETS: [&str; 7] = ["10.0.0.0/8", "10.1.0.0/16", "10.1.1.1/32", "0.0.0.0/0", "::/0", "fd77::/16", "fd77::1/128"];
const ADDRESSES: [&str; 5] = ["10.1.1.1", "10.1.2.2", "192.168.0.1", "fd77::1", "fd78::1"];
const NAMES: [&str; 6] = ["a.test", "*.test", "*.a.test", "b.a.test", "test", "*.b.a.test"];
const SERVER_NAMES: [&str; 7] = ["", "a.test", "b.a.test", "c.b.a.test", "x.test", "test", "other"];
const PROTOCOLS: [&str; 3] = ["h2", "http/1.1", "istio"];

#[test]
fn chains() {
    let (mut compiled, mut found_some) = (0, 0);
    for seed in 0..CASES * 2 {
        let mut rng = Rng::new(seed);
        let chains = rng.some(5, random_chain);
        let protocols = rng.some(2, |rng| rng.of(&PROTOCOLS));
        let address =
            |rng: &mut Rng| SocketAddr::new(rng.of(&ADDRESSES).parse().expect("an address"), rng.of(&[80, 81]));
        let facts = ConnectionFacts {
            destination: address(&mut rng),
            source: address(&mut rng),
            transport: rng.of(&[Transport::Raw, Transport::Tls]),
            server_name: rng.of(&SERVER_NAMES),
            protocols: &protocols,
        };
        // Two chains that share a condition are refused; that is tested elsewhere.
        let Ok(table) = ChainTable::compile(chains.clone()) else { continue };
        compiled += 1;
        let wanted = chain_by_reading(&chains, &facts);
        assert_eq!(table.decide(&facts, &mut Silent), wanted, "seed {seed}: {facts:?} in {chains:#?}");
        found_some += u64::from(wanted.is_some());
    }
    assert!(
        compiled > CASES && found_some > CASES / 10,
        "only {compiled} tables, {found_some} connections had a chain"
    );
}

fn random_chain(rng: &mut Rng) -> ChainMatch {
    let net = |rng: &mut Rng| -> IpNet { rng.of(&NETS).parse().expect("a network") };
    ChainMatch {
        destination_port: rng.of(&[None, Some(80), Some(81)]),
        destinations: rng.some(2, net),
        server_names: rng.some(2, |rng| rng.of(&NAMES).into()),
        transport: rng.of(&[None, Some(Transport::Raw), Some(Transport::Tls)]),
        protocols: rng.some(2, |rng| rng.of(&PROTOCOLS).into()),
        sources: rng.some(1, net),
        source_ports: rng.some(1, |rng| rng.of(&[80, 81])),
    }
}

/// How well a chain fits in one step of the choice; `None`: not at all.
type Fit<'a> = Box<dyn Fn(&ChainMatch) -> Option<usize> + 'a>;

/// Step by step: how well each chain fits (`None`: not at all); those that fit best go on.
fn chain_by_reading(chains: &[ChainMatch], facts: &ConnectionFacts<'_>) -> Option<usize> {
    let net = |nets: &[IpNet], ip| match nets {
        [] => Some(0),
        nets => nets.iter().filter(|net| net.contains(&ip)).map(|net| usize::from(net.prefix_len())).max(),
    };
    let name = |names: &[Box<str>]| {
        let fit = |name: &str| match name.strip_prefix('*') {
            Some(suffix) => facts.server_name.ends_with(suffix).then_some(suffix.len()),
            None => (facts.server_name == name).then_some(1000),
        };
        if names.is_empty() { Some(0) } else { names.iter().filter_map(|name| fit(name)).max() }
    };
    let protocol = |protocols: &[Box<str>]| {
        let position = facts.protocols.iter().position(|known| protocols.iter().any(|wanted| **wanted == **known));
        if protocols.is_empty() { Some(0) } else { position.map(|position| 100 - position) }
    };
    let port = |ports: &[u16], port| match ports {
        [] => Some(0),
        ports => ports.contains(&port).then_some(1),
    };
    let steps: [Fit<'_>; 7] = [
        Box::new(|chain| port(chain.destination_port.as_slice(), facts.destination.port())),
        Box::new(|chain| net(&chain.destinations, facts.destination.ip())),
        Box::new(|chain| name(&chain.server_names)),
        Box::new(|chain| chain.transport.map_or(Some(0), |wanted| (wanted == facts.transport).then_some(1))),
        Box::new(|chain| protocol(&chain.protocols)),
        Box::new(|chain| net(&chain.sources, facts.source.ip())),
        Box::new(|chain| port(&chain.source_ports, facts.source.port())),
    ];
    let mut left: Vec<usize> = (0..chains.len()).collect();
    for step in steps {
        let best = left.iter().filter_map(|chain| step(&chains[*chain])).max();
        left.retain(|chain| best.is_some() && step(&chains[*chain]) == best);
    }
    assert!(left.len() < 2, "chains {left:?} are not told apart");
    left.first().copied()
}
