//! Texts of name-service files, and names that must not get into them.

use super::{hosts, is_name, nsswitch, resolv_conf};
use crate::NodeSpec;

#[test]
fn files_say_what_the_node_is_told() {
    let mut spec = NodeSpec::new("reviews", [10, 244, 1, 1].into());
    assert_eq!(resolv_conf(&spec), "nameserver 10.244.0.1\n");
    spec.search = vec!["default.svc.cluster.local".into(), "svc.cluster.local".into()];
    assert_eq!(
        resolv_conf(&spec),
        "nameserver 10.244.0.1\nsearch default.svc.cluster.local svc.cluster.local\noptions ndots:5\n"
    );
    let own = [spec.ipv4.into(), spec.ipv6.expect("has one").into()];
    let entries = [([10, 244, 255, 254].into(), vec!["host.mizzen.internal".into(), "gateway".into()])];
    assert_eq!(
        hosts("reviews", &own, &entries),
        "127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.244.1.1 reviews\nfd77:6d7a::1:1 reviews\n\
         10.244.255.254 host.mizzen.internal gateway\n"
    );
}

#[test]
fn only_the_line_about_hosts_is_replaced() {
    let host = "passwd: files systemd\n hosts: files mymachines resolve [!UNAVAIL=return] dns\nnetworks: files";
    assert_eq!(nsswitch(host), "passwd: files systemd\nnetworks: files\nhosts: files dns\n");
    assert_eq!(nsswitch(""), "hosts: files dns\n");
}

#[test]
fn names_cannot_add_lines_or_fields() {
    for (name, good) in [
        ("reviews-v1", true),
        ("a.b_c", true),
        ("", false),
        ("a b", false),
        ("a\nnameserver 1.2.3.4", false),
        ("ä", false),
    ] {
        assert_eq!(is_name(name), good, "{name:?}");
    }
    assert!(!is_name(&"a".repeat(254)));
}
