//! One command operator, from its spelling to what the writer needs.

use http::HeaderName;

use super::{format::FormatError, time::TimeFormat};

/// A header as an operator names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Method,
    Path,
    Authority,
    Scheme,
    Status,
    /// Place among the captured ones.
    Header(usize),
}

/// A fact that stands in the record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fact {
    Protocol,
    ResponseCode,
    ResponseFlags,
    Details,
    Termination,
    TransportFailure,
    BytesReceived,
    BytesSent,
    WireBytesReceived,
    WireBytesSent,
    Duration,
    RequestDuration,
    ResponseDuration,
    ResponseTxDuration,
    UpstreamCluster,
    Attempts,
    ConnectionId,
    GrpcStatus,
    GrpcStatusNumber,
    ServerName,
    RouteName,
    PeerUriSan,
    LocalUriSan,
    PeerSubject,
    PeerSerial,
    PeerFingerprint,
    TlsVersion,
    TlsCipher,
}

/// Whose address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    UpstreamHost,
    UpstreamLocal,
    DownstreamRemote,
    DownstreamDirect,
    DownstreamLocal,
}

/// How much of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Whole,
    Host,
    Port,
}

/// What to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum What {
    Start(TimeFormat),
    Request { first: Field, other: Option<Field>, query: bool },
    Response { first: Field, other: Option<Field> },
    Trailer { first: Field, other: Option<Field> },
    Address(End, Shown),
    Fact(Fact),
}

/// An operator and the most bytes it may print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Operator {
    pub(super) what: What,
    pub(super) limit: Option<usize>,
}

/// The headers that a format names, each once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) request: Vec<HeaderName>,
    pub(super) response: Vec<HeaderName>,
    pub(super) trailers: Vec<HeaderName>,
}

const FACTS: &[(&str, Fact)] = &[
    ("PROTOCOL", Fact::Protocol),
    ("RESPONSE_CODE", Fact::ResponseCode),
    ("RESPONSE_FLAGS", Fact::ResponseFlags),
    ("RESPONSE_CODE_DETAILS", Fact::Details),
    ("CONNECTION_TERMINATION_DETAILS", Fact::Termination),
    ("UPSTREAM_TRANSPORT_FAILURE_REASON", Fact::TransportFailure),
    ("BYTES_RECEIVED", Fact::BytesReceived),
    ("BYTES_SENT", Fact::BytesSent),
    ("DOWNSTREAM_WIRE_BYTES_RECEIVED", Fact::WireBytesReceived),
    ("DOWNSTREAM_WIRE_BYTES_SENT", Fact::WireBytesSent),
    ("DURATION", Fact::Duration),
    ("REQUEST_DURATION", Fact::RequestDuration),
    ("RESPONSE_DURATION", Fact::ResponseDuration),
    ("RESPONSE_TX_DURATION", Fact::ResponseTxDuration),
    ("UPSTREAM_CLUSTER", Fact::UpstreamCluster),
    ("UPSTREAM_CLUSTER_RAW", Fact::UpstreamCluster),
    ("UPSTREAM_REQUEST_ATTEMPT_COUNT", Fact::Attempts),
    ("CONNECTION_ID", Fact::ConnectionId),
    ("GRPC_STATUS", Fact::GrpcStatus),
    ("GRPC_STATUS_NUMBER", Fact::GrpcStatusNumber),
    ("REQUESTED_SERVER_NAME", Fact::ServerName),
    ("ROUTE_NAME", Fact::RouteName),
    ("DOWNSTREAM_PEER_URI_SAN", Fact::PeerUriSan),
    ("DOWNSTREAM_LOCAL_URI_SAN", Fact::LocalUriSan),
    ("DOWNSTREAM_PEER_SUBJECT", Fact::PeerSubject),
    ("DOWNSTREAM_PEER_SERIAL", Fact::PeerSerial),
    ("DOWNSTREAM_PEER_FINGERPRINT_256", Fact::PeerFingerprint),
    ("DOWNSTREAM_TLS_VERSION", Fact::TlsVersion),
    ("DOWNSTREAM_TLS_CIPHER", Fact::TlsCipher),
];

/// Each has an address (`…_ADDRESS`, `…_ADDRESS_WITHOUT_PORT`) and a port (`…_PORT`).
const ENDS: &[(&str, End)] = &[
    ("UPSTREAM_REMOTE", End::UpstreamHost),
    ("UPSTREAM_LOCAL", End::UpstreamLocal),
    ("DOWNSTREAM_REMOTE", End::DownstreamRemote),
    ("DOWNSTREAM_DIRECT_REMOTE", End::DownstreamDirect),
    ("DOWNSTREAM_LOCAL", End::DownstreamLocal),
];

/// Whose headers an operator names.
#[derive(Clone, Copy)]
enum Whose {
    Request,
    Response,
    Trailers,
}

