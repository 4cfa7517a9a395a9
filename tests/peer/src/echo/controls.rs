//! What a query can make the echo do.
//!
//! | parameter | effect |
//! |---|---|
//! | `status=503` | this status |
//! | `delay_ms=N` | waits before it answers |
//! | `fail_first=N` | 503 (or `status`) for the first N requests with the same `x-request-id` (or `key=`), then 200 |
//! | `bytes=N` | a body of N patterned bytes instead of the description |
//! | `pause_ms=N` | waits between the pieces (16 KiB) of that body |
//! | `abort_after=N` | breaks off behind N bytes of it |
//! | `chunked=1` | without a content length |
//! | `trailers=1` | trailers `x-trailer: yes` and `x-body-sha256` |
//! | `echo=1` | sends the request's body back as it comes |
//! | `header=NAME:VALUE` | a response header, repeatable |
//! | `close=1` | `connection: close` (HTTP/1) |
//! | `early=1` | answers without reading the request's body |

use std::time::Duration;

use hyper::{
    HeaderMap, StatusCode,
    header::{HeaderName, HeaderValue},
};

/// What the body is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Content {
    /// JSON: what was asked.
    #[default]
    Description,
    /// So many patterned bytes.
    Pattern(u64),
    /// The request's body.
    Echo,
}

/// How its end is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Framing {
    #[default]
    Length,
    Chunked,
    Trailers,
}

/// The parsed query.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Controls {
    pub(super) status: StatusCode,
    pub(super) delay: Duration,
    pub(super) fail_first: u64,
    pub(super) key: Option<String>,
    pub(super) content: Content,
    pub(super) framing: Framing,
    pub(super) pause: Duration,
    pub(super) abort_after: Option<u64>,
    pub(super) early: bool,
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
}

impl Controls {
    /// Parses a query; parameters it does not know belong to the test. The error names the one that is wrong.
    pub(super) fn parse(query: &str) -> Result<Self, String> {
        let mut controls = Self::default();
        for (name, value) in pairs(query) {
            let wrong = || format!("{name}={value}");
            let number = || value.parse::<u64>().map_err(|_| wrong());
            let flag = || value.is_empty() || value == "1";
            match name.as_str() {
                "status" => controls.status = value.parse().map_err(|_| wrong())?,
                "delay_ms" => controls.delay = Duration::from_millis(number()?),
                "fail_first" => controls.fail_first = number()?,
                "key" => controls.key = Some(value.clone()),
                "bytes" => controls.content = Content::Pattern(number()?),
                "pause_ms" => controls.pause = Duration::from_millis(number()?),
                "abort_after" => controls.abort_after = Some(number()?),
                "chunked" if flag() => controls.framing = Framing::Chunked,
                "trailers" if flag() => controls.framing = Framing::Trailers,
                "echo" if flag() => controls.content = Content::Echo,
                "early" => controls.early = flag(),
                "close" => controls.headers.push((hyper::header::CONNECTION, HeaderValue::from_static("close"))),
                "header" => controls.headers.push(header(&value).ok_or_else(wrong)?),
                _ => {}
            }
        }
        Ok(controls)
    }

    /// Turns `fail_first` into a status, by how often `attempts` says that the key was seen, this time included.
    pub(super) fn resolve_failures(mut self, attempts: impl Fn(&str) -> u64, headers: &HeaderMap) -> Self {
        if self.fail_first > 0 {
            let id = headers.get("x-request-id").and_then(|id| id.to_str().ok()).unwrap_or_default();
            if attempts(self.key.as_deref().unwrap_or(id)) > self.fail_first {
                self.status = StatusCode::OK;
            } else if self.status == StatusCode::OK {
                self.status = StatusCode::SERVICE_UNAVAILABLE;
            }
        }
        self
    }
}

fn header(text: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, value) = text.split_once(':')?;
    Some((name.parse().ok()?, HeaderValue::from_str(value.trim()).ok()?))
}

/// `a=1&b=%20` decoded.
pub(super) fn pairs(query: &str) -> impl Iterator<Item = (String, String)> {
    query.split('&').filter(|pair| !pair.is_empty()).map(|pair| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        (decode(name), decode(value))
    })
}

/// Percent-decodes; what is no escape stays.
fn decode(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let digits = (*first == b'%').then(|| tail.get(..2)).flatten().and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = digits.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            bytes.push(byte);
            rest = &tail[2..];
        } else {
            bytes.push(if *first == b'+' { b' ' } else { *first });
            rest = tail;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests;
