//! `control.json`: what a start and an edit cost the control plane, and what its clients get.
//!
//! `mizzend` on a directory with 1,000 services of three endpoints on one port and 100 VirtualServices; 100 simulated delta
//! clients, sidecars of one namespace, which check what they receive.

use std::{
    collections::HashSet,
    fs, io,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};

use anyhow::{Context, ensure};
use envoy_types::pb::{
    envoy::config::{
        core::v3::{Extension, Node},
        endpoint::v3::ClusterLoadAssignment,
        route::v3::{VirtualHost, route::Action, route_action::ClusterSpecifier},
    },
    google::protobuf::{Struct, Value, value},
};
use futures_util::future::BoxFuture;
use mizzen_xds::{
    Kind,
    client::Update,
    connect::{Client, Event, Upstream},
};
use prost::Message;
use rustls_pki_types::ServerName;
use serde::Serialize;
use tokio::{net::TcpStream, sync::mpsc};

use crate::{
    machine::{self, Process},
    table::{self, median},
};

const SERVICES: usize = 1_000;
const ENDPOINTS: usize = 3;
const VIRTUAL_SERVICES: usize = 100;
const CLIENTS: usize = 100;
const EDITS: usize = 20;
const CONTROL_CORE: usize = 0;
const CLIENT_CORE: usize = 1;
/// No step takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_mins(2);
/// Nothing more arrives for this long: the edit is over.
const QUIET: Duration = Duration::from_millis(300);

#[derive(Serialize)]
struct Cold {
    all_synced_s: f64,
    cpu_s: f64,
    kb_per_client: f64,
    rss_kb_per_client: f64,
}

#[derive(Serialize)]
struct Edit {
    first_ms: f64,
    last_ms: f64,
    cpu_s: f64,
    bytes_per_client: f64,
    clients_pushed: f64,
}

#[derive(Serialize)]
struct Figures {
    cold: Cold,
    route_edit: Edit,
    endpoint_edit: Edit,
}

/// What a client saw.
struct Seen {
    client: usize,
    at: Instant,
    bytes: usize,
    kind: Kind,
    /// Names that this bench edits, with what they say now.
    facts: Vec<(String, u32)>,
    /// How much of each kind the client holds.
    held: usize,
}

pub(crate) fn run() -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("mizzen-bench-control-{}", std::process::id()));
    fs::create_dir_all(dir.join("config"))?;
    let outcome = measure(&dir);
    fs::remove_dir_all(&dir).ok();
    let figures = outcome?;
    print(&figures);
    fs::write(crate::out("control.json")?, serde_json::to_string_pretty(&figures)?)?;
    Ok(())
}

fn service(i: usize, weight: u32) -> String {
    let mut text = format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: s{i}, namespace: bench}}\nspec:\n  selector: {{app: s{i}}}\n  ports: [{{name: http, port: 80, targetPort: 8080}}]\n"
    );
    if i < VIRTUAL_SERVICES {
        text += "---\n";
        text += &virtual_service(i, weight);
    }
    text
}

fn virtual_service(i: usize, weight: u32) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: s{i}, namespace: bench}}\nspec:\n  hosts: [s{i}]\n  http:\n  - route:\n    - {{destination: {{host: s{i}}}, weight: {weight}}}\n    - {{destination: {{host: s{next}}}, weight: {rest}}}\n",
        next = i + 500,
        rest = 100 - weight,
    )
}

/// `first` is the last octet of the first address: what an endpoint edit changes.
fn slice(i: usize, first: usize) -> String {
    let endpoints: Vec<String> = (0..ENDPOINTS)
        .map(|e| {
            let octet = if e == 0 { first } else { e + 1 };
            format!("{{addresses: [10.{}.{}.{octet}], conditions: {{ready: true}}}}", 100 + i / 250, i % 250)
        })
        .collect();
    format!(
        "apiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata: {{name: s{i}, namespace: bench, labels: {{kubernetes.io/service-name: s{i}}}}}\naddressType: IPv4\nports: [{{name: http, port: 8080}}]\nendpoints: [{}]\n",
        endpoints.join(", ")
    )
}

