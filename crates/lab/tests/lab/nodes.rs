//! Nodes reach each other, see their own files, come and go.

use std::{fs, path::Path};

use mizzen_lab::{Exit, LabError, Mount, NodeSpec, Role, workload_address};

use crate::fixture::{PYTHON, Sandbox};

fn serve(sandbox: &Sandbox, node: &str, port: u16) -> crate::fixture::Running {
    let program = format!("exec {PYTHON} -m http.server --bind :: --directory /etc {port}");
    sandbox
        .spawn(mizzen_lab::SpawnSpec::new(Some(node), Role::App, "/bin/sh").args(["-c", &program]))
        .wait_for("Serving HTTP")
}

#[test]
fn an_ordinary_server_on_port_80_is_reached_over_both_families() {
    let sandbox = Sandbox::start();
    let server = sandbox.node(0, "server");
    sandbox.node(1, "client");
    let _server = serve(&sandbox, "server", 80);
    let expected = fs::read_to_string("/etc/nsswitch.conf").expect("read");
    assert!(expected.contains("passwd:"));
    for host in [server.ipv4.to_string(), format!("[{}]", server.ipv6.expect("has one"))] {
        let page = sandbox.app("client", &format!("curl -sS --max-time 20 'http://{host}/nsswitch.conf'"));
        assert!(page.contains("passwd:"), "{host}: {page}");
    }
    // The control plane's place reaches nodes too, and nodes reach it.
    let (exit, page) = sandbox.sh(None, Role::Control, &format!("curl -sS --max-time 20 http://{}/hosts", server.ipv4));
    assert!(exit.success() && page.contains("localhost"), "{page}");
}

#[test]
fn what_leads_nowhere_is_refused_at_once() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    for host in ["http://93.184.216.34/", "http://10.96.0.1/", "http://[2001:db8::1]/"] {
        let (exit, output) = sandbox.sh(Some("a"), Role::App, &format!("curl -sS --max-time 20 '{host}'"));
        assert_eq!(exit, Exit::Code(7), "{host}: not refused but {output}");
    }
}

#[test]
fn a_node_has_its_own_name_and_name_service_files() {
    let sandbox = Sandbox::start_with(|options| options.host_access = true);
    let spec = NodeSpec {
        hosts: vec![([10, 96, 0, 7].into(), vec!["legacy".into(), "legacy.example".into()])],
        search: vec!["default.svc.cluster.local".into()],
        ..NodeSpec::new("reviews-v1", workload_address(0).expect("within the plan"))
    };
    sandbox.lab.add_node(&spec).expect("add a node");
    let checks = [
        ("hostname", "reviews-v1\n"),
        ("cat /etc/resolv.conf", "nameserver 10.244.0.1\nsearch default.svc.cluster.local\noptions ndots:5\n"),
        ("grep ^hosts: /etc/nsswitch.conf", "hosts: files dns\n"),
        ("getent hosts legacy.example | awk '{print $1}'", "10.96.0.7\n"),
        ("getent hosts host.mizzen.internal | awk '{print $1}'", "10.244.255.254\n"),
        ("getent ahostsv4 reviews-v1 | awk '{print $1}' | sort -u", "10.244.1.1\n"),
        ("find /run -type s | wc -l", "0\n"),
    ];
    for (script, expected) in checks {
        assert_eq!(sandbox.app("reviews-v1", script), expected, "{script}");
    }
    let host = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
    assert!(!host.contains("ndots:5"), "the host's own file is untouched");
}

#[test]
fn a_removed_node_is_gone_and_its_address_can_be_used_again() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "client");
    let spec = sandbox.node(1, "server");
    let server = serve(&sandbox, "server", 8080);
    let proxy = sandbox.spawn(mizzen_lab::SpawnSpec::new(Some("server"), Role::Proxy, "/bin/sleep").args(["1000"]));
    let url = format!("curl -sS --max-time 20 http://{}:8080/hosts", spec.ipv4);
    sandbox.app("client", &url);

    sandbox.lab.remove_node("server").expect("remove");
    for process in [server.process, proxy.process] {
        assert_eq!(sandbox.wait(process), Exit::Signal(9));
        assert!(matches!(sandbox.lab.stats(process), Err(LabError::NoSuchProcess(_))));
    }
    let (exit, links) = sandbox.sh(None, Role::Tool, "ip -o link show type veth | wc -l");
    assert!(exit.success());
    assert_eq!(links.trim(), "1", "the other node's alone");
    assert!(matches!(sandbox.lab.remove_node("server"), Err(LabError::NoSuchNode(_))));

    sandbox.lab.add_node(&spec).expect("the same again");
    assert!(matches!(sandbox.lab.add_node(&spec), Err(LabError::Refused(why)) if why.contains("exists")));
    let _server = serve(&sandbox, "server", 8080);
    sandbox.app("client", &url);
}

#[test]
fn files_of_the_host_are_mounted_in_the_cage_only() {
    let sandbox = Sandbox::start();
    let source = sandbox.dir.state().join("files");
    fs::create_dir_all(source.join("conf.d")).expect("make");
    fs::write(source.join("conf.d/mode"), "fast").expect("write");
    fs::write(source.join("token"), "s3cret").expect("write");
    fs::create_dir(source.join("scratch")).expect("make");
    let mount =
        |name: &str, target: &str, writable| Mount { source: source.join(name), target: target.into(), writable };
    let mut spec = NodeSpec::new("a", workload_address(0).expect("within the plan"));
    spec.mounts = vec![
        mount("conf.d", "/etc/mizzen-test/conf.d", false),
        mount("token", "/etc/mizzen-test/token", false),
        mount("scratch", "/usr/share/mizzen-test", true),
        mount("conf.d", "/mnt", false),
    ];
    sandbox.lab.add_node(&spec).expect("add a node");
    let read = sandbox.app("a", "cat /etc/mizzen-test/conf.d/mode /etc/mizzen-test/token /mnt/mode; ls /etc/passwd");
    assert_eq!(read, "fasts3cretfast/etc/passwd\n");
    let (exit, output) = sandbox.sh(Some("a"), Role::App, "echo x > /etc/mizzen-test/conf.d/mode");
    assert!(!exit.success() && output.contains("Read-only"), "{output}");
    sandbox.app("a", "echo x > /usr/share/mizzen-test/new");
    assert_eq!(fs::read_to_string(source.join("scratch/new")).expect("read"), "x\n");
    let (exit, _) = sandbox.sh(Some("a"), Role::App, &format!("cat '{}'", source.join("token").display()));
    assert!(!exit.success(), "the rest of the state directory stays masked");
    assert!(!Path::new("/etc/mizzen-test").exists() && !Path::new("/usr/share/mizzen-test").exists());

    let mut spec = NodeSpec::new("b", workload_address(1).expect("within the plan"));
    spec.mounts = vec![mount("conf.d", "/mizzen-test", false)];
    let error = sandbox.lab.add_node(&spec).expect_err("not below /").to_string();
    assert!(error.contains("directly below /"), "{error}");
}
