//! Every protocol that passes two sidecars arrives as it was sent: bytes, order, ends, and what it costs in memory.

use std::{collections::BTreeMap, time::Duration};

use mizzen_e2e::{
    Load, Mesh, Process, check_all, header,
    manifest::{client, deployment, documents, service, without_retries},
    within,
};
use serde_json::Value;

fn manifests() -> String {
    documents(&[
        &deployment("echo", "mizzen-peer echo --port 8080 --name echo").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &without_retries("echo"),
        &deployment("auto", "mizzen-peer echo --port 8080 --name auto").port(8080),
        &service("auto", &[("web", 80, 8080)]),
        &deployment("modern", "mizzen-peer echo --port 8080 --name modern").port(8080),
        &service("modern", &[("http2", 80, 8080)]),
        &deployment("calls", "mizzen-peer grpc-echo --port 9090").port(9090),
        &service("calls", &[("grpc", 9090, 9090)]),
        &deployment("bytes", "mizzen-peer tcp-echo --port 7000").port(7000),
        &service("bytes", &[("tcp", 7000, 7000)]),
        &deployment("any-bytes", "mizzen-peer tcp-echo --port 7000").port(7000),
        &service("any-bytes", &[("what", 7000, 7000)]),
        &deployment("greeter", "mizzen-peer server-first --port 2500").port(2500),
        &service("greeter", &[("tcp", 2500, 2500)]),
        &deployment("any-greeter", "mizzen-peer server-first --port 2500").port(2500),
        &service("any-greeter", &[("what", 2500, 2500)]),
        &client("client"),
    ])
}

fn good(mesh: &Mesh, command: &[&str]) -> Value {
    let output = mesh.exec("client", command);
    assert!(output.succeeded(), "{command:?}: {output:?}");
    output.json()
}

/// What `raw-client` got for what it sent to port 80.
fn raw(mesh: &Mesh, arguments: &[&str]) -> Value {
    let command = [&["mizzen-peer", "raw-client", "--connect", "echo:80"], arguments].concat();
    mesh.exec("client", &command).json()
}

fn grpc_streams_every_way(mesh: &Mesh) {
    let url = "http://calls:9090";
    for kind in ["unary", "client-stream", "server-stream", "bidi"] {
        let told = good(
            mesh,
            &["mizzen-peer", "grpc-client", "--url", url, "--kind", kind, "--calls", "3", "--messages", "50"],
        );
        assert_eq!(told["good"], 3, "{kind}: {told}");
    }
    for status in ["5", "14", "16"] {
        let told = good(mesh, &["mizzen-peer", "grpc-client", "--url", url, "--status", status]);
        assert_eq!(told["status"].to_string(), status, "{told}");
    }
    // A stream lives as long as both want it to, each message being answered before the next.
    let told = good(
        mesh,
        &["mizzen-peer", "grpc-client", "--url", url, "--kind", "bidi", "--messages", "60", "--interval-ms", "100"],
    );
    assert_eq!(told["messages"], 60, "{told}");
}

fn upgrades_become_bytes(mesh: &Mesh) {
    for upgrade in ["websocket", "echo"] {
        let command = [
            "mizzen-peer",
            "ws-load",
            "--url",
            "http://echo/",
            "--connections",
            "5",
            "--interval-ms",
            "20",
            "--duration",
            "3",
            "--upgrade",
            upgrade,
        ];
        let told = good(mesh, &command);
        assert!(told["received"].as_u64().is_some_and(|frames| frames >= 5 * 100), "{upgrade}: {told}");
    }
    // Refused by the server: its answer is handed on, and the connection stays HTTP.
    let answer = mesh.ask("client", &["-H", "connection: upgrade", "-H", "upgrade: nonsense", "http://echo/"]);
    assert_eq!(answer["error"], "unknown upgrade");
}

