//! The server's shell: one delta stream over gRPC, around [`server::Session`](crate::server::Session).
//!
//! In: an HTTP/2 request whose caller is authorised already, and a feed of generations. Out: the HTTP/2 response, and
//! [`Event`]s for whoever watches. The first request is handed over before anything is sent, because it says who asks.

use std::sync::Arc;

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use http::Request;
use tokio::sync::watch;
use tonic::{Status, Streaming};

use crate::grpc::{self, Body, Framed, Sender};
use crate::kind::Kind;
use crate::server::{Heard, Limits, Nack, Response, Session};
use crate::set::Generation;

/// Largest request in bytes; a larger one ends the stream. A client with 100,000 resources of a kind tells their
/// versions in about 10 MiB when it comes back.
pub const REQUEST_BYTES_MAX: usize = 16 << 20;

/// What happens on a stream.
#[derive(Clone, Debug)]
pub enum Event {
    /// The last generation that the client has in full.
    Applied(u64),
    Refused(Nack),
    Sent {
        kind: Kind,
        resources: usize,
        removed: usize,
        bytes: usize,
    },
    /// An answer to a response that is no longer in flight.
    Stale(Kind),
}

/// A delta stream whose first request was read.
pub struct Stream {
    requests: Streaming<DeltaDiscoveryRequest>,
    out: Sender,
    first: DeltaDiscoveryRequest,
}

/// A stream whose first request is not read yet.
pub struct Opening {
    requests: Streaming<DeltaDiscoveryRequest>,
    out: Sender,
}

/// Takes an HTTP/2 request for [`DELTA_PATH`](crate::DELTA_PATH); the response is to be returned at once.
pub fn accept<B>(request: Request<B>) -> (Opening, http::Response<Body>)
where
    B: http_body::Body + Send + 'static,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    let (out, body) = grpc::response_body();
    let requests = grpc::incoming(request, REQUEST_BYTES_MAX);
    (Opening { requests, out }, grpc::response(body))
}

impl Opening {
    /// Waits for the first request, which must name a node. `None`: the stream ended, the client was told why.
    pub async fn first(mut self) -> Option<Stream> {
        let status = match self.requests.message().await {
            Ok(Some(first)) if first.node.as_ref().is_some_and(|node| !node.id.is_empty()) => {
                return Some(Stream { requests: self.requests, out: self.out, first });
            }
            Ok(Some(_)) => Status::invalid_argument("the first request names no node"),
            Ok(None) => Status::ok(""),
            Err(status) => status,
        };
        self.out.end(status).await;
        None
    }
}

impl Stream {
    /// Who asks.
    pub fn node(&self) -> Node {
        self.first.node.clone().unwrap_or_default()
    }

    /// Ends the stream.
    pub async fn refuse(self, status: Status) {
        self.out.end(status).await;
    }

    /// Serves until the client leaves, breaks the protocol, or the feed ends. Returns why it ended.
    pub async fn run(
        self,
        mut feed: watch::Receiver<Arc<Generation>>,
        limits: Limits,
        mut observe: impl FnMut(Event),
    ) -> Status {
        let Self { mut requests, out, first } = self;
        let now = feed.borrow_and_update().clone();
        let mut session = Session::new(&now, limits);
        let mut applied = None;
        let mut heard = take(&mut session, &first, &mut observe);
        drop(first);
        let status = loop {
            if let Err(status) = heard {
                break status;
            }
            if let Err(status) = flush(&mut session, &out, &mut observe).await {
                break status;
            }
            let reached = session.applied();
            if reached != applied {
                applied = reached;
                if let Some(number) = reached {
                    observe(Event::Applied(number));
                }
            }
            heard = tokio::select! {
                request = requests.message() => match request {
                    Ok(Some(request)) => take(&mut session, &request, &mut observe),
                    Ok(None) => Err(Status::ok("")),
                    Err(status) => Err(status),
                },
                changed = feed.changed() => match changed {
                    Ok(()) => {
                        let next = feed.borrow_and_update().clone();
                        session.publish(&next);
                        Ok(())
                    }
                    Err(_) => Err(Status::unavailable("the server is going away")),
                },
            };
        };
        out.end(status.clone()).await;
        status
    }
}

fn take(session: &mut Session, request: &DeltaDiscoveryRequest, observe: &mut impl FnMut(Event)) -> Result<(), Status> {
    match session.request(request) {
        Ok(Heard::Nacked(nack)) => observe(Event::Refused(nack)),
        Ok(Heard::Stale(kind)) => observe(Event::Stale(kind)),
        Ok(Heard::Subscribed(_) | Heard::Acked(_) | Heard::Ignored) => {}
        Err(violation) => return Err(Status::resource_exhausted(violation.to_string())),
    }
    Ok(())
}

/// Sends what is due. A client that does not read holds up only itself.
async fn flush(session: &mut Session, out: &Sender, observe: &mut impl FnMut(Event)) -> Result<(), Status> {
    loop {
        let permit = out.ready().await.map_err(|closed| Status::cancelled(closed.to_string()))?;
        let Some(response) = session.poll() else { return Ok(()) };
        let bytes = response.bytes_len();
        let Response { kind, resources, removed, parts, .. } = response;
        permit.send(Framed::new(parts));
        observe(Event::Sent { kind, resources, removed, bytes });
    }
}
