//! What is to run: a pure function of the objects.
//!
//! In: the objects of a directory, where programs are found, which ports the user asked for. Out: a [`Plan`] with one
//! [`Workload`] for each Deployment that can run and one for each Gateway that nobody serves, the ports to publish, and
//! what is wrong with the rest, by object and line.
//!
//! ```text
//! Deployment ──► containers (command, environment, files, probe) ─┐
//! Namespace  ──► injected or not ─────────────────────────────────┼─► Workload { replicas, Template }
//! Gateway    ──► built-in router, published ports ────────────────┘
//! ```
//! Everything a running replica depends on is in its [`Template`]; templates that are equal need no roll-out.

mod address;
mod command;
mod container;
mod environment;
mod files;
mod gateway;
mod probe;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    hash::{DefaultHasher, Hash, Hasher as _},
    net::Ipv4Addr,
    path::Path,
    sync::Arc,
    time::Duration,
};

use imbl::OrdMap;
use mizzen_api::{
    Finding, Kind, Meta, Object, ObjectId, Severity, Spec,
    istio::MeshConfig,
    k8s::{DeploymentSpec, PodTemplateSpec},
};

pub(crate) use address::{ipv4_of, ipv6_of};
pub(crate) use command::Programs;
pub(crate) use container::{Container, PodFacts};
pub(crate) use environment::{Field, Value};
pub(crate) use files::{Mount, MountedFile};
pub(crate) use gateway::Published;
pub(crate) use probe::{Check, Probe};

use crate::args::Publish;

/// The objects of one generation, by id.
pub(crate) type Objects = OrdMap<ObjectId, Arc<Object>>;

/// Where a workload's program is started last: once every other workload is ready. On the pod template.
pub(crate) const START_ANNOTATION: &str = "mizzen.io/start";
const START_LAST: &str = "when-others-ready";
/// Workers of a proxy, as Istio's default CPU limit gives it.
const CONCURRENCY: u32 = 2;
/// Default of `terminationGracePeriodSeconds` (Kubernetes API reference, PodSpec).
const GRACE: Duration = Duration::from_secs(30);

/// `NAMESPACE/NAME` of a Deployment, or of a built-in gateway.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) namespace: Arc<str>,
    pub(crate) name: Arc<str>,
}

impl Name {
    pub(crate) fn new(namespace: &str, name: &str) -> Self {
        Self { namespace: namespace.into(), name: name.into() }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)
    }
}

/// All that is to run.
#[derive(Debug, Default)]
pub(crate) struct Plan {
    pub(crate) workloads: BTreeMap<Name, Arc<Workload>>,
    /// Deployments that cannot run, and why; what runs already under such a name goes on.
    pub(crate) broken: BTreeMap<Name, Finding>,
    pub(crate) published: Vec<Published>,
    /// What is not as meant, though everything runs.
    pub(crate) notes: Vec<Finding>,
    /// Addresses that objects of the user claim in the lab's range.
    pub(crate) reserved: BTreeSet<Ipv4Addr>,
    pub(crate) trust_domain: Arc<str>,
}

/// A Deployment, ready to run.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Workload {
    pub(crate) name: Name,
    pub(crate) replicas: u32,
    pub(crate) template: Template,
    /// Hash of the template.
    pub(crate) revision: u64,
    /// Starts when all others are ready.
    pub(crate) starts_last: bool,
}

/// What a replica is made from. A change of any part of it rolls the workload.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Template {
    pub(crate) role: Role,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) annotations: BTreeMap<String, String>,
    pub(crate) service_account: String,
    /// `hostname` and `subdomain` of the pod, if it has them.
    pub(crate) hostname: Option<String>,
    pub(crate) subdomain: Option<String>,
    /// From SIGTERM to SIGKILL.
    pub(crate) grace: Duration,
    pub(crate) proxy: ProxySettings,
    /// In the order of the pod template; none for a router.
    pub(crate) containers: Vec<Container>,
}

/// Of the mesh configuration's `defaultConfig`.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct ProxySettings {
    /// Workers; 0 is one for each core.
    pub(crate) concurrency: u32,
    /// `drainDuration`, as a duration is written.
    pub(crate) drain: Option<String>,
    /// `terminationDrainDuration`.
    pub(crate) termination_drain: Option<String>,
}

