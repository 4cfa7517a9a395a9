//! The control socket: what the CLI asks and orders (docs/dev/contracts.md).
//!
//! In: HTTP requests on a Unix socket of the user. Out: JSON.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::request::Parts;
use http::{Method, StatusCode};
use mizzen_api::{Finding, Kind, Object, Severity};
use mizzen_sources::Sources;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::net::UnixListener;

use crate::certificate::now;
use crate::http1::{self, Answer, query};
use crate::mesh::View;
use crate::run::Shared;
use crate::tracker::{Change, Client};

/// Life of a bootstrap token: long enough that a proxy whose certificate ended while the control plane was away gets
/// another one.
const TOKEN_TTL: Duration = Duration::from_hours(7 * 24);
/// Largest body in bytes: the objects of some ten thousand workloads.
const BODY_BYTES_MAX: usize = 64 << 20;
/// Longest that a request waits.
const WAIT_MAX: Duration = Duration::from_mins(10);

/// What the socket works on.
#[derive(Clone)]
pub(crate) struct Api {
    pub(crate) shared: Arc<Shared>,
    pub(crate) sources: Arc<Sources>,
    pub(crate) view: tokio::sync::watch::Receiver<Arc<View>>,
}

/// Accepts for as long as it is polled.
pub(crate) async fn run(listener: UnixListener, api: Api) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                let api = api.clone();
                tokio::spawn(async move {
                    http1::serve(stream, BODY_BYTES_MAX, |parts, body| api.answer(parts, body)).await;
                });
            }
            Err(error) => {
                tracing::warn!(%error, "accept failed on the control socket");
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct TokenRequest {
    namespace: String,
    service_account: String,
    #[serde(default)]
    pod: String,
}

#[derive(Serialize)]
struct FindingView<'a> {
    severity: &'static str,
    message: String,
    file: &'a str,
    line: u32,
    object: Option<String>,
}

#[derive(Serialize)]
struct ProxyView<'a> {
    node: &'a str,
    generation: Option<u64>,
    connected: bool,
    last_error: Option<&'a str>,
}

#[derive(Serialize)]
struct ObjectView {
    object: String,
    file: Arc<str>,
    line: u32,
    state: &'static str,
    message: Option<String>,
}

impl Api {
    async fn answer(&self, parts: Parts, body: Bytes) -> Answer {
        match (&parts.method, parts.uri.path()) {
            (&Method::PUT, "/v1/runtime") => self.put_runtime(&body).await,
            (&Method::POST, "/v1/token") => self.token(&body),
            (&Method::GET, "/v1/root") => http1::text(StatusCode::OK, self.shared.certificates.authority().roots_pem()),
            (&Method::GET, "/v1/wait") => self.wait(&parts).await,
            (&Method::GET, "/v1/status") => self.status(),
            (&Method::GET, "/v1/changes") => self.changes(&parts).await,
            (&Method::GET, "/v1/objects") => self.objects(&parts),
            _ => http1::text(StatusCode::NOT_FOUND, "no such thing here"),
        }
    }

    async fn put_runtime(&self, body: &Bytes) -> Answer {
        let Ok(text) = std::str::from_utf8(body) else { return bad("expected UTF-8") };
        let result = mizzen_api::load("runtime", text);
        let problems = result.unparsable.iter().chain(result.rejected.iter().flat_map(|rejection| &rejection.findings));
        let problems: Vec<String> = problems.map(ToString::to_string).collect();
        if !problems.is_empty() {
            return bad(problems.join("\n"));
        }
        if let Some(unused) = result.not_used.first() {
            return bad(format!("{}: expected a v1 List of Pods and EndpointSlices", unused.what));
        }
        let generation = self.sources.replace_runtime(result.objects).await;
        http1::json(StatusCode::OK, &json!({ "generation": generation }))
    }

    fn token(&self, body: &Bytes) -> Answer {
        let request: TokenRequest = match serde_json::from_slice(body) {
            Ok(request) => request,
            Err(error) => return bad(error.to_string()),
        };
        let TokenRequest { namespace, service_account, pod } = &request;
        match self.shared.token_key.sign(namespace, service_account, pod, (now(), TOKEN_TTL)) {
            Ok(token) => http1::json(StatusCode::OK, &json!({ "token": token })),
            Err(error) => bad(error.to_string()),
        }
    }

    /// Answers when the generation is applied by every proxy that was there, or 504 when the time is over.
    async fn wait(&self, parts: &Parts) -> Answer {
        let (Some(generation), Some(timeout)) = (number(parts, "generation"), timeout(parts)) else {
            return bad("expected generation=N&timeout_ms=T");
        };
        let mut pulse = self.shared.pulse();
        let waiting = async {
            loop {
                pulse.borrow_and_update();
                let progress = self.shared.track_quietly(|tracker| tracker.progress(generation));
                if let Some(progress) = progress.filter(crate::tracker::Progress::is_complete) {
                    return progress;
                }
                if pulse.changed().await.is_err() {
                    return std::future::pending().await;
                }
            }
        };
        if let Ok(progress) = tokio::time::timeout(timeout, waiting).await {
            return http1::json(StatusCode::OK, &progress);
        }
        let progress = self.shared.track_quietly(|tracker| tracker.progress(generation));
        http1::json(StatusCode::GATEWAY_TIMEOUT, &progress)
    }

