//! The address plan's bounds, and that its parts agree.

use super::{BRIDGE_V4, BRIDGE_V6, HOST_ALIAS, ipv6_of, is_lab_v4, is_lab_v6, mac_of, workload_address};

#[test]
fn addresses_follow_the_plan() {
    assert_eq!(ipv6_of(BRIDGE_V4), BRIDGE_V6);
    let cases = [
        (0, Some("10.244.1.1")),
        (249, Some("10.244.1.250")),
        (250, Some("10.244.2.1")),
        (63_499, Some("10.244.254.250")),
        (63_500, None),
        (u16::MAX, None),
    ];
    for (n, expected) in cases {
        let address = workload_address(n);
        assert_eq!(address.map(|a| a.to_string()).as_deref(), expected, "{n}");
        assert!(address.is_none_or(|a| is_lab_v4(a) && is_lab_v6(ipv6_of(a)) && a != HOST_ALIAS && a != BRIDGE_V4));
    }
    assert_eq!(ipv6_of([10, 244, 3, 16].into()).to_string(), "fd77:6d7a::3:10");
    assert_eq!(mac_of(BRIDGE_V4), "02:4d:0a:f4:00:01");
}
