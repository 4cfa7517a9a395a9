//! Checks against real sockets on loopback.

use std::{io::BufRead as _, io::BufReader, net::TcpListener, thread};

use super::*;

fn check_http(answer: &'static str) -> Result<(), String> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    let server = thread::spawn(move || {
        let (mut stream, _) = listener.accept().expect("the probe comes");
        let mut lines = BufReader::new(stream.try_clone().expect("a socket can be cloned")).lines();
        let asked: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
        stream.write_all(answer.as_bytes()).expect("the probe reads");
        asked
    });
    let check = Check::Http {
        host: "127.0.0.1".into(),
        port,
        path: "/health".into(),
        headers: vec![("X-A".into(), "b".into())],
    };
    let result = probe(&check).map_err(|error| format!("{error:#}"));
    let asked = server.join().expect("no panic");
    assert_eq!(asked[0], "GET /health HTTP/1.1");
    assert!(asked.contains(&"X-A: b".to_owned()) && asked.contains(&format!("Host: 127.0.0.1:{port}")), "{asked:?}");
    result
}

#[test]
fn http_is_ready_from_200_to_399() {
    let cases = [
        ("HTTP/1.1 200 OK\r\n\r\n", None),
        ("HTTP/1.0 399 Odd\r\n\r\n", None),
        ("HTTP/1.1 503 Busy\r\n\r\n", Some("status 503")),
        ("hello\n", Some("not HTTP")),
        ("", Some("closed without an answer")),
    ];
    for (answer, wanted) in cases {
        match (check_http(answer), wanted) {
            (Ok(()), None) => {}
            (Err(error), Some(wanted)) => assert!(error.contains(wanted), "{error}"),
            (result, _) => panic!("{answer:?}: {result:?}"),
        }
    }
}

#[test]
fn a_listening_port_is_seen_without_a_connection() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    assert!(probe(&Check::Listening(vec![port])).is_ok());
    listener.set_nonblocking(true).expect("it can be");
    assert!(listener.accept().is_err(), "someone connected");
    drop(listener);
    assert!(probe(&Check::Listening(vec![port])).is_err());
}

#[test]
fn only_listening_sockets_count() {
    let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 1 1";
    assert_eq!(listening_port(line), Some(8080));
    assert_eq!(listening_port(&line.replace(" 0A ", " 01 ")), None);
    assert_eq!(listening_port(""), None);
}

#[test]
fn a_refused_connection_says_where() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let port = listener.local_addr().expect("it is bound").port();
    assert!(probe(&Check::Tcp { host: "127.0.0.1".into(), port }).is_ok());
    drop(listener);
    let error = probe(&Check::Tcp { host: "127.0.0.1".into(), port }).expect_err("nobody listens");
    assert!(format!("{error:#}").contains(&format!("127.0.0.1:{port}")), "{error:#}");
}
