//! Init's loop: requests of the host side, and the ends of processes.
//!
//! One thread, one `poll(2)`: the control socket and a pidfd for each process that was asked for. Orphans that end here
//! (children of proxies and tools) are reaped with the next event.

use std::{collections::BTreeMap, os::fd::OwnedFd};

use mizzen_net::{ns, ns::ReservedFds};
use rustix::{
    event::{PollFd, PollFlags, poll},
    io::Errno,
    process::{Pid, Signal, WaitOptions, WaitStatus, wait},
    thread::UnshareFlags,
};

use super::{
    cage::{self, Template},
    error::{During as _, InitError},
    node::{Builder, Node},
    process::{self, Process},
    tools::Tools,
};
use crate::{
    spec::{Exit, ProcessId, Role},
    wire::{self, Answer, BOOT_ID, Boot, Failure, FromInit, Request, ToInit},
};

/// The sandbox, from the inside.
pub(super) struct Server<'a> {
    control: &'a OwnedFd,
    reserved: ReservedFds,
    builder: Builder,
    nodes: BTreeMap<String, Node>,
    processes: BTreeMap<ProcessId, Process>,
}

impl<'a> Server<'a> {
    /// Builds the sandbox and reports that it stands.
    pub(super) fn boot(control: &'a OwnedFd, boot: &Boot) -> Result<Self, InitError> {
        let reserved = ReservedFds::new().during("reserve descriptor numbers")?;
        cage::enter_private_mounts()?;
        ns::unshare(UnshareFlags::NEWNET | UnshareFlags::NEWUTS | UnshareFlags::NEWIPC).during("make namespaces")?;
        let template = Template::prepare(&boot.masked_paths)?;
        let builder = Builder::new(Tools { ip: boot.ip.clone(), nft: boot.nft.clone() }, template)?;
        let server = Self { control, reserved, builder, nodes: BTreeMap::new(), processes: BTreeMap::new() };
        server.tell(&FromInit::Reply { id: BOOT_ID, result: Ok(Answer::Done) })?;
        Ok(server)
    }

    /// Serves until the host side is gone.
    pub(super) fn run(mut self) -> Result<(), InitError> {
        loop {
            let asked = self.wait()?;
            while self.reap(WaitOptions::NOHANG)?.is_some() {}
            if asked && !self.serve()? {
                return Ok(());
            }
        }
    }

