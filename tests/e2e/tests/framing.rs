//! HTTP framing on raw bytes: what is ambiguous is refused, or reaches the server as exactly one unambiguous message.
//!
//! One test for each line of "HTTP/1 framing and smuggling" in the checklist of what went wrong in other proxies. The lines
//! about HTTP/3 and the PROXY protocol do not apply: neither is spoken here. `h2spec` covers HTTP/2's own framing.

use mizzen_e2e::{
    Mesh, check_all, eventually,
    manifest::{client, deployment, documents, service, without_retries},
};
use serde_json::Value;

/// One answer to each head that arrives; what arrives is in its log.
const SERVER: &str = "mizzen-peer raw-server --port 8080";
/// Answers an Upgrade with 200, and keeps what follows as a request of its own.
const NO_UPGRADE: &str =
    "mizzen-peer raw-server --port 8080 --response \"HTTP/1.1 200 OK\\r\\ncontent-length: 2\\r\\n\\r\\nno\"";

fn manifests() -> String {
    documents(&[
        &deployment("server", SERVER).port(8080),
        &service("server", &[("http", 80, 8080)]),
        &without_retries("server"),
        &deployment("refuser", NO_UPGRADE).port(8080),
        &service("refuser", &[("http", 80, 8080)]),
        &without_retries("refuser"),
        &deployment("echo", "mizzen-peer echo --port 8080").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &client("client"),
    ])
}

/// Sends raw bytes to a service; status codes of the answers, in order.
fn send(mesh: &Mesh, service: &str, bytes: &str) -> (Vec<u16>, Value) {
    let connect = format!("{service}:80");
    let command = ["mizzen-peer", "raw-client", "--connect", &connect, "--send", bytes, "--timeout-ms", "1500"];
    let told = mesh.exec("client", &command).json();
    let text = told["received"].as_str().unwrap_or_default();
    let codes = text.split("HTTP/1.1 ").skip(1).filter_map(|rest| rest.get(..3)?.parse().ok()).collect();
    (codes, told)
}

/// Everything that a server of raw bytes has received so far.
fn arrived(mesh: &Mesh, service: &str) -> String {
    let logs = mesh.mizzen(&["logs", service]).out;
    let parts = logs.lines().filter_map(|line| {
        let told: Value = serde_json::from_str(line.get(line.find('{')?..)?).ok()?;
        told["received_hex"].as_str().map(str::to_owned)
    });
    parts.map(|hex| unhex(&hex)).collect()
}

fn unhex(hex: &str) -> String {
    let digits: Vec<u8> = hex.chars().filter_map(|digit| digit.to_digit(16)).map(|digit| digit as u8).collect();
    digits.chunks(2).map(|pair| char::from(pair[0] << 4 | pair.get(1).copied().unwrap_or_default())).collect()
}

const NEXT: &str = "GET /smuggled HTTP/1.1\\r\\nhost: server\\r\\n\\r\\n";