fn write(dir: &Path, name: &str, text: &str) -> anyhow::Result<()> {
    // By rename, as editors do; the temporary name is no YAML.
    let new = dir.join(format!("{name}.new"));
    fs::write(&new, text)?;
    fs::rename(new, dir.join("config").join(name))?;
    Ok(())
}

fn measure(dir: &Path) -> anyhow::Result<Figures> {
    for i in 0..SERVICES {
        write(dir, &format!("s{i}.yaml"), &service(i, 50))?;
        write(dir, &format!("e{i}.yaml"), &slice(i, 1))?;
    }
    let mizzend = std::env::current_exe()?.with_file_name("mizzend");
    ensure!(mizzend.exists(), "{} is not built", mizzend.display());
    let mut command = Command::new(mizzend);
    command.arg("--config").arg(dir.join("config")).arg("--state").arg(dir.join("state"));
    command.arg("--control-socket").arg(dir.join("control.sock"));
    let mut control = Process::start("mizzend", CONTROL_CORE, command, &PathBuf::from("/dev/null"))?;
    let address: SocketAddr = (Ipv4Addr::LOCALHOST, 15_010).into();
    control.wait_for(address)?;
    settle(&control)?;
    machine::pin(CLIENT_CORE)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let rss_before = control.rss_kb()?;
        let (sender, mut seen) = mpsc::unbounded_channel();
        let started = Instant::now();
        let cpu = control.cpu()?;
        for client in 0..CLIENTS {
            tokio::spawn(client_task(client, address, sender.clone()));
        }
        let cold = cold(&control, &mut seen, (started, cpu, rss_before)).await?;
        let mut routes = Vec::new();
        let mut endpoints = Vec::new();
        for edit in 0..EDITS {
            let weight = 1 + edit as u32;
            let (text, name) = (service(edit, weight), format!("s{edit}.yaml"));
            routes.push(edited(&control, &mut seen, (format!("s{edit}."), weight), || write(dir, &name, &text)).await?);
            let (text, name) = (slice(edit, 100 + edit), format!("e{edit}.yaml"));
            let fact = (format!("s{edit}."), 100 + edit as u32);
            endpoints.push(edited(&control, &mut seen, fact, || write(dir, &name, &text)).await?);
        }
        Ok(Figures { cold, route_edit: medians(&routes), endpoint_edit: medians(&endpoints) })
    })
}

/// Waits until the control plane has read everything: its CPU time stands still.
fn settle(control: &Process) -> anyhow::Result<()> {
    let mut last = control.cpu()?;
    let deadline = Instant::now() + PATIENCE;
    loop {
        std::thread::sleep(Duration::from_millis(500));
        let now = control.cpu()?;
        if now.saturating_sub(last) < Duration::from_millis(5) {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "mizzend does not come to rest");
        last = now;
    }
}

async fn cold(
    control: &Process,
    seen: &mut mpsc::UnboundedReceiver<Seen>,
    (started, cpu, rss_before): (Instant, Duration, u64),
) -> anyhow::Result<Cold> {
    let mut clusters = vec![0; CLIENTS];
    let mut hosts = vec![0; CLIENTS];
    let (mut bytes, mut last) = (0, started);
    let deadline = Instant::now() + PATIENCE;
    while clusters.iter().any(|n| *n < SERVICES) || hosts.iter().any(|n| *n < SERVICES) {
        ensure!(Instant::now() < deadline, "clients are not synced");
        let Ok(Some(one)) = tokio::time::timeout(PATIENCE, seen.recv()).await else {
            anyhow::bail!("clients are gone")
        };
        bytes += one.bytes;
        last = last.max(one.at);
        match one.kind {
            Kind::Cluster => clusters[one.client] = one.held,
            Kind::VirtualHost => hosts[one.client] = one.held,
            _ => {}
        }
    }
    while let Ok(Some(one)) = tokio::time::timeout(QUIET, seen.recv()).await {
        bytes += one.bytes;
        last = last.max(one.at);
    }
    Ok(Cold {
        all_synced_s: (last - started).as_secs_f64(),
        cpu_s: control.cpu()?.saturating_sub(cpu).as_secs_f64(),
        kb_per_client: bytes as f64 / 1024.0 / CLIENTS as f64,
        rss_kb_per_client: control.rss_kb()?.saturating_sub(rss_before) as f64 / CLIENTS as f64,
    })
}

