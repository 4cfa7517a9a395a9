//! A client that keeps its connections: GET with headers and a deadline.

use std::{cell::RefCell, collections::HashMap, io, rc::Rc, time::Duration};

use bytes::Bytes;
use http_body_util::{BodyExt as _, Empty, Limited};
use hyper::{
    HeaderMap, Request, StatusCode, Uri,
    body::Incoming,
    client::conn::http1::{self, SendRequest},
    header::{HOST, HeaderValue},
};
use hyper_util::rt::TokioIo;
use tokio::{net::TcpStream, time::timeout};

/// The longest answer that is read.
const BODY_BYTES_MAX: usize = 1024 * 1024;
/// Connections kept to one server while nothing is asked of it; further ones are closed after use.
const IDLE_MAX: usize = 16;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The URL is not `http://HOST[:PORT]/…`.
    #[error("{0:?} is not an http URL")]
    Url(String),
    /// The name does not resolve or nobody listens.
    #[error("cannot connect to {authority}")]
    Connect {
        /// Host and port.
        authority: String,
        /// The system's answer.
        #[source]
        source: io::Error,
    },
    /// The connection broke.
    #[error("the connection to the server broke")]
    Http(#[from] hyper::Error),
    /// The answer is longer than 1 MiB or broke off.
    #[error("the answer is too long or broke off")]
    Body(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// It took too long.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
}

/// A whole answer.
#[derive(Debug)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Its body.
    pub body: Bytes,
}

type Connection = SendRequest<Empty<Bytes>>;

/// Cheap to clone; clones share the connections.
#[derive(Clone, Debug, Default)]
pub struct Client {
    idle: Rc<RefCell<HashMap<String, Vec<Connection>>>>,
}

impl Client {
    /// Asks for `url` with `headers` and reads the whole answer, all within `deadline`.
    pub async fn fetch(&self, url: &str, headers: &HeaderMap, deadline: Duration) -> Result<Answer, FetchError> {
        timeout(deadline, self.fetch_unhurried(url, headers)).await.map_err(|_| FetchError::Timeout(deadline))?
    }

    async fn fetch_unhurried(&self, url: &str, headers: &HeaderMap) -> Result<Answer, FetchError> {
        let bad = || FetchError::Url(url.to_owned());
        let uri = url.parse::<Uri>().map_err(|_| bad())?;
        let authority = uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(bad)?.to_string();
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = Request::get(path).body(Empty::new()).map_err(|_| bad())?;
        *request.headers_mut() = headers.clone();
        request.headers_mut().insert(HOST, HeaderValue::from_str(&authority).map_err(|_| bad())?);

        let (mut connection, answer) = self.send(&authority, request).await?;
        let status = answer.status();
        let body =
            Limited::new(answer.into_body(), BODY_BYTES_MAX).collect().await.map_err(FetchError::Body)?.to_bytes();
        if connection.ready().await.is_ok() {
            self.keep(authority, connection);
        }
        Ok(Answer { status, body })
    }

    /// Sends over a kept connection, or a new one. A kept connection that the server closed meanwhile hands the request
    /// back unsent.
    async fn send(
        &self,
        authority: &str,
        mut request: Request<Empty<Bytes>>,
    ) -> Result<(Connection, hyper::Response<Incoming>), FetchError> {
        while let Some(mut connection) = self.take(authority) {
            match connection.try_send_request(request).await {
                Ok(answer) => return Ok((connection, answer)),
                Err(mut error) => match error.take_message() {
                    Some(unsent) => request = unsent,
                    None => return Err(error.into_error().into()),
                },
            }
        }
        let mut connection = connect(authority).await?;
        let answer = connection.send_request(request).await?;
        Ok((connection, answer))
    }

    fn take(&self, authority: &str) -> Option<Connection> {
        self.idle.borrow_mut().get_mut(authority)?.pop()
    }

    fn keep(&self, authority: String, connection: Connection) {
        let mut idle = self.idle.borrow_mut();
        let kept = idle.entry(authority).or_default();
        if kept.len() < IDLE_MAX {
            kept.push(connection);
        }
    }
}

async fn connect(authority: &str) -> Result<Connection, FetchError> {
    let failed = |source| FetchError::Connect { authority: authority.to_owned(), source };
    let target = if has_port(authority) { authority.to_owned() } else { format!("{authority}:80") };
    let socket = TcpStream::connect(target).await.map_err(failed)?;
    socket.set_nodelay(true).map_err(failed)?;
    let (sender, connection) = http1::handshake(TokioIo::new(socket)).await?;
    tokio::task::spawn_local(connection);
    Ok(sender)
}

fn has_port(authority: &str) -> bool {
    authority
        .rsplit_once(':')
        .is_some_and(|(_, port)| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit()))
}
