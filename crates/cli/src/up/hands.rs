//! What [`crate::fleet::Action`]s mean: nodes, processes, checks, signals.
//!
//! In: one action and the replica it is about. Out: what happened, as [`Event`]s into the supervisor's queue. Every action
//! is a task of its own; a process's task lives as long as the process.

use std::{
    collections::{BTreeMap, HashMap},
    net::TcpListener,
    os::fd::OwnedFd,
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::Result;
use bytes::Bytes;
use http::{Method, StatusCode};
use mizzen_capture::Capture;
use mizzen_lab::{NodeSpec, ProcessId, Role as LabRole, Signal, SpawnSpec};
use mizzen_telemetry::EdgeReport;
use serde_json::Value;
use tokio::sync::mpsc;

use super::{check, proxy, sandbox::Sandbox, volumes};
use crate::{
    edges::ProxyRun,
    fleet::{Action, Event, Part, Replica, ReplicaId},
    logs::{Logs, Source},
    mizzend::Mizzend,
    place::Place,
    plan::{Name, PodFacts, Role, Workload},
    unix_http,
};

/// Between two looks at what should become ready soon.
pub(super) const LOOK_PAUSE: Duration = Duration::from_millis(50);
/// The listener of captured connections to a workload (Istio).
const INBOUND: &str = "virtualInbound";
/// Said of a proxy whose admin socket does not answer yet.
pub(super) const STARTING: &str = "starting";
/// Longest wait for connections to end once no new ones come; the default of Istio's `terminationDrainDuration`.
const DRAIN_MAX: Duration = Duration::from_secs(5);

/// The programs of a mesh.
#[derive(Debug, Clone)]
pub(crate) struct Binaries {
    /// This one.
    pub(crate) mizzen: PathBuf,
    pub(crate) mizzend: PathBuf,
    pub(crate) proxy: PathBuf,
}

/// Everything that actions need.
#[derive(Debug)]
pub(crate) struct Hands {
    pub(crate) sandbox: Arc<Sandbox>,
    pub(crate) mizzend: Mizzend,
    pub(crate) place: Place,
    pub(crate) logs: Logs,
    pub(crate) binaries: Binaries,
    pub(crate) cert_ttl: Option<Duration>,
    /// Published ports' sockets, by gateway and port.
    pub(crate) listeners: Mutex<BTreeMap<(Name, u16), TcpListener>>,
    pub(crate) events: mpsc::Sender<Event>,
    pub(crate) reports: mpsc::Sender<(ProxyRun, EdgeReport)>,
    pub(crate) processes: Mutex<HashMap<(ReplicaId, Part), Live>>,
}

/// A running process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Live {
    pub(crate) process: ProcessId,
    pub(crate) run: u32,
}

/// A replica as its tasks know it.
#[derive(Debug, Clone)]
pub(crate) struct Subject {
    pub(crate) id: ReplicaId,
    pub(crate) workload: Arc<Workload>,
    pub(crate) ordinal: u32,
    pub(crate) pod: PodFacts,
    pub(crate) trust_domain: Arc<str>,
}

impl Subject {
    pub(crate) fn of(replica: &Replica, trust_domain: &Arc<str>) -> Self {
        let (workload, pod) = (Arc::clone(&replica.workload), replica.pod.clone());
        Self { id: replica.id, workload, ordinal: replica.ordinal, pod, trust_domain: Arc::clone(trust_domain) }
    }
}

impl Hands {
    /// Carries out an action, except publications, which have their own task.
    pub(crate) async fn act(self: Arc<Self>, action: Action, subject: Subject) {
        match action {
            Action::Prepare(replica) => {
                let result = self.prepare(&subject).await.map_err(|error| format!("{error:#}"));
                self.tell(Event::Prepared { replica, result }).await;
            }
            Action::Start { part, run, .. } => self.run(&subject, part, run).await,
            Action::Drain(replica) => {
                self.drain(&subject).await;
                self.tell(Event::Drained(replica)).await;
            }
            Action::Signal { part, kill, .. } => self.signal(subject.id, part, kill).await,
            Action::Remove(replica) => {
                self.remove(&subject).await;
                self.tell(Event::Removed(replica)).await;
            }
            Action::Publish(_) => {}
        }
    }

