//! xDS streams: who asks is checked against who they are, then they get the feed of their scope.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{Request, Response};
use hyper::body::Incoming;
use mizzen_pki::SpiffeId;
use mizzen_xds::grpc::{self, Body};
use mizzen_xds::serve::{self, Event, Opening, Stream};
use mizzen_xds::server::Limits;
use tokio::sync::OwnedSemaphorePermit;
use tonic::Status;

use crate::mesh::Mesh;
use crate::node::Asking;
use crate::run::Shared;
use crate::tracker::ClientId;

/// A stream that has not said who asks after this time is closed.
const FIRST_REQUEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Whom a stream is for: somebody who is authenticated, or anybody on loopback.
#[derive(Clone, Debug)]
pub(crate) enum Caller {
    Known(SpiffeId),
    Loopback,
}

/// Answers a request for the delta stream.
pub(crate) fn open(request: Request<Incoming>, caller: Caller, mesh: Mesh, shared: Arc<Shared>) -> Response<Body> {
    let Ok(permit) = shared.streams.clone().try_acquire_owned() else {
        return grpc::refusal(&Status::resource_exhausted("too many streams"));
    };
    let (opening, response) = serve::accept(request);
    tokio::spawn(serve(opening, caller, mesh, (shared, permit)));
    response
}

async fn serve(opening: Opening, caller: Caller, mesh: Mesh, (shared, permit): (Arc<Shared>, OwnedSemaphorePermit)) {
    let _permit = permit;
    let Ok(Some(stream)) = tokio::time::timeout(FIRST_REQUEST_TIMEOUT, opening.first()).await else { return };
    let asking = match admit(&stream, &caller) {
        Ok(asking) => asking,
        Err(status) => {
            tracing::warn!(node = stream.node().id, ?caller, error = status.message(), "stream refused");
            return stream.refuse(status).await;
        }
    };
    let Some(feed) = mesh.join(asking.scope.clone()).await else {
        return stream.refuse(Status::unavailable("the server is going away")).await;
    };
    let present = Present::enter(&asking, shared.clone());
    tracing::info!(node = asking.id, ?caller, "client connected");
    let status = stream.run(feed, Limits::default(), |event| present.note(&event)).await;
    tracing::info!(node = asking.id, code = ?status.code(), reason = status.message(), "client gone");
}

/// A node is served to its own identity only.
fn admit(stream: &Stream, caller: &Caller) -> Result<Asking, Status> {
    let asking = Asking::read(&stream.node()).map_err(|error| Status::invalid_argument(error.to_string()))?;
    let Caller::Known(id) = caller else { return Ok(asking) };
    let allowed = id.namespace_and_account().is_some_and(|(namespace, account)| asking.is_of(namespace, account));
    if allowed { Ok(asking) } else { Err(Status::permission_denied("the node is not of the caller's identity")) }
}

/// A client in the tracker, for as long as its stream lasts.
struct Present {
    id: ClientId,
    node: String,
    shared: Arc<Shared>,
}

impl Present {
    fn enter(asking: &Asking, shared: Arc<Shared>) -> Self {
        let id = shared.track(|tracker| tracker.join(asking.id.clone(), asking.scope.namespace.clone()));
        Self { id, node: asking.id.clone(), shared }
    }

    fn note(&self, event: &Event) {
        self.shared.metrics.note(event);
        match event {
            Event::Applied(generation) => {
                self.shared.track(|tracker| tracker.applied(self.id, *generation, Instant::now()));
            }
            Event::Refused(nack) => {
                tracing::warn!(node = self.node, kind = %nack.kind, error = nack.message, "configuration refused");
                self.shared.track(|tracker| tracker.refused(self.id, nack));
            }
            Event::Sent { .. } | Event::Stale(_) => {}
        }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.shared.track(|tracker| tracker.leave(self.id, Instant::now()));
    }
}