    fn status(&self) -> Answer {
        let view = self.view.borrow().clone();
        let findings: Vec<FindingView<'_>> = view.findings.iter().map(finding_view).collect();
        let value = self.shared.track_quietly(|tracker| {
            let proxies: Vec<_> = tracker.clients().map(proxy_view).collect();
            let convergence: Vec<f64> = tracker.convergence_ms().collect();
            json!({
                "generation": tracker.generation(),
                "proxies": proxies,
                "findings": findings,
                "last_change": tracker.last_change(),
                "convergence_ms": convergence,
            })
        });
        http1::json(StatusCode::OK, &value)
    }

    /// Answers when there is a change after `since`, or with none when the time is over.
    async fn changes(&self, parts: &Parts) -> Answer {
        let (since, Some(timeout)) = (number(parts, "since").unwrap_or(0), timeout(parts)) else {
            return bad("expected since=SEQ&timeout_ms=T");
        };
        let mut pulse = self.shared.pulse();
        let read = || self.shared.track_quietly(|tracker| tracker.changes_since(since));
        let waiting = async {
            loop {
                pulse.borrow_and_update();
                let found = read();
                // A number from before a restart of this process is ahead of ours: it is answered at once.
                if !found.1.is_empty() || found.0 < since || pulse.changed().await.is_err() {
                    return found;
                }
            }
        };
        let found = tokio::time::timeout(timeout, waiting).await;
        let (seq, changes): (u64, Vec<Change>) = found.unwrap_or_else(|_| read());
        http1::json(StatusCode::OK, &json!({ "seq": seq, "changes": changes }))
    }

    fn objects(&self, parts: &Parts) -> Answer {
        let kind = match query(parts, "kind").map(|word| (word, Kind::from_typed(word))) {
            None => None,
            Some((_, Some(kind))) => Some(kind),
            Some((word, None)) => return bad(format!("no kind is called {word}")),
        };
        let view = self.view.borrow().clone();
        http1::json(StatusCode::OK, &object_views(&view, kind))
    }
}

/// Objects in force, refused ones, and, if no kind is asked for, what is not used.
fn object_views(view: &View, kind: Option<Kind>) -> Vec<ObjectView> {
    let set = &view.objects;
    let wanted = |of: Kind| kind.is_none_or(|kind| kind == of);
    let mut views: Vec<ObjectView> =
        set.objects.values().filter(|object| wanted(object.id.kind)).map(|object| in_force(object)).collect();
    let errors = view.findings.iter().filter(|finding| finding.severity == Severity::Error);
    for finding in errors {
        // An object that is refused while its last good version serves is in the list already.
        if let Some(id) = finding.object.as_ref().filter(|id| wanted(id.kind)) {
            let name = id.to_string();
            let message = Some(message(finding));
            match views.iter_mut().find(|view| view.object == name) {
                Some(view) => view.message = message,
                None => views.push(ObjectView {
                    object: name,
                    file: finding.file.clone(),
                    line: finding.line,
                    state: "refused",
                    message,
                }),
            }
        }
    }
    if kind.is_none() {
        views.extend(set.not_used.iter().map(|unused| ObjectView {
            object: unused.what.clone(),
            file: unused.file.clone(),
            line: unused.line,
            state: "not used",
            message: None,
        }));
    }
    views
}

fn in_force(object: &Object) -> ObjectView {
    let fields: Vec<&str> = object.unenforced.iter().map(|field| &*field.path).collect();
    let message = (!fields.is_empty()).then(|| format!("not enforced yet: {}", fields.join(", ")));
    ObjectView {
        object: object.id.to_string(),
        file: object.origin.file.clone(),
        line: object.origin.line,
        state: if object.refuses_traffic { "refused" } else { "in force" },
        message,
    }
}

fn finding_view(finding: &Finding) -> FindingView<'_> {
    FindingView {
        severity: finding.severity.as_str(),
        message: message(finding),
        file: &finding.file,
        line: finding.line,
        object: finding.object.as_ref().map(ToString::to_string),
    }
}

/// Field path, message and hint in one.
fn message(finding: &Finding) -> String {
    let path = if finding.path.is_empty() { String::new() } else { format!("{}: ", finding.path) };
    let hint = finding.hint.as_ref().map_or_else(String::new, |hint| format!("; for example: {hint}"));
    format!("{path}{}{hint}", finding.message)
}

fn proxy_view(client: &Client) -> ProxyView<'_> {
    ProxyView {
        node: &client.node,
        generation: client.applied,
        connected: client.connected,
        last_error: client.last_error.as_deref(),
    }
}

fn bad(message: impl Into<Bytes>) -> Answer {
    http1::text(StatusCode::BAD_REQUEST, message)
}

fn number(parts: &Parts, name: &str) -> Option<u64> {
    query(parts, name)?.parse().ok()
}

/// `timeout_ms`, none of which is no time.
fn timeout(parts: &Parts) -> Option<Duration> {
    match query(parts, "timeout_ms") {
        None => Some(Duration::ZERO),
        Some(text) => text.parse().ok().map(|ms| Duration::from_millis(ms).min(WAIT_MAX)),
    }
}
