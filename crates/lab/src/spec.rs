//! What a lab is asked for, and what it tells.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{OwnedFd, RawFd},
    path::PathBuf,
};

use mizzen_capture::Capture;
use serde::{Deserialize, Serialize};

use crate::addr::{BRIDGE_V4, ipv6_of};

/// How to start a lab.
#[derive(Clone, Debug)]
pub struct LabOptions {
    /// The program whose `main` calls [`crate::lab_init`] when started with `launcher_args`, before it starts a thread.
    pub launcher: PathBuf,
    /// `["lab-init"]` for the `mizzen` binary.
    pub launcher_args: Vec<String>,
    /// The mesh's state directory; workloads do not see what is in it.
    pub state_dir: PathBuf,
    /// Further directories, files and sockets that workloads do not see. Each must exist, and what appears later in a
    /// masked directory is masked as well; so name directories where you can.
    pub masked_paths: Vec<PathBuf>,
    /// Whether `host.mizzen.internal` leads to the host's loopback.
    pub host_access: bool,
}

impl LabOptions {
    /// The usual options for the `mizzen` binary.
    pub fn new(launcher: impl Into<PathBuf>, state_dir: impl Into<PathBuf>) -> Self {
        Self {
            launcher: launcher.into(),
            launcher_args: vec!["lab-init".into()],
            state_dir: state_dir.into(),
            masked_paths: Vec::new(),
            host_access: false,
        }
    }
}

/// A network namespace with an address on the lab's bridge, and the cage in which its workload runs.
#[derive(Clone, Debug)]
pub struct NodeSpec {
    /// Any unique name.
    pub name: String,
    /// What `hostname` prints: letters, digits, `-` and `.`, at most 63.
    pub hostname: String,
    /// An address in 10.244.0.0/16, for example from [`crate::workload_address`].
    pub ipv4: Ipv4Addr,
    /// An address in `fd77:6d7a::/64`; ignored where the kernel has no IPv6.
    pub ipv6: Option<Ipv6Addr>,
    /// What goes through the proxy; loaded before the node has an address. `None`: nothing.
    pub capture: Option<Capture>,
    /// Directories and files of the host that the workload sees elsewhere.
    pub mounts: Vec<Mount>,
    /// Lines for `/etc/hosts` besides localhost and the node's own.
    pub hosts: Vec<(IpAddr, Vec<String>)>,
    /// `search` of `/etc/resolv.conf`, with `ndots:5` as on Kubernetes; empty: neither.
    pub search: Vec<String>,
    /// `nameserver` of `/etc/resolv.conf`. With DNS captured, any address outside loopback leads to the proxy.
    pub nameserver: IpAddr,
}

impl NodeSpec {
    /// A node without capture, named and addressed.
    pub fn new(name: impl Into<String>, ipv4: Ipv4Addr) -> Self {
        let name = name.into();
        Self {
            hostname: name.clone(),
            name,
            ipv4,
            ipv6: Some(ipv6_of(ipv4)),
            capture: None,
            mounts: Vec::new(),
            hosts: Vec::new(),
            search: Vec::new(),
            nameserver: BRIDGE_V4.into(),
        }
    }
}

/// A directory or file of the host, bound into a node's cage. It may lie in a masked directory: what is bound is seen, the
/// rest is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// On the host.
    pub source: PathBuf,
    /// Absolute, in the cage. Where it does not exist it is made, in the cage only; not directly below `/`, though.
    pub target: PathBuf,
    /// Whether the workload may write there, as far as the source's own permissions let it.
    pub writable: bool,
}

/// What a process may do, and where it runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Role {
    /// A workload, or a command run beside it: no capability, in the node's cage.
    App,
    /// A proxy: `CAP_NET_ADMIN` only (for socket marks), in the node's network, outside its cage.
    Proxy,
    /// The control plane: no capability, in the lab's own network unless a node is named, outside every cage.
    Control,
    /// For tests only: every capability inside the lab, nothing masked.
    Tool,
}

/// A process to start. Its environment is exactly `env`; it leads a session and process group of its own.
#[derive(Debug)]
pub struct SpawnSpec {
    /// `None`: the lab's own network, where the bridge is; not for [`Role::App`].
    pub node: Option<String>,
    /// Privileges and view.
    pub role: Role,
    /// A path, or a name that is looked for in `env`'s `PATH`.
    pub program: String,
    /// Arguments, without the program's own name.
    pub args: Vec<String>,
    /// The whole environment.
    pub env: Vec<(String, String)>,
    /// Working directory; `None` is `/`.
    pub cwd: Option<PathBuf>,
    /// Standard input; `None` is `/dev/null`.
    pub stdin: Option<OwnedFd>,
    /// Standard output; `None` is `/dev/null`.
    pub stdout: Option<OwnedFd>,
    /// Standard error; `None` is `/dev/null`.
    pub stderr: Option<OwnedFd>,
    /// Further descriptors and the numbers they get, each from 3 to 63.
    pub fds: Vec<(OwnedFd, RawFd)>,
}

impl SpawnSpec {
    /// A program without arguments, environment or descriptors.
    pub fn new(node: Option<&str>, role: Role, program: impl Into<String>) -> Self {
        Self {
            node: node.map(Into::into),
            role,
            program: program.into(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            stdin: None,
            stdout: None,
            stderr: None,
            fds: Vec::new(),
        }
    }

    /// Adds arguments.
    #[must_use]
    pub fn args<S: Into<String>>(mut self, args: impl IntoIterator<Item = S>) -> Self {
        self.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Adds an environment variable.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.env.push((name.into(), value.into()));
        self
    }
}

/// A process of one lab, never used twice in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct ProcessId(pub(crate) u64);

impl fmt::Display for ProcessId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// How a process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Exit {
    /// With this exit status.
    Code(i32),
    /// Killed by this signal.
    Signal(i32),
}

impl Exit {
    /// Exit status 0.
    pub fn success(self) -> bool {
        self == Self::Code(0)
    }
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => write!(f, "exit status {code}"),
            Self::Signal(signal) => write!(f, "signal {signal}"),
        }
    }
}

/// What happens in a lab without being asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// A process ended. May be seen before [`crate::Lab::spawn`] has returned its id to another thread.
    Exited {
        /// Which.
        process: ProcessId,
        /// How.
        exit: Exit,
    },
    /// The sandbox has ended, and everything in it; always the last event.
    Closed,
}

/// Resources of one process (not of its children), from `/proc` (`proc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stats {
    /// Resident memory, KiB.
    pub rss_kb: u64,
    /// The most that `rss_kb` ever was, KiB.
    pub rss_peak_kb: u64,
    /// User and system time, seconds, in steps of a clock tick (10 ms).
    pub cpu_s: f64,
    /// Threads.
    pub threads: u64,
}
