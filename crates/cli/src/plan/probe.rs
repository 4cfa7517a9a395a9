//! When a container is ready: its readiness probe (Kubernetes API reference, Probe), as a check that can be made inside
//! its network.
//!
//! A container without a probe is ready when it listens on the TCP ports that it declares; Kubernetes would call it ready
//! at once and let its first requests fail.

use std::time::Duration;

use mizzen_api::k8s::{self, IntOrString};
use serde::{Deserialize, Serialize};

use super::{Trouble, container::Port};

/// A check and its pace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Probe {
    pub(crate) check: Check,
    pub(crate) initial_delay: Duration,
    /// Between checks once it is ready; before, checks are made more often.
    pub(crate) period: Duration,
    /// A check that takes longer has failed.
    pub(crate) timeout: Duration,
    /// Failures in a row after which it is no longer ready.
    pub(crate) failures_max: u32,
    /// Successes in a row after which it is ready.
    pub(crate) successes_min: u32,
}

/// One check; made by `mizzen lab-probe`, to which it is passed as JSON.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Check {
    /// Ready as soon as it runs.
    Running,
    /// Someone listens on all of these TCP ports; found out without connecting.
    Listening(Vec<u16>),
    /// A connection is accepted.
    Tcp { host: String, port: u16 },
    /// A GET is answered with 200–399.
    Http { host: String, port: u16, path: String, headers: Vec<(String, String)> },
    /// A command exits with 0.
    Exec(Vec<String>),
}

impl Check {
    /// Whether it can still change once the process runs.
    pub(crate) fn is_repeated(&self) -> bool {
        matches!(self, Self::Tcp { .. } | Self::Http { .. } | Self::Exec(_))
    }
}

/// Where a container listens, seen from inside.
const LOOPBACK: &str = "127.0.0.1";

pub(super) fn probe(
    declared: &k8s::Container,
    path: &str,
    ports: &[Port],
    notes: &mut Vec<Trouble>,
) -> Result<Probe, Trouble> {
    let path = format!("{path}.readinessProbe");
    let Some(wanted) = &declared.readiness_probe else { return Ok(implied(ports)) };
    let seconds = |field: Option<i32>, default: u64, least: u64| {
        Duration::from_secs(field.and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(default).max(least))
    };
    let count =
        |field: Option<i32>, default: u32| field.and_then(|count| u32::try_from(count).ok()).unwrap_or(default).max(1);
    Ok(Probe {
        check: check(wanted, &path, ports, notes)?,
        initial_delay: seconds(wanted.initial_delay_seconds, 0, 0),
        period: seconds(wanted.period_seconds, 10, 1),
        timeout: seconds(wanted.timeout_seconds, 1, 1),
        failures_max: count(wanted.failure_threshold, 3),
        successes_min: count(wanted.success_threshold, 1),
    })
}

fn implied(ports: &[Port]) -> Probe {
    let listening: Vec<u16> = ports.iter().filter(|port| port.protocol == "TCP").map(|port| port.number).collect();
    Probe {
        check: if listening.is_empty() { Check::Running } else { Check::Listening(listening) },
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(10),
        timeout: Duration::from_secs(1),
        failures_max: 3,
        successes_min: 1,
    }
}

fn check(wanted: &k8s::Probe, path: &str, ports: &[Port], notes: &mut Vec<Trouble>) -> Result<Check, Trouble> {
    let host = |host: &Option<String>| host.clone().unwrap_or_else(|| LOOPBACK.to_owned());
    if let Some(http) = &wanted.http_get {
        let path = format!("{path}.httpGet");
        let port = port(&http.port, ports, &format!("{path}.port"))?;
        if http.scheme.as_deref().is_some_and(|scheme| scheme.eq_ignore_ascii_case("https")) {
            notes.push(Trouble::new(format!("{path}.scheme"), "HTTPS is not spoken: only the connection is checked"));
            return Ok(Check::Tcp { host: host(&http.host), port });
        }
        let headers = http.http_headers.iter().flatten().map(|header| (header.name.clone(), header.value.clone()));
        let target = http.path.as_deref().filter(|path| path.starts_with('/')).unwrap_or("/").to_owned();
        return Ok(Check::Http { host: host(&http.host), port, path: target, headers: headers.collect() });
    }
    if let Some(tcp) = &wanted.tcp_socket {
        let port = port(&tcp.port, ports, &format!("{path}.tcpSocket.port"))?;
        return Ok(Check::Tcp { host: host(&tcp.host), port });
    }
    if let Some(grpc) = &wanted.grpc {
        let path = format!("{path}.grpc");
        notes.push(Trouble::new(&path, "gRPC health checking is not spoken: only the connection is checked"));
        let port = port(&IntOrString::Int(grpc.port), ports, &format!("{path}.port"))?;
        return Ok(Check::Tcp { host: LOOPBACK.to_owned(), port });
    }
    match wanted.exec.as_ref().and_then(|exec| exec.command.clone()) {
        Some(command) if !command.is_empty() => Ok(Check::Exec(command)),
        _ => Err(Trouble::new(path, "expected httpGet, tcpSocket, exec or grpc")),
    }
}

/// A number, or the name of a declared port.
fn port(wanted: &IntOrString, ports: &[Port], path: &str) -> Result<u16, Trouble> {
    let found = match wanted {
        IntOrString::Int(number) => u16::try_from(*number).ok().filter(|number| *number > 0),
        IntOrString::String(name) => ports
            .iter()
            .find(|port| port.name.as_ref() == Some(name))
            .map(|port| port.number)
            .or_else(|| name.parse().ok()),
    };
    found.ok_or_else(|| Trouble::new(path, "expected a port number, or the name of a port of this container"))
}
