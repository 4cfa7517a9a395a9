//! Nodes: a network namespace on the bridge, and the cage in which its workload runs.

use std::{
    fs, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    sync::Arc,
};

use mizzen_net::ns::{self, NetNs};
use rustix::{
    process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open},
    thread::{
        CapabilitySet, LinkNameSpaceType, ThreadNameSpaceType, UnshareFlags, move_into_link_name_space,
        move_into_thread_name_spaces,
    },
};

use super::{
    bind::Bound,
    cage::{EtcFiles, Template},
    error::{During as _, InitError},
    next_stage, privileges,
    tools::Tools,
};
use crate::{
    addr::{BRIDGE_V4, BRIDGE_V6, PREFIX_V4, PREFIX_V6, mac_of},
    files, wire,
};

/// A node that is up.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) net: Arc<NetNs>,
    /// The first process of the cage's pid namespace; killing it kills everything there.
    pub(super) pause: Pid,
    /// Whether that process has been reaped: something other than us killed it, and the cage with it.
    pub(super) dead: bool,
    /// The same, as a handle on the cage's namespaces.
    pub(super) cage: Arc<OwnedFd>,
    /// The bridge's end of the cable.
    link: String,
}

/// What every node is built with.
#[derive(Debug)]
pub(super) struct Builder {
    pub(super) tools: Tools,
    template: Template,
    ipv6: bool,
    /// Init's own pid namespace, the way back after a child was started in a cage's.
    own_pids: OwnedFd,
    links: u32,
}

impl Builder {
    /// Builds what nodes are connected to: the bridge, in the network namespace that the caller is in.
    pub(super) fn new(tools: Tools, template: Template) -> Result<Self, InitError> {
        let ipv6 = Path::new("/proc/sys/net/ipv6").exists();
        // Forwarding, so that what leads nowhere is answered at once (there is no other interface to forward to).
        sysctl("net/ipv4/ip_forward", "1")?;
        // Its own address, since a bridge otherwise takes on its members' and changes with them.
        let mut batch = vec![
            "link set lo up".into(),
            format!("link add br0 address {} type bridge mcast_snooping 0", mac_of(BRIDGE_V4)),
            format!("address add {BRIDGE_V4}/{PREFIX_V4} dev br0"),
            "link set br0 up".into(),
        ];
        if ipv6 {
            prepare_ipv6()?;
            sysctl("net/ipv6/conf/all/forwarding", "1")?;
            batch.push(format!("address add {BRIDGE_V6}/{PREFIX_V6} dev br0 nodad"));
        }
        tools.ip(None, &batch)?;
        // Says at the start, in one place, that the kernel cannot redirect.
        let probe = mizzen_capture::Capture::Sidecar(mizzen_capture::Sidecar::default()).program();
        tools.nft(None, &(probe + mizzen_capture::REMOVE))?;
        let own_pids = fs::File::open("/proc/thread-self/ns/pid").during("open the pid namespace")?.into();
        Ok(Self { tools, template, ipv6, own_pids, links: 0 })
    }

    /// Builds a node. What was built before a step that fails goes with the namespace; the link, with its other end.
    pub(super) fn build(&mut self, spec: &wire::Node) -> Result<Node, InitError> {
        let net = Arc::new(NetNs::create().during("make a network namespace")?);
        net.within(|| self.prepare_network()).during("enter the node's network namespace")??;
        // Before there is an address: from here on nothing leaves past the proxy.
        if let Some(program) = &spec.nft_program {
            self.tools.nft(Some(&net), program)?;
        }
        self.links += 1;
        let link = format!("v{}", self.links);
        self.tools.ip(Some(&net), &cable(spec.ipv4, spec.ipv6.filter(|_| self.ipv6), &link))?;
        self.tools.ip(None, &[format!("link set {link} master br0 up")])?;
        let pause = self.start_pause(spec, &net)?;
        let cage = pidfd_open(pause, PidfdFlags::empty()).during("open the cage")?;
        Ok(Node { net, pause, dead: false, cage: Arc::new(cage), link })
    }

    /// Takes the node's link away; its processes have ended. The namespace goes with its last handle.
    pub(super) fn tear_down(&self, node: Node) {
        drop(node.net);
        // Fails if the kernel has taken both ends away already, which is just as well.
        let _ = self.tools.ip(None, &[format!("link delete {}", node.link)]);
    }

