//! A server outside of every sandbox: on this machine's loopback.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
};

/// Serves HTTP for as long as the test process lives; returns its port.
///
/// # Panics
/// When there is no port left: the test has failed.
pub fn serve(body: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
    let port = listener.local_addr().expect("bound").port();
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || answer(stream, body));
        }
    });
    port
}

fn answer(mut stream: TcpStream, body: &str) {
    let Ok(reader) = stream.try_clone() else { return };
    let head = BufReader::new(reader).lines().map_while(Result::ok).take_while(|line| !line.is_empty()).count();
    if head > 0 {
        let length = body.len();
        write!(stream, "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}").ok();
    }
}
