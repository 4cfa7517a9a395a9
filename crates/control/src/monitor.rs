//! The monitoring listener: metrics, version, readiness, and which client has what.
//!
//! Metrics have istiod's names where the thing is the same, so that existing dashboards work. `/debug/` is for callers
//! with a token: of `istio-system` for all clients, of any other namespace for its own.

use std::fmt::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::request::Parts;
use http::{Method, StatusCode};
use mizzen_xds::grpc;
use mizzen_xds::kind::KINDS;
use mizzen_xds::serve::Event;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::certificate::now;
use crate::http1::{self, Answer};
use crate::run::Shared;

const BODY_BYTES_MAX: usize = 4096;
const CONNECTIONS_MAX: usize = 256;
const ROOT_NAMESPACE: &str = "istio-system";

/// Counters of one kind of resource.
#[derive(Debug, Default)]
struct OfKind {
    responses: AtomicU64,
    resources: AtomicU64,
    bytes: AtomicU64,
    refused: AtomicU64,
    stale: AtomicU64,
}

/// What is counted.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    kinds: [OfKind; KINDS.len()],
}

impl Metrics {
    pub(crate) fn note(&self, event: &Event) {
        let add = |counter: &AtomicU64, number: usize| {
            counter.fetch_add(number as u64, Ordering::Relaxed);
        };
        match event {
            Event::Applied(_) => {}
            Event::Refused(nack) => add(&self.kinds[nack.kind as usize].refused, 1),
            Event::Stale(kind) => add(&self.kinds[*kind as usize].stale, 1),
            Event::Sent { kind, resources, bytes, .. } => {
                let of_kind = &self.kinds[*kind as usize];
                add(&of_kind.responses, 1);
                add(&of_kind.resources, *resources);
                add(&of_kind.bytes, *bytes);
            }
        }
    }

    fn write(&self, out: &mut String) {
        type Pick = fn(&OfKind) -> &AtomicU64;
        let families: [(&str, &str, Pick); 5] = [
            ("pilot_xds_pushes", "Responses sent.", |of| &of.responses),
            ("mizzen_xds_resources_sent_total", "Resources sent.", |of| &of.resources),
            ("mizzen_xds_bytes_sent_total", "Bytes of responses sent.", |of| &of.bytes),
            ("pilot_total_xds_rejects", "Responses that clients refused.", |of| &of.refused),
            ("pilot_xds_expired_nonce", "Answers to responses that were no longer in flight.", |of| &of.stale),
        ];
        for (name, help, pick) in families {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} counter");
            for (kind, of_kind) in KINDS.iter().zip(&self.kinds) {
                let label = kind.short().to_ascii_lowercase();
                let _ = writeln!(out, "{name}{{type=\"{label}\"}} {}", pick(of_kind).load(Ordering::Relaxed));
            }
        }
    }
}

/// Accepts for as long as it is polled.
pub(crate) async fn run(listener: TcpListener, shared: Arc<Shared>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let Ok(permit) = connections.clone().acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let shared = shared.clone();
                tokio::spawn(async move {
                    let _permit = permit;
                    let handle = |parts, _| std::future::ready(answer(&parts, &shared));
                    http1::serve(stream, BODY_BYTES_MAX, handle).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on the monitoring listener");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

fn answer(parts: &Parts, shared: &Shared) -> Answer {
    if parts.method != Method::GET {
        return http1::text(StatusCode::METHOD_NOT_ALLOWED, "GET only");
    }
    match parts.uri.path() {
        "/metrics" => http1::text(StatusCode::OK, metrics(shared)),
        "/version" => http1::json(StatusCode::OK, &json!({ "version": env!("CARGO_PKG_VERSION") })),
        // The listener is opened when the first world is compiled.
        "/ready" => http1::text(StatusCode::OK, "ready\n"),
        "/debug/syncz" => syncz(parts, shared),
        _ => http1::text(StatusCode::NOT_FOUND, "no such thing here\n"),
    }
}

fn metrics(shared: &Shared) -> String {
    let mut out = String::new();
    shared.metrics.write(&mut out);
    let (connected, generation) = shared.track_quietly(|tracker| (tracker.connected(), tracker.generation()));
    let _ = writeln!(out, "# HELP pilot_xds Clients connected.\n# TYPE pilot_xds gauge\npilot_xds {connected}");
    let _ = writeln!(out, "# HELP mizzen_generation Generation of the configuration.");
    let _ = writeln!(out, "# TYPE mizzen_generation gauge\nmizzen_generation {generation}");
    out
}

fn syncz(parts: &Parts, shared: &Shared) -> Answer {
    let claims = grpc::bearer(&parts.headers).and_then(|token| shared.token_key.verify(token, now()).ok());
    let Some(claims) = claims else {
        return http1::text(StatusCode::UNAUTHORIZED, "expected a bearer token\n");
    };
    let shown = |namespace: &str| claims.namespace == ROOT_NAMESPACE || claims.namespace == namespace;
    let clients = shared.track_quietly(|tracker| {
        let clients = tracker.clients().filter(|client| client.connected && shown(&client.namespace));
        let view = clients
            .map(|client| json!({ "proxy": client.node, "applied": client.applied, "last_error": client.last_error }));
        view.collect::<Vec<_>>()
    });
    http1::json(StatusCode::OK, &clients)
}
