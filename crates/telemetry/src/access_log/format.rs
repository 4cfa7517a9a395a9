//! A format, compiled to a list of pieces, and the headers it wants copied.

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Map, Value as Json};
use smallvec::SmallVec;

use super::{
    escape,
    operator::{Needs, Operator},
    value::{Entry, Value},
};
use crate::record::{ConnFacts, Flow, HttpRecord};

/// Istio's text format (istio.io, "Default access log format"), a line end included.
pub const DEFAULT_FORMAT: &str = "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% %PROTOCOL%\" %RESPONSE_CODE% \
%RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% %CONNECTION_TERMINATION_DETAILS% \"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% \
%BYTES_SENT% %DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% \"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \
\"%REQ(X-REQUEST-ID)%\" \"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% %UPSTREAM_LOCAL_ADDRESS% \
%DOWNSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%\n";

/// Why a format was refused.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not an operator, or one that Mizzen does not have.
    #[error("unknown access log operator %{0}%")]
    UnknownOperator(String),
    /// The operator is known, what stands with it is wrong.
    #[error("access log operator %{operator}%: {problem}")]
    Invalid {
        /// As it was written.
        operator: String,
        /// What is wrong.
        problem: String,
    },
    /// A percent sign without its partner; `%%` is a literal one.
    #[error("access log format ends inside an operator: %{0}")]
    Unclosed(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Literal(Vec<u8>),
    /// Escaped for text.
    Text(Operator),
    /// A JSON value: number, string or null.
    Json(Operator),
    /// Inside a JSON string that has other pieces too.
    JsonPart(Operator),
}

/// A compiled format.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    needs: Needs,
}

/// The values of the headers that one format wants, copied while the request and response pass.
#[derive(Clone, Debug, Default)]
pub struct Captured {
    pub(super) request: SmallVec<[Option<HeaderValue>; 4]>,
    pub(super) response: SmallVec<[Option<HeaderValue>; 1]>,
    pub(super) trailers: SmallVec<[Option<HeaderValue>; 1]>,
}

impl Format {
    /// Compiles a text format; [`DEFAULT_FORMAT`] where `format` is empty. Line ends are the format's own.
    pub fn text(format: &str) -> Result<Self, FormatError> {
        let mut compiled = Self { pieces: Vec::new(), needs: Needs::default() };
        let format = if format.is_empty() { DEFAULT_FORMAT } else { format };
        for part in parts(format) {
            let piece = match part? {
                Part::Literal(text) => Piece::Literal(text.as_bytes().to_vec()),
                Part::Operator(text) => Piece::Text(Operator::parse(text, &mut compiled.needs)?),
            };
            compiled.push(piece);
        }
        Ok(compiled)
    }

    /// Compiles a JSON object whose strings are formats; one object a line. A string that is a single operator becomes
    /// a number or null where the fact is one.
    pub fn json(format: &Map<String, Json>) -> Result<Self, FormatError> {
        let mut compiled = Self { pieces: Vec::new(), needs: Needs::default() };
        compiled.object(format)?;
        compiled.literal(b"\n");
        Ok(compiled)
    }

    /// Appends the line of an HTTP request.
    pub fn write_http(&self, conn: &ConnFacts, record: &HttpRecord, out: &mut Vec<u8>) {
        self.write(&Entry { conn, flow: &record.flow, http: Some(record) }, out);
    }

    /// Appends the line of a TCP connection; what only HTTP has prints as `-` (code 0).
    pub fn write_tcp(&self, conn: &ConnFacts, flow: &Flow, out: &mut Vec<u8>) {
        self.write(&Entry { conn, flow, http: None }, out);
    }

    /// Copies what the format wants of the request's headers, as they are after routing.
    pub fn capture_request(&self, headers: &HeaderMap, captured: &mut Captured) {
        captured.request = copy(&self.needs.request, headers).collect();
    }

    /// Copies what the format wants of the response's headers, as the downstream gets them.
    pub fn capture_response(&self, headers: &HeaderMap, captured: &mut Captured) {
        captured.response = copy(&self.needs.response, headers).collect();
    }

    /// Copies what the format wants of the response's trailers.
    pub fn capture_trailers(&self, trailers: &HeaderMap, captured: &mut Captured) {
        captured.trailers = copy(&self.needs.trailers, trailers).collect();
    }

