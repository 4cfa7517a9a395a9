//! The program's text for each shape of capture, as golden files. That the kernel takes it is shown in `tests/loads.rs`.

use crate::{Capture, Ports, Ranges, Sidecar};

fn ranges(list: &[&str]) -> Vec<ipnet::IpNet> {
    list.iter().map(|range| range.parse().expect("a range")).collect()
}

#[test]
fn the_default_captures_everything_both_ways() {
    insta::assert_snapshot!(Capture::Sidecar(Sidecar::default()).program());
}

#[test]
fn exclusions_come_before_what_they_exclude_from() {
    let sidecar = Sidecar {
        inbound_excluded: vec![9000, 15020, 9000],
        outbound_excluded: ranges(&["192.168.0.0/16", "192.168.7.0/24", "fd00::1/64"]),
        outbound_ports_excluded: vec![5432, 22],
        ..Sidecar::default()
    };
    insta::assert_snapshot!(Capture::Sidecar(sidecar).program());
}

#[test]
fn a_list_captures_only_what_it_names() {
    let sidecar = Sidecar {
        inbound: Ports::Only(vec![8080]),
        outbound: Ranges::Only(ranges(&["10.96.0.0/16", "fd77::/16"])),
        outbound_ports: vec![443],
        dns: false,
        ..Sidecar::default()
    };
    insta::assert_snapshot!(Capture::Sidecar(sidecar).program());
}

#[test]
fn nothing_captured_leaves_only_the_proxys_own_rules() {
    let sidecar =
        Sidecar { inbound: Ports::Only(vec![]), outbound: Ranges::Only(vec![]), dns: false, ..Sidecar::default() };
    insta::assert_snapshot!(Capture::Sidecar(sidecar).program());
}

#[test]
fn a_gateway_has_its_dns_captured_and_nothing_else() {
    insta::assert_snapshot!(Capture::DnsOnly.program());
}