fn tcp_passes_as_it_is(mesh: &Mesh) {
    // With the protocol declared, and detected.
    for name in ["bytes", "any-bytes"] {
        let connect = format!("{name}:7000");
        let told =
            good(mesh, &["mizzen-peer", "tcp-client", "--connect", &connect, "--send", "one\\r\\ntwo\\x00\\xff"]);
        assert_eq!(told["received"], "one\\r\\ntwo\\x00\\xff", "half-closed after sending: {told}");
        let long = "0123456789abcdef".repeat(4096);
        let told = good(mesh, &["mizzen-peer", "tcp-client", "--connect", &connect, "--send", &long]);
        assert_eq!(told["received_bytes"], 65_536, "{told}");
    }
    for name in ["greeter", "any-greeter"] {
        let connect = format!("{name}:2500");
        let command =
            ["mizzen-peer", "tcp-client", "--connect", &connect, "--expect", "220 ready\\r\\n", "--send", "hello"];
        let told = good(mesh, &command);
        assert_eq!(
            (&told["banner"], &told["received"]),
            (&"220 ready\\r\\n".into(), &"hello".into()),
            "{name}: {told}"
        );
    }
}

fn late_first_bytes_are_still_http(mesh: &Mesh) {
    let get = "GET /late HTTP/1.1\\r\\nhost: echo\\r\\nconnection: close\\r\\n\\r\\n";
    for name in ["echo", "auto"] {
        let connect = format!("{name}:80");
        let command = ["mizzen-peer", "raw-client", "--connect", &connect, "--send", get, "--delay-ms", "2500"];
        let text = mesh.exec("client", &command).json()["received"].to_string();
        assert!(text.contains("HTTP/1.1 200"), "{name}: {text}");
        // Only what was routed as HTTP carries these.
        for header in ["x-request-id", "x-forwarded-client-cert", "x-envoy-attempt-count"] {
            assert!(text.contains(header), "{name}: {header} in {text}");
        }
    }
}

fn versions_meet(mesh: &Mesh) {
    // A declared version holds upstream whatever came; a detected one is kept.
    let cases = [
        ("--http1.0", "http://echo/", "HTTP/1.1"),
        ("--http1.1", "http://echo/", "HTTP/1.1"),
        ("--http2-prior-knowledge", "http://echo/", "HTTP/1.1"),
        ("--http1.1", "http://auto/", "HTTP/1.1"),
        ("--http2-prior-knowledge", "http://auto/", "HTTP/2.0"),
        ("--http1.1", "http://modern/", "HTTP/2.0"),
        ("--http2-prior-knowledge", "http://modern/", "HTTP/2.0"),
    ];
    for (version, url, upstream) in cases {
        let answer = mesh.ask("client", &[version, "-d", "a body", url]);
        assert_eq!(answer["version"], upstream, "{version} {url}: {answer}");
        assert_eq!(
            (&answer["method"], &answer["body_bytes"]),
            (&"POST".into(), &6.into()),
            "{version} {url}: {answer}"
        );
    }
    // HTTP/1.0 knows no chunks and ends with the connection.
    let told = raw(mesh, &["--send", "GET /?chunked=1 HTTP/1.0\\r\\nhost: echo\\r\\n\\r\\n"]);
    let text = told["received"].to_string();
    assert!(
        text.contains(" 200 ") && !text.to_lowercase().contains("transfer-encoding") && told["end"] == "eof",
        "{told}"
    );
}

fn chunks_trailers_and_continue(mesh: &Mesh) {
    for version in ["--http1.1", "--http2-prior-knowledge"] {
        let answer =
            mesh.ask("client", &[version, "-H", "transfer-encoding: chunked", "-d", "chunked body", "http://echo/"]);
        assert_eq!(answer["body_bytes"], 12, "{version}: {answer}");
        let (status, text) = mesh.curl("client", &[version, "-i", "http://echo/?trailers=1&bytes=100000"]);
        assert_eq!(status, 200, "{version}");
        assert!(text.len() >= 100_000, "{version}: {} bytes", text.len());
    }
    let sent = "POST / HTTP/1.1\\r\\nhost: echo\\r\\ntransfer-encoding: chunked\\r\\ntrailer: x-end\\r\\nconnection: close\\r\\n\\r\\n\
                5;ext=1\\r\\nhello\\r\\n6\\r\\n world\\r\\n0\\r\\nx-end: yes\\r\\n\\r\\n";
    let text = raw(mesh, &["--send", sent])["received"].to_string();
    assert!(text.contains("\\\"body_bytes\\\":11") && text.contains("x-end"), "trailers reach the server: {text}");
    let trailers = "GET /?trailers=1 HTTP/1.1\\r\\nhost: echo\\r\\nte: trailers\\r\\nconnection: close\\r\\n\\r\\n";
    let text = raw(mesh, &["--send", trailers])["received"].to_string();
    assert!(text.contains("x-trailer: yes"), "and the client: {text}");
    // The server's 100 comes before the body is sent.
    let head = "POST / HTTP/1.1\\r\\nhost: echo\\r\\nexpect: 100-continue\\r\\ncontent-length: 4\\r\\n\\r\\n";
    let told = raw(mesh, &["--send", head, "--until", "\\r\\n\\r\\n"]);
    assert!(told["received"].as_str().is_some_and(|text| text.starts_with("HTTP/1.1 100")), "{told}");
    let answer =
        mesh.ask("client", &["-H", "expect: 100-continue", "--expect100-timeout", "15", "-d", "1234", "http://echo/"]);
    assert_eq!(answer["body_bytes"], 4, "{answer}");
}

