//! Containers of a pod template, as local processes.
//!
//! In: the template and the objects it names. Out: [`Container`]s; with [`PodFacts`] of one replica each becomes an
//! [`Invocation`], with nothing left to look up.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, Ipv6Addr},
    path::{Path, PathBuf},
};

use mizzen_api::k8s;

use super::{
    Field, Mount, Name, Probe, Sources, Trouble, Value, command,
    environment::{environment, expand},
    files, probe,
};

/// A container, ready to be started as often as there are replicas.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Container {
    pub(crate) name: String,
    pub(crate) program: PathBuf,
    /// `$(NAME)` not yet replaced.
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: Vec<(String, Value)>,
    pub(crate) directory: PathBuf,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) probe: Probe,
    pub(crate) ports: Vec<Port>,
}

/// A port that a container declares.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Port {
    pub(crate) name: Option<String>,
    pub(crate) number: u16,
    /// `TCP`, `UDP` or `SCTP`.
    pub(crate) protocol: String,
}

/// What is known of one replica.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct PodFacts {
    /// Of the pod, not of the Deployment.
    pub(crate) name: String,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Ipv6Addr,
    /// The bridge: the host's end of the lab.
    pub(crate) host_ip: Ipv4Addr,
}

/// A process to start.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Invocation {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    pub(crate) variables: BTreeMap<String, String>,
    pub(crate) directory: PathBuf,
}

/// Name of the one node there is.
const NODE: &str = "mizzen";

impl Container {
    pub(crate) fn invocation(&self, pod: &PodFacts) -> Invocation {
        let mut known: Vec<(String, String)> = Vec::with_capacity(self.variables.len() + 1);
        known.push(("HOSTNAME".to_owned(), pod.name.clone()));
        for (name, value) in &self.variables {
            let value = match value {
                Value::Text(text) => expand(text, &known),
                Value::Field(field) => field.of(pod),
            };
            known.push((name.clone(), value));
        }
        Invocation {
            program: self.program.clone(),
            arguments: self.arguments.iter().map(|argument| expand(argument, &known)).collect(),
            variables: known.into_iter().collect(),
            directory: self.directory.clone(),
        }
    }
}

impl Field {
    fn of(self, pod: &PodFacts) -> String {
        match self {
            Self::PodName => pod.name.clone(),
            Self::PodUid => pod.uid(),
            Self::PodIp => pod.ipv4.to_string(),
            Self::PodIps => format!("{},{}", pod.ipv4, pod.ipv6),
            Self::NodeName => NODE.to_owned(),
            Self::HostIp => pod.host_ip.to_string(),
        }
    }
}

impl PodFacts {
    /// Looks like a UUID, and is the same for the same pod.
    pub(crate) fn uid(&self) -> String {
        let [a, b, c, d] = self.ipv4.octets();
        let name = self.name.bytes().fold(0u64, |hash, byte| hash.wrapping_mul(31).wrapping_add(u64::from(byte)));
        format!("{a:02x}{b:02x}{c:02x}{d:02x}-0000-4000-8000-{:012x}", name & 0xffff_ffff_ffff)
    }
}

/// The pod template around a container.
pub(super) struct PodContext<'a> {
    pub(super) name: &'a Name,
    /// As the source named it.
    pub(super) file: &'a Path,
    pub(super) labels: &'a BTreeMap<String, String>,
    pub(super) annotations: &'a BTreeMap<String, String>,
    pub(super) spec: &'a k8s::PodSpec,
    pub(super) service_account: &'a str,
}

/// Field path of the pod template's spec.
const SPEC: &str = "spec.template.spec";

pub(super) fn containers(pod: &PodContext<'_>, sources: &mut Sources<'_, '_>) -> Result<Vec<Container>, Trouble> {
    if pod.spec.init_containers.as_ref().is_some_and(|containers| !containers.is_empty()) {
        let path = format!("{SPEC}.initContainers");
        sources.notes.push(Trouble::new(path, "init containers are not run"));
    }
    let containers = pod.spec.containers.iter().enumerate();
    let containers: Vec<Container> = containers
        .filter(|(_, container)| container.name != "istio-proxy")
        .map(|(at, declared)| container(declared, &format!("{SPEC}.containers[{at}]"), pod, sources))
        .collect::<Result<_, _>>()?;
    if containers.is_empty() {
        return Err(Trouble::new(format!("{SPEC}.containers"), "no container to run"));
    }
    Ok(containers)
}

fn container(
    declared: &k8s::Container,
    path: &str,
    pod: &PodContext<'_>,
    sources: &mut Sources<'_, '_>,
) -> Result<Container, Trouble> {
    let context = sources.context;
    let home = home(context.directory, pod.file);
    let command = command::command(declared, path, pod.annotations, (&home, context.programs))?;
    let directory = directory(declared, path, &home, command.is_local, context.programs)?;
    let ports = ports(declared);
    let own = environment(declared, path, pod, sources.objects)?;
    let inherited = context.inherited.iter().map(|(name, value)| (name.clone(), Value::Text(escape(value))));
    Ok(Container {
        name: declared.name.clone(),
        program: command.program,
        arguments: command.arguments,
        variables: inherited.chain(own).collect(),
        directory,
        mounts: files::mounts(declared, path, pod, sources)?,
        probe: probe::probe(declared, path, &ports, sources.notes)?,
        ports,
    })
}

/// The directory of the YAML file.
fn home(directory: &Path, file: &Path) -> PathBuf {
    directory.join(file).parent().map_or_else(|| directory.to_path_buf(), Path::to_path_buf)
}

/// `workingDir`, else the YAML's directory. A path of the image that does not exist here is wrong, unless the annotation
/// says what to run instead of the image.
fn directory(
    declared: &k8s::Container,
    path: &str,
    home: &Path,
    is_local: bool,
    programs: &command::Programs<'_>,
) -> Result<PathBuf, Trouble> {
    let Some(wanted) = &declared.working_dir else { return Ok(home.to_path_buf()) };
    let directory = home.join(wanted);
    if (programs.is_directory)(&directory) {
        Ok(directory)
    } else if is_local {
        Ok(home.to_path_buf())
    } else {
        Err(Trouble::new(format!("{path}.workingDir"), format!("no directory {}", directory.display())))
    }
}

fn ports(declared: &k8s::Container) -> Vec<Port> {
    let ports = declared.ports.iter().flatten().filter_map(|port| {
        let protocol = port.protocol.clone().unwrap_or_else(|| "TCP".to_owned());
        Some(Port { name: port.name.clone(), number: u16::try_from(port.container_port).ok()?, protocol })
    });
    ports.collect()
}

/// An inherited value is meant as it stands.
fn escape(value: &str) -> String {
    value.replace('$', "$$")
}