/// What is ambiguous gets 400 (or 501, or no answer), once, and nothing of it reaches the server.
fn ambiguous_heads_are_refused(mesh: &Mesh) {
    let post = |headers: &str, body: &str| {
        format!("POST /ambiguous HTTP/1.1\\r\\nhost: server\\r\\n{headers}\\r\\n\\r\\n{body}")
    };
    let get = |rest: &str| format!("GET /ambiguous HTTP/1.1\\r\\nhost: server\\r\\n{rest}");
    let cases = [
        ("two lengths that differ", post("content-length: 5\\r\\ncontent-length: 6", "hello")),
        ("a list of lengths that differ", post("content-length: 5, 6", "hello")),
        ("a length with a plus", post("content-length: +5", "hello")),
        ("a length with a minus", post("content-length: -5", "hello")),
        ("a length with a space inside", post("content-length: 1 0", "0123456789")),
        ("a length in hex", post("content-length: 0x5", "hello")),
        ("a length that overflows", post("content-length: 18446744073709551621", "hello")),
        ("an empty length", post("content-length:", "")),
        ("an unknown coding", post("transfer-encoding: xchunked", "0\\r\\n\\r\\n")),
        ("chunked, but not last", post("transfer-encoding: chunked, identity", "0\\r\\n\\r\\n")),
        ("chunked twice", post("transfer-encoding: chunked\\r\\ntransfer-encoding: chunked", "0\\r\\n\\r\\n")),
        ("a coding with a control character", post("transfer-encoding: \\x0bchunked", "0\\r\\n\\r\\n")),
        ("a coding behind a folded line", post("transfer-encoding:\\r\\n chunked", "0\\r\\n\\r\\n")),
        ("a name with a space behind it", post("content-length : 5", "hello")),
        ("a name with a space inside", get("x header: 1\\r\\n\\r\\n")),
        ("a name with a control character", get("x\\x01header: 1\\r\\n\\r\\n")),
        ("a folded line", get("x-folded: one\\r\\n two\\r\\n\\r\\n")),
        ("a NUL in a value", get("x-value: a\\0b\\r\\n\\r\\n")),
        ("a CR in a value", get("x-value: a\\rb\\r\\n\\r\\n")),
        ("a line without a colon", get("nonsense\\r\\n\\r\\n")),
        ("no host", "GET /ambiguous HTTP/1.1\\r\\n\\r\\n".to_owned()),
        ("two hosts", get("host: other\\r\\n\\r\\n")),
        ("a space in the path", "GET /ambi guous HTTP/1.1\\r\\nhost: server\\r\\n\\r\\n".to_owned()),
        ("another version", "GET /ambiguous HTTP/3.7\\r\\nhost: server\\r\\n\\r\\n".to_owned()),
        (
            "chunked in HTTP/1.0",
            "POST /ambiguous HTTP/1.0\\r\\nhost: server\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n0\\r\\n\\r\\n"
                .to_owned(),
        ),
    ];
    for (name, bytes) in cases {
        let (codes, told) = send(mesh, "server", &(bytes + NEXT));
        assert!(matches!(codes[..], [] | [400 | 501 | 505]), "{name}: {told}");
        assert_ne!(told["end"], "timeout", "{name}: the connection is closed: {told}");
    }
    let (codes, _) = send(mesh, "server", "GET /sentinel-heads HTTP/1.1\\r\\nhost: server\\r\\n\\r\\n");
    assert_eq!(codes, [200]);
    let text = eventually("the sentinel in the server's log", || {
        let text = arrived(mesh, "server");
        text.contains("/sentinel-heads").then_some(text)
    });
    for path in ["/ambiguous", "/ambi", "/smuggled"] {
        assert!(!text.contains(path), "{path} reached the server: {text}");
    }
}

/// What has one meaning is forwarded with exactly that one.
fn odd_but_clear_messages_arrive_once(mesh: &Mesh) {
    let cases = [
        (
            "same",
            "POST /same HTTP/1.1\\r\\nhost: server\\r\\ncontent-length: 5\\r\\ncontent-length: 5\\r\\n\\r\\nhello",
            "content-length",
        ),
        (
            "both",
            "POST /both HTTP/1.1\\r\\nhost: server\\r\\ncontent-length: 3\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n",
            "transfer-encoding",
        ),
        (
            "cased",
            "POST /cased HTTP/1.1\\r\\nhost: server\\r\\nTransfer-Encoding: CHUNKED\\r\\n\\r\\n5\\r\\nhello\\r\\n0\\r\\n\\r\\n",
            "transfer-encoding",
        ),
        ("bare", "GET /bare HTTP/1.1\\nhost: server\\nx-bare: 1\\n\\n", "host"),
    ];
    for (path, bytes, framing) in cases {
        let (codes, told) = send(mesh, "server", bytes);
        // Either is safe: refused, or one message with one framing.
        assert!(matches!(codes[..], [] | [200 | 400]), "{path}: {told}");
        if codes[..] != [200] {
            continue;
        }
        let wanted = format!("/{path} HTTP/1.1\r\n");
        let text = eventually("the message in the server's log", || {
            let text = arrived(mesh, "server");
            text.contains(&wanted).then_some(text)
        });
        assert_eq!(text.matches(&wanted).count(), 1, "{path} arrived once");
        let message = text.split(&wanted).nth(1).unwrap_or_default();
        let head = message.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
        let framings = head.matches("content-length:").count() + head.matches("transfer-encoding:").count();
        assert!(framings <= 1 && head.contains(framing), "{path}: {head}");
        assert!(!head.contains('\n') || head.contains("\r\n"), "{path}: no bare line feed is passed on: {head:?}");
    }
}