impl Operator {
    /// Parses the text between two percent signs: `NAME`, `NAME(argument)`, `NAME(argument):limit`.
    pub(super) fn parse(text: &str, needs: &mut Needs) -> Result<Self, FormatError> {
        let (name, argument, limit) = split(text)?;
        let headers = |whose, needs: &mut Needs| header_pair(argument, whose, needs, text);
        let what = match name {
            "START_TIME" => Self::start_time(argument, text)?,
            "REQ" | "REQ_WITHOUT_QUERY" => {
                let (first, other) = headers(Whose::Request, needs)?;
                What::Request { first, other, query: name == "REQ" }
            }
            "RESP" => headers(Whose::Response, needs).map(|(first, other)| What::Response { first, other })?,
            "TRAILER" => headers(Whose::Trailers, needs).map(|(first, other)| What::Trailer { first, other })?,
            _ => fact_or_address(name).ok_or_else(|| FormatError::UnknownOperator(name.to_owned()))?,
        };
        Ok(Self { what, limit })
    }

    fn start_time(argument: Option<&str>, text: &str) -> Result<What, FormatError> {
        let invalid = |conversion| FormatError::Invalid {
            operator: text.to_owned(),
            problem: format!("{conversion} is not supported"),
        };
        TimeFormat::compile(argument.unwrap_or_default()).map(What::Start).map_err(invalid)
    }
}

fn fact_or_address(name: &str) -> Option<What> {
    if let Some((_, fact)) = FACTS.iter().find(|(spelling, _)| *spelling == name) {
        return Some(What::Fact(*fact));
    }
    if name == "UPSTREAM_HOST" {
        return Some(What::Address(End::UpstreamHost, Shown::Whole));
    }
    ENDS.iter().find_map(|(spelling, end)| {
        let shown = match name.strip_prefix(spelling)? {
            "_ADDRESS" => Shown::Whole,
            "_ADDRESS_WITHOUT_PORT" => Shown::Host,
            "_PORT" => Shown::Port,
            _ => return None,
        };
        Some(What::Address(*end, shown))
    })
}

/// Name, argument and limit.
fn split(text: &str) -> Result<(&str, Option<&str>, Option<usize>), FormatError> {
    let invalid = |problem: &str| FormatError::Invalid { operator: text.to_owned(), problem: problem.to_owned() };
    let Some((name, rest)) = text.split_once('(') else {
        return match text.split_once(':') {
            Some((name, limit)) => {
                Ok((name, None, Some(limit.parse().map_err(|_| invalid("the length is not a number"))?)))
            }
            None => Ok((text, None, None)),
        };
    };
    let (argument, rest) = rest.rsplit_once(')').ok_or_else(|| invalid("the parenthesis is not closed"))?;
    let limit = match rest.strip_prefix(':') {
        Some(limit) => Some(limit.parse().map_err(|_| invalid("the length is not a number"))?),
        None if rest.is_empty() => None,
        None => return Err(invalid("text follows the parenthesis")),
    };
    Ok((name, Some(argument), limit))
}

/// `X?Y`: the second where the first is absent.
fn header_pair(
    argument: Option<&str>,
    whose: Whose,
    needs: &mut Needs,
    text: &str,
) -> Result<(Field, Option<Field>), FormatError> {
    let invalid = |problem: String| FormatError::Invalid { operator: text.to_owned(), problem };
    let argument = argument
        .filter(|argument| !argument.is_empty())
        .ok_or_else(|| invalid("a header name is missing".to_owned()))?;
    let mut field =
        |name: &str| field(name, whose, needs).ok_or_else(|| invalid(format!("{name:?} is not a header name")));
    match argument.split_once('?') {
        Some((first, other)) => Ok((field(first)?, Some(field(other)?))),
        None => Ok((field(argument)?, None)),
    }
}

fn field(name: &str, whose: Whose, needs: &mut Needs) -> Option<Field> {
    let name = name.to_ascii_lowercase();
    let pseudo = match (whose, name.as_str()) {
        (Whose::Request, ":method") => Some(Field::Method),
        (Whose::Request, ":path") => Some(Field::Path),
        (Whose::Request, ":authority" | "host") => Some(Field::Authority),
        (Whose::Request, ":scheme") => Some(Field::Scheme),
        (Whose::Response, ":status") => Some(Field::Status),
        _ => None,
    };
    if pseudo.is_some() {
        return pseudo;
    }
    let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
    let known = match whose {
        Whose::Request => &mut needs.request,
        Whose::Response => &mut needs.response,
        Whose::Trailers => &mut needs.trailers,
    };
    let place = known.iter().position(|other| *other == name).unwrap_or_else(|| {
        known.push(name);
        known.len() - 1
    });
    Some(Field::Header(place))
}
