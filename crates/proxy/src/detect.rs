//! What a connection speaks, from its first bytes. Pure: bytes in, verdict out.
//!
//! Bytes are read into a buffer that is replayed (no `MSG_PEEK`: a `ClientHello` with a post-quantum key share spans
//! segments). Nothing here guesses by the clock; what happens while the client is silent is the caller's affair.

use rustls::server::Acceptor;

/// Bytes looked at before a client that has not finished its first line or `ClientHello` is taken as it is.
pub(crate) const INSPECT_BYTES_MAX: usize = 64 * 1024;

/// The HTTP/2 connection preface (RFC 9113 §3.4).
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Longest method taken for one.
const METHOD_BYTES_MAX: usize = 24;

/// What the first bytes say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Too few bytes to tell.
    More,
    Tls(Hello),
    Http1,
    /// `HTTP/1.0` in the request line.
    Http10,
    Http2,
    /// Something else.
    Other,
}

/// What a `ClientHello` asks for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Hello {
    /// Lower case; empty if there is none.
    pub(crate) server_name: String,
    pub(crate) alpn: Vec<String>,
}

/// Looks at a growing buffer.
#[derive(Default)]
pub(crate) struct Inspector {
    /// Apart, because most connections speak no TLS here.
    acceptor: Option<Box<Acceptor>>,
    fed: usize,
}

impl Inspector {
    /// Looks at all bytes read so far.
    pub(crate) fn look(&mut self, bytes: &[u8]) -> Verdict {
        match *bytes {
            [] | [0x16] => Verdict::More,
            [0x16, 3, ..] => self.hello(bytes),
            _ => http(bytes),
        }
    }

    fn hello(&mut self, bytes: &[u8]) -> Verdict {
        let acceptor = self.acceptor.get_or_insert_default();
        while self.fed < bytes.len() {
            match acceptor.read_tls(&mut &bytes[self.fed..]) {
                Ok(0) | Err(_) => return Verdict::Other,
                Ok(n) => self.fed += n,
            }
            match acceptor.accept() {
                Ok(Some(accepted)) => {
                    let hello = accepted.client_hello();
                    return Verdict::Tls(Hello {
                        server_name: hello.server_name().unwrap_or_default().to_ascii_lowercase(),
                        alpn: hello
                            .alpn()
                            .into_iter()
                            .flatten()
                            .map(|name| String::from_utf8_lossy(name).into_owned())
                            .collect(),
                    });
                }
                Ok(None) => {}
                // Not a ClientHello after all; the bytes go on as they are.
                Err(_) => return Verdict::Other,
            }
        }
        if bytes.len() >= INSPECT_BYTES_MAX { Verdict::Other } else { Verdict::More }
    }
}

/// HTTP/2 by its preface; HTTP/1 by a request line (RFC 9112 §3).
fn http(bytes: &[u8]) -> Verdict {
    let common = bytes.len().min(PREFACE.len());
    if bytes[..common] == PREFACE[..common] {
        return if common == PREFACE.len() { Verdict::Http2 } else { Verdict::More };
    }
    // A server ignores empty lines before the request line (RFC 9112 §2.2).
    let line = bytes.trim_ascii_start();
    let Some(space) = line.iter().position(|b| *b == b' ') else {
        let could_be_method = line.len() <= METHOD_BYTES_MAX && line.iter().all(|b| is_method_byte(*b));
        return if could_be_method { Verdict::More } else { Verdict::Other };
    };
    if space == 0 || space > METHOD_BYTES_MAX || !line[..space].iter().all(|b| is_method_byte(*b)) {
        return Verdict::Other;
    }
    match line.iter().position(|b| *b == b'\n') {
        Some(end) => version(&line[..end]),
        None if line.len() >= INSPECT_BYTES_MAX => Verdict::Http1,
        None => Verdict::More,
    }
}

fn is_method_byte(byte: u8) -> bool {
    byte.is_ascii_uppercase() || byte == b'-' || byte == b'_'
}

/// By the last word of the request line.
fn version(line: &[u8]) -> Verdict {
    let line = line.trim_ascii_end();
    if line.ends_with(b" HTTP/1.1") {
        Verdict::Http1
    } else if line.ends_with(b" HTTP/1.0") {
        Verdict::Http10
    } else {
        Verdict::Other
    }
}

#[cfg(test)]
mod tests;
