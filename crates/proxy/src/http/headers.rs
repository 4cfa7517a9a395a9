//! What happens to headers: framing checks, authority, identity of the client, hop-by-hop removal, operations of routes.
//!
//! Sources: RFC 9110 §7.6.1 (hop-by-hop), RFC 9112 §3.2 and §6 (Host, framing), Envoy's HTTP header manipulation and
//! Istio's defaults for x-forwarded-for, x-forwarded-client-cert and x-request-id.

use std::fmt::Write;

use http::{
    HeaderMap, HeaderName, HeaderValue, Uri, Version, header,
    request::Parts,
    uri::{Authority, PathAndQuery, Scheme},
};
use mizzen_snapshot::{
    HttpManager, Route,
    http_manager::ClientCertHeader,
    listener::Direction,
    route::{HeaderAction, HeaderOps},
};

use super::server::HttpConnection;
use crate::{
    error::{Kind, ProxyError},
    tls::Peer,
};

const ATTEMPT: HeaderName = HeaderName::from_static("x-envoy-attempt-count");
const DECORATOR: HeaderName = HeaderName::from_static("x-envoy-decorator-operation");
const EXTERNAL: HeaderName = HeaderName::from_static("x-envoy-external-address");
const ORIGINAL_PATH: HeaderName = HeaderName::from_static("x-envoy-original-path");
const ORIGINAL_HOST: HeaderName = HeaderName::from_static("x-envoy-original-host");
const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const CLIENT_CERT: HeaderName = HeaderName::from_static("x-forwarded-client-cert");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");

/// Ambiguous framing that the codec lets through (RFC 9112 §6.3, RFC 9113 §8.2.2).
pub(crate) fn check_framing(head: &Parts) -> Result<(), ProxyError> {
    let mut lengths = head.headers.get_all(header::CONTENT_LENGTH).iter();
    if let Some(first) = lengths.next() {
        let digits = !first.is_empty() && first.as_bytes().iter().all(u8::is_ascii_digit);
        if !digits || lengths.next().is_some() {
            return Err(ProxyError::new(Kind::BadRequest("http1.invalid_content_length")));
        }
        if head.headers.contains_key(header::TRANSFER_ENCODING) {
            return Err(ProxyError::new(Kind::BadRequest("http1.content_length_and_chunked_not_allowed")));
        }
    }
    if head.version == Version::HTTP_10 && head.headers.contains_key(header::TRANSFER_ENCODING) {
        return Err(ProxyError::new(Kind::BadRequest("http1.transfer_encoding_in_http10")));
    }
    let mut codings = head.headers.get_all(header::TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && (codings.next().is_some() || !coding.as_bytes().eq_ignore_ascii_case(b"chunked"))
    {
        return Err(ProxyError::new(Kind::BadRequest("http1.invalid_transfer_encoding")));
    }
    Ok(())
}

/// One authority, in the URI, whatever form the request line had (RFC 9112 §3.2.2: an absolute form wins over Host).
pub(crate) fn authority_from_host(head: &mut Parts) -> Result<(), ProxyError> {
    if head.uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(ProxyError::new(Kind::BadRequest("http.userinfo_in_authority")));
    }
    if head.version >= Version::HTTP_2 && head.uri.authority().is_some() {
        // RFC 9113 §8.3.1: `:authority` says it; a `Host` beside it does not go on.
        head.headers.remove(header::HOST);
        return Ok(());
    }
    let mut hosts = head.headers.get_all(header::HOST).iter();
    let host = hosts.next();
    if hosts.next().is_some() {
        return Err(ProxyError::new(Kind::BadRequest("http1.multiple_host")));
    }
    match (host, head.uri.authority()) {
        // Also from HTTP/1.0: the upstream's HTTP/1.1 or HTTP/2 cannot do without.
        (None, None) => {
            return Err(ProxyError::new(Kind::BadRequest("http1.missing_host")));
        }
        (Some(host), None) => {
            // Checked as an authority, so that what is matched is what is sent.
            if !host.is_empty() && (Authority::try_from(host.as_bytes()).is_err() || host.as_bytes().contains(&b'@')) {
                return Err(ProxyError::new(Kind::BadRequest("http1.invalid_host")));
            }
        }
        (_, Some(authority)) => {
            let value = HeaderValue::from_str(authority.as_str())
                .map_err(|_| ProxyError::new(Kind::BadRequest("http1.invalid_host")))?;
            head.headers.insert(header::HOST, value);
            let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
            head.uri = Uri::from(path);
        }
    }
    Ok(())
}

