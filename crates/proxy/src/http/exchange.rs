//! One request and its response: the facts gathered on the way, and the one record emitted when it is over.

use std::{
    cell::Cell,
    rc::Rc,
    sync::Arc,
    time::{Instant, SystemTime},
};

use http::{HeaderMap, Version, header};
use hyper::{Request, body::Incoming};
use mizzen_snapshot::{Cluster, cluster::Workload};
use mizzen_telemetry::{Flag, HttpRecord, RequestProtocol};

use super::server::HttpConnection;
use crate::{
    error::{Kind, ProxyError},
    telemetry::{Ended, Log},
    upstream::pool,
};

/// An exchange under way. Dropped before [`Exchange::finish`], the client is gone.
pub(crate) struct Exchange {
    pub(crate) http: Rc<HttpConnection>,
    pub(crate) record: HttpRecord,
    pub(crate) started: Instant,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) workload: Option<Arc<Workload>>,
    pub(crate) upstream: Option<Rc<pool::Facts>>,
    pub(crate) log: Option<Rc<Log>>,
    /// Counted by the request's body.
    pub(crate) received: Option<Rc<Cell<u64>>>,
    received_before: u64,
    sent_before: u64,
    finished: bool,
}

impl Exchange {
    pub(crate) fn begin(http: &Rc<HttpConnection>, request: &Request<Incoming>) -> Self {
        let entry = &http.connection.entry;
        entry.request_begins();
        let mut record = HttpRecord::new(SystemTime::now(), request.version(), request.method().clone());
        record.scheme = http.scheme();
        if is_grpc(request.headers()) {
            record.protocol = RequestProtocol::Grpc { status: None };
        }
        Self {
            http: Rc::clone(http),
            record,
            started: Instant::now(),
            cluster: None,
            workload: None,
            upstream: None,
            log: http.log(),
            received: None,
            received_before: http.received_before.replace(entry.activity.received()),
            sent_before: entry.activity.sent(),
            finished: false,
        }
    }

    pub(crate) fn is_grpc(&self) -> bool {
        matches!(self.record.protocol, RequestProtocol::Grpc { .. })
    }

    /// A failure that the client gets as a local reply.
    pub(crate) fn failed(&mut self, error: &ProxyError) {
        let row = error.row();
        if let Some(flag) = row.flag {
            self.record.flow.flags.set(flag);
        }
        self.record.flow.details = Some(row.details.into());
        if let Some(reason) = &error.transport {
            self.record.flow.upstream.transport_failure = Some(reason.to_string().into());
        }
    }

    pub(crate) fn trailers(&mut self, trailers: &HeaderMap) {
        self.grpc_status(trailers);
        if let Some(log) = &self.log {
            log.format.capture_trailers(trailers, &mut self.record.captured);
        }
    }

    /// Takes `grpc-status` from trailers, or from the headers of a response without a body.
    pub(crate) fn grpc_status(&mut self, headers: &HeaderMap) {
        if let RequestProtocol::Grpc { status } = &mut self.record.protocol
            && let Some(found) = headers.get("grpc-status").and_then(|v| v.to_str().ok()).and_then(|v| v.parse().ok())
        {
            *status = Some(found);
        }
    }

    pub(crate) fn timed_out(&mut self) {
        self.failed(&ProxyError::new(Kind::Timeout));
        self.finish();
    }

    pub(crate) fn upstream_broke_off(&mut self) {
        self.record.flow.flags.set(Flag::UpstreamConnectionTermination);
        self.record.flow.details = Some("upstream_reset_after_response_started{connection_termination}".into());
        self.finish();
    }

    /// Emits the record; a second call does nothing.
    pub(crate) fn finish(&mut self) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        let connection = &self.http.connection;
        let flow = &mut self.record.flow;
        flow.duration = self.started.elapsed();
        if let Some(received) = &self.received {
            flow.bytes_received = received.get();
        }
        if self.record.version < Version::HTTP_2 {
            // One request at a time: what passed on the wire since the last one is this one's.
            self.record.request_wire_bytes = connection.entry.activity.received().saturating_sub(self.received_before);
            self.http.received_before.set(connection.entry.activity.received());
            self.record.response_wire_bytes = connection.entry.activity.sent().saturating_sub(self.sent_before);
        } else {
            self.record.request_wire_bytes = flow.bytes_received;
            self.record.response_wire_bytes = flow.bytes_sent;
        }
        let ended = Ended {
            cluster: self.cluster.as_ref().map(|c| &*c.spec),
            workload: self.workload.as_deref(),
            upstream: self.upstream.as_deref(),
            log: self.log.as_deref(),
        };
        connection.worker.observer.http(connection, &self.http.facts, &self.record, &ended);
        connection.entry.request_ends();
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        if !self.finished {
            self.http.connection.entry.request_abandoned();
            self.failed(&ProxyError::new(Kind::ClientGone));
            self.finish();
        }
    }
}

/// Whether a request is gRPC: `application/grpc` or `application/grpc+…` (not grpc-web).
pub(crate) fn is_grpc(headers: &HeaderMap) -> bool {
    headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.as_bytes().strip_prefix(b"application/grpc"))
        .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
}
