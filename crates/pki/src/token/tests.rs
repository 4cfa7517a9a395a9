//! Tokens, and attempts at forging them.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rustls_pki_types::UnixTime;

use super::{Claims, HEADER, TokenError, TokenKey};

fn at(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

fn token(key: &TokenKey) -> String {
    key.sign("shop", "cart", "cart-1", (at(1000), Duration::from_mins(1))).expect("valid names")
}

#[test]
fn round_trip() {
    let key = TokenKey::new(&[7; 32]);
    let claims = Claims {
        namespace: "shop".to_owned(),
        service_account: "cart".to_owned(),
        pod: "cart-1".to_owned(),
        expires: at(1060),
    };
    assert_eq!(key.verify(&token(&key), at(1059)), Ok(claims));
    assert_eq!(key.verify(&token(&key), at(1060)), Err(TokenError::Expired));
    assert_eq!(URL_SAFE_NO_PAD.decode(HEADER).ok().as_deref(), Some(&br#"{"alg":"HS256","typ":"JWT"}"#[..]));
}

#[test]
fn forgeries() {
    let key = TokenKey::new(&[7; 32]);
    let good = token(&key);
    let (signed, tag) = good.rsplit_once('.').expect("three parts");
    let (_, payload) = signed.split_once('.').expect("three parts");
    let signed_with = |text: String| {
        let tag = aws_lc_rs::hmac::sign(&key.0, text.as_bytes());
        format!("{text}.{}", URL_SAFE_NO_PAD.encode(tag))
    };
    let payload_of = |json: &str| signed_with(format!("{HEADER}.{}", URL_SAFE_NO_PAD.encode(json)));
    let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
    let other_key = token(&TokenKey::new(&[8; 32]));
    let cases = [
        (String::new(), TokenError::Malformed),
        ("a.b.AAAA".to_owned(), TokenError::Signature),
        (format!("{signed}."), TokenError::Signature),
        (format!("{none}.{payload}."), TokenError::Signature),
        (format!("{none}.{payload}.{tag}"), TokenError::Signature),
        (signed_with(format!("{none}.{payload}")), TokenError::Malformed),
        (other_key, TokenError::Signature),
        (format!("{good}A"), TokenError::Signature),
        ("x".repeat(5000), TokenError::Malformed),
        (payload_of(r#"{"aud":"other","exp":2000,"sub":"system:serviceaccount:a:b","pod":""}"#), TokenError::Audience),
        (payload_of(r#"{"aud":"istio-ca","exp":2000,"sub":"a:b","pod":""}"#), TokenError::Malformed),
        (payload_of(r#"{"aud":"istio-ca","sub":"system:serviceaccount:a:b","pod":""}"#), TokenError::Malformed),
        (payload_of("{"), TokenError::Malformed),
    ];
    for (forged, error) in cases {
        assert_eq!(key.verify(&forged, at(1001)), Err(error), "{forged}");
    }
}

#[test]
fn names_that_could_move_are_not_signed() {
    let key = TokenKey::new(&[7; 32]);
    for (namespace, account) in [("a:b", "c"), ("a/sa/b", "c"), ("", "c"), ("a", "")] {
        assert!(key.sign(namespace, account, "p", (at(0), Duration::from_secs(1))).is_err());
    }
}
