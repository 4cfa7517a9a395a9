//! Processes: how each role is started, what it leaves behind, what it uses.

use std::{
    collections::HashMap,
    fs, io,
    os::fd::{AsFd as _, OwnedFd, RawFd},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use mizzen_net::ns::{self, NetNs, ReservedFds, SpawnError};
use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, PidfdFlags, Signal, kill_process, kill_process_group, pidfd_open},
    thread::{CapabilitySet, ThreadNameSpaceType, move_into_thread_name_spaces},
};

use super::{
    error::{During as _, InitError, chain},
    node::{Builder, Node},
    privileges,
};
use crate::{
    spec::{Role, Stats},
    wire,
};

/// A process that was asked for.
#[derive(Debug)]
pub(super) struct Process {
    /// Also the number of its session and process group.
    pub(super) pid: Pid,
    /// Readable when the process has ended.
    pub(super) pidfd: OwnedFd,
    pub(super) node: Option<String>,
    pub(super) role: Role,
}

/// What a child does with itself before it runs its program.
struct Setup {
    net: Option<Arc<NetNs>>,
    /// For a workload.
    cage: Option<Arc<OwnedFd>>,
    cwd: PathBuf,
    reserved: ReservedFds,
    fds: Vec<(OwnedFd, RawFd)>,
    role: Role,
}

impl Setup {
    fn run(&self) -> Result<(), InitError> {
        if let Some(net) = &self.net {
            net.enter().during("enter the network namespace")?;
        }
        if let Some(cage) = &self.cage {
            let cage_namespaces = ThreadNameSpaceType::MOUNT
                | ThreadNameSpaceType::HOST_NAME_AND_NIS_DOMAIN_NAME
                | ThreadNameSpaceType::INTER_PROCESS_COMMUNICATION;
            move_into_thread_name_spaces(cage.as_fd(), cage_namespaces).during("enter the cage")?;
        }
        // After the mount namespace, in which the path means something else.
        rustix::process::chdir(&self.cwd).during(format!("enter {}", self.cwd.display()))?;
        rustix::process::setsid().during("lead a session")?;
        for (fd, number) in &self.fds {
            self.reserved.place(fd.as_fd(), *number).during(format!("place descriptor {number}"))?;
        }
        match self.role {
            Role::App | Role::Control => privileges::reduce_to(CapabilitySet::empty()),
            Role::Proxy => privileges::reduce_to(CapabilitySet::NET_ADMIN),
            Role::Tool => Ok(()),
        }
        .during("give up capabilities")
    }
}

/// Starts a process. `passed`: what [`wire::Spawn`] says of descriptors, in its order.
pub(super) fn start(
    builder: &Builder,
    reserved: &ReservedFds,
    node: Option<&Node>,
    spec: &wire::Spawn,
    passed: Vec<OwnedFd>,
) -> Result<Process, InitError> {
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).env_clear().envs(spec.env.iter().map(|(name, value)| (name, value)));
    let fds = wire_up(&mut command, spec, passed)?;
    let cage = node.filter(|_| spec.role == Role::App).map(|node| Arc::clone(&node.cage));
    let setup = Setup {
        net: node.map(|node| Arc::clone(&node.net)),
        cage: cage.clone(),
        cwd: spec.cwd.clone().unwrap_or_else(|| "/".into()),
        reserved: reserved.clone(),
        fds,
        role: spec.role,
    };
    let spawn = || ns::spawn(command, move || setup.run().map_err(|error| chain(&error)));
    let started = match &cage {
        Some(cage) => builder.in_pids_of(cage, spawn)?,
        None => spawn(),
    };
    let child = started.map_err(|source| match source {
        SpawnError::Exec(error) if error.kind() == io::ErrorKind::NotFound => {
            InitError::ProgramNotFound(spec.program.clone())
        }
        source => InitError::Spawn { program: spec.program.clone(), source },
    })?;
    let pid = Pid::from_child(&child);
    let pidfd = pidfd_open(pid, PidfdFlags::empty()).during("watch the process")?;
    Ok(Process { pid, pidfd, node: spec.node.clone(), role: spec.role })
}

