//! The kernel accepts every shape of program, twice over, and removal leaves nothing. Runs `nft` in a network namespace of
//! its own, as whoever runs the tests.

use std::{
    io::Write as _,
    process::{Command, Stdio},
};

use mizzen_capture::{Capture, Ports, REMOVE, Ranges, Sidecar};

/// Runs `script` as shell in fresh user, mount and network namespaces with `input` on standard input.
fn in_a_namespace(script: &str, input: &str) -> (bool, String) {
    let mut child = Command::new("unshare")
        .args(["-Urnm", "sh", "-c", script])
        .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("unshare (util-linux) is installed");
    child.stdin.take().expect("piped").write_all(input.as_bytes()).expect("write");
    let out = child.wait_with_output().expect("wait");
    let text = [out.stdout, out.stderr].concat();
    (out.status.success(), String::from_utf8_lossy(&text).into_owned())
}

#[test]
fn every_shape_loads_twice_and_is_removed_exactly() {
    let ranges = |list: &[&str]| list.iter().map(|range| range.parse().expect("a range")).collect::<Vec<_>>();
    let shapes = [
        Capture::DnsOnly,
        Capture::Sidecar(Sidecar::default()),
        Capture::Sidecar(Sidecar {
            inbound_excluded: vec![9000, 9001],
            outbound_excluded: ranges(&["10.0.0.0/8", "10.1.0.0/16", "1.2.3.4/32", "fd00::/8", "2001:db8::1/128"]),
            outbound_ports: vec![443],
            outbound_ports_excluded: vec![22],
            ..Sidecar::default()
        }),
        Capture::Sidecar(Sidecar {
            inbound: Ports::Only(vec![80]),
            outbound: Ranges::Only(ranges(&["10.96.0.0/16", "fd77::/16"])),
            dns: false,
            ..Sidecar::default()
        }),
        Capture::Sidecar(Sidecar {
            inbound: Ports::Only(vec![]),
            outbound: Ranges::Only(vec![]),
            ..Sidecar::default()
        }),
    ];
    let script = format!(
        "program=$(cat); nft add table inet neighbour && echo \"$program\" | nft -f - && echo \"$program\" | nft -f - \
         && nft list table inet mizzen >/dev/null && echo '{REMOVE}' | nft -f - && nft list ruleset"
    );
    for shape in shapes {
        let (ok, text) = in_a_namespace(&script, &shape.program());
        assert!(ok, "{shape:?}\n{text}\n{}", shape.program());
        assert_eq!(text.trim(), "table inet neighbour {\n}", "only our table is removed");
    }
}