impl ProxySettings {
    fn of(mesh: Option<&MeshConfig>) -> Self {
        let config = mesh.and_then(|mesh| mesh.default_config.as_ref());
        let text = |duration: Option<mizzen_api::Duration>| duration.map(|duration| duration.to_string());
        Self {
            concurrency: config.and_then(|config| config.concurrency).unwrap_or(CONCURRENCY),
            drain: text(config.and_then(|config| config.drain_duration)),
            termination_drain: text(config.and_then(|config| config.termination_drain_duration)),
        }
    }
}

/// What stands between a workload and the network.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Role {
    /// A proxy beside the program; traffic is captured.
    Sidecar,
    /// No proxy (`sidecar.istio.io/inject: "false"`).
    Bare,
    /// A gateway: the proxy is the program. With the ports that are published.
    Router { ports: BTreeSet<u16> },
}

impl Role {
    pub(crate) fn has_proxy(&self) -> bool {
        !matches!(self, Self::Bare)
    }
}

/// What [`plan`] knows beside the objects.
#[derive(Debug)]
pub(crate) struct Context<'a> {
    /// What the names of files are relative to.
    pub(crate) directory: &'a Path,
    pub(crate) programs: &'a Programs<'a>,
    pub(crate) publish: &'a [Publish],
    /// Variables that every program gets, as its container does not set them.
    pub(crate) inherited: &'a BTreeMap<String, String>,
}

/// What a container, or a whole workload, lacks: the field and a sentence.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Trouble {
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) hint: Option<String>,
}

impl Trouble {
    fn new(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), hint: None }
    }

    fn at(self, object: &Object, severity: Severity) -> Finding {
        Finding {
            severity,
            object: Some(object.id.clone()),
            file: Arc::clone(&object.origin.file),
            line: object.line_of(&self.path),
            path: self.path,
            message: self.message,
            hint: self.hint,
        }
    }
}

/// Decides what runs. The same objects give the same plan.
pub(crate) fn plan(objects: &Objects, context: &Context<'_>) -> Plan {
    let mesh = mesh_config(objects);
    let trust_domain = mesh.as_ref().and_then(|mesh| mesh.trust_domain.as_deref()).unwrap_or("cluster.local");
    let root_namespace = mesh.as_ref().and_then(|mesh| mesh.root_namespace.as_deref()).unwrap_or("istio-system");
    let mut plan = Plan { trust_domain: trust_domain.into(), reserved: reserved(objects), ..Plan::default() };
    let proxy = ProxySettings::of(mesh.as_deref());
    for (object, spec) in deployments(objects) {
        let name = Name { namespace: Arc::clone(&object.id.namespace), name: Arc::clone(&object.id.name) };
        let mut notes = Vec::new();
        match workload(&name, object, spec, &mut Sources { objects, context, proxy: &proxy, notes: &mut notes }) {
            Ok(workload) => {
                plan.workloads.insert(name, Arc::new(workload));
            }
            Err(trouble) => {
                plan.broken.insert(name, trouble.at(object, Severity::Error));
            }
        }
        plan.notes.extend(notes.into_iter().map(|trouble| trouble.at(object, Severity::Warning)));
    }
    gateway::add_gateways(&mut plan, objects, (root_namespace, &proxy));
    gateway::publish(&mut plan, objects, context.publish);
    plan
}

/// What the parts of a workload are read from.
struct Sources<'a, 'n> {
    objects: &'a Objects,
    context: &'a Context<'a>,
    proxy: &'a ProxySettings,
    notes: &'n mut Vec<Trouble>,
}

fn deployments(objects: &Objects) -> impl Iterator<Item = (&Object, &DeploymentSpec)> {
    objects.values().filter_map(|object| match &object.spec {
        Spec::Deployment(spec) => Some((&**object, &**spec)),
        _ => None,
    })
}

fn workload(
    name: &Name,
    object: &Object,
    spec: &DeploymentSpec,
    sources: &mut Sources<'_, '_>,
) -> Result<Workload, Trouble> {
    let replicas = spec.replicas.unwrap_or(1);
    let replicas = u32::try_from(replicas).map_err(|_| Trouble::new("spec.replicas", "expected a number from 0"))?;
    let template = template(name, object, &spec.template, sources)?;
    let starts_last = template.annotations.get(START_ANNOTATION).is_some_and(|start| start == START_LAST);
    Ok(Workload { name: name.clone(), replicas, revision: revision(&template), template, starts_last })
}