/// The proxies that a request of the client passes.
fn pair(mesh: &Mesh) -> [Process; 2] {
    let (app, server) = (mesh.process(&["sleep 100000"]), mesh.process(&["mizzen-peer echo", "--name echo"]));
    [mesh.sidecar(&app), mesh.sidecar(&server)]
}

fn kib(process: &Process, field: &str) -> u64 {
    process.kib(field).unwrap_or_else(|| panic!("{field} of {process:?}"))
}

fn large_bodies_are_handed_through(mesh: &Mesh) {
    const GROWTH_KIB_MAX: u64 = 8 * 1024;
    let proxies = pair(mesh);
    for version in ["1", "2"] {
        for kind in ["stream-upload", "stream-download"] {
            // The baseline is a proxy that has done the same with little.
            good(mesh, &["mizzen-peer", kind, "--url", "http://echo/", "--http", version, "--bytes", "1000000"]);
            assert!(proxies.iter().all(Process::forget_peak), "the peak can be reset");
            let before = proxies.each_ref().map(|proxy| kib(proxy, "VmRSS"));
            let told =
                good(mesh, &["mizzen-peer", kind, "--url", "http://echo/", "--http", version, "--bytes", "104857600"]);
            for (proxy, before) in proxies.iter().zip(before) {
                let peak = kib(proxy, "VmHWM");
                assert!(peak <= before + GROWTH_KIB_MAX, "{kind} {version}: {before} → {peak} KiB: {told}");
            }
        }
    }
}

fn idle_connections_are_small(mesh: &Mesh) {
    const CONNECTIONS: u64 = 1_000;
    // The budgets of the bench: plain HTTP/1 before the client's proxy, HTTP/2 with certificates between the two.
    for (version, budget_kib) in [("1", 24 + 64), ("2", 64 + 64)] {
        let proxies = pair(mesh);
        let before: u64 = proxies.iter().map(|proxy| kib(proxy, "VmRSS")).sum();
        let count = CONNECTIONS.to_string();
        let command =
            ["mizzen-peer", "idle", "--url", "http://echo/", "--http", version, "--connections", &count, "--ask-again"];
        let idle = mesh.spawn("client", &command);
        idle.wait_line("\"open\":1000");
        let after: u64 = proxies.iter().map(|proxy| kib(proxy, "VmRSS")).sum();
        let each = after.saturating_sub(before) / CONNECTIONS;
        println!("    HTTP/{version}: {each} KiB for an idle connection");
        assert!(each <= budget_kib, "HTTP/{version}: {before} → {after} KiB");
        let told = idle.stop().json();
        assert_eq!((&told["closed"], &told["answered_again"]), (&0.into(), &CONNECTIONS.into()), "{told}");
    }
}