    /// Runs `start` so that processes it starts live in the cage's pid namespace.
    ///
    /// Init must not go on if the way back fails: its next child would be in the wrong cage.
    pub(super) fn in_pids_of<T>(&self, cage: &OwnedFd, start: impl FnOnce() -> T) -> Result<T, InitError> {
        move_into_thread_name_spaces(cage.as_fd(), ThreadNameSpaceType::PROCESS_ID)
            .during("enter the cage's pid namespace")?;
        let started = start();
        self.leave_pids();
        Ok(started)
    }

    fn leave_pids(&self) {
        move_into_link_name_space(self.own_pids.as_fd(), Some(LinkNameSpaceType::ProcessID))
            .expect("a process may always return to the pid namespace it is in");
    }

    /// Run inside the node's network namespace.
    fn prepare_network(&self) -> Result<(), InitError> {
        // So that a workload without privileges can listen on port 80.
        sysctl("net/ipv4/ip_unprivileged_port_start", "0")?;
        if self.ipv6 { prepare_ipv6() } else { Ok(()) }
    }

    fn start_pause(&self, spec: &wire::Node, net: &Arc<NetNs>) -> Result<Pid, InitError> {
        let own: Vec<IpAddr> =
            [Some(spec.ipv4.into()), spec.ipv6.filter(|_| self.ipv6).map(Into::into)].into_iter().flatten().collect();
        let etc =
            EtcFiles { resolv_conf: spec.resolv_conf.clone(), hosts: files::hosts(&spec.hostname, &own, &spec.hosts) };
        // Opened here, where nothing is masked.
        let mounts = Bound::open_all(&spec.mounts)?;
        let (template, net, hostname) =
            (self.template.try_clone().during("copy a descriptor")?, Arc::clone(net), spec.hostname.clone());
        let prepare = move || -> Result<(), InitError> {
            net.enter().during("enter the network namespace")?;
            template.enter_copy(&etc, &mounts)?;
            ns::unshare(UnshareFlags::NEWUTS | UnshareFlags::NEWIPC).during("make namespaces")?;
            rustix::system::sethostname(hostname.as_bytes()).during("set the host name")?;
            rustix::process::setsid().during("lead a session")?;
            ns::ignore_child_exits().during("ignore SIGCHLD")?;
            // The workload may do to this process whatever it may do to itself.
            privileges::reduce_to(CapabilitySet::empty()).during("give up capabilities")
        };
        let prepare = move || prepare().map_err(|error| super::error::chain(&error));
        ns::unshare(UnshareFlags::NEWPID).during("make a pid namespace")?;
        let started = ns::spawn(next_stage("pause"), prepare);
        self.leave_pids();
        let child =
            started.map_err(|source| InitError::Spawn { program: format!("the cage of {}", spec.name), source })?;
        Ok(Pid::from_child(&child))
    }
}

impl Node {
    /// Kills the cage and everything in it; the ends are seen by whoever reaps.
    pub(super) fn kill(&self) {
        if !self.dead {
            let _ = kill_process(self.pause, Signal::KILL); // it cannot refuse, and its number is ours until it is reaped
        }
    }
}

/// `ip` commands, run in the node, that lay the cable to the bridge. Init, whose network namespace the bridge is in, is
/// process 1.
fn cable(ipv4: Ipv4Addr, ipv6: Option<Ipv6Addr>, link: &str) -> Vec<String> {
    let mut batch = vec![
        "link set lo up".into(),
        format!("link add eth0 address {} type veth peer name {link} netns 1", mac_of(ipv4)),
        format!("address add {ipv4}/{PREFIX_V4} dev eth0"),
        "link set eth0 up".into(),
        format!("route add default via {BRIDGE_V4} dev eth0"),
    ];
    if let Some(address) = ipv6 {
        batch.extend([
            // What the proxy's inbound side binds to, as it does to 127.0.0.6, which needs no adding.
            "address add ::6/128 dev lo nodad".into(),
            format!("address add {address}/{PREFIX_V6} dev eth0 nodad"),
            format!("route add ::/0 via {BRIDGE_V6} dev eth0"),
        ]);
    }
    batch
}

/// Addresses are usable at once, and come from us alone.
fn prepare_ipv6() -> Result<(), InitError> {
    for scope in ["all", "default"] {
        for (name, value) in [("disable_ipv6", "0"), ("accept_dad", "0"), ("accept_ra", "0")] {
            sysctl(&format!("net/ipv6/conf/{scope}/{name}"), value)?;
        }
    }
    Ok(())
}

/// Sets a network sysctl of the network namespace that the caller is in.
fn sysctl(name: &str, value: &str) -> Result<(), InitError> {
    let written: io::Result<()> = fs::write(Path::new("/proc/sys").join(name), value);
    written.during(format!("set {}", name.replace('/', ".")))
}
