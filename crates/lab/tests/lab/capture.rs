//! Capture in the kernel: who is redirected, who is not, and what happens while there is no proxy.

use mizzen_capture::{Capture, REMOVE, Sidecar};
use mizzen_lab::{Exit, NodeSpec, Role, workload_address};

use crate::fixture::{PYTHON, Running, Sandbox};

/// Says a word to whoever connects, over both families.
const SERVER: &str = "
import socket, sys
s = socket.create_server(('::', int(sys.argv[1])), family=socket.AF_INET6, dualstack_ipv6=True)
print('up')
while True:
    c, peer = s.accept()
    c.sendall(sys.argv[2].encode()); c.close()
";

/// Connects, and prints what it is told; exit status 3 if the connection is refused.
const CLIENT: &str = "
import socket, sys
try: s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 20)
except ConnectionRefusedError: sys.exit(3)
while True:
    data = s.recv(1000)
    if not data: break
    sys.stdout.write(data.decode())
";

fn captured_node(sandbox: &Sandbox, n: u16, name: &str) -> NodeSpec {
    let spec = NodeSpec {
        capture: Some(Capture::Sidecar(Sidecar { outbound_ports_excluded: vec![9999], ..Sidecar::default() })),
        ..NodeSpec::new(name, workload_address(n).expect("within the plan"))
    };
    sandbox.lab.add_node(&spec).expect("add a node");
    spec
}

fn serve(sandbox: &Sandbox, node: &str, port: u16, word: &str) -> Running {
    sandbox.python(node, Role::App, SERVER, &[&port.to_string(), word]).wait_for("up")
}

fn call(sandbox: &Sandbox, node: &str, host: &str, port: u16) -> (Exit, String) {
    let mut client = sandbox.python(node, Role::App, CLIENT, &[host, &port.to_string()]);
    let exit = sandbox.wait(client.process);
    (exit, client.rest())
}

fn told(sandbox: &Sandbox, node: &str, host: &str, port: u16) -> String {
    let (exit, text) = call(sandbox, node, host, port);
    assert!(exit.success(), "{host} {port}: {exit}: {text}");
    text
}

#[test]
fn without_its_proxy_a_workload_is_refused_not_let_through() {
    let sandbox = Sandbox::start();
    let meshed = captured_node(&sandbox, 0, "meshed");
    let plain = sandbox.node(1, "plain");
    let _servers = [serve(&sandbox, "meshed", 80, "meshed"), serve(&sandbox, "plain", 80, "plain")];
    let v6 = |spec: &NodeSpec| spec.ipv6.expect("has one").to_string();
    for (from, to) in [("meshed", &plain), ("plain", &meshed)] {
        for host in [to.ipv4.to_string(), v6(to)] {
            assert_eq!(call(&sandbox, from, &host, 80).0, Exit::Code(3), "{from} to {host}");
        }
    }
    for host in ["127.0.0.1", "::1"] {
        assert_eq!(told(&sandbox, "meshed", host, 80), "meshed", "loopback is the workload's own");
    }
    // The program is what refuses: without it, everything passes.
    sandbox.lab.nft(Some("meshed"), REMOVE).expect("remove");
    assert_eq!(sandbox.lab.nft(Some("meshed"), "list ruleset").expect("list"), "");
    assert_eq!(told(&sandbox, "meshed", &plain.ipv4.to_string(), 80), "plain");
    assert_eq!(told(&sandbox, "plain", &v6(&meshed), 80), "meshed");
}

#[test]
fn each_side_passes_its_proxy_exactly_once() {
    let sandbox = Sandbox::start();
    let meshed = captured_node(&sandbox, 0, "meshed");
    let plain = sandbox.node(1, "plain");
    let _servers = [
        serve(&sandbox, "meshed", 8080, "meshed"),
        serve(&sandbox, "plain", 80, "plain"),
        serve(&sandbox, "plain", 9999, "excluded"),
    ];
    let service = format!("10.96.0.7={}:8080", meshed.ipv4);
    let _proxy = sandbox.python("meshed", Role::Proxy, include_str!("proxy.py"), &[&service]).wait_for("up");
    let (meshed4, plain4) = (meshed.ipv4.to_string(), plain.ipv4.to_string());
    let (meshed6, plain6) = (meshed.ipv6.expect("has one").to_string(), plain.ipv6.expect("has one").to_string());
    let cases = [
        ("meshed", plain4.as_str(), 80, format!("outbound {plain4} 80;plain")),
        ("meshed", &plain6, 80, format!("outbound {plain6} 80;plain")),
        ("plain", &meshed4, 8080, format!("inbound {meshed4} 8080;meshed")),
        ("plain", &meshed6, 8080, format!("inbound {meshed6} 8080;meshed")),
        ("meshed", &plain4, 9999, "excluded".into()),
        // Its own service: both sides. Its own address, without a service: neither, as in Istio.
        ("meshed", "10.96.0.7", 80, format!("outbound 10.96.0.7 80;inbound {meshed4} 8080;meshed")),
        ("meshed", &meshed4, 8080, "meshed".into()),
        ("meshed", &meshed6, 8080, "meshed".into()),
    ];
    for (from, host, port, expected) in cases {
        assert_eq!(told(&sandbox, from, host, port), expected, "{from} to {host} {port}");
    }
}

#[test]
fn dns_goes_to_the_proxy_whatever_the_server() {
    let sandbox = Sandbox::start();
    captured_node(&sandbox, 0, "meshed");
    let query = format!(
        "{PYTHON} -c \"
import socket
for server in '10.244.0.1', '8.8.8.8':
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(20)
    s.connect((server, 53))
    s.send(b'query'); print(s.recv(100).decode())\""
    );
    let (exit, output) = sandbox.sh(Some("meshed"), Role::App, &query);
    assert!(!exit.success() && output.contains("ConnectionRefused"), "without a proxy: {output}");
    let _proxy = sandbox.python("meshed", Role::Proxy, include_str!("proxy.py"), &[]).wait_for("up");
    assert_eq!(sandbox.app("meshed", &query), "answer to query\nanswer to query\n");
}
