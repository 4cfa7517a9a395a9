//! What is refused on the host side, before init is asked.

use std::{fs::File, os::fd::OwnedFd, path::PathBuf};

use super::{check_node, check_spawn, masked_paths};
use crate::{LabError, LabOptions, NodeSpec, Role, SpawnSpec};

fn field(result: Result<(), LabError>) -> Option<&'static str> {
    match result {
        Ok(()) => None,
        Err(LabError::Invalid { field, .. }) => Some(field),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_node_is_checked_before_anything_is_built() {
    let good = || NodeSpec::new("reviews-v1", [10, 244, 1, 1].into());
    let cases = [
        (good(), None),
        (NodeSpec { ipv6: None, ..good() }, None),
        (NodeSpec { hostname: "a b".into(), ..good() }, Some("hostname")),
        (NodeSpec { hostname: "a".repeat(64), ..good() }, Some("hostname")),
        (NodeSpec { ipv4: [10, 0, 0, 1].into(), ..good() }, Some("ipv4")),
        (NodeSpec { ipv6: Some(std::net::Ipv6Addr::LOCALHOST), ..good() }, Some("ipv6")),
        (NodeSpec { search: vec!["x\nnameserver 1.1.1.1".into()], ..good() }, Some("hosts")),
    ];
    for (spec, expected) in cases {
        assert_eq!(field(check_node(&spec)), expected, "{spec:?}");
    }
}

#[test]
fn a_process_is_checked_before_it_is_sent() {
    let null = || OwnedFd::from(File::open("/dev/null").expect("open"));
    let app = |node| SpawnSpec::new(node, Role::App, "true");
    assert_eq!(field(check_spawn(&app(Some("a")))), None);
    assert_eq!(field(check_spawn(&app(None))), Some("node"), "outside a cage there are no workloads");
    for (numbers, expected) in
        [(vec![3, 4, 63], None), (vec![2], Some("fds")), (vec![64], Some("fds")), (vec![5, 5], Some("fds"))]
    {
        let spec = SpawnSpec { fds: numbers.iter().map(|number| (null(), *number)).collect(), ..app(Some("a")) };
        assert_eq!(field(check_spawn(&spec)), expected, "{numbers:?}");
    }
}

#[test]
fn masks_are_canonical_and_not_nested() {
    let options = |masked: &[&str]| LabOptions {
        masked_paths: masked.iter().map(PathBuf::from).collect(),
        ..LabOptions::new("launcher", "/usr/lib")
    };
    let paths = masked_paths(&options(&["/usr/lib/../bin", "/usr/bin/env", "/etc"])).expect("they exist");
    assert_eq!(paths, ["/etc", "/usr/bin", "/usr/lib"].map(PathBuf::from));
    for wrong in ["/nonexistent", "/"] {
        assert!(matches!(masked_paths(&options(&[wrong])), Err(LabError::Invalid { .. })), "{wrong}");
    }
}