    fn write(&self, entry: &Entry<'_>, out: &mut Vec<u8>) {
        for piece in &self.pieces {
            match piece {
                Piece::Literal(text) => out.extend_from_slice(text),
                Piece::Text(operator) => Value::of(operator, entry).write_text(operator.limit, out),
                Piece::Json(operator) => Value::of(operator, entry).write_json(operator.limit, out),
                Piece::JsonPart(operator) => Value::of(operator, entry).write_json_part(operator.limit, out),
            }
        }
    }

    fn object(&mut self, object: &Map<String, Json>) -> Result<(), FormatError> {
        self.literal(b"{");
        for (place, (key, value)) in object.iter().enumerate() {
            let mut text = if place > 0 { b",".to_vec() } else { Vec::new() };
            text.push(b'"');
            escape::json(key.as_bytes(), &mut text);
            text.extend_from_slice(b"\":");
            self.literal(&text);
            self.value(value)?;
        }
        self.literal(b"}");
        Ok(())
    }

    fn value(&mut self, value: &Json) -> Result<(), FormatError> {
        match value {
            Json::String(format) => self.string(format),
            Json::Object(object) => self.object(object),
            Json::Array(values) => {
                self.literal(b"[");
                for (place, value) in values.iter().enumerate() {
                    if place > 0 {
                        self.literal(b",");
                    }
                    self.value(value)?;
                }
                self.literal(b"]");
                Ok(())
            }
            Json::Null | Json::Bool(_) | Json::Number(_) => {
                self.literal(value.to_string().as_bytes());
                Ok(())
            }
        }
    }

    fn string(&mut self, format: &str) -> Result<(), FormatError> {
        let parts = parts(format).collect::<Result<Vec<_>, _>>()?;
        if let [Part::Operator(text)] = parts[..] {
            let operator = Operator::parse(text, &mut self.needs)?;
            self.push(Piece::Json(operator));
            return Ok(());
        }
        self.literal(b"\"");
        for part in parts {
            match part {
                Part::Literal(text) => {
                    let mut escaped = Vec::new();
                    escape::json(text.as_bytes(), &mut escaped);
                    self.literal(&escaped);
                }
                Part::Operator(text) => {
                    let operator = Operator::parse(text, &mut self.needs)?;
                    self.push(Piece::JsonPart(operator));
                }
            }
        }
        self.literal(b"\"");
        Ok(())
    }

    fn literal(&mut self, text: &[u8]) {
        self.push(Piece::Literal(text.to_vec()));
    }

    /// Adds a piece; literals that meet become one.
    fn push(&mut self, piece: Piece) {
        match (self.pieces.last_mut(), piece) {
            (Some(Piece::Literal(last)), Piece::Literal(text)) => last.extend_from_slice(&text),
            (_, piece) => self.pieces.push(piece),
        }
    }
}

fn copy<'a>(names: &'a [HeaderName], headers: &'a HeaderMap) -> impl Iterator<Item = Option<HeaderValue>> + 'a {
    names.iter().map(|name| headers.get(name).cloned())
}

#[derive(Clone, Copy)]
enum Part<'a> {
    Literal(&'a str),
    Operator(&'a str),
}

/// Cuts a format at its percent signs. A percent sign inside parentheses belongs to the argument (`START_TIME(%s)`).
fn parts(mut rest: &str) -> impl Iterator<Item = Result<Part<'_>, FormatError>> {
    std::iter::from_fn(move || {
        let text = rest;
        let Some(operator) = text.strip_prefix('%') else {
            let at = text.find('%').unwrap_or(text.len());
            rest = &text[at..];
            return (at > 0).then(|| Ok(Part::Literal(&text[..at])));
        };
        if let Some(after) = operator.strip_prefix('%') {
            rest = after;
            return Some(Ok(Part::Literal("%")));
        }
        let Some(end) = operator_end(operator) else {
            rest = "";
            return Some(Err(FormatError::Unclosed(operator.to_owned())));
        };
        rest = &operator[end + 1..];
        Some(Ok(Part::Operator(&operator[..end])))
    })
}

/// Where the percent sign stands that closes an operator.
fn operator_end(operator: &str) -> Option<usize> {
    let mut depth = 0_u32;
    operator.char_indices().find_map(|(at, c)| {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            '%' if depth == 0 => return Some(at),
            _ => {}
        }
        None
    })
}
