//! SPIFFE ids, good and bad.

use super::{IdError, SpiffeId};

fn check(text: &str, expected: &Result<Option<(&str, &str)>, IdError>) {
    let parsed = text.parse::<SpiffeId>();
    let seen = parsed.as_ref().map(SpiffeId::namespace_and_account).map_err(Clone::clone);
    assert_eq!(seen, *expected, "{text:?}");
    if let Ok(id) = &parsed {
        assert_eq!(id.as_str(), text);
    }
}

#[test]
fn ids() {
    check("spiffe://cluster.local/ns/default/sa/reviews", &Ok(Some(("default", "reviews"))));
    check("spiffe://td/ns/a/sa/b.c-d_E", &Ok(Some(("a", "b.c-d_E"))));
    check("spiffe://td", &Ok(None));
    check("spiffe://td/other", &Ok(None));
    check("spiffe://td/ns/a/sa/b/more", &Ok(None));
    for scheme in ["", "spiffe:/td/a", "SPIFFE://td/a", "https://td/a", " spiffe://td"] {
        check(scheme, &Err(IdError::Scheme));
    }
    for domain in ["", "TD", "td:80", "u@td", "td%41", "t*d", "td\0", "t d", &"a".repeat(256)] {
        check(&format!("spiffe://{domain}/ns/a/sa/b"), &Err(IdError::TrustDomain));
    }
    for path in
        ["", "a/", "/a", "a//b", ".", "a/../b", "a*", "a\0", "a%2fb", "a?b", "a#b", "a b", "ä", "a;b", "a|b", "(a)"]
    {
        check(&format!("spiffe://td/{path}"), &Err(IdError::Path));
    }
    check(&format!("spiffe://td/{}", "a".repeat(2048)), &Err(IdError::TooLong));
}

#[test]
fn parts_cannot_move_each_other() {
    for (namespace, account) in [("a/sa/b", "c"), ("a", "b/c"), ("", "c"), ("a", "..")] {
        assert_eq!(SpiffeId::workload("td", namespace, account), Err(IdError::Path));
    }
    let id = SpiffeId::workload("td", "a", "b").expect("valid");
    assert_eq!((id.as_str(), id.principal(), id.trust_domain()), ("spiffe://td/ns/a/sa/b", "td/ns/a/sa/b", "td"));
}