/// Standard input, output and error as the request says; returns the further descriptors with their numbers.
fn wire_up(
    command: &mut Command,
    spec: &wire::Spawn,
    passed: Vec<OwnedFd>,
) -> Result<Vec<(OwnedFd, RawFd)>, InitError> {
    if passed.len() != spec.stdio.iter().filter(|given| **given).count() + spec.fds.len() {
        return Err(InitError::Invalid("descriptors do not match the request".into()));
    }
    let mut passed = passed.into_iter();
    let mut next = |given: bool| given.then(|| passed.next()).flatten().map_or_else(Stdio::null, Stdio::from);
    let [stdin, stdout, stderr] = spec.stdio;
    command.stdin(next(stdin)).stdout(next(stdout)).stderr(next(stderr));
    Ok(passed.zip(spec.fds.iter().copied()).collect())
}

impl Process {
    /// To the process and its group. One that has just ended is no error: its end is on its way as an event.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = kill_process_group(self.pid, signal);
    }

    pub(super) fn stats(&self) -> io::Result<Stats> {
        let read = |name: &str| fs::read_to_string(format!("/proc/{}/{name}", self.pid.as_raw_nonzero()));
        stats(&read("status")?, &read("stat")?, clock_ticks_per_second())
            .ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "/proc is not as expected"))
    }
}

/// Reads `/proc/PID/status` and `/proc/PID/stat` (`proc(5)`). A process that has just ended has no memory lines: 0.
fn stats(status: &str, stat: &str, ticks_per_second: u64) -> Option<Stats> {
    let field = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse::<u64>().ok()
    };
    let ticks = |index: usize| after_name(stat)?.nth(index)?.parse::<u64>().ok();
    Some(Stats {
        rss_kb: field("VmRSS").unwrap_or(0),
        rss_peak_kb: field("VmHWM").unwrap_or(0),
        cpu_s: (ticks(11)? + ticks(12)?) as f64 / ticks_per_second as f64,
        threads: field("Threads")?,
    })
}

/// The fields of `/proc/PID/stat` from the third (state) on; the second, the name, may hold anything.
fn after_name(stat: &str) -> Option<impl Iterator<Item = &str>> {
    Some(stat.rsplit_once(')')?.1.split_whitespace())
}

/// Kills what the workloads of a cage have left behind: every descendant of its first process, which adopts orphans, while
/// what was asked for is a child of init.
pub(super) fn sweep(pause: Pid) {
    // Twice, for what was forked during the first pass. What still escapes ends with the node.
    for _ in 0..2 {
        for pid in descendants(&parents(), pause) {
            let _ = kill_process(pid, Signal::KILL); // it may have ended by itself
        }
    }
}

/// Parents of all processes that are alive.
fn parents() -> HashMap<Pid, Pid> {
    let read = |path: &Path| {
        let pid = Pid::from_raw(path.file_name()?.to_str()?.parse().ok()?)?;
        let stat = fs::read_to_string(path.join("stat")).ok()?;
        let mut fields = after_name(&stat)?;
        let dead = matches!(fields.next()?, "Z" | "X");
        let parent = Pid::from_raw(fields.next()?.parse().ok()?)?;
        (!dead).then_some((pid, parent))
    };
    fs::read_dir("/proc").into_iter().flatten().flatten().filter_map(|entry| read(&entry.path())).collect()
}

/// Children of `root`, and theirs.
fn descendants(parents: &HashMap<Pid, Pid>, root: Pid) -> Vec<Pid> {
    let mut found = vec![root];
    let mut next = 0;
    while let Some(parent) = found.get(next).copied() {
        found.extend(parents.iter().filter(|(_, of)| **of == parent).map(|(pid, _)| *pid));
        next += 1;
    }
    found.split_off(1)
}

#[cfg(test)]
mod tests;