    pub(super) async fn tell(&self, event: Event) {
        // The supervisor is gone only when everything is about to be.
        let _ = self.events.send(event).await;
    }

    async fn prepare(&self, subject: &Subject) -> Result<()> {
        let mut node = node(subject)?;
        node.mounts = volumes::write(&self.volumes(subject), &subject.workload.template.containers)?;
        self.sandbox.add_node(node).await
    }

    /// Where the contents of the replica's volumes are.
    fn volumes(&self, subject: &Subject) -> PathBuf {
        self.place.files().join(&subject.pod.name)
    }

    /// The node may have never come into being; what else there is goes in any case.
    async fn remove(&self, subject: &Subject) {
        if let Err(error) = self.sandbox.remove_node(subject.pod.name.clone()).await {
            tracing::debug!(%error, pod = subject.pod.name, "node not removed");
        }
        let _ = std::fs::remove_file(self.place.proxy_socket(subject.id));
        let _ = std::fs::remove_dir_all(self.volumes(subject));
    }

    /// One process from its start to its end.
    async fn run(self: &Arc<Self>, subject: &Subject, part: Part, run: u32) {
        let replica = subject.id;
        let spec = match part {
            Part::Proxy => proxy::spec(self, subject).await,
            Part::App(at) => self.app_spec(subject, at),
        };
        let started = match spec {
            Ok(spec) => self.sandbox.spawn(spec).await,
            Err(error) => Err(error),
        };
        let mut running = match started {
            Ok(running) => running,
            Err(error) => {
                return self.tell(Event::Started { replica, part, result: Err(format!("{error:#}")) }).await;
            }
        };
        self.processes().insert((replica, part), Live { process: running.id, run });
        self.tell(Event::Started { replica, part, result: Ok(()) }).await;
        let watch = async {
            match part {
                Part::Proxy => check::watch_proxy(self, subject, run).await,
                Part::App(at) => check::watch_app(self, subject, (at, run)).await,
            }
            std::future::pending::<()>().await;
        };
        let exit = tokio::select! {
            exit = running.exit() => exit,
            () = watch => None,
        };
        self.processes().remove(&(replica, part));
        let how = exit.map_or_else(|| "the sandbox ended".to_owned(), |exit| exit.to_string());
        self.tell(Event::Exited { replica, part, how }).await;
    }

    fn app_spec(&self, subject: &Subject, at: usize) -> Result<SpawnSpec> {
        let container = &subject.workload.template.containers[at];
        let source = Source::App {
            workload: subject.workload.name.clone(),
            ordinal: subject.ordinal,
            container: container.name.clone(),
        };
        let (stdout, stderr) = self.logs.pipe(source)?;
        let spec = app_spec(subject, at);
        Ok(SpawnSpec { stdout: Some(stdout), stderr: Some(stderr), ..spec })
    }

    async fn signal(&self, replica: ReplicaId, part: Part, kill: bool) {
        let process = self.processes().get(&(replica, part)).copied();
        if let Some(live) = process {
            self.sandbox.signal(live.process, if kill { Signal::KILL } else { Signal::TERM }).await;
        }
    }

    /// Tells the proxy to finish, and waits until nothing is open, or [`DRAIN_MAX`].
    async fn drain(&self, subject: &Subject) {
        if !subject.workload.template.role.has_proxy() {
            return;
        }
        let socket = self.place.proxy_socket(subject.id);
        let is_router = matches!(subject.workload.template.role, Role::Router { .. });
        let uri = if is_router { "/drain" } else { "/drain?inboundonly" };
        let drained = async {
            let asked = unix_http::request(&socket, (Method::POST, uri), Bytes::new(), unix_http::TIMEOUT).await;
            if asked.is_err() {
                return; // a proxy that is down has nothing open
            }
            while self.open_connections(subject).await.is_some_and(|open| open > 0) {
                tokio::time::sleep(LOOK_PAUSE).await;
            }
        };
        // What is still open then is cut when its program has had its grace period.
        let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
        self.report_edges(subject.id).await;
    }