fn template(
    name: &Name,
    object: &Object,
    pod: &PodTemplateSpec,
    sources: &mut Sources<'_, '_>,
) -> Result<Template, Trouble> {
    let meta = pod.metadata.clone().unwrap_or_default();
    let (labels, annotations) = (meta.labels.unwrap_or_default(), meta.annotations.unwrap_or_default());
    let Some(spec) = &pod.spec else { return Err(Trouble::new("spec.template", "a pod template without `spec`")) };
    if let Err(errors) = mizzen_capture::from_annotations(&annotations)
        && let Some(error) = errors.first()
    {
        let path = annotation_path(&error.annotation);
        return Err(Trouble::new(path, error.to_string()));
    }
    let role = role(&labels, &annotations, spec.host_network == Some(true), namespace_of(name, sources.objects));
    let pod = container::PodContext {
        name,
        file: Path::new(&*object.origin.file),
        labels: &labels,
        annotations: &annotations,
        spec,
        service_account: spec.service_account_name.as_deref().unwrap_or("default"),
    };
    let containers = match role {
        Role::Router { .. } => Vec::new(),
        _ => container::containers(&pod, sources)?,
    };
    let grace = spec.termination_grace_period_seconds.and_then(|seconds| u64::try_from(seconds).ok());
    Ok(Template {
        role,
        service_account: pod.service_account.to_owned(),
        hostname: spec.hostname.clone(),
        subdomain: spec.subdomain.clone(),
        grace: grace.map_or(GRACE, Duration::from_secs),
        proxy: sources.proxy.clone(),
        containers,
        labels,
        annotations,
    })
}

/// Field path of an annotation of the pod template.
fn annotation_path(name: &str) -> String {
    format!("spec.template.metadata.annotations[\"{name}\"]")
}

/// Istio's injection rules, with one difference: under `mizzen up` a namespace need not ask for injection.
fn role(
    labels: &BTreeMap<String, String>,
    annotations: &BTreeMap<String, String>,
    host_network: bool,
    namespace: Option<&Meta>,
) -> Role {
    if annotations.get("inject.istio.io/templates").is_some_and(|templates| templates == "gateway") {
        return Role::Router { ports: BTreeSet::new() };
    }
    let asked = labels.get("sidecar.istio.io/inject").or_else(|| annotations.get("sidecar.istio.io/inject"));
    let namespace_off =
        namespace.and_then(|meta| meta.labels.get("istio-injection")).is_some_and(|value| value == "disabled");
    let off = asked.map_or(namespace_off, |value| value == "false");
    if off || host_network { Role::Bare } else { Role::Sidecar }
}

fn namespace_of<'a>(name: &Name, objects: &'a Objects) -> Option<&'a Meta> {
    objects.get(&ObjectId::new(Kind::Namespace, "", &name.namespace)).map(|object| &*object.meta)
}

/// The mesh configuration: the ConfigMap `istio` of `istio-system` first, else the first one there is.
fn mesh_config(objects: &Objects) -> Option<Arc<MeshConfig>> {
    let mut found = objects.values().filter_map(|object| match &object.spec {
        Spec::ConfigMap(map) => Some((&object.id, map.mesh.clone()?)),
        _ => None,
    });
    let all: Vec<_> = found.by_ref().collect();
    let usual = all.iter().find(|(id, _)| &*id.namespace == "istio-system" && &*id.name == "istio");
    usual.or(all.first()).map(|(_, mesh)| Arc::clone(mesh))
}

fn reserved(objects: &Objects) -> BTreeSet<Ipv4Addr> {
    let pods = objects.values().filter_map(|object| match &object.spec {
        Spec::Pod(pod) => pod.status.pod_ip.as_deref()?.parse().ok(),
        _ => None,
    });
    pods.collect()
}

/// The same in every run of the same build: `DefaultHasher::new` has fixed keys.
fn revision(template: &Template) -> u64 {
    let mut hasher = DefaultHasher::new();
    template.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests;