fn broken_chunks_end_the_message(mesh: &Mesh) {
    let chunks = [
        ("a size that overflows", "ffffffffffffffff1\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        ("a size with a sign", "+5\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        ("a size with a prefix", "0x5\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        ("no size", "\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        ("no line end behind the data", "5\\r\\nhelloX\\r\\n0\\r\\n\\r\\n"),
        ("a bare line feed in an extension", "5;a\\nb\\r\\nhello\\r\\n0\\r\\n\\r\\n"),
        ("a trailer that frames", "5\\r\\nhello\\r\\n0\\r\\ncontent-length: 50\\r\\n\\r\\n"),
    ];
    for (name, body) in chunks {
        let head = "POST /chunks HTTP/1.1\\r\\nhost: echo\\r\\ntransfer-encoding: chunked\\r\\n\\r\\n";
        let (codes, told) =
            send(mesh, "echo", &format!("{head}{body}GET /smuggled HTTP/1.1\\r\\nhost: echo\\r\\n\\r\\n"));
        let harmless = name == "a trailer that frames" && codes[..] == [200, 200];
        assert!(harmless || !codes.contains(&200), "{name}: {told}");
        if harmless {
            let text = told["received"].as_str().unwrap_or_default();
            assert!(!text.contains("content-length\\\\\",\\\\\"50"), "the trailer is no header: {text}");
        }
    }
    let counted = mesh.ask("echo", &["http://localhost:8080/count"]);
    let smuggled = counted["paths"]["/smuggled"].as_u64().unwrap_or_default();
    assert!(smuggled <= 1, "only behind the trailer is it a request of its own: {counted}");
}

fn hop_by_hop_headers_end_at_the_hop(mesh: &Mesh) {
    let bytes = "GET /hops HTTP/1.1\\r\\nhost: server\\r\\nconnection: close, x-private, keep-alive\\r\\nx-private: 1\\r\\n\
                 keep-alive: timeout=5\\r\\nproxy-connection: close\\r\\nte: gzip\\r\\nx-kept: 1\\r\\n\\r\\n";
    let (codes, told) = send(mesh, "server", bytes);
    assert_eq!(codes, [200], "{told}");
    let text = eventually("the message in the server's log", || {
        let text = arrived(mesh, "server");
        text.contains("/hops").then_some(text)
    });
    let message = text.split("/hops").nth(1).unwrap_or_default();
    let head = message.split("\r\n\r\n").next().unwrap_or_default().to_lowercase();
    assert!(head.contains("x-kept: 1"), "{head}");
    for name in ["x-private", "keep-alive", "proxy-connection", "te: gzip"] {
        assert!(!head.contains(name), "{name} in {head}");
    }
}

/// Bytes behind an Upgrade are the server's only once it has said 101.
fn a_refused_upgrade_hands_nothing_on(mesh: &Mesh) {
    let bytes = "GET /upgrade HTTP/1.1\\r\\nhost: refuser\\r\\nconnection: upgrade\\r\\nupgrade: websocket\\r\\n\
                 sec-websocket-version: 13\\r\\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\\r\\n\\r\\n\
                 GET /hidden HTTP/1.1\\r\\nhost: refuser\\r\\nx-forwarded-client-cert: forged\\r\\n\\r\\n";
    let (codes, told) = send(mesh, "refuser", bytes);
    assert_eq!(codes.first(), Some(&200), "the server's refusal is handed on: {told}");
    let text = eventually("the message in the server's log", || {
        let text = arrived(mesh, "refuser");
        text.contains("/upgrade").then_some(text)
    });
    // If the rest was read as a request of its own, it went the way of every request.
    assert!(!text.contains("forged"), "{text}");
    // The next request of another client gets its own answer.
    let (status, body) = mesh.curl("client", &["http://refuser/next"]);
    assert_eq!((status, body.as_str()), (200, "no"));
}

fn h2c_upgrade_is_not_taken(mesh: &Mesh) {
    let bytes = "GET / HTTP/1.1\\r\\nhost: echo\\r\\nconnection: upgrade, http2-settings\\r\\nupgrade: h2c\\r\\n\
                 http2-settings: AAMAAABkAAQAAP__\\r\\n\\r\\n";
    let (codes, told) = send(mesh, "echo", bytes);
    assert!(!codes.contains(&101), "{told}");
}

/// Bytes on a line, and what a client may make of them: no CR, LF or NUL, no framing, no second host.
fn http2_to_http1_keeps_the_line(mesh: &Mesh) {
    // curl refuses to send most of it; what passes its own checks must arrive on one line.
    let answer = mesh.ask(
        "client",
        &[
            "--http2-prior-knowledge",
            "-H",
            "x-odd: a\tb  c",
            "-H",
            "transfer-encoding: chunked",
            "-H",
            "connection: close",
            "-d",
            "body",
            "http://echo/",
        ],
    );
    assert_eq!(answer["body_bytes"], 4, "{answer}");
    assert_eq!(mizzen_e2e::header(&answer, "x-odd").replace("\\t", "\t"), "a\tb  c", "{answer}");
    let (status, text) =
        mesh.curl("client", &["--http2-prior-knowledge", "-H", "content-length: 9", "-d", "body", "http://echo/"]);
    assert!(status == 0 || status >= 400, "a length that lies: {status} {text}");
}

/// Failures of h2spec that are meant, and why.
const H2SPEC_EXPECTED: &[(&str, &str)] = &[(
    "2: Sends invalid connection preface",
    "the connection ends, by a reset instead of a close: what begins like no HTTP is bytes, for which nobody listens there",
)];

fn h2spec(mesh: &Mesh) {
    // By its long name: h2spec cuts the header block at fixed places, and a shorter one is too short for it.
    let output =
        mesh.exec("client", &["h2spec", "--host", "echo.default.svc.cluster.local", "--port", "80", "--timeout", "3"]);
    let summary = output.out.lines().rfind(|line| line.contains("tests,")).unwrap_or_default();
    let figure = |name: &str| -> Option<u32> {
        summary.split(", ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok())
    };
    let (Some(passed), Some(failed)) = (figure(" passed"), figure(" failed")) else { panic!("no summary: {output:?}") };
    assert!(passed >= 140, "{summary}");
    let failures = output.out.split("Failures:").nth(1).unwrap_or_default();
    let unexpected: Vec<&str> = failures
        .lines()
        .map(str::trim)
        .filter(|line| line.starts_with('×') && !H2SPEC_EXPECTED.iter().any(|(case, _)| line.contains(case)))
        .collect();
    assert_eq!(failed as usize, H2SPEC_EXPECTED.len(), "{summary}: {failures}");
    assert!(unexpected.is_empty(), "{unexpected:#?}");
}

#[test]
fn framing() {
    let mesh = Mesh::up(&[("mesh.yaml", &manifests())], &[]);
    check_all(
        &mesh,
        &[
            ("ambiguous heads are refused", &ambiguous_heads_are_refused),
            ("odd but clear messages arrive once", &odd_but_clear_messages_arrive_once),
            ("broken chunks end the message", &broken_chunks_end_the_message),
            ("hop-by-hop headers end at the hop", &hop_by_hop_headers_end_at_the_hop),
            ("a refused upgrade hands nothing on", &a_refused_upgrade_hands_nothing_on),
            ("an h2c upgrade is not taken", &h2c_upgrade_is_not_taken),
            ("HTTP/2 to HTTP/1", &http2_to_http1_keeps_the_line),
            ("h2spec", &h2spec),
        ],
    );
}