/// The value of `Upgrade` if `Connection` names it.
pub(crate) fn upgrade(headers: &HeaderMap) -> Option<&[u8]> {
    let upgrade = headers.get(header::UPGRADE)?;
    names_in(headers.get_all(header::CONNECTION).iter())
        .any(|name| name.eq_ignore_ascii_case(b"upgrade"))
        .then_some(upgrade.as_bytes())
}

fn names_in<'a>(values: impl Iterator<Item = &'a HeaderValue>) -> impl Iterator<Item = &'a [u8]> {
    values.flat_map(|value| value.as_bytes().split(|b| *b == b',')).map(<[u8]>::trim_ascii)
}

/// `:authority` or `Host`.
pub(crate) fn authority_str(head: &Parts) -> &str {
    match head.uri.authority() {
        Some(authority) => authority.as_str(),
        None => head.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default(),
    }
}

/// The same as a header value, shared where it can be.
pub(crate) fn authority(head: &Parts) -> Option<HeaderValue> {
    match head.uri.authority() {
        Some(authority) => HeaderValue::from_str(authority.as_str()).ok(),
        None => head.headers.get(header::HOST).cloned(),
    }
}

/// The scheme that routes match on: as forwarded, else of the transport.
pub(crate) fn scheme<'a>(head: &'a Parts, transport: &'static str) -> &'a str {
    match head.headers.get(FORWARDED_PROTO).map(HeaderValue::as_bytes) {
        Some(b"https") => "https",
        Some(b"http") => "http",
        _ => transport,
    }
}

/// What of the headers says who the client is: set, kept or removed by what may be trusted here.
pub(crate) fn identify(http: &HttpConnection, manager: &HttpManager, head: &mut Parts) {
    let edge = manager.use_remote_address;
    strip_internal(&mut head.headers, edge);
    if edge {
        forwarded_for(http, manager, &mut head.headers);
    }
    if (edge && manager.trusted_hops == 0) || !head.headers.contains_key(FORWARDED_PROTO) {
        head.headers.insert(FORWARDED_PROTO, HeaderValue::from_static(http.scheme()));
    }
    client_cert(http, manager, &mut head.headers);
    if manager.generate_request_id && (edge || !head.headers.contains_key(REQUEST_ID)) {
        let id = http.connection.worker.rng.uuid();
        if let Ok(value) = HeaderValue::from_bytes(&id) {
            head.headers.insert(REQUEST_ID, value);
        }
    }
}

/// What a proxy of the mesh tells the next one, and the application.
const KEPT_INSIDE: [&str; 4] =
    ["x-envoy-attempt-count", "x-envoy-original-path", "x-envoy-original-host", "x-envoy-external-address"];

/// Envoy's own control headers are not taken from anyone: Istio knows no internal address ranges.
fn strip_internal(headers: &mut HeaderMap, edge: bool) {
    let ours = |name: &HeaderName| {
        let name = name.as_str();
        name.starts_with("x-envoy-")
            && !matches!(name, "x-envoy-decorator-operation")
            && (edge || !KEPT_INSIDE.contains(&name))
    };
    if !headers.keys().any(ours) {
        return;
    }
    let strip: Vec<HeaderName> = headers.keys().filter(|name| ours(name)).cloned().collect();
    for name in strip {
        headers.remove(name);
    }
}

/// At the edge the peer's address is appended, and the client's is the one `trusted_hops` from the right.
fn forwarded_for(http: &HttpConnection, manager: &HttpManager, headers: &mut HeaderMap) {
    let peer = http
        .peer_text
        .get_or_init(|| {
            let ip = http.connection.peer_address.ip().to_canonical().to_string();
            HeaderValue::from_str(&ip).unwrap_or_else(|_| HeaderValue::from_static("unknown"))
        })
        .clone();
    let received = joined(headers, &FORWARDED_FOR);
    let client = match (&received, manager.trusted_hops as usize) {
        (Some(list), hops) if hops > 0 => {
            let entry = list.rsplit(',').nth(hops - 1).map(str::trim).filter(|e| e.parse::<std::net::IpAddr>().is_ok());
            entry.and_then(|e| HeaderValue::from_str(e).ok()).unwrap_or_else(|| peer.clone())
        }
        _ => peer.clone(),
    };
    let value = match &received {
        None => peer,
        Some(list) => {
            let text = format!("{list},{}", peer.to_str().unwrap_or("unknown"));
            HeaderValue::from_str(&text).unwrap_or(peer)
        }
    };
    headers.insert(FORWARDED_FOR, value);
    headers.insert(EXTERNAL, client);
}

