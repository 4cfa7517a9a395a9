//! The control plane's socket, as its client (docs/dev/contracts.md, "mizzend's command line and control socket").

use std::{path::PathBuf, time::Duration};

use anyhow::{Result, ensure};
use bytes::Bytes;
use http::{Method, StatusCode};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::{Value, json};

use crate::unix_http;

/// The socket of a running control plane.
#[derive(Debug, Clone)]
pub(crate) struct Mizzend {
    socket: PathBuf,
}

/// How far a generation has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// In force at every proxy that it concerns.
    Applied,
    /// Some proxies have not answered yet.
    Pending,
}

/// `GET /v1/status`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct MeshStatus {
    pub(crate) generation: u64,
    pub(crate) findings: Vec<FindingView>,
    pub(crate) last_change: Option<Change>,
    /// From an edit to its last ACK, ms, one per generation.
    pub(crate) convergence_ms: Vec<f64>,
}

/// A finding in words.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct FindingView {
    /// `error`, `warning` or `info`.
    pub(crate) severity: String,
    pub(crate) object: Option<String>,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) message: String,
}

/// One accepted edit and how it spread.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Change {
    pub(crate) seq: u64,
    pub(crate) generation: u64,
    pub(crate) files: Vec<String>,
    pub(crate) objects: Vec<String>,
    pub(crate) applied: u64,
    pub(crate) total: u64,
    pub(crate) ms: Option<f64>,
}

/// `GET /v1/changes`.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Changes {
    pub(crate) seq: u64,
    pub(crate) changes: Vec<Change>,
}

/// `GET /v1/objects`.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct ObjectView {
    pub(crate) object: String,
    pub(crate) file: Option<String>,
    pub(crate) line: Option<u32>,
    pub(crate) state: String,
    pub(crate) message: Option<String>,
}

#[derive(Deserialize)]
struct Published {
    generation: u64,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

impl Mizzend {
    pub(crate) fn at(socket: PathBuf) -> Self {
        Self { socket }
    }

    /// Replaces the lab's objects; returns the generation that holds them.
    pub(crate) async fn put_runtime(&self, objects: &[Value]) -> Result<u64> {
        let body = json!({"apiVersion": "v1", "kind": "List", "items": objects}).to_string();
        let published: Published = unix_http::json(&self.socket, (Method::PUT, "/v1/runtime"), body.into()).await?;
        Ok(published.generation)
    }

    /// A bootstrap token for one pod.
    pub(crate) async fn token(&self, namespace: &str, service_account: &str, pod: &str) -> Result<String> {
        let body = json!({"namespace": namespace, "service_account": service_account, "pod": pod}).to_string();
        let token: Token = unix_http::json(&self.socket, (Method::POST, "/v1/token"), body.into()).await?;
        Ok(token.token)
    }

    /// The CA's root certificates, PEM.
    pub(crate) async fn root(&self) -> Result<Bytes> {
        let (status, body) =
            unix_http::request(&self.socket, (Method::GET, "/v1/root"), Bytes::new(), unix_http::TIMEOUT).await?;
        ensure!(status == StatusCode::OK, "/v1/root: {status}");
        Ok(body)
    }

    /// Waits until a generation is in force everywhere, at most `patience`.
    pub(crate) async fn wait(&self, generation: u64, patience: Duration) -> Result<Progress> {
        let uri = format!("/v1/wait?generation={generation}&timeout_ms={}", patience.as_millis());
        let (status, body) =
            unix_http::request(&self.socket, (Method::GET, &uri), Bytes::new(), patience + unix_http::TIMEOUT).await?;
        if status == StatusCode::GATEWAY_TIMEOUT {
            return Ok(Progress::Pending);
        }
        unix_http::parse::<IgnoredAny>(&uri, status, &body).map(|_| Progress::Applied)
    }

    pub(crate) async fn status(&self) -> Result<MeshStatus> {
        unix_http::json(&self.socket, (Method::GET, "/v1/status"), Bytes::new()).await
    }

    /// Changes after `since`; waits for one, at most `patience`.
    pub(crate) async fn changes(&self, since: u64, patience: Duration) -> Result<Changes> {
        let uri = format!("/v1/changes?since={since}&timeout_ms={}", patience.as_millis());
        let (status, body) =
            unix_http::request(&self.socket, (Method::GET, &uri), Bytes::new(), patience + unix_http::TIMEOUT).await?;
        unix_http::parse(&uri, status, &body)
    }

    pub(crate) async fn objects(&self, kind: &str) -> Result<Vec<ObjectView>> {
        unix_http::json(&self.socket, (Method::GET, &format!("/v1/objects?kind={kind}")), Bytes::new()).await
    }
}

#[cfg(test)]
mod tests;