/// Makes an edit and watches it arrive: every client that gets something must get the fact expected.
async fn edited(
    control: &Process,
    seen: &mut mpsc::UnboundedReceiver<Seen>,
    (name, fact): (String, u32),
    edit: impl FnOnce() -> anyhow::Result<()>,
) -> anyhow::Result<Edit> {
    let cpu = control.cpu()?;
    let started = Instant::now();
    edit()?;
    let mut told = [false; CLIENTS];
    let (mut bytes, mut pushed, mut first, mut last) = (0, [false; CLIENTS], None, started);
    let deadline = started + PATIENCE;
    while told.iter().any(|t| !t) {
        ensure!(Instant::now() < deadline, "an edit does not arrive");
        let one = tokio::time::timeout(PATIENCE, seen.recv()).await.ok().flatten().context("clients are gone")?;
        bytes += one.bytes;
        pushed[one.client] = true;
        if one.facts.iter().any(|(n, f)| n.starts_with(&name) && *f == fact) {
            told[one.client] = true;
            first.get_or_insert(one.at);
            last = last.max(one.at);
        }
    }
    while let Ok(Some(one)) = tokio::time::timeout(QUIET, seen.recv()).await {
        bytes += one.bytes;
    }
    let pushed = pushed.iter().filter(|p| **p).count();
    Ok(Edit {
        first_ms: (first.unwrap_or(last) - started).as_secs_f64() * 1e3,
        last_ms: (last - started).as_secs_f64() * 1e3,
        cpu_s: control.cpu()?.saturating_sub(cpu).as_secs_f64(),
        bytes_per_client: bytes as f64 / pushed.max(1) as f64,
        clients_pushed: pushed as f64,
    })
}

fn medians(edits: &[Edit]) -> Edit {
    let of = |pick: fn(&Edit) -> f64| median(&mut edits.iter().map(pick).collect::<Vec<f64>>());
    Edit {
        first_ms: of(|e| e.first_ms),
        last_ms: of(|e| e.last_ms),
        cpu_s: of(|e| e.cpu_s),
        bytes_per_client: of(|e| e.bytes_per_client),
        clients_pushed: of(|e| e.clients_pushed),
    }
}

/// Plain text to loopback.
struct Loopback(SocketAddr);

impl Upstream for Loopback {
    fn authority(&self) -> String {
        self.0.to_string()
    }

    fn connect(&self) -> BoxFuture<'static, io::Result<TcpStream>> {
        Box::pin(TcpStream::connect(self.0))
    }

    fn tls(&self) -> Option<(Arc<rustls::ClientConfig>, ServerName<'static>)> {
        None
    }

    fn bearer(&self) -> Option<String> {
        None
    }
}

fn node(client: usize) -> Node {
    let text = |text: &str| Value { kind: Some(value::Kind::StringValue(text.to_owned())) };
    let labels = Struct { fields: [("app".to_owned(), text("client"))].into() };
    let ip = format!("10.244.9.{}", client + 1);
    let fields = [
        ("NAMESPACE".to_owned(), text("bench")),
        ("SERVICE_ACCOUNT".to_owned(), text("default")),
        ("INSTANCE_IPS".to_owned(), text(&ip)),
        ("LABELS".to_owned(), Value { kind: Some(value::Kind::StructValue(labels)) }),
    ];
    let extension = |name: &str| Extension { name: name.to_owned(), ..Extension::default() };
    Node {
        id: format!("sidecar~{ip}~client-{client}.bench~bench.svc.cluster.local"),
        metadata: Some(Struct { fields: fields.into() }),
        extensions: vec![extension("mizzen.io/vhds"), extension("istio.alpn")],
        ..Node::default()
    }
}

