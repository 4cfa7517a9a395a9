//! How a replica's proxy is started (docs/dev/contracts.md, "mizzen-proxy's command line and environment").
//!
//! Secrets and sockets go by file descriptor: nothing that a workload could read names them.

use std::{io::Write as _, os::fd::OwnedFd};

use anyhow::{Context, Result};
use mizzen_lab::{BRIDGE_V4, Role as LabRole, SpawnSpec};
use rustix::fs::{MemfdFlags, SeekFrom, memfd_create};
use serde_json::json;

use super::hands::{Hands, Subject};
use crate::{logs::Source, plan::Role};

/// Port of the control plane's TLS listener (Istio).
const DISCOVERY_PORT: u16 = 15012;
/// Descriptor numbers in the proxy. Low ones may be in use by the sandbox's own first process.
const TOKEN_FD: i32 = 10;
const ROOT_FD: i32 = 11;
const BROKER_FD: i32 = 12;
/// The first of the published ports'.
const LISTENERS_FROM: i32 = 13;

pub(super) async fn spec(hands: &Hands, subject: &Subject) -> Result<SpawnSpec> {
    let (name, template) = (&subject.workload.name, &subject.workload.template);
    let token = hands.mizzend.token(&name.namespace, &template.service_account, &subject.pod.name).await;
    let token = token.context("asking the control plane for a token")?;
    let root = hands.mizzend.root().await.context("asking the control plane for its root certificate")?;
    let source = Source::Proxy { workload: name.clone(), ordinal: subject.ordinal };
    let (stdout, stderr) = hands.logs.pipe(source)?;

    let mut spec = SpawnSpec::new(Some(&subject.pod.name), LabRole::Proxy, hands.binaries.proxy.to_string_lossy());
    let mode = if matches!(template.role, Role::Router { .. }) { "router" } else { "sidecar" };
    spec = spec.args([mode]);
    let given = [
        ("--token-fd", memory(token.as_bytes())?, TOKEN_FD),
        ("--root-cert-fd", memory(&root)?, ROOT_FD),
        ("--broker-fd", hands.sandbox.broker_socket()?, BROKER_FD),
    ];
    for (flag, fd, number) in given {
        spec = spec.args([flag.to_owned(), number.to_string()]);
        spec.fds.push((fd, number));
    }
    let socket = hands.place.proxy_socket(subject.id);
    // One that was killed leaves its name behind.
    let _ = std::fs::remove_file(&socket);
    spec = spec.args(["--admin-socket".into(), socket.to_string_lossy()]);
    for (number, (port, socket)) in (LISTENERS_FROM..).zip(hands.published(name)?) {
        spec = spec.args(["--listen-fd".to_owned(), format!("{port}={number}")]);
        spec.fds.push((socket, number));
    }
    spec.env = environment(subject);
    if let Some(ttl) = hands.cert_ttl {
        spec = spec.env("SECRET_TTL", format!("{}ms", ttl.as_millis()));
    }
    if let Ok(filter) = std::env::var("RUST_LOG") {
        spec = spec.env("RUST_LOG", filter);
    }
    spec.stdout = Some(stdout);
    spec.stderr = Some(stderr);
    Ok(spec)
}

/// Istio's agent environment.
fn environment(subject: &Subject) -> Vec<(String, String)> {
    let (name, template) = (&subject.workload.name, &subject.workload.template);
    let discovery = format!("{BRIDGE_V4}:{DISCOVERY_PORT}");
    let config = json!({"discoveryAddress": discovery, "concurrency": template.proxy.concurrency,
        "drainDuration": template.proxy.drain, "terminationDrainDuration": template.proxy.termination_drain});
    let owner = format!("kubernetes://apis/apps/v1/namespaces/{}/deployments/{}", name.namespace, name.name);
    let containers: Vec<&str> = template.containers.iter().map(|container| container.name.as_str()).collect();
    [
        ("POD_NAME", subject.pod.name.clone()),
        ("POD_NAMESPACE", name.namespace.to_string()),
        ("INSTANCE_IP", subject.pod.ipv4.to_string()),
        ("SERVICE_ACCOUNT", template.service_account.clone()),
        ("TRUST_DOMAIN", subject.trust_domain.to_string()),
        ("CA_ADDR", discovery),
        ("PROXY_CONFIG", without_nulls(config).to_string()),
        ("ISTIO_META_CLUSTER_ID", "Kubernetes".to_owned()),
        ("ISTIO_META_MESH_ID", subject.trust_domain.to_string()),
        ("ISTIO_META_WORKLOAD_NAME", name.name.to_string()),
        ("ISTIO_META_OWNER", owner),
        ("ISTIO_META_INTERCEPTION_MODE", "REDIRECT".to_owned()),
        ("ISTIO_META_DNS_CAPTURE", "true".to_owned()),
        ("ISTIO_META_APP_CONTAINERS", containers.join(",")),
        ("ISTIO_META_INSTANCE_IPS", format!("{},{}", subject.pod.ipv4, subject.pod.ipv6)),
        ("ISTIO_METAJSON_LABELS", json!(template.labels).to_string()),
    ]
    .map(|(name, value)| (name.to_owned(), value))
    .into()
}

fn without_nulls(mut object: serde_json::Value) -> serde_json::Value {
    if let Some(fields) = object.as_object_mut() {
        fields.retain(|_, value| !value.is_null());
    }
    object
}

/// A file that exists in memory only, to be read from its start.
fn memory(contents: &[u8]) -> Result<OwnedFd> {
    let mut file = std::fs::File::from(memfd_create("mizzen", MemfdFlags::CLOEXEC)?);
    file.write_all(contents)?;
    rustix::fs::seek(&file, SeekFrom::Start(0))?;
    Ok(file.into())
}
