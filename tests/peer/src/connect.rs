//! HTTP connections of the clients: where to, over which version, and what became of a request.

use std::{io, time::Duration};

use anyhow::Context as _;
use bytes::Bytes;
use http_body_util::{BodyExt as _, combinators::BoxBody};
use hyper::{
    Method, Request, Response, Uri,
    body::Incoming,
    client::conn::{http1, http2},
    header::{HOST, HeaderName, HeaderValue},
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;

/// A body of any kind.
pub(crate) type Body = BoxBody<Bytes, io::Error>;

/// The body without bytes.
pub(crate) fn empty() -> Body {
    full(Bytes::new())
}

/// The body that is there already.
pub(crate) fn full(bytes: Bytes) -> Body {
    http_body_util::Full::new(bytes).map_err(|never| match never {}).boxed()
}

/// Options of every HTTP client.
#[derive(clap::Args, Clone, Debug)]
pub(crate) struct To {
    /// `http://HOST[:PORT]/PATH`
    #[arg(long)]
    pub(crate) url: Uri,
    /// Connect here instead of to the URL's host: `HOST:PORT`.
    #[arg(long)]
    pub(crate) connect: Option<String>,
    /// 1 or 2 (prior knowledge).
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u8).range(1..=2))]
    pub(crate) http: u8,
    /// `NAME: VALUE`, repeatable.
    #[arg(long = "header", value_parser = header)]
    pub(crate) headers: Vec<(HeaderName, HeaderValue)>,
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let (name, value) = text.split_once(':').ok_or("NAME: VALUE")?;
    let name = name.trim().parse().map_err(|_| format!("{name:?} is not a header name"))?;
    let value = HeaderValue::from_str(value.trim()).map_err(|_| format!("{value:?} is not a header value"))?;
    Ok((name, value))
}

impl To {
    /// Opens a connection.
    pub(crate) async fn open(&self) -> anyhow::Result<Sender> {
        let socket = TcpStream::connect(self.address()?).await.context("cannot connect")?;
        socket.set_nodelay(true)?;
        let io = TokioIo::new(socket);
        if self.http == 2 {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder
                .timer(TokioTimer::new())
                .initial_stream_window_size(1 << 20)
                .initial_connection_window_size(1 << 20);
            let (sender, connection) = builder.handshake(io).await?;
            tokio::spawn(connection);
            Ok(Sender::H2(sender))
        } else {
            let (sender, connection) = http1::handshake(io).await?;
            tokio::spawn(connection.with_upgrades());
            Ok(Sender::H1(sender))
        }
    }

    /// A request to the URL.
    pub(crate) fn request(&self, method: Method, body: Body) -> anyhow::Result<Request<Body>> {
        let authority = self.url.authority().context("the URL has no host")?;
        let path = self.url.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::new(body);
        *request.method_mut() = method;
        if self.http == 2 {
            *request.uri_mut() =
                Uri::builder().scheme("http").authority(authority.clone()).path_and_query(path).build()?;
        } else {
            *request.uri_mut() = path.parse()?;
            request.headers_mut().insert(HOST, HeaderValue::from_str(authority.as_str())?);
        }
        for (name, value) in &self.headers {
            request.headers_mut().append(name, value.clone());
        }
        Ok(request)
    }

    fn address(&self) -> anyhow::Result<String> {
        if let Some(address) = &self.connect {
            return Ok(address.clone());
        }
        let host = self.url.host().context("the URL has no host")?;
        Ok(format!("{host}:{}", self.url.port_u16().unwrap_or(80)))
    }
}

/// Why a request has no response.
#[derive(Debug)]
pub(crate) enum Failed {
    /// The connection was closed before it was sent: it may be sent again.
    Unsent(Box<Request<Body>>),
    /// The connection broke, or the stream was reset.
    Broken(hyper::Error),
}

/// The sending half of a connection.
#[derive(Debug)]
pub(crate) enum Sender {
    H1(http1::SendRequest<Body>),
    H2(http2::SendRequest<Body>),
}

impl Sender {
    /// Sends, once the connection takes a request.
    pub(crate) async fn send(&mut self, request: Request<Body>) -> Result<Response<Incoming>, Failed> {
        let result = match self {
            Self::H1(sender) => {
                if sender.ready().await.is_err() {
                    return Err(Failed::Unsent(Box::new(request)));
                }
                sender.try_send_request(request).await
            }
            Self::H2(sender) => {
                if sender.ready().await.is_err() {
                    return Err(Failed::Unsent(Box::new(request)));
                }
                sender.try_send_request(request).await
            }
        };
        result.map_err(|mut error| match error.take_message() {
            Some(request) => Failed::Unsent(Box::new(request)),
            None => Failed::Broken(error.into_error()),
        })
    }

    /// Whether the server closed it.
    pub(crate) fn is_closed(&self) -> bool {
        match self {
            Self::H1(sender) => sender.is_closed(),
            Self::H2(sender) => sender.is_closed(),
        }
    }

    /// Another handle of the same connection; HTTP/1 has none.
    pub(crate) fn another(&self) -> Option<Self> {
        match self {
            Self::H1(_) => None,
            Self::H2(sender) => Some(Self::H2(sender.clone())),
        }
    }
}

/// Milliseconds, on a command line.
pub(crate) fn millis(text: &str) -> Result<Duration, String> {
    text.parse().map(Duration::from_millis).map_err(|_| "a number of milliseconds".to_owned())
}

/// Seconds, with a fraction if need be.
pub(crate) fn seconds(text: &str) -> Result<Duration, String> {
    let text = text.strip_suffix('s').unwrap_or(text);
    text.parse()
        .ok()
        .and_then(|seconds| Duration::try_from_secs_f64(seconds).ok())
        .ok_or_else(|| "a number of seconds".to_owned())
}
