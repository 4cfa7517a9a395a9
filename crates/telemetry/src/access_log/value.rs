//! An operator's value in one record, and its two spellings: text and JSON.

use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, SystemTime},
};

use http::{HeaderValue, Version};

use super::{
    escape::{self, push},
    operator::{End, Fact, Field, Operator, Shown, What},
    time::TimeFormat,
};
use crate::{
    flags::Flags,
    metrics::RequestProtocol,
    record::{ConnFacts, Flow, HttpRecord},
};

/// Everything a line is written from.
pub(super) struct Entry<'a> {
    pub(super) conn: &'a ConnFacts,
    pub(super) flow: &'a Flow,
    pub(super) http: Option<&'a HttpRecord>,
}

/// A value that borrows from the record.
pub(super) enum Value<'a> {
    Absent,
    Number(u64),
    Bytes(&'a [u8]),
    Time(&'a TimeFormat, SystemTime),
    Address(SocketAddr, Shown),
    Flags(Flags),
    List(&'a [Arc<str>]),
}

const GRPC_NAMES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

impl<'a> Value<'a> {
    pub(super) fn of(operator: &'a Operator, entry: &Entry<'a>) -> Self {
        match &operator.what {
            What::Start(format) => Self::Time(format, entry.flow.start),
            What::Fact(fact) => Self::fact(*fact, entry),
            What::Address(end, shown) => {
                address(*end, entry).map_or(Self::Absent, |address| Self::Address(address, *shown))
            }
            What::Request { first, other, query } => {
                let value = entry.http.and_then(|http| either(first, other.as_ref(), |field| request(field, http)));
                let value =
                    if *query { value } else { value.and_then(|bytes| bytes.split(|byte| *byte == b'?').next()) };
                value.map_or(Self::Absent, Self::Bytes)
            }
            What::Response { first: Field::Status, .. } => Self::fact(Fact::ResponseCode, entry),
            What::Response { first, other } => {
                Self::captured(entry.http.map_or(&[], |http| http.captured.response.as_slice()), first, other.as_ref())
            }
            What::Trailer { first, other } => {
                Self::captured(entry.http.map_or(&[], |http| http.captured.trailers.as_slice()), first, other.as_ref())
            }
        }
    }

    fn captured(values: &'a [Option<HeaderValue>], first: &Field, other: Option<&Field>) -> Self {
        either(first, other, |field| header(values, field)).map_or(Self::Absent, Self::Bytes)
    }

    fn fact(fact: Fact, entry: &Entry<'a>) -> Self {
        let Entry { conn, flow, http } = entry;
        let tls = conn.tls.as_deref();
        let status = http.and_then(|http| match http.protocol {
            RequestProtocol::Grpc { status } => status,
            RequestProtocol::Http => None,
        });
        match fact {
            Fact::Protocol => http.map_or(Self::Absent, |http| Self::Bytes(version(http.version))),
            Fact::ResponseCode => Self::Number(http.map_or(0, |http| u64::from(http.code))),
            Fact::ResponseFlags => Self::Flags(flow.flags),
            Fact::Details => Self::text(flow.details.as_deref()),
            Fact::Termination => Self::text(flow.termination.as_deref()),
            Fact::TransportFailure => Self::text(flow.upstream.transport_failure.as_deref()),
            Fact::BytesReceived => Self::Number(flow.bytes_received),
            Fact::BytesSent => Self::Number(flow.bytes_sent),
            Fact::WireBytesReceived => Self::Number(http.map_or(flow.bytes_received, |http| http.request_wire_bytes)),
            Fact::WireBytesSent => Self::Number(http.map_or(flow.bytes_sent, |http| http.response_wire_bytes)),
            Fact::Duration => Self::millis(Some(flow.duration)),
            Fact::RequestDuration => Self::millis(http.and_then(|http| http.request_done)),
            Fact::ResponseDuration => Self::millis(http.and_then(|http| http.response_begun)),
            Fact::ResponseTxDuration => {
                Self::millis(http.and_then(|http| http.response_begun).map(|begun| flow.duration.saturating_sub(begun)))
            }
            Fact::UpstreamCluster => Self::text(flow.upstream.cluster.as_deref()),
            Fact::Attempts => Self::Number(u64::from(flow.upstream.attempts)),
            Fact::ConnectionId => Self::Number(conn.id),
            Fact::GrpcStatus => match status.map(|status| (status, GRPC_NAMES.get(usize::from(status)))) {
                Some((_, Some(name))) => Self::Bytes(name.as_bytes()),
                Some((number, None)) => Self::Number(u64::from(number)),
                None => Self::Absent,
            },
            Fact::GrpcStatusNumber => status.map_or(Self::Absent, |status| Self::Number(u64::from(status))),
            Fact::ServerName => Self::text(conn.server_name.as_deref()),
            Fact::RouteName => Self::text(flow.route.as_deref()),
            Fact::PeerUriSan => tls.map_or(Self::Absent, |tls| Self::List(&tls.peer_uri_sans)),
            Fact::LocalUriSan => Self::text(tls.and_then(|tls| tls.local_uri_san.as_deref())),
            Fact::PeerSubject => Self::text(tls.and_then(|tls| tls.peer_subject.as_deref())),
            Fact::PeerSerial => Self::text(tls.and_then(|tls| tls.peer_serial.as_deref())),
            Fact::PeerFingerprint => Self::text(tls.and_then(|tls| tls.peer_fingerprint.as_deref())),
            Fact::TlsVersion => Self::text(tls.map(|tls| tls.version)),
            Fact::TlsCipher => Self::text(tls.map(|tls| tls.cipher)),
        }
    }

    fn text(text: Option<&'a str>) -> Self {
        text.filter(|text| !text.is_empty()).map_or(Self::Absent, |text| Self::Bytes(text.as_bytes()))
    }

    fn millis(duration: Option<Duration>) -> Self {
        duration.map_or(Self::Absent, |duration| Self::Number(duration.as_millis() as u64))
    }

    /// `-` where it is absent.
    pub(super) fn write_text(&self, limit: Option<usize>, out: &mut Vec<u8>) {
        self.write(limit, escape::text, out);
    }

    /// A whole JSON value.
    pub(super) fn write_json(&self, limit: Option<usize>, out: &mut Vec<u8>) {
        match self {
            Self::Absent | Self::List([]) => out.extend_from_slice(b"null"),
            Self::Number(number) => push(out, format_args!("{number}")),
            _ => {
                out.push(b'"');
                self.write_json_part(limit, out);
                out.push(b'"');
            }
        }
    }

    /// Inside a JSON string.
    pub(super) fn write_json_part(&self, limit: Option<usize>, out: &mut Vec<u8>) {
        self.write(limit, escape::json, out);
    }

    fn write(&self, limit: Option<usize>, escape: fn(&[u8], &mut Vec<u8>), out: &mut Vec<u8>) {
        let begin = out.len();
        match self {
            Self::Absent | Self::List([]) => out.push(b'-'),
            Self::Number(number) => push(out, format_args!("{number}")),
            // Cut before it is escaped: a cut escape would be none.
            Self::Bytes(bytes) => return escape(&bytes[..bytes.len().min(limit.unwrap_or(usize::MAX))], out),
            Self::Time(format, time) => format.write(*time, out),
            Self::Address(address, Shown::Whole) => push(out, format_args!("{address}")),
            Self::Address(address, Shown::Host) => push(out, format_args!("{}", address.ip())),
            Self::Address(address, Shown::Port) => push(out, format_args!("{}", address.port())),
            Self::Flags(flags) => push(out, format_args!("{flags}")),
            Self::List(items) => {
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        out.push(b',');
                    }
                    escape(item.as_bytes(), out);
                }
            }
        }
        if let Some(limit) = limit {
            out.truncate(begin.saturating_add(limit).min(out.len()));
        }
    }
}