fn long_connections_are_spread(mesh: &Mesh) {
    let load = mesh.spawn(
        "client",
        &["mizzen-peer", "h2-long", "--url", "http://echo/", "--connections", "8", "--rps", "400", "--duration", "12"],
    );
    let per_worker = || {
        let (_, text) = mesh.curl("client", &["http://127.0.0.1:15000/connections"]);
        let told: Value = serde_json::from_str(&text).ok()?;
        let mut workers: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for connection in told["connections"].as_array()? {
            if connection["protocol"] == "http2" && connection["requests"].as_u64()? > 0 {
                let worker = workers.entry(connection["worker"].as_u64()?).or_default();
                *worker = (worker.0 + 1, worker.1 + connection["requests"].as_u64()?);
            }
        }
        Some(workers.into_values().collect::<Vec<_>>())
    };
    let workers = within(Duration::from_secs(11), "eight connections with 200 requests each", || {
        let workers = per_worker()?;
        let (connections, requests) = workers.iter().fold((0, 0), |sum, worker| (sum.0 + worker.0, sum.1 + worker.1));
        (connections == 8 && requests >= 8 * 200).then_some(workers)
    });
    let [one, two] = workers[..] else { panic!("two workers: {workers:?}") };
    assert_eq!((one.0, two.0), (4, 4), "{workers:?}");
    let ratio = one.1.max(two.1) as f64 / one.1.min(two.1) as f64;
    assert!(ratio <= 1.2, "{workers:?}");
    let told = load.wait().json();
    assert_eq!(told["ok"], told["sent"], "{told}");
}

/// Clients that never finish their request head, begun early so that their time is up when this looks.
fn slow_heads_are_cut(mesh: &Mesh, slow: Load) {
    let answer = mesh.ask("client", &["http://echo/"]);
    assert_eq!(answer["peer"], "echo", "others are served meanwhile: {answer}");
    let output = slow.wait();
    assert_eq!(output.out.lines().filter(|line| line.contains("timeout")).count(), 0, "all were closed: {output:?}");
    assert_eq!(output.out.lines().filter(|line| line.contains("sent_bytes")).count(), SLOW, "{output:?}");
}

/// Clients that send one byte a second.
const SLOW: usize = 50;

fn slow_heads(mesh: &Mesh) -> Load {
    let slow = "mizzen-peer raw-client --connect echo:80 --byte-by-byte --pause-ms 1000 --timeout-ms 90000 \
                --send 'GET / HTTP/1.1\\r\\nhost: echo\\r\\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa'";
    mesh.spawn("client", &["sh", "-c", &format!("for i in $(seq {SLOW}); do {slow} & done; wait")])
}

fn headers_of_the_edge(mesh: &Mesh) {
    let answer = mesh.ask(
        "client",
        &[
            "-H",
            "x-request-id: 7b0d7f5e-8a0f-4c9e-9c1c-2f5f0d6f1a11",
            "-H",
            "x-forwarded-for: 192.0.2.9",
            "http://echo/",
        ],
    );
    assert_eq!(
        header(&answer, "x-request-id"),
        "7b0d7f5e-8a0f-4c9e-9c1c-2f5f0d6f1a11",
        "inside the mesh it is kept: {answer}"
    );
    assert_eq!(header(&answer, "x-forwarded-proto"), "http", "{answer}");
    let generated = mesh.ask("client", &["http://echo/"]);
    assert_eq!(header(&generated, "x-request-id").len(), 36, "{generated}");
}

#[test]
fn protocols_pass_both_sidecars() {
    let mesh = Mesh::up(&[("mesh.yaml", &manifests())], &[]);
    let slow = std::cell::RefCell::new(Some(slow_heads(&mesh)));
    check_all(
        &mesh,
        &[
            ("gRPC: unary, client, server and bidirectional streams", &grpc_streams_every_way),
            ("WebSocket and other upgrades", &upgrades_become_bytes),
            ("TCP with half-close, server first", &tcp_passes_as_it_is),
            ("HTTP whose first byte comes after 2.5 s is HTTP", &late_first_bytes_are_still_http),
            ("HTTP/1.0, 1.1 and 2, in and out", &versions_meet),
            ("chunks, trailers, 100-continue", &chunks_trailers_and_continue),
            ("request ids and forwarding headers", &headers_of_the_edge),
            ("100 MB each way within 8 MB", &large_bodies_are_handed_through),
            ("1,000 idle connections within the budget", &idle_connections_are_small),
            ("8 long connections on 2 workers", &long_connections_are_spread),
            ("slow heads are cut, others served", &|mesh| slow_heads_are_cut(mesh, slow.take().expect("begun once"))),
        ],
    );
}