    /// Waits for a request (true) or the end of a process.
    fn wait(&self) -> Result<bool, InitError> {
        let mut fds = vec![PollFd::new(self.control, PollFlags::IN)];
        fds.extend(self.processes.values().map(|process| PollFd::new(&process.pidfd, PollFlags::IN)));
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => Ok(!fds[0].revents().is_empty()),
            Err(error) => Err(error).during("wait"),
        }
    }

    /// Serves one request; false when there will be no more.
    fn serve(&mut self) -> Result<bool, InitError> {
        let Some((ToInit { id, request }, fds)) = wire::recv(self.control).during("read a request")? else {
            return Ok(false);
        };
        let result = self.answer(request, fds).map_err(|error| error.to_failure());
        match wire::send(self.control, &FromInit::Reply { id, result }, &[]) {
            Err(error) if error.raw_os_error() == Some(Errno::MSGSIZE.raw_os_error()) => {
                let result = Err(Failure::Other("the answer is too large for one packet".into()));
                self.tell(&FromInit::Reply { id, result })?;
            }
            sent => sent.during("answer")?,
        }
        Ok(true)
    }

    fn answer(&mut self, request: Request, fds: Vec<OwnedFd>) -> Result<Answer, InitError> {
        match request {
            Request::Boot(_) => Err(InitError::Invalid("the sandbox stands already".into())),
            Request::AddNode(spec) => self.add_node(&spec),
            Request::RemoveNode { name } => self.remove_node(&name),
            Request::Spawn(spec) => {
                let node = spec.node.as_deref().map(|name| self.node(name)).transpose()?;
                if spec.role == Role::App && node.is_none() {
                    return Err(InitError::Invalid("a workload needs a node".into()));
                }
                let process = process::start(&self.builder, &self.reserved, node, &spec, fds)?;
                self.processes.insert(spec.process, process);
                Ok(Answer::Done)
            }
            Request::Signal { process, signal } => {
                let signal =
                    Signal::from_named_raw(signal).ok_or_else(|| InitError::Invalid(format!("signal {signal}")))?;
                self.process(process)?.signal(signal);
                Ok(Answer::Done)
            }
            Request::Stats { process } => {
                self.process(process)?.stats().map(Answer::Stats).during("read the process's resources")
            }
            Request::Nft { node, program } => {
                let net = node.as_deref().map(|name| self.node(name)).transpose()?.map(|node| &node.net);
                self.builder.tools.nft(net, &program).map(Answer::Text)
            }
        }
    }

    fn node(&self, name: &str) -> Result<&Node, InitError> {
        self.nodes.get(name).ok_or_else(|| InitError::NoSuchNode(name.into()))
    }

    fn process(&self, id: ProcessId) -> Result<&Process, InitError> {
        self.processes.get(&id).ok_or(InitError::NoSuchProcess(id))
    }

    fn add_node(&mut self, spec: &wire::Node) -> Result<Answer, InitError> {
        if self.nodes.contains_key(&spec.name) {
            return Err(InitError::NodeExists(spec.name.clone()));
        }
        let node = self.builder.build(spec)?;
        self.nodes.insert(spec.name.clone(), node);
        Ok(Answer::Done)
    }

    fn remove_node(&mut self, name: &str) -> Result<Answer, InitError> {
        let node = self.nodes.remove(name).ok_or_else(|| InitError::NoSuchNode(name.into()))?;
        node.kill();
        for process in self.processes.values().filter(|process| process.node.as_deref() == Some(name)) {
            process.signal(Signal::KILL);
        }
        // The kernel keeps the cage's first process until the others have been reaped, which we do in passing.
        let lives = |server: &Self| server.processes.values().any(|process| process.node.as_deref() == Some(name));
        let mut cage_lives = !node.dead;
        while cage_lives || lives(self) {
            match self.reap(WaitOptions::empty())? {
                Some(pid) if pid == node.pause => cage_lives = false,
                Some(_) => {}
                None => break, // no child is left at all
            }
        }
        self.builder.tear_down(node);
        Ok(Answer::Done)
    }

    /// Reaps one process, if any has ended (or, without `NOHANG`, when one does), and reports it if it was asked for.
    fn reap(&mut self, options: WaitOptions) -> Result<Option<Pid>, InitError> {
        let (pid, status) = match rustix::io::retry_on_intr(|| wait(options)) {
            Ok(Some(ended)) => ended,
            Ok(None) | Err(Errno::CHILD) => return Ok(None),
            Err(error) => return Err(error).during("reap"),
        };
        let id = self.processes.iter().find(|(_, process)| process.pid == pid).map(|(id, _)| *id);
        if let Some((id, process)) = id.and_then(|id| Some((id, self.processes.remove(&id)?))) {
            self.clean_up_after(&process);
            self.tell(&FromInit::Exited { process: id, exit: exit_of(status) })?;
        }
        if let Some(node) = self.nodes.values_mut().find(|node| node.pause == pid) {
            node.dead = true;
        }
        Ok(Some(pid))
    }

    /// Nothing that a process started outlives it: its group is killed, and when a node's last workload has ended, what is
    /// left in the cage.
    fn clean_up_after(&self, ended: &Process) {
        ended.signal(Signal::KILL);
        let shares_cage = |other: &Process| other.role == Role::App && other.node == ended.node;
        if ended.role == Role::App
            && !self.processes.values().any(shares_cage)
            && let Some(node) = ended.node.as_ref().and_then(|name| self.nodes.get(name))
        {
            process::sweep(node.pause);
        }
    }

    fn tell(&self, message: &FromInit) -> Result<(), InitError> {
        wire::send(self.control, message, &[]).during("answer")
    }
}

fn exit_of(status: WaitStatus) -> Exit {
    match status.terminating_signal() {
        Some(signal) => Exit::Signal(signal),
        None => Exit::Code(status.exit_status().unwrap_or(-1)),
    }
}