fn either<'a>(first: &Field, other: Option<&Field>, look: impl Fn(&Field) -> Option<&'a [u8]>) -> Option<&'a [u8]> {
    look(first).or_else(|| other.and_then(look))
}

fn request<'a>(field: &Field, http: &'a HttpRecord) -> Option<&'a [u8]> {
    match field {
        Field::Method => Some(http.method.as_str().as_bytes()),
        Field::Path => http.path.as_ref().map(|path| path.as_str().as_bytes()),
        Field::Authority => http.authority.as_ref().map(HeaderValue::as_bytes),
        Field::Scheme => Some(http.scheme.as_bytes()),
        Field::Status => None,
        Field::Header(_) => header(&http.captured.request, field),
    }
}

fn header<'a>(values: &'a [Option<HeaderValue>], field: &Field) -> Option<&'a [u8]> {
    match field {
        Field::Header(place) => values.get(*place)?.as_ref().map(HeaderValue::as_bytes),
        _ => None,
    }
}

fn address(end: End, entry: &Entry<'_>) -> Option<SocketAddr> {
    match end {
        End::UpstreamHost => entry.flow.upstream.host,
        End::UpstreamLocal => entry.flow.upstream.local,
        End::DownstreamRemote => entry.flow.client.or(Some(entry.conn.remote)),
        End::DownstreamDirect => Some(entry.conn.remote),
        End::DownstreamLocal => Some(entry.conn.local),
    }
}

fn version(version: Version) -> &'static [u8] {
    match version {
        Version::HTTP_10 => b"HTTP/1.0",
        Version::HTTP_2 => b"HTTP/2",
        Version::HTTP_3 => b"HTTP/3",
        _ => b"HTTP/1.1",
    }
}
