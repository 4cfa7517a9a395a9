//! DNS names of many tables.

use std::collections::HashMap;

/// `istio.networking.nds.v1.NameTable`, as its users have it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct NameTable {
    #[prost(map = "string, message", tag = "1")]
    table: HashMap<String, NameInfo>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct NameInfo {
    #[prost(string, repeated, tag = "1")]
    ips: Vec<String>,
    #[prost(string, tag = "2")]
    registry: String,
    #[prost(string, tag = "3")]
    shortname: String,
    #[prost(string, tag = "4")]
    namespace: String,
}

impl prost::Name for NameTable {
    const NAME: &'static str = "NameTable";
    const PACKAGE: &'static str = "istio.networking.nds.v1";

    fn type_url() -> String {
        format!("type.googleapis.com/{}", Self::full_name())
    }
}

use crate::given::{Proxy, refused};

/// A table of (name, addresses, registry, short name).
pub(crate) fn table(entries: &[(&str, &[&str], &str, &str)]) -> NameTable {
    let entry = |(name, ips, registry, short): &(&str, &[&str], &str, &str)| {
        let info = NameInfo {
            ips: ips.iter().map(|ip| (*ip).into()).collect(),
            registry: (*registry).into(),
            shortname: (*short).into(),
            namespace: "default".into(),
        };
        ((*name).into(), info)
    };
    NameTable { table: entries.iter().map(entry).collect() }
}

fn lookup(proxy: &Proxy, name: &str) -> Option<String> {
    let addresses = proxy.snapshot.names().lookup(name)?;
    Some(addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" "))
}

#[test]
fn names_of_services_and_their_short_forms() {
    let mut proxy = Proxy::default();
    let reviews = table(&[("Reviews.default.svc.cluster.local.", &["10.96.0.1", "fd77::1"], "Kubernetes", "reviews")]);
    let other = table(&[("*.example.com", &["240.0.0.1"], "External", ""), ("empty.test", &[], "External", "")]);
    proxy.add_all(&[("reviews", &reviews), ("other", &other)]);
    let cases = [
        ("reviews.default.svc.cluster.local", Some("10.96.0.1 fd77::1")),
        ("reviews.default.svc", Some("10.96.0.1 fd77::1")),
        ("reviews.default", Some("10.96.0.1 fd77::1")),
        ("reviews", None),
        ("a.example.com", Some("240.0.0.1")),
        ("b.a.example.com", Some("240.0.0.1")),
        ("example.com", None),
        ("empty.test", Some("")),
    ];
    for (name, wanted) in cases {
        assert_eq!(lookup(&proxy, name).as_deref(), wanted, "{name}");
    }
    proxy.remove::<NameTable>(&["reviews"]);
    assert_eq!(lookup(&proxy, "reviews.default"), None);
    assert_eq!(lookup(&proxy, "a.example.com").as_deref(), Some("240.0.0.1"));
}

#[test]
fn of_two_tables_the_better_entry_wins() {
    let mut proxy = Proxy::default();
    proxy.add("a", &table(&[("reviews.default", &["1.1.1.1"], "External", "")]));
    proxy.add("b", &table(&[("reviews.default.svc.cluster.local", &["2.2.2.2"], "Kubernetes", "reviews")]));
    assert_eq!(lookup(&proxy, "reviews.default").as_deref(), Some("1.1.1.1"), "given before derived");
    proxy.add("c", &table(&[("reviews.default", &["3.3.3.3"], "Kubernetes", "")]));
    assert_eq!(lookup(&proxy, "reviews.default").as_deref(), Some("3.3.3.3"), "Kubernetes before others");
    proxy.add("c", &table(&[("else", &["3.3.3.3"], "Kubernetes", "")]));
    proxy.remove::<NameTable>(&["a"]);
    assert_eq!(lookup(&proxy, "reviews.default").as_deref(), Some("2.2.2.2"));
    assert_eq!(lookup(&proxy, "else").as_deref(), Some("3.3.3.3"));
}

#[test]
fn addresses_are_addresses() {
    let bad = table(&[("a", &["10.0.0"], "External", "")]);
    assert_eq!(refused("x", &bad), "table[a].ips[0]: `10.0.0` is no IP address");
}