    /// Asks a proxy for its counters, while it is there.
    pub(crate) async fn report_edges(&self, replica: ReplicaId) {
        let live = self.processes().get(&(replica, Part::Proxy)).copied();
        if let Some(live) = live
            && let Some(report) = self.edges(replica).await
        {
            let _ = self.reports.send(((replica, live.run), report)).await;
        }
    }

    async fn open_connections(&self, subject: &Subject) -> Option<usize> {
        let socket = self.place.proxy_socket(subject.id);
        let all: Value = unix_http::json(&socket, (Method::GET, "/connections"), Bytes::new()).await.ok()?;
        let list = all.get("connections")?.as_array()?;
        let is_router = matches!(subject.workload.template.role, Role::Router { .. });
        // A sidecar's program may go on calling others until it ends.
        Some(list.iter().filter(|open| is_router || open["accepted_on"] == INBOUND).count())
    }

    /// Whether the replica's proxy takes traffic.
    pub(super) async fn proxy_is_ready(&self, replica: ReplicaId) -> Result<(), String> {
        let socket = self.place.proxy_socket(replica);
        match unix_http::request(&socket, (Method::GET, "/ready"), Bytes::new(), unix_http::TIMEOUT).await {
            Ok((StatusCode::OK, _)) => Ok(()),
            Ok((_, why)) => {
                let why = String::from_utf8_lossy(&why[..why.len().min(200)]).trim().replace('\n', ", ");
                Err(if why.is_empty() { "not ready yet".to_owned() } else { why })
            }
            Err(_) => Err(STARTING.to_owned()),
        }
    }

    async fn edges(&self, replica: ReplicaId) -> Option<EdgeReport> {
        let socket = self.place.proxy_socket(replica);
        unix_http::json(&socket, (Method::GET, "/edges"), Bytes::new()).await.ok()
    }

    pub(crate) fn processes(&self) -> std::sync::MutexGuard<'_, HashMap<(ReplicaId, Part), Live>> {
        self.processes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Copies of the sockets of a gateway's published ports.
    pub(super) fn published(&self, gateway: &Name) -> Result<Vec<(u16, OwnedFd)>> {
        let listeners = self.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        let own = listeners.iter().filter(|((name, _), _)| name == gateway);
        own.map(|((_, port), socket)| Ok((*port, socket.try_clone()?.into()))).collect()
    }
}

/// The process of a container, without its output.
pub(crate) fn app_spec(subject: &Subject, at: usize) -> SpawnSpec {
    let run = subject.workload.template.containers[at].invocation(&subject.pod);
    let mut spec = SpawnSpec::new(Some(&subject.pod.name), LabRole::App, run.program.to_string_lossy());
    spec.args = run.arguments;
    spec.env = run.variables.into_iter().collect();
    spec.cwd = Some(run.directory);
    spec
}

fn node(subject: &Subject) -> Result<NodeSpec> {
    let template = &subject.workload.template;
    let namespace = &subject.workload.name.namespace;
    let mut node = NodeSpec::new(subject.pod.name.clone(), subject.pod.ipv4);
    node.hostname = template.hostname.clone().unwrap_or_else(|| host_name(&subject.pod.name));
    node.ipv6 = Some(subject.pod.ipv6);
    node.search = vec![format!("{namespace}.svc.cluster.local"), "svc.cluster.local".into(), "cluster.local".into()];
    node.capture = match template.role {
        Role::Bare => None,
        Role::Router { .. } => Some(Capture::DnsOnly),
        Role::Sidecar => Some(Capture::Sidecar(capture(&template.annotations)?)),
    };
    Ok(node)
}

/// What the annotations say is captured; the plan has looked at them before.
fn capture(annotations: &BTreeMap<String, String>) -> Result<mizzen_capture::Sidecar> {
    mizzen_capture::from_annotations(annotations).map_err(|errors| {
        let errors: Vec<String> = errors.iter().map(ToString::to_string).collect();
        anyhow::anyhow!(errors.join("; "))
    })
}

/// A DNS label: at most 63 characters, not ending in a hyphen.
fn host_name(pod: &str) -> String {
    let label: String = pod.chars().take(63).collect();
    label.trim_end_matches(['-', '.']).to_owned()
}
