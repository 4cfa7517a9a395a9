//! Resident memory of proxies: one that does nothing, and what each idle connection adds to one.
//!
//! A connection's cost is a slope: the RSS with some connections open against the RSS with a thousand more, so that what a
//! proxy sets up once is not divided among them. "Both sides together": each connection of a client has had a request in
//! flight at the same time as all others, so that the proxy holds one to the application for each, idle too.

use std::{
    fs,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use mizzen_e2e::{Mesh, Process};
use mizzen_pki::{KeyAndCsr, SpiffeId, store};
use rustls_pki_types::UnixTime;

use super::{
    PATIENCE,
    inside::{Inside, PROBE},
    probe::Identity,
    topology,
};

/// Connections that are open before the first look.
const BEFORE: usize = 20;
/// Looks at the memory until it stands still.
const STEP: Duration = Duration::from_millis(250);
/// As much as it may move between four looks and still stand.
const STILL_KIB: u64 = 64;

/// Which connections are held.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// HTTP/1.1 in plain text, from a client without a sidecar.
    Http1Plain,
    /// HTTP/2 with certificates on both sides.
    Http2Mutual,
}

/// Memory of one connection.
pub(super) struct Each {
    pub(super) kib: f64,
    /// Connections to the application for each connection of a client.
    upstreams: f64,
}

impl Each {
    pub(super) fn cells(&self) -> [String; 2] {
        [format!("{:.1}", self.kib), format!("({:.2} upstream each)", self.upstreams)]
    }
}

/// RSS, in KiB, of the sidecar of a workload without traffic.
pub(super) fn idle_sidecar(mesh: &Mesh) -> anyhow::Result<u64> {
    settled(&mesh.sidecar(&mesh.process(&[topology::QUIET])))
}

/// What one more of `count` idle connections costs the proxy in front of the server.
pub(super) fn connection(mesh: &Mesh, kind: Kind, count: usize) -> anyhow::Result<Each> {
    let (workload, port) = match kind {
        Kind::Http1Plain => ("held-h1", topology::HELD_HTTP1),
        Kind::Http2Mutual => ("held-h2", topology::HELD_HTTP2),
    };
    let proxy = mesh.sidecar(&mesh.process(&[&format!("probe serve --port {port}")]));
    let to = SocketAddr::new(mesh.addresses(workload).0.parse()?, port).to_string();
    let mut arguments = vec!["--to", &to];
    let identity = mesh.directory().with_file_name("identity.json").to_string_lossy().into_owned();
    if kind == Kind::Http2Mutual {
        fs::write(&identity, serde_json::to_vec(&client_identity(mesh)?)?)?;
        arguments.extend(["--http2", "--identity", &identity]);
    }
    let (_some, upstreams_before) = hold(mesh, &arguments, BEFORE)?;
    let before = settled(&proxy)?;
    let (_more, upstreams) = hold(mesh, &arguments, count)?;
    let after = settled(&proxy)?;
    Ok(Each {
        kib: after.saturating_sub(before) as f64 / count as f64,
        upstreams: upstreams.saturating_sub(upstreams_before) as f64 / count as f64,
    })
}

/// Opens connections and holds them; how many the server has had by then.
fn hold(mesh: &Mesh, arguments: &[&str], count: usize) -> anyhow::Result<(Inside, u64)> {
    let number = count.to_string();
    let command = [&PROBE[..], &["hold", "--connections", &number], arguments].concat();
    let mut held = Inside::start(mesh, "plain", &command)?;
    let told = held.next(PATIENCE * 2)?;
    ensure!(told["open"] == count, "not all connections were opened: {told}");
    let upstreams = told["upstreams"].as_u64().context("the server's count")?;
    Ok((held, upstreams))
}

/// RSS in KiB, once it stands still.
fn settled(proxy: &Process) -> anyhow::Result<u64> {
    let look = || proxy.kib("VmRSS").with_context(|| format!("the memory of {proxy:?}"));
    let deadline = Instant::now() + PATIENCE;
    let mut looks = vec![look()?];
    loop {
        std::thread::sleep(STEP);
        looks.push(look()?);
        let last = &looks[looks.len().saturating_sub(4)..];
        let (least, most) = (last.iter().min().copied(), last.iter().max().copied());
        if let (4, Some(least), Some(most)) = (last.len(), least, most)
            && most - least <= STILL_KIB
        {
            return Ok(last[3]);
        }
        ensure!(Instant::now() < deadline, "the memory of {} does not come to rest", proxy.command);
    }
}

/// A certificate of the mesh for a client without a sidecar: whoever runs the mesh can read its authority's key.
fn client_identity(mesh: &Mesh) -> anyhow::Result<Identity> {
    let certificate = find(&mesh.state(), "ca-cert.pem").context("the mesh's authority")?;
    let state = certificate.parent().context("its directory")?;
    let now = UnixTime::now();
    let authority = store::load_or_create(state, "cluster.local", now)?;
    let id = SpiffeId::workload("cluster.local", "default", "plain")?;
    let request = KeyAndCsr::generate(&id)?;
    let issued = authority.issue(&request.csr, &id, None, now)?;
    Ok(Identity { key: request.key.secret_pkcs8_der().to_vec(), answer: issued.into_wire() })
}

fn find(directory: &Path, name: &str) -> Option<PathBuf> {
    let paths: Vec<PathBuf> = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.path()).collect();
    let own = paths.iter().find(|path| path.file_name().is_some_and(|found| found == name)).cloned();
    own.or_else(|| paths.iter().filter(|path| path.is_dir()).find_map(|path| find(path, name)))
}
