//! Facts of a machine in, obstacles with their remedies out.

use super::{Facts, KINDS, kernel_version};

#[test]
fn every_obstacle_is_named_with_its_remedy() {
    let limits = |kind: usize, limit| {
        let mut limits = [Some(100); KINDS.len()];
        limits[kind] = limit;
        limits
    };
    let fine = Facts { namespaces_max: limits(0, Some(100)), kernel: Some((5, 8)), ..Facts::default() };
    let cases: [(Facts, &[&str]); 11] = [
        (fine.clone(), &[]),
        (Facts { namespaces_max: limits(0, Some(0)), ..fine.clone() }, &["user.max_user_namespaces=15000"]),
        (Facts { namespaces_max: limits(3, Some(0)), ..fine.clone() }, &["user.max_net_namespaces=15000"]),
        (Facts { namespaces_max: limits(0, None), ..fine.clone() }, &["CONFIG_NAMESPACES"]),
        (Facts { kernel: Some((4, 19)), ..fine.clone() }, &["Linux 5.8"]),
        (Facts { unprivileged_userns_clone: Some(0), ..fine.clone() }, &["kernel.unprivileged_userns_clone=1"]),
        (Facts { unprivileged_userns_clone: Some(0), root: true, ..fine.clone() }, &[]),
        (
            Facts { apparmor_restrict_unprivileged_userns: Some(1), ..fine.clone() },
            &["kernel.apparmor_restrict_unprivileged_userns=0"],
        ),
        (Facts { apparmor_restrict_unprivileged_userns: Some(1), confined: true, ..fine.clone() }, &[]),
        (Facts { missing_tools: vec!["nft"], ..fine.clone() }, &["apt-get install nftables iproute2"]),
        (
            Facts { missing_tools: vec!["nft", "ip"], namespaces_max: limits(0, Some(0)), ..fine },
            &["user.max_user_namespaces", "not installed: nft, ip"],
        ),
    ];
    for (facts, expected) in cases {
        let told: Vec<_> = facts.obstacles().iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), expected.len(), "{facts:?}: {told:?}");
        for (told, expected) in told.iter().zip(expected) {
            assert!(told.contains(expected), "{told}");
        }
    }
}

#[test]
fn kernel_releases_are_read() {
    for (release, expected) in [
        ("6.1.0-18-amd64", Some((6, 1))),
        ("5.15.153.1-microsoft-standard-WSL2", Some((5, 15))),
        ("6.8", Some((6, 8))),
        ("x", None),
    ] {
        assert_eq!(kernel_version(release), expected, "{release}");
    }
}
