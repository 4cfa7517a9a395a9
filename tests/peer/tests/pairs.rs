//! Each client against its server, over loopback, as processes: good runs are good, and each kind of failure is told.

use std::{
    io::{BufRead as _, BufReader, Lines},
    process::{Child, ChildStdout, Command, Stdio},
};

use serde_json::{Value, json};

const PEER: &str = env!("CARGO_BIN_EXE_mizzen-peer");

/// A peer that runs until the test ends.
struct Peer {
    process: Child,
    lines: Lines<BufReader<ChildStdout>>,
    port: u64,
}

impl Peer {
    /// Starts a server on a free port.
    fn serve(arguments: &[&str]) -> Self {
        let mut peer = Self::start(&[arguments, &["--port", "0", "--bind", "127.0.0.1"]].concat());
        peer.port = peer.line()["port"].as_u64().expect("a server's first line tells its port");
        peer
    }

    fn start(arguments: &[&str]) -> Self {
        let mut process = Command::new(PEER).args(arguments).stdout(Stdio::piped()).spawn().expect("the peer starts");
        let lines = BufReader::new(process.stdout.take().expect("piped")).lines();
        Self { process, lines, port: 0 }
    }

    fn line(&mut self) -> Value {
        let line = self.lines.next().expect("another line").expect("text");
        serde_json::from_str(&line).expect("JSON")
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}{path}", self.port)
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn terminate(&mut self) -> bool {
        let killed = Command::new("kill").args(["-TERM", &self.process.id().to_string()]).status();
        assert!(killed.expect("kill runs").success());
        self.process.wait().expect("it ends").success()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Runs a client to its end: whether it was content, and its last line.
fn run(arguments: &[&str]) -> (bool, Value) {
    let output = Command::new(PEER).args(arguments).output().expect("the peer runs");
    let text = String::from_utf8(output.stdout).expect("text");
    let last = text
        .lines()
        .last()
        .unwrap_or_else(|| panic!("{arguments:?} prints a line; stderr: {}", String::from_utf8_lossy(&output.stderr)));
    (output.status.success(), serde_json::from_str(last).expect("JSON"))
}

/// What the server at `url` answers to a GET, by a raw client.
fn get(server: &Peer, path: &str) -> String {
    let request = format!("GET {path} HTTP/1.1\\r\\nhost: x\\r\\nte: trailers\\r\\nconnection: close, te\\r\\n\\r\\n");
    let (_, answer) = run(&["raw-client", "--connect", &server.address(), "--send", &request, "--timeout-ms", "20000"]);
    assert_eq!(answer["end"], "eof", "{answer}");
    answer["received"].as_str().expect("text").to_owned()
}

#[test]
fn load_over_both_versions() {
    let server = Peer::serve(&["echo", "--name", "v1"]);
    for http in ["1", "2"] {
        for extra in [&[][..], &["--body-bytes", "70000"]] {
            let url = server.url("/path?x=y");
            let arguments =
                ["load", "--url", &url, "--http", http, "--rps", "500", "--connections", "4", "--count", "100"];
            let (good, summary) = run(&[&arguments, extra].concat());
            assert!(good, "{summary}");
            assert_eq!(
                (&summary["sent"], &summary["ok"], &summary["connections"]),
                (&json!(100), &json!(100), &json!(4))
            );
            assert_eq!(summary["per_peer"], json!({"v1": 100}));
            assert!(summary["latency"]["p99_ms"].as_f64().is_some_and(|ms| ms > 0.0));
        }
    }
    assert!(get(&server, "/count").contains("\"/path\":400"));
}

#[test]
fn load_tells_what_went_wrong() {
    let server = Peer::serve(&["echo"]);
    for (query, counted, patience_ms) in [
        ("status=503", "non_2xx", "20000"),
        ("abort_after=10&bytes=100", "resets", "20000"),
        ("delay_ms=60000", "timeouts", "200"),
        ("header=x-body-sha256:00&trailers=1", "body_mismatches", "20000"),
    ] {
        for http in ["1", "2"] {
            let url = server.url(&format!("/?{query}"));
            let arguments = [
                "load",
                "--url",
                &url,
                "--http",
                http,
                "--connections",
                "1",
                "--count",
                "3",
                "--timeout-ms",
                patience_ms,
            ];
            let (good, summary) = run(&arguments);
            assert!(!good);
            assert_eq!((&summary["ok"], &summary[counted]), (&json!(0), &json!(3)), "{query} over {http}: {summary}");
            assert_eq!(summary["failures"].as_array().map(Vec::len), Some(3));
        }
    }
    let (good, summary) = run(&["load", "--url", "http://127.0.0.1:1/", "--count", "2", "--connections", "1"]);
    assert_eq!((good, &summary["connect_errors"]), (false, &json!(2)));
}

#[test]
fn load_survives_connections_that_are_closed_politely_and_ends_on_request() {
    let server = Peer::serve(&["echo"]);
    let (good, summary) = run(&["load", "--url", &server.url("/?close=1"), "--count", "5", "--connections", "1"]);
    assert!(good, "{summary}");
    assert_eq!(summary["connections"], 5);

    let mut load = Peer::start(&["load", "--url", &server.url("/"), "--rps", "1000"]);
    while !get(&server, "/count").contains("\"connections\":2") {
        std::thread::yield_now();
    }
    assert!(load.terminate(), "SIGTERM is the normal end");
    assert!(load.line()["ok"].as_u64().is_some_and(|ok| ok > 0));

    let (good, summary) =
        run(&["load", "--url", &server.url("/"), "--rps", "0", "--count", "1000", "--connections", "8"]);
    assert!(good, "as fast as it goes: {summary}");
    let (good, summary) = run(&["h2-long", "--url", &server.url("/"), "--rps", "400", "--duration", "0.5"]);
    assert!(good, "{summary}");
    assert_eq!(summary["connections"], 8);
}

#[test]
fn the_echo_does_what_the_query_says() {
    let server = Peer::serve(&["echo", "--name", "n"]);
    for (path, parts) in [
        (
            "/a/b?c=d",
            &["HTTP/1.1 200 OK", "\"path\":\"/a/b\"", "\"query\":\"c=d\"", "x-peer: n", "\"version\":\"HTTP/1.1\""][..],
        ),
        ("/?status=418", &["HTTP/1.1 418"]),
        ("/?status=nonsense", &["HTTP/1.1 400", "status=nonsense"]),
        ("/?bytes=5", &["content-length: 5"]),
        ("/?bytes=5&chunked=1", &["transfer-encoding: chunked", "5\\r\\n"]),
        ("/?trailers=1", &["trailer: x-trailer, x-body-sha256", "0\\r\\nx-trailer: yes\\r\\nx-body-sha256: "]),
        ("/?fail_first=1&key=k", &["HTTP/1.1 503"]),
        ("/?fail_first=1&key=k", &["HTTP/1.1 200"]),
        ("/?header=X-A:b", &["x-a: b"]),
        ("/count", &["\"requests\":9"]),
    ] {
        let answer = get(&server, path);
        for part in parts {
            assert!(answer.contains(part), "{part} not in the answer to {path}: {answer}");
        }
    }
    let request = "POST /?echo=1 HTTP/1.1\\r\\nhost: x\\r\\ncontent-length: 4\\r\\nconnection: close\\r\\nx-request-id: r7\\r\\n\\r\\nbody";
    let (_, answer) = run(&["raw-client", "--connect", &server.address(), "--send", request, "--byte-by-byte"]);
    assert!(answer["received"].as_str().is_some_and(|text| text.ends_with("\\r\\n\\r\\nbody")), "{answer}");
    assert!(get(&server, "/count?id=r7").contains("\"requests\":1"));
}

#[test]
fn upgrades_lose_nothing_and_tell_when_they_do() {
    let mut server = Peer::serve(&["echo"]);
    let url = server.url("/");
    for upgrade in ["websocket", "echo"] {
        let arguments = [
            "ws-load",
            "--url",
            &url,
            "--upgrade",
            upgrade,
            "--connections",
            "3",
            "--interval-ms",
            "1",
            "--duration",
            "0.3",
        ];
        let (good, frames) = run(&arguments);
        assert!(good, "{frames}");
        assert_eq!((&frames["opened"], &frames["lost"], &frames["out_of_order"]), (&json!(3), &json!(0), &json!(0)));
        assert_eq!(frames["sent"], frames["received"]);
    }
    let mut load = Peer::start(&["ws-load", "--url", &url, "--connections", "2", "--interval-ms", "1"]);
    while !get(&server, "/count").contains("\"requests\":8") {
        std::thread::yield_now();
    }
    server.process.kill().expect("it runs");
    server.process.wait().expect("it ends");
    assert!(!load.terminate());
    assert_eq!(load.line()["dropped_connections"], 2);
}

#[test]
fn large_bodies_arrive_whole() {
    let server = Peer::serve(&["echo"]);
    for http in ["1", "2"] {
        for command in ["stream-upload", "stream-download"] {
            let (good, report) = run(&[command, "--url", &server.url("/x?y=z"), "--http", http, "--bytes", "3000001"]);
            assert!(good, "{command} over {http}: {report}");
            assert_eq!(report["bytes"], 3_000_001);
        }
    }
    let (good, _) = run(&["stream-upload", "--url", &server.url("/"), "--bytes", "100000", "--chunked"]);
    assert!(good);
    let (good, report) = run(&["stream-download", "--url", &server.url("/?abort_after=5"), "--bytes", "100000"]);
    assert!(!good && report["error"].as_str().is_some_and(|error| error.contains("broke off")), "{report}");
}

#[test]
fn grpc_in_all_four_kinds() {
    let server = Peer::serve(&["grpc-echo", "--name", "g"]);
    let url = server.url("");
    for (kind, messages) in [("unary", 2), ("client-stream", 2), ("server-stream", 20), ("bidi", 20)] {
        let (good, report) = run(&["grpc-client", "--url", &url, "--kind", kind, "--messages", "10", "--calls", "2"]);
        assert!(good, "{kind}: {report}");
        assert_eq!((&report["messages"], &report["peer"]), (&json!(messages), &json!("g")), "{kind}");
        let (good, report) = run(&["grpc-client", "--url", &url, "--kind", kind, "--status", "9", "--messages", "3"]);
        assert!(good, "{kind}: {report}");
        assert_eq!(report["status"], 9);
        let empty = ["grpc-client", "--url", &server.url("/"), "--kind", kind, "--messages", "1"];
        assert!(run(&empty).0, "{kind}: one message");
    }
}

#[test]
fn tcp_with_half_close_and_banner() {
    let echo = Peer::serve(&["tcp-echo"]);
    let long = "x".repeat(100_000);
    let (good, report) = run(&["tcp-client", "--connect", &echo.address(), "--send", &long]);
    assert!(good, "{report}");
    assert_eq!(report["received_bytes"], 100_000);
    let first = Peer::serve(&["server-first", "--banner", "220 hi\\r\\n"]);
    let (good, report) =
        run(&["tcp-client", "--connect", &first.address(), "--expect", "220 hi\\r\\n", "--send", "QUIT\\r\\n"]);
    assert!(good, "{report}");
    let (good, report) = run(&["tcp-client", "--connect", &first.address(), "--expect", "550 no\\r\\n"]);
    assert!(!good, "{report}");
}

#[test]
fn raw_bytes_are_told_as_they_are() {
    let mut server = Peer::serve(&["raw-server", "--response", "one\\r\\n", "--response", "two\\r\\n", "--close"]);
    let (_, answer) = run(&[
        "raw-client",
        "--connect",
        &server.address(),
        "--send",
        "a\\x00b\\r\\n\\r\\n",
        "--send-hex",
        "63 0d0a0d0a",
    ]);
    assert_eq!((&answer["received"], &answer["end"]), (&json!("one\\r\\ntwo\\r\\n"), &json!("eof")));
    let last = std::iter::from_fn(|| Some(server.line())).find(|line| line.get("end").is_some()).expect("an end");
    assert_eq!(last["all"], "a\\x00b\\r\\n\\r\\nc\\r\\n\\r\\n");
    assert_eq!((&last["answered"], &last["end"]), (&json!(2), &json!("closed")));

    let server = Peer::serve(&["raw-server", "--reset"]);
    let (_, answer) = run(&["raw-client", "--connect", &server.address(), "--send", "x\\r\\n\\r\\n"]);
    assert_eq!(answer["end"], "reset", "{answer}");
    let server = Peer::serve(&["raw-server"]);
    let (_, answer) = run(&["raw-client", "--connect", &server.address(), "--send", "x\\r\\n\\r\\n", "--until", "ok"]);
    assert_eq!(answer["end"], "marker");
    let (_, answer) = run(&["raw-client", "--connect", &server.address(), "--send", "x", "--timeout-ms", "50"]);
    assert_eq!((&answer["end"], &answer["sent_bytes"]), (&json!("timeout"), &json!(1)));
}

#[test]
fn idle_connections_are_held_and_counted() {
    let mut server = Peer::serve(&["echo"]);
    for http in ["1", "2"] {
        let (good, report) = run(&[
            "idle",
            "--url",
            &server.url("/"),
            "--http",
            http,
            "--connections",
            "20",
            "--hold",
            "0.05",
            "--ask-again",
        ]);
        assert!(good, "{report}");
        assert_eq!((&report["open"], &report["answered_again"]), (&json!(20), &json!(20)));
    }
    let mut idle = Peer::start(&["idle", "--url", &server.url("/"), "--connections", "3", "--ask-again"]);
    assert_eq!(idle.line(), json!({"open": 3}));
    assert!(server.terminate());
    assert!(!idle.terminate());
    assert_eq!(idle.line()["answered_again"], 0);
}

#[test]
fn tls_tells_what_both_ends_showed() {
    let directory = std::env::temp_dir().join(format!("mizzen-peer-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let file = |name: &str| directory.join(name).display().to_string();
    for name in ["server", "client"] {
        let key = rcgen::KeyPair::generate().expect("a key");
        let mut parameters = rcgen::CertificateParams::new(Vec::<String>::new()).expect("no names");
        let uri = format!("spiffe://cluster.local/ns/default/sa/{name}");
        parameters.subject_alt_names = vec![rcgen::SanType::URI(uri.as_str().try_into().expect("ASCII"))];
        std::fs::write(file(&format!("{name}.pem")), parameters.self_signed(&key).expect("a certificate").pem())
            .expect("written");
        std::fs::write(file(&format!("{name}.key")), key.serialize_pem()).expect("written");
    }
    let server = Peer::serve(&[
        "echo",
        "--cert",
        &file("server.pem"),
        "--key",
        &file("server.key"),
        "--alpn",
        "istio",
        "--alpn",
        "h2",
    ]);
    let request = "GET / HTTP/1.1\\r\\nhost: x\\r\\nconnection: close\\r\\n\\r\\n";
    let address = server.address();
    let probe = ["tls-probe", "--connect", &address, "--alpn", "istio", "--send", request];
    let (client_pem, client_key) = (file("client.pem"), file("client.key"));
    let with_identity = ["--cert", &client_pem, "--key", &client_key, "--sni", "a.b"];

    let (good, told) = run(&[&probe[..], &with_identity].concat());
    assert!(good, "{told}");
    assert_eq!(
        (&told["version"], &told["group"], &told["alpn"]),
        (&json!("TLSv1_3"), &json!("X25519MLKEM768"), &json!("istio"))
    );
    assert_eq!(told["peer"]["uris"], json!(["spiffe://cluster.local/ns/default/sa/server"]));
    assert!(told["peer"]["serial"].as_str().is_some_and(|serial| !serial.is_empty()));
    assert!(told["received"].as_str().is_some_and(|text| text.contains("sa/client")), "{told}");

    let (good, told) = run(&[&probe[..], &["--group", "X25519"]].concat());
    assert!(good && told["received"].as_str().is_some_and(|text| text.contains("\"peer\":null")), "{told}");
    assert_eq!(told["group"], "X25519");
    let (good, told) = run(&[&probe[..], &["--tls12"]].concat());
    assert!(good && told["version"] == "TLSv1_2", "{told}");

    let plain = Peer::serve(&["tcp-echo"]);
    let (good, told) = run(&["tls-probe", "--connect", &plain.address(), "--timeout-ms", "1000"]);
    assert!(!good && told["handshake"] == json!(false), "{told}");
    std::fs::remove_dir_all(&directory).expect("removed");
}