/// All lines of a header as one list; `None` without any, or if one is not text.
fn joined(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let mut all = headers.get_all(name).iter();
    let mut list = all.next()?.to_str().ok()?.to_owned();
    for more in all {
        list.push(',');
        list.push_str(more.to_str().ok()?);
    }
    Some(list)
}

/// `x-forwarded-client-cert` by the chain's mode; without mutual TLS nobody vouches for what came, and it goes.
fn client_cert(http: &HttpConnection, manager: &HttpManager, headers: &mut HeaderMap) {
    use ClientCertHeader::{AlwaysForwardOnly, AppendForward, ForwardOnly, Sanitize, SanitizeSet};
    let mutual = http.connection.peer.as_ref().filter(|peer| peer.certificate.is_some());
    match (manager.client_cert, mutual) {
        (AlwaysForwardOnly, _) | (ForwardOnly, Some(_)) => {}
        (Sanitize, _) | (ForwardOnly | AppendForward | SanitizeSet, None) => {
            headers.remove(CLIENT_CERT);
        }
        (SanitizeSet, Some(peer)) => {
            headers.insert(CLIENT_CERT, element(http, manager, peer));
        }
        (AppendForward, Some(peer)) => {
            let own = element(http, manager, peer);
            let value = match (joined(headers, &CLIENT_CERT), own.to_str()) {
                (Some(list), Ok(text)) => HeaderValue::from_str(&format!("{list},{text}")).unwrap_or(own),
                _ => own,
            };
            headers.insert(CLIENT_CERT, value);
        }
    }
}

fn element(http: &HttpConnection, manager: &HttpManager, peer: &Peer) -> HeaderValue {
    http.client_cert
        .get_or_init(|| {
            let details = manager.client_cert_details;
            let mut text = String::new();
            if let Some(own) = &peer.local_principal {
                write!(text, "By={own};").ok();
            }
            write!(text, "Hash={}", peer.fingerprint).ok();
            if details.cert
                && let Some(der) = &peer.certificate
            {
                write!(text, ";Cert=\"{}\"", url_encoded_pem(der)).ok();
            }
            if details.subject {
                write!(text, ";Subject=\"{}\"", peer.subject.replace('\\', "\\\\").replace('"', "\\\"")).ok();
            }
            if details.uri {
                for uri in &peer.uri_sans {
                    write!(text, ";URI={uri}").ok();
                }
            }
            if details.dns {
                for dns in &peer.dns_sans {
                    write!(text, ";DNS={dns}").ok();
                }
            }
            HeaderValue::from_str(&text).unwrap_or_else(|_| HeaderValue::from_static(""))
        })
        .clone()
}

fn url_encoded_pem(der: &[u8]) -> String {
    use base64::Engine;
    let body = base64::engine::general_purpose::STANDARD.encode(der);
    let mut pem = String::from("-----BEGIN%20CERTIFICATE-----%0A");
    for line in body.as_bytes().chunks(64) {
        for byte in line {
            match byte {
                b'+' => pem.push_str("%2B"),
                b'/' => pem.push_str("%2F"),
                b'=' => pem.push_str("%3D"),
                other => pem.push(char::from(*other)),
            }
        }
        pem.push_str("%0A");
    }
    pem + "-----END%20CERTIFICATE-----%0A"
}

/// Removes what is for this hop only (RFC 9110 §7.6.1), also what `Connection` names; `te: trailers` stays for gRPC.
pub(crate) fn strip_hop_by_hop(headers: &mut HeaderMap) {
    if headers.contains_key(header::CONNECTION) {
        let named: smallvec::SmallVec<[HeaderName; 4]> = names_in(headers.get_all(header::CONNECTION).iter())
            .filter_map(|name| HeaderName::from_bytes(name).ok())
            // A request cannot talk us out of what is not its hop's: framing and authority stay as they were checked.
            .filter(|name| !matches!(*name, header::HOST | header::CONTENT_LENGTH | header::TE))
            .collect();
        headers.remove(header::CONNECTION);
        for name in named {
            headers.remove(name);
        }
    }
    for name in [KEEP_ALIVE, PROXY_CONNECTION, header::UPGRADE, header::TRANSFER_ENCODING] {
        headers.remove(name);
    }
    if headers.get(header::TE).is_some_and(|te| te != "trailers") {
        headers.remove(header::TE);
    }
}

