//! A workload cannot leave its cage, as root and as anybody else.

use std::{fs, os::unix::net::UnixListener};

use mizzen_lab::{Exit, Role};

use crate::fixture::{PYTHON, Sandbox, TempDir};

/// A lab whose state directory holds a key, and a directory outside of it in which a socket and a file are masked.
fn sandbox_with_secrets() -> (Sandbox, TempDir) {
    let secrets = TempDir::new();
    let (socket, token) = (secrets.0.join("control.sock"), secrets.0.join("token"));
    fs::write(&token, "bearer").expect("write");
    let _listener = UnixListener::bind(&socket).expect("bind");
    let sandbox = Sandbox::start_with(|options| {
        options.masked_paths = vec![socket, token];
        fs::write(options.state_dir.join("ca-key.pem"), "PRIVATE KEY").expect("write");
    });
    (sandbox, secrets)
}

#[test]
fn secrets_are_masked_for_workloads_and_for_nobody_else() {
    let (sandbox, secrets) = sandbox_with_secrets();
    let secrets = secrets.0.display();
    sandbox.node(0, "a");
    let state = sandbox.dir.state();
    let key = format!("cat '{}/ca-key.pem'", state.display());

    let (exit, output) = sandbox.sh(Some("a"), Role::App, &key);
    assert!(!exit.success() && !output.contains("PRIVATE KEY"), "{output}");
    let (exit, output) = sandbox.sh(Some("a"), Role::App, &format!("echo x > '{}/ca-key.pem'", state.display()));
    assert!(!exit.success(), "{output}");
    assert_eq!(sandbox.app("a", &format!("cat '{secrets}/token'")), "", "reads as /dev/null");
    let connect =
        format!("{PYTHON} -c \"import socket; socket.socket(socket.AF_UNIX).connect('{secrets}/control.sock')\"");
    let (exit, output) = sandbox.sh(Some("a"), Role::App, &connect);
    assert!(!exit.success() && output.contains("Error"), "{output}");

    for role in [Role::Control, Role::Proxy] {
        assert_eq!(sandbox.sh(Some("a"), role, &key), (Exit::Code(0), "PRIVATE KEY".into()), "{role:?}");
    }

    // What appears in a masked directory later is masked too; and moving the directory away uncovers nothing, neither for
    // this node nor for one that is built afterwards.
    fs::write(state.join("later"), "PRIVATE KEY").expect("write");
    let moved = sandbox.dir.0.join("moved");
    fs::rename(&state, &moved).expect("rename");
    sandbox.node(1, "b");
    for node in ["a", "b"] {
        for path in [&state, &moved] {
            let (_, output) = sandbox.sh(Some(node), Role::App, &format!("cat '{}'/*; ls -la '{0}'", path.display()));
            assert!(!output.contains("PRIVATE KEY") && !output.contains("ca-key"), "{node}: {output}");
        }
    }
}

#[test]
fn a_workload_has_no_capability_and_gains_none() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    sandbox.node(1, "b");
    let status = |role| {
        let (_, text) = sandbox.sh(Some("a"), role, "grep '^Cap\\|^NoNewPrivs' /proc/self/status");
        text.split_whitespace().map(str::to_owned).collect::<Vec<_>>().join(" ")
    };
    let (none, net_admin) = ("0000000000000000", "0000000000001000");
    for (role, caps) in [(Role::App, none), (Role::Control, none), (Role::Proxy, net_admin)] {
        assert_eq!(
            status(role),
            format!("CapInh: {caps} CapPrm: {caps} CapEff: {caps} CapBnd: {caps} CapAmb: {caps} NoNewPrivs: 1"),
            "{role:?}"
        );
    }
    let mark = format!("exec {PYTHON} -c 'import socket; socket.socket().setsockopt(socket.SOL_SOCKET, 36, 1337)'");
    assert!(sandbox.sh(Some("a"), Role::Proxy, &mark).0.success(), "the proxy marks its sockets");
    let possible_inside = [
        mark.as_str(),
        "nft list ruleset",
        "nft add table inet x",
        "ip addr add 10.244.9.9/16 dev eth0",
        "mount -t tmpfs none /mnt",
        "echo 1 > /proc/sys/net/ipv4/ip_forward",
        "unshare -n true",
        "chroot / true",
        "ip link set eth0 down",
    ];
    let impossible = [
        "umount /run",
        "nsenter -t 1 -n true",
        // A user namespace of its own gives capabilities there, not over what encloses it.
        "unshare -Ur nft list ruleset",
        "unshare -Urm umount /run",
    ];
    for script in possible_inside {
        let (exit, output) = sandbox.sh(Some("b"), Role::Tool, script);
        assert!(exit.success(), "{script} proves nothing, since it fails with every capability: {output}");
    }
    for script in possible_inside.into_iter().chain(impossible) {
        let (exit, output) = sandbox.sh(Some("a"), Role::App, script);
        assert!(!exit.success(), "{script} was let through: {output}");
    }
}

#[test]
fn a_nested_user_namespace_does_not_uncover_what_is_masked() {
    let (sandbox, _secrets) = sandbox_with_secrets();
    sandbox.node(0, "a");
    let state = sandbox.dir.state();
    let state = state.display();
    let parent = sandbox.dir.0.display();
    let attempts = [
        format!("unshare -Urm sh -c 'umount {state}; cat {state}/ca-key.pem'"),
        format!("unshare -Urm sh -c 'mkdir -p /tmp/m-$$; mount --bind {parent} /mnt; cat /mnt/state/ca-key.pem'"),
        format!("unshare -Urm sh -c 'mount --rbind {parent} /mnt; umount /mnt/state; cat /mnt/state/ca-key.pem'"),
        format!("unshare -Urmpf sh -c 'mount -t proc proc /proc; cat /proc/1/root{state}/ca-key.pem'"),
        format!("for p in /proc/[0-9]*; do cat $p/root{state}/ca-key.pem; cat $p/cwd{state}/ca-key.pem; done"),
    ];
    for script in attempts {
        let (exit, output) = sandbox.sh(Some("a"), Role::App, &script);
        assert!(!output.contains("PRIVATE KEY") && !exit.success(), "{script}: {output}");
    }
}

#[test]
fn a_workload_sees_the_processes_of_its_own_node_alone() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    sandbox.node(1, "b");
    let long = |node, role| sandbox.spawn(mizzen_lab::SpawnSpec::new(Some(node), role, "/bin/sleep").args(["1000"]));
    let _others = [long("a", Role::App), long("a", Role::Proxy), long("b", Role::App)];
    // Its own, the other workload of the node, and the one that holds the cage.
    let count =
        "ls -d /proc/[0-9]* | while read p; do cat $p/comm; done 2>/dev/null | sort | uniq -c | awk '{print $2 $1}'";
    let seen = sandbox.app("a", &format!("{count} | grep '^sleep'"));
    assert_eq!(seen.trim(), "sleep1");
    let (exit, output) = sandbox.sh(Some("a"), Role::App, "kill -9 -1; sleep 0; true");
    assert!(exit == Exit::Signal(9) || exit.success(), "{exit} {output}");
    sandbox.app("b", "true");
    sandbox.app("a", "true");
}