async fn client_task(client: usize, address: SocketAddr, seen: mpsc::UnboundedSender<Seen>) {
    let all = [Kind::Cluster, Kind::Endpoints, Kind::Listener, Kind::Route, Kind::VirtualHost, Kind::NameTable];
    let subscriptions = all.map(|kind| (kind, "*"));
    let rng = fastrand::Rng::with_seed(client as u64);
    let mut session = Client::start(Arc::new(Loopback(address)), node(client), &subscriptions, rng);
    let mut held: HashSet<(Kind, Arc<str>)> = HashSet::new();
    while let Some(event) = session.next().await {
        let Event::Update(update) = event else { continue };
        let at = Instant::now();
        for added in &update.added {
            held.insert((update.kind, Arc::clone(&added.name)));
        }
        for removed in &update.removed {
            held.remove(&(update.kind, Arc::clone(removed)));
        }
        let one = Seen {
            client,
            at,
            bytes: update.added.iter().map(|a| a.name.len() + a.version.len() + a.body.len()).sum(),
            kind: update.kind,
            facts: facts(&update),
            held: held.iter().filter(|(kind, _)| *kind == update.kind).count(),
        };
        session.applied(update.ticket, Vec::new()).await;
        if seen.send(one).is_err() {
            return;
        }
    }
}

/// What the edited resources say: a weight, or the last octet of the first address.
fn facts(update: &Update) -> Vec<(String, u32)> {
    // The first transfer is counted, not read.
    if update.added.len() > 50 {
        return Vec::new();
    }
    let read = |name: &str, body: &[u8]| match update.kind {
        Kind::VirtualHost => Some((name.strip_prefix("80/")?.to_owned(), weight(&VirtualHost::decode(body).ok()?)?)),
        Kind::Endpoints => {
            let host = name.rsplit('|').next()?;
            Some((host.to_owned(), octet(&ClusterLoadAssignment::decode(body).ok()?)?))
        }
        _ => None,
    };
    update.added.iter().filter_map(|added| read(&added.name, &added.body)).collect()
}

fn weight(host: &VirtualHost) -> Option<u32> {
    let Some(Action::Route(action)) = &host.routes.first()?.action else { return None };
    match action.cluster_specifier.as_ref()? {
        ClusterSpecifier::WeightedClusters(clusters) => clusters.clusters.first()?.weight.as_ref().map(|w| w.value),
        _ => None,
    }
}

fn octet(assignment: &ClusterLoadAssignment) -> Option<u32> {
    use envoy_types::pb::envoy::config::{core::v3::address::Address, endpoint::v3::lb_endpoint::HostIdentifier};
    let mut octets = assignment.endpoints.iter().flat_map(|l| &l.lb_endpoints).filter_map(|endpoint| {
        let Some(HostIdentifier::Endpoint(endpoint)) = &endpoint.host_identifier else { return None };
        let Some(Address::SocketAddress(socket)) = &endpoint.address.as_ref()?.address else { return None };
        socket.address.rsplit('.').next()?.parse::<u32>().ok()
    });
    octets.find(|octet| *octet >= 100)
}

fn print(figures: &Figures) {
    let cold = &figures.cold;
    println!(
        "cold: {CLIENTS} clients synced in {:.2} s, {:.2} CPU-s, {:.0} KB and {:.0} KB RSS per client",
        cold.all_synced_s, cold.cpu_s, cold.kb_per_client, cold.rss_kb_per_client
    );
    let row = |name: &str, e: &Edit| {
        vec![
            name.to_owned(),
            format!("{:.1}", e.first_ms),
            format!("{:.1}", e.last_ms),
            format!("{:.3}", e.cpu_s),
            format!("{:.0}", e.bytes_per_client),
            format!("{:.0}", e.clients_pushed),
        ]
    };
    table::print(
        &["edit", "first ms", "last ms", "CPU s", "bytes/client", "clients"],
        &[row("route", &figures.route_edit), row("endpoint", &figures.endpoint_edit)],
    );
}