/// Applies operations: removed first, then the others in their order.
pub(crate) fn apply(headers: &mut HeaderMap, ops: &HeaderOps) {
    for name in &ops.remove {
        headers.remove(name);
    }
    for (name, value, action) in &ops.set {
        match action {
            HeaderAction::Append => {
                headers.append(name.clone(), value.clone());
            }
            HeaderAction::AddIfAbsent => {
                headers.entry(name.clone()).or_insert_with(|| value.clone());
            }
            HeaderAction::Overwrite => {
                headers.insert(name.clone(), value.clone());
            }
            HeaderAction::OverwriteIfExists => {
                if headers.contains_key(name) {
                    headers.insert(name.clone(), value.clone());
                }
            }
        }
    }
}

/// A new authority; the old one is kept in `x-envoy-original-host`.
pub(crate) fn rewrite_authority(head: &mut Parts, authority: &HeaderValue) {
    if let Some(old) = self::authority(head) {
        head.headers.insert(ORIGINAL_HOST, old);
    }
    if head.uri.authority().is_some()
        && let Ok(new) = Authority::try_from(authority.as_bytes())
    {
        let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
        head.uri = absolute(Scheme::HTTP, new, path);
    } else {
        head.headers.insert(header::HOST, authority.clone());
    }
}

/// Keeps the path as received, for the log.
pub(crate) fn keep_original_path(head: &mut Parts) {
    if let Some(path) = head.uri.path_and_query()
        && let Ok(value) = HeaderValue::from_str(path.as_str())
    {
        head.headers.insert(ORIGINAL_PATH, value);
    }
}

/// `x-envoy-decorator-operation`: outbound adds it, inbound takes it off the request.
pub(crate) fn decorate(http: &HttpConnection, route: &Route, headers: &mut HeaderMap) {
    if http.connection.listener.direction == Direction::Inbound {
        headers.remove(DECORATOR);
    } else if let Some(operation) = &route.decorator {
        headers.insert(DECORATOR, operation.clone());
    }
}

/// On responses: inbound tells the operation, outbound takes it off.
pub(crate) fn decorate_response(http: &HttpConnection, route: &Route, headers: &mut HeaderMap) {
    if http.connection.listener.direction == Direction::Outbound {
        headers.remove(DECORATOR);
    } else if let Some(operation) = &route.decorator {
        headers.insert(DECORATOR, operation.clone());
    }
}

/// `x-envoy-attempt-count`.
pub(crate) fn set_attempt(headers: &mut HeaderMap, attempt: u32) {
    let value = match attempt {
        1 => HeaderValue::from_static("1"),
        several => HeaderValue::from(several),
    };
    headers.insert(ATTEMPT, value);
}

/// The request line and authority in the form that the upstream's version wants.
pub(crate) fn fit_version(head: &mut Parts, http2: bool, secure: bool) {
    let path = head.uri.path_and_query().cloned().unwrap_or_else(|| PathAndQuery::from_static("/"));
    if !http2 {
        if let Some(value) = head.uri.authority().and_then(|a| HeaderValue::from_str(a.as_str()).ok()) {
            head.headers.insert(header::HOST, value);
            head.uri = Uri::from(path);
        }
        join_cookies(&mut head.headers);
        head.version = Version::HTTP_11;
        return;
    }
    let authority = match head.uri.authority() {
        Some(authority) => Some(authority.clone()),
        None => head.headers.get(header::HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok()),
    };
    head.headers.remove(header::HOST);
    let scheme = if secure { Scheme::HTTPS } else { Scheme::HTTP };
    head.uri = match authority {
        Some(authority) => absolute(scheme, authority, path),
        None => Uri::from(path),
    };
    head.version = Version::HTTP_2;
}

/// HTTP/2 may split the cookie into crumbs; HTTP/1 has one line (RFC 9113 §8.2.3).
fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(header::COOKIE).iter().nth(1).is_none() {
        return;
    }
    let crumbs: Vec<&[u8]> = headers.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(value) = HeaderValue::from_bytes(&crumbs.join(&b"; "[..])) {
        headers.insert(header::COOKIE, value);
    }
}

fn absolute(scheme: Scheme, authority: Authority, path: PathAndQuery) -> Uri {
    let mut parts = http::uri::Parts::default();
    parts.scheme = Some(scheme);
    parts.authority = Some(authority);
    parts.path_and_query = Some(path.clone());
    Uri::from_parts(parts).unwrap_or_else(|_| Uri::from(path))
}
