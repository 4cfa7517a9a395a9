//! First bytes and what they are.

use super::{Inspector, PREFACE, Verdict};

fn look(bytes: &[u8]) -> Verdict {
    Inspector::default().look(bytes)
}

#[test]
fn plaintext() {
    let cases: &[(&[u8], Verdict)] = &[
        (b"", Verdict::More),
        (b"G", Verdict::More),
        (b"GET", Verdict::More),
        (b"GET /", Verdict::More),
        (b"GET / HTTP/1.1\r\n", Verdict::Http1),
        (b"\r\nGET / HTTP/1.1\r\n", Verdict::Http1),
        (b"GET / HTTP/1.0\r\n", Verdict::Http10),
        (b"GET /\r\n", Verdict::Other),
        (b"get key\r\n", Verdict::Other),
        (b"M-SEARCH * HTTP/1.1\r\n", Verdict::Http1),
        (b"PING\r\n", Verdict::Other),
        (b"EHLO example.org\r\n", Verdict::Other),
        (b"*1\r\n$4\r\nPING\r\n", Verdict::Other),
        (b"\x00\x00\x00\x08", Verdict::Other),
        (b"SSH-2.0-OpenSSH_9.2\r\n", Verdict::Other),
        (b"PRI * HTTP/2.0\r\n", Verdict::More),
        (PREFACE, Verdict::Http2),
        (b"PRIVATE / HTTP/1.1\r\n", Verdict::Http1),
        (b"ABCDEFGHIJKLMNOPQRSTUVWXYZ", Verdict::Other),
    ];
    for (bytes, want) in cases {
        assert_eq!(look(bytes), *want, "{}", String::from_utf8_lossy(bytes));
    }
}

#[test]
fn no_prefix_of_a_request_is_taken_for_something_else() {
    let request = b"DELETE /a/b?c=d HTTP/1.1\r\nhost: a\r\n\r\n";
    for end in 0..=request.len() {
        assert!(matches!(look(&request[..end]), Verdict::More | Verdict::Http1), "first {end} bytes");
    }
}

#[test]
fn a_client_hello_in_pieces_is_tls_when_it_is_whole() {
    let config = rustls::ClientConfig::builder_with_provider(rustls::crypto::aws_lc_rs::default_provider().into())
        .with_safe_default_protocol_versions()
        .expect("default versions")
        .with_root_certificates(rustls::RootCertStore::empty())
        .with_no_client_auth();
    let mut config = config;
    config.alpn_protocols = vec![b"istio-http/1.1".to_vec(), b"h2".to_vec()];
    let name = rustls_pki_types::ServerName::try_from("Reviews.Example").expect("a name");
    let mut client = rustls::ClientConnection::new(config.into(), name).expect("a client");
    let mut bytes = Vec::new();
    client.write_tls(&mut bytes).expect("written");

    let mut inspector = Inspector::default();
    for end in 1..bytes.len() {
        assert_eq!(inspector.look(&bytes[..end]), Verdict::More, "first {end} of {} bytes", bytes.len());
    }
    let Verdict::Tls(hello) = inspector.look(&bytes) else { panic!("not seen as TLS") };
    assert_eq!(hello.server_name, "reviews.example");
    assert_eq!(hello.alpn, ["istio-http/1.1", "h2"]);
}

#[test]
fn bytes_that_only_begin_like_tls_go_on_as_they_are() {
    assert_eq!(look(&[0x16, 3, 1, 0, 5, 9, 9, 9, 9, 9]), Verdict::Other);
}
