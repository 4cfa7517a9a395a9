//! Paths: normalisation before anything is decided, and the route's rewrite after.
//!
//! Normalisation follows Istio's `pathNormalization` (security policy reference, "Path normalization") as the wire states it;
//! dot segments are RFC 3986 §5.2.4.

use http::{Uri, request::Parts, uri::PathAndQuery};
use mizzen_snapshot::{
    http_manager::{EscapedSlashes, PathNormalization},
    route::PathRewrite,
};

use super::headers;
use crate::error::{Kind, ProxyError};

/// Normalises the request's path in place; a path that cannot be is refused.
pub(crate) fn normalise(head: &mut Parts, how: PathNormalization) -> Result<(), ProxyError> {
    let path = head.uri.path();
    if !needs_work(path, how) {
        return Ok(());
    }
    let path = normalised(path, how).ok_or_else(|| ProxyError::new(Kind::BadRequest("path_normalization_failed")))?;
    if path != head.uri.path() {
        set_path(head, &path);
    }
    Ok(())
}

fn needs_work(path: &str, how: PathNormalization) -> bool {
    let bytes = path.as_bytes();
    bytes.contains(&b'%')
        || how.normalize && (bytes.contains(&b'\\') || path.contains("/."))
        || how.merge_slashes && path.contains("//")
}

/// The normal form, or `None` for a path that has none.
fn normalised(path: &str, how: PathNormalization) -> Option<String> {
    let mut text = decoded(path, how)?;
    if how.normalize {
        text = text.replace('\\', "/");
        text = without_dots(&text);
    }
    if how.merge_slashes {
        while text.contains("//") {
            text = text.replace("//", "/");
        }
    }
    Some(text)
}

/// Decodes what means the same decoded (unreserved characters), and slashes as configured; `%00` has no meaning here.
fn decoded(path: &str, how: PathNormalization) -> Option<String> {
    let mut out = Vec::with_capacity(path.len());
    let bytes = path.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let escaped = (bytes[at] == b'%').then(|| hex(bytes.get(at + 1), bytes.get(at + 2))).flatten();
        let Some(byte) = escaped else {
            out.push(bytes[at]);
            at += 1;
            continue;
        };
        match byte {
            0 => return None,
            b'/' | b'\\' if how.escaped_slashes == EscapedSlashes::Reject => return None,
            b'/' | b'\\' if how.escaped_slashes == EscapedSlashes::Unescape => out.push(byte),
            byte if how.normalize && is_unreserved(byte) => out.push(byte),
            _ => out.extend_from_slice(&bytes[at..at + 3]),
        }
        at += 3;
    }
    String::from_utf8(out).ok()
}

fn hex(high: Option<&u8>, low: Option<&u8>) -> Option<u8> {
    let digit = |b: Option<&u8>| char::from(*b?).to_digit(16);
    u8::try_from(digit(high)? * 16 + digit(low)?).ok()
}

/// RFC 3986 §2.3.
fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~')
}

fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut segments = path.split('/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let last = segments.peek().is_none();
        match segment {
            "." if last => kept.push(""),
            "." => {}
            ".." => {
                kept.pop();
                if last {
                    kept.push("");
                }
            }
            other => kept.push(other),
        }
    }
    let mut out = String::with_capacity(path.len());
    for segment in kept {
        out.push('/');
        out.push_str(segment);
    }
    if out.is_empty() {
        out.push('/');
    }
    out
}

/// Applies the route's rewrite; the query stays.
pub(crate) fn rewrite(head: &mut Parts, rewrite: &PathRewrite) {
    headers::keep_original_path(head);
    let path = head.uri.path();
    let new = match rewrite {
        PathRewrite::Prefix { matched_len, replacement } => {
            format!("{replacement}{}", path.get(*matched_len..).unwrap_or_default())
        }
        PathRewrite::Regex { pattern, substitution } => pattern.replace_all(path, &**substitution).into_owned(),
    };
    let new = if new.starts_with('/') { new } else { format!("/{new}") };
    set_path(head, &new);
}

fn set_path(head: &mut Parts, path: &str) {
    let text = match head.uri.query() {
        Some(query) => format!("{path}?{query}"),
        None => path.to_owned(),
    };
    let Ok(path) = PathAndQuery::try_from(text) else { return };
    let mut parts = std::mem::take(&mut head.uri).into_parts();
    parts.path_and_query = Some(path.clone());
    head.uri = Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(path));
}

#[cfg(test)]
mod tests;
