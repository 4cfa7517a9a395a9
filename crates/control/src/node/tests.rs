//! Nodes that ask, whole and broken.

use envoy_types::pb::envoy::config::core::v3::{Extension, Node};
use envoy_types::pb::google::protobuf::value::Kind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use mizzen_compile::ProxyKind;

use super::{Asking, NodeError};

fn text(text: &str) -> Value {
    Value { kind: Some(Kind::StringValue(text.to_owned())) }
}

fn fields(pairs: &[(&str, Value)]) -> Struct {
    Struct { fields: pairs.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect() }
}

fn node(id: &str, metadata: &[(&str, Value)]) -> Node {
    Node { id: id.to_owned(), metadata: Some(fields(metadata)), ..Default::default() }
}

const ID: &str = "sidecar~10.0.0.2~cart-1.shop~shop.svc.cluster.local";

#[test]
fn a_whole_node() {
    let labels = fields(&[("app", text("cart")), ("number", Value { kind: Some(Kind::NumberValue(1.0)) })]);
    let mut node = node(
        ID,
        &[
            ("NAMESPACE", text("shop")),
            ("SERVICE_ACCOUNT", text("cart")),
            ("INSTANCE_IPS", text("fd00::2, 10.0.0.2,10.0.0.2")),
            ("LABELS", Value { kind: Some(Kind::StructValue(labels)) }),
        ],
    );
    node.extensions = vec![Extension { name: "mizzen.io/vhds".to_owned(), ..Default::default() }];
    let asking = Asking::read(&node).expect("valid");
    let scope = &asking.scope;
    assert_eq!((scope.kind, &*scope.namespace), (ProxyKind::Sidecar, "shop"));
    assert_eq!(scope.labels.iter().map(|(key, value)| format!("{key}={value}")).collect::<Vec<_>>(), ["app=cart"]);
    assert_eq!(
        scope.addresses,
        ["10.0.0.2".parse().expect("IP"), "fd00::2".parse().expect("IP")] as [std::net::IpAddr; 2]
    );
    assert!(scope.capabilities.vhds && !scope.capabilities.alpn);
    assert!(asking.is_of("shop", "cart"));
    assert!(!asking.is_of("shop", "other") && !asking.is_of("other", "cart") && !asking.is_of("", "cart"));
}

#[test]
fn what_may_be_missing() {
    let asking = Asking::read(&node(ID, &[])).expect("valid");
    assert_eq!((&*asking.scope.namespace, asking.scope.addresses.len()), ("shop", 1));
    assert!(asking.is_of("shop", "any"));
}

#[test]
fn nodes_that_are_not_served() {
    let many = (0..65).map(|number| format!("10.0.1.{number}")).collect::<Vec<_>>().join(",");
    let empty_domain = "sidecar~10.0.0.2~a.b~";
    for (node, error) in [
        (node("", &[]), NodeError::Id(String::new())),
        (node("sidecar~10.0.0.2~a", &[]), NodeError::Id("sidecar~10.0.0.2~a".into())),
        (node(&format!("{ID}~"), &[]), NodeError::Id(format!("{ID}~"))),
        (node("sidecar~10.0.0.2~a\n~b", &[]), NodeError::Id("sidecar~10.0.0.2~a\n~b".into())),
        (node("ztunnel~10.0.0.2~a.b~b.svc", &[]), NodeError::Type("ztunnel".into())),
        (node("sidecar~nowhere~a.b~b.svc", &[]), NodeError::Ip("nowhere".into())),
        (node(ID, &[("INSTANCE_IPS", text("10.0.0.2,x"))]), NodeError::InstanceIps("10.0.0.2,x".into())),
        (node(ID, &[("INSTANCE_IPS", text(&many))]), NodeError::InstanceIps(many.chars().take(100).collect())),
        (node(empty_domain, &[]), NodeError::Namespace),
    ] {
        assert_eq!(Asking::read(&node), Err(error), "{}", node.id);
    }
}
