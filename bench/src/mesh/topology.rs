//! The mesh under measurement: its manifests. Mutual TLS is STRICT but where plain text is what is measured.
//!
//! | workload | sidecar | what it is for |
//! |---|---|---|
//! | `client`, `plain` | yes, no | where the clients run |
//! | `echo-v1`, `echo-v2` | yes | two subsets of one service, between which the edits switch |
//! | `server`, `bare-server` | yes, no | both ends of the call whose latency is compared |
//! | `greeter`, `bare-greeter` | yes, no | servers that speak first |
//! | `held-h1`, `held-h2` | yes | servers behind many idle connections |
//! | `quiet` | yes | nobody calls it, and it calls nobody |

use mizzen_e2e::manifest::{Deployment, client, deployment, documents, peer_authentication, service, virtual_service};
use serde_json::json;

/// File of the route that is edited.
pub(super) const ROUTES: &str = "routes.yaml";
/// Ports of the servers behind idle connections; they also tell the processes apart.
pub(super) const HELD_HTTP1: u16 = 8081;
pub(super) const HELD_HTTP2: u16 = 8082;
/// The command of `quiet`.
pub(super) const QUIET: &str = "/bin/sleep 100001";

/// Everything but the route.
pub(super) fn workloads() -> String {
    let held = |name: &str, port: u16| deployment(name, &format!("mizzen-bench probe serve --port {port}")).port(port);
    let subsets = json!({
        "apiVersion": "networking.istio.io/v1",
        "kind": "DestinationRule",
        "metadata": {"name": "echo"},
        "spec": {"host": "echo", "subsets": [
            {"name": "v1", "labels": {"version": "v1"}},
            {"name": "v2", "labels": {"version": "v2"}},
        ]},
    });
    documents(&[
        &peer_authentication(None, "STRICT"),
        &peer_authentication(Some("held-h1"), "PERMISSIVE"),
        &client("client"),
        &client("plain").bare(),
        &version("v1"),
        &version("v2"),
        &service("echo", &[("http", 80, 8080)]),
        &subsets,
        &echo("server"),
        &service("server", &[("http", 80, 8080)]),
        &echo("bare-server").bare(),
        &greeter("greeter"),
        &service("greeter", &[("tcp", 2500, 2500), ("auto", 2501, 2500)]),
        &greeter("bare-greeter").bare(),
        &held("held-h1", HELD_HTTP1),
        &service("held-h1", &[("http", 80, HELD_HTTP1)]),
        &held("held-h2", HELD_HTTP2),
        &service("held-h2", &[("http2", 80, HELD_HTTP2)]),
        &deployment("quiet", QUIET),
    ])
}

/// The route of `echo` to one of its subsets.
pub(super) fn route(subset: &str) -> String {
    virtual_service("echo", &json!([{"route": [{"destination": {"host": "echo", "subset": subset}}]}])).to_string()
}

fn echo(name: &str) -> Deployment {
    deployment(name, &format!("mizzen-peer echo --port 8080 --name {name}")).port(8080)
}

fn version(version: &str) -> Deployment {
    deployment(&format!("echo-{version}"), &format!("mizzen-peer echo --port 8080 --name {version}"))
        .port(8080)
        .label("app", "echo")
        .label("version", version)
}

fn greeter(name: &str) -> Deployment {
    deployment(name, "mizzen-peer server-first --port 2500").port(2500)
}
