//! Authorities and the domains that serve them.

use super::*;
use crate::trace::Silent;

impl Named for &'static str {
    fn name(&self) -> &str {
        self
    }
}

/// Remembers the domain that a decision named.
#[derive(Default)]
struct Heard(String);

impl Trace for Heard {
    fn step(&mut self, step: Step<'_>) {
        if let Step::Host { name, domain } = step {
            self.0 = format!("{name} by {domain}");
        }
    }
}

fn table(domains: &[&'static str]) -> HostTable<&'static str> {
    let mut table = HostTable::new();
    for domain in domains {
        table.insert(domain, *domain).expect("a domain that fits");
    }
    table
}

#[test]
fn the_most_specific_domain_serves() {
    let table = table(&[
        "reviews",
        "reviews.default.svc.cluster.local",
        "dotted.test.",
        "Upper.Test",
        "port.test:8080",
        "*.test",
        "*.a.test",
        "*-x.a.test",
        "pre.*",
        "pre.fix.*",
        "10.0.0.1",
        "[fd77::1]",
        "[fd77::2]:80",
    ]);
    let cases = [
        ("reviews", Some("reviews")),
        ("REVIEWS:9080", Some("reviews")),
        ("reviews.", Some("reviews")),
        ("reviews.:9080", Some("reviews")),
        ("reviews:", Some("reviews")),
        ("reviews:x", None),
        ("reviews.default.svc.cluster.local:80", Some("reviews.default.svc.cluster.local")),
        ("dotted.test.", Some("dotted.test.")),
        ("dotted.test.:1", Some("dotted.test.")),
        ("dotted.test", Some("*.test")),
        ("upper.tEST", Some("Upper.Test")),
        ("port.test:8080", Some("port.test:8080")),
        ("port.test:8081", Some("*.test")),
        ("a.test", Some("*.test")),
        ("b.a.test", Some("*.a.test")),
        ("b-x.a.test", Some("*-x.a.test")),
        ("-x.a.test", Some("*.a.test")),
        (".test", None),
        ("pre.fix.me", Some("pre.fix.*")),
        ("pre.fix.", Some("pre.*")),
        ("pre.", None),
        ("pre.test", Some("*.test")),
        ("10.0.0.1:15001", Some("10.0.0.1")),
        ("[fd77::1]", Some("[fd77::1]")),
        ("[FD77::1]:80", Some("[fd77::1]")),
        ("[fd77::2]:80", Some("[fd77::2]:80")),
        ("[fd77::2]:81", None),
        ("fd77::1", None),
        ("", None),
        (":", None),
        (".", None),
        ("*", None),
        ("é.test", Some("*.test")),
    ];
    for (authority, wanted) in cases {
        assert_eq!(table.decide(authority, &mut Silent).copied(), wanted, "{authority:?}");
    }
}

#[test]
fn a_star_serves_what_is_left() {
    let table = table(&["*", "a"]);
    let longest = "x".repeat(DOMAIN_BYTES_MAX);
    for (authority, wanted) in [("", Some("*")), ("b", Some("*")), ("a", Some("a")), (&longest, Some("*"))] {
        assert_eq!(table.decide(authority, &mut Silent).copied(), wanted, "{authority:?}");
    }
    assert_eq!(table.decide(&format!("{longest}.:65535"), &mut Silent), Some(&"*"));
    assert_eq!(table.decide(&format!("{longest}x"), &mut Silent), None);
    assert_eq!(table.decide(&"x".repeat(100_000), &mut Silent), None);
}

#[test]
fn the_trace_names_the_domain() {
    let table = table(&["*.test"]);
    let mut heard = Heard::default();
    table.decide("A.test:80", &mut heard);
    assert_eq!(heard.0, "*.test by *.test");
}

#[test]
fn domains_that_are_refused() {
    let mut table = table(&["a.test"]);
    let cases = [
        ("A.test", HostError::Duplicate("A.test".into())),
        ("a*b", HostError::Wildcard("a*b".into())),
        ("*a*", HostError::Wildcard("*a*".into())),
        ("**", HostError::Wildcard("**".into())),
        ("", HostError::Length(0)),
        (&"x".repeat(256), HostError::Length(256)),
    ];
    for (domain, wanted) in cases {
        assert_eq!(table.insert(domain, "other"), Err(wanted));
    }
    assert_eq!(table.len(), 1);
}

#[test]
fn a_removed_domain_serves_no_more_and_clones_are_apart() {
    let before = table(&["*.a.test", "*.b.test", "pre.*", "*", "x"]);
    let mut after = before.clone();
    for domain in ["*.A.test", "pre.*", "*", "x"] {
        assert!(after.remove(domain).is_some(), "{domain}");
        assert!(after.remove(domain).is_none(), "{domain}");
    }
    assert_eq!((before.len(), after.len()), (5, 1));
    for authority in ["1.a.test", "pre.x", "other", "x"] {
        assert!(before.decide(authority, &mut Silent).is_some(), "{authority}");
        assert!(after.decide(authority, &mut Silent).is_none(), "{authority}");
    }
    assert_eq!(after.decide("1.b.test", &mut Silent), Some(&"*.b.test"));
    assert_eq!(after.iter().collect::<Vec<_>>(), [("*.b.test", &"*.b.test")]);
}
