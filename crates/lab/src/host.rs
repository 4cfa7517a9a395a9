//! The host side of a lab: requests to init and their answers, and the stream of events.
//!
//! One thread owns the conversation's reading end. It also starts the launcher, because the kernel's parent-death signal
//! follows the *thread* that started a child: that thread lives exactly as long as the lab.

use std::{
    collections::HashMap,
    fs, io,
    os::{
        fd::{AsFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt as _,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
        mpsc::{self, Receiver, Sender, SyncSender},
    },
    thread::{self, JoinHandle},
};

use mizzen_net::{fdpass, ns::ReservedFds};
use rustix::{
    io::Errno,
    net::{Shutdown, shutdown},
    process::Signal,
};

use crate::{
    Broker, BrokerOptions, Event, LabError, LabOptions, NodeSpec, ProcessId, SpawnSpec, Stats,
    addr::HOST_ALIAS,
    files,
    preflight::{find_tool, preflight},
    wire::{self, Answer, BOOT_ID, Boot, Failure, FromInit, Request, ToInit},
};

/// A running sandbox. Dropping it ends the sandbox and everything in it, and returns when nothing is left.
///
/// All methods block for the few milliseconds that init needs; they may be called from several threads.
#[derive(Debug)]
pub struct Lab {
    calls: Arc<Calls>,
    broker: Broker,
    host_access: bool,
    launcher_pid: u32,
    reader: Option<JoinHandle<()>>,
}

impl Lab {
    /// Checks the machine, then builds an empty sandbox: the bridge, and nothing on it.
    pub fn start(options: LabOptions) -> Result<(Self, Receiver<Event>), LabError> {
        let obstacles = preflight();
        if !obstacles.is_empty() {
            return Err(LabError::Preflight { obstacles });
        }
        let boot = Boot {
            masked_paths: masked_paths(&options)?,
            ip: find_tool("ip").ok_or(LabError::Gone)?,
            nft: find_tool("nft").ok_or(LabError::Gone)?,
        };
        let broker = Broker::start(BrokerOptions { host_access: options.host_access })?;
        let (ours, theirs) = fdpass::pair()?;
        let calls = Arc::new(Calls::new(ours));
        let booted = calls.expect(BOOT_ID)?;
        let (events, receiver) = mpsc::channel();
        let (started, launched) = mpsc::sync_channel(1);
        let (launcher, host_access) = (options.launcher.clone(), options.host_access);
        let reader = {
            let calls = Arc::clone(&calls);
            thread::Builder::new()
                .name("lab".into())
                .spawn(move || read(&calls, &options, theirs, &started, &events))?
        };
        let launched = launched.recv().map_err(|_| LabError::Gone)?;
        let launcher_pid = launched.map_err(|source| LabError::Launch { launcher, source })?;
        let lab = Self { calls, broker, host_access, launcher_pid, reader: Some(reader) };
        // A launcher that failed has sent its reason already, and then this send may fail: the reason counts more.
        let asked = lab.calls.send(BOOT_ID, Request::Boot(boot), &[]);
        match booted.recv() {
            Ok(Ok(_)) => asked.map(|()| (lab, receiver)),
            Ok(Err(failure)) => Err(LabError::Start(LabError::from(failure).to_string())),
            Err(_) => {
                Err(LabError::Start("the launcher ended without a word; it must call mizzen_lab::lab_init".into()))
            }
        }
    }

    /// Adds a node. Its capture program is in force before it has an address.
    pub fn add_node(&self, spec: &NodeSpec) -> Result<(), LabError> {
        check_node(spec)?;
        let mut hosts = spec.hosts.clone();
        if self.host_access {
            hosts.push((HOST_ALIAS.into(), vec!["host.mizzen.internal".into()]));
        }
        self.done(Request::AddNode(wire::Node {
            name: spec.name.clone(),
            hostname: spec.hostname.clone(),
            ipv4: spec.ipv4,
            ipv6: spec.ipv6,
            nft_program: spec.capture.as_ref().map(mizzen_capture::Capture::program),
            resolv_conf: files::resolv_conf(spec),
            mounts: spec.mounts.clone(),
            hosts,
        }))
    }

    /// Kills what runs in the node and takes the node away; the exits are reported as events before this returns.
    pub fn remove_node(&self, name: &str) -> Result<(), LabError> {
        self.done(Request::RemoveNode { name: name.into() })
    }

    /// Starts a process; its end comes as an [`Event`].
    pub fn spawn(&self, spec: SpawnSpec) -> Result<ProcessId, LabError> {
        check_spawn(&spec)?;
        let process = ProcessId(self.calls.next_id());
        let (fds, numbers): (Vec<OwnedFd>, Vec<_>) = spec.fds.into_iter().unzip();
        let stdio = [spec.stdin, spec.stdout, spec.stderr];
        let request = Request::Spawn(wire::Spawn {
            process,
            node: spec.node,
            role: spec.role,
            program: spec.program,
            args: spec.args,
            env: spec.env,
            cwd: spec.cwd,
            stdio: stdio.each_ref().map(Option::is_some),
            fds: numbers,
        });
        let passed: Vec<OwnedFd> = stdio.into_iter().flatten().chain(fds).collect();
        self.calls.ask(request, &passed.iter().map(AsFd::as_fd).collect::<Vec<_>>())?;
        Ok(process)
    }

    /// Sends a signal to the process and its process group.
    pub fn signal(&self, process: ProcessId, signal: Signal) -> Result<(), LabError> {
        self.done(Request::Signal { process, signal: signal.as_raw() })
    }

    /// Resources that the process uses.
    pub fn stats(&self, process: ProcessId) -> Result<Stats, LabError> {
        match self.calls.ask(Request::Stats { process }, &[])? {
            Answer::Stats(stats) => Ok(stats),
            other => Err(unexpected(&other)),
        }
    }

    /// Runs an nftables program in a node (`None`: in the lab's own network) and returns what it prints.
    pub fn nft(&self, node: Option<&str>, program: &str) -> Result<String, LabError> {
        match self.calls.ask(Request::Nft { node: node.map(Into::into), program: program.into() }, &[])? {
            Answer::Text(text) => Ok(text),
            other => Err(unexpected(&other)),
        }
    }

    /// A new connection to the [`Broker`], for one proxy to inherit.
    pub fn broker_socket(&self) -> Result<OwnedFd, LabError> {
        Ok(self.broker.attach()?)
    }

    /// The launcher's process id on the host. Every process of the lab descends from it.
    pub fn launcher_pid(&self) -> u32 {
        self.launcher_pid
    }

    fn done(&self, request: Request) -> Result<(), LabError> {
        self.calls.ask(request, &[]).map(drop)
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.calls.close();
        if let Some(reader) = self.reader.take() {
            // Ends when the launcher has been reaped, and that ends after init. A panic there has been reported already.
            let _ = reader.join();
        }
    }
}

/// The conversation with init: who waits for which answer.
#[derive(Debug)]
struct Calls {
    control: OwnedFd,
    next_id: AtomicU64,
    /// `None` once the conversation is over.
    waiting: Mutex<Option<HashMap<u64, Caller>>>,
}

/// Where a caller waits for its answer.
type Caller = SyncSender<Result<Answer, Failure>>;

impl Calls {
    fn new(control: OwnedFd) -> Self {
        Self { control, next_id: AtomicU64::new(BOOT_ID + 1), waiting: Mutex::new(Some(HashMap::new())) }
    }

    fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    fn ask(&self, request: Request, fds: &[BorrowedFd<'_>]) -> Result<Answer, LabError> {
        let id = self.next_id();
        let answer = self.expect(id)?;
        if let Err(error) = self.send(id, request, fds) {
            self.answer(id, Err(Failure::Other(String::new())));
            return Err(error);
        }
        answer.recv().map_err(|_| LabError::Gone)?.map_err(LabError::from)
    }

    /// Announces that an answer to `id` is waited for.
    fn expect(&self, id: u64) -> Result<Receiver<Result<Answer, Failure>>, LabError> {
        let (sender, receiver) = mpsc::sync_channel(1);
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.as_mut().ok_or(LabError::Gone)?.insert(id, sender);
        Ok(receiver)
    }

    fn send(&self, id: u64, request: Request, fds: &[BorrowedFd<'_>]) -> Result<(), LabError> {
        wire::send(&self.control, &ToInit { id, request }, fds).map_err(|error| match error.raw_os_error() {
            Some(code) if code == Errno::MSGSIZE.raw_os_error() => LabError::TooLarge,
            Some(code) if code == Errno::PIPE.raw_os_error() => LabError::Gone,
            _ => LabError::Setup(error),
        })
    }

    fn answer(&self, id: u64, result: Result<Answer, Failure>) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(caller) = waiting.as_mut().and_then(|waiting| waiting.remove(&id)) {
            let _ = caller.send(result); // the caller may have gone; the channel has room for its one answer
        }
    }

    /// Ends the conversation: init sees the end of its socket, our reader too, and waiting callers are told.
    fn close(&self) {
        let _ = shutdown(&self.control, Shutdown::Both); // fails only when it is closed already
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).take();
    }
}

/// The lab's thread: starts the launcher, hands on what init says, and reaps the launcher.
fn read(
    calls: &Calls,
    options: &LabOptions,
    control: OwnedFd,
    started: &SyncSender<io::Result<u32>>,
    events: &Sender<Event>,
) {
    let mut launcher = match launch(options, control) {
        Ok(launcher) => launcher,
        Err(error) => {
            let _ = started.send(Err(error)); // `start` waits for exactly this
            return;
        }
    };
    let _ = started.send(Ok(launcher.id()));
    while let Ok(Some((message, _))) = wire::recv::<FromInit>(&calls.control) {
        match message {
            FromInit::Reply { id, result } => calls.answer(id, result),
            // A caller that dropped the receiver does not want events.
            FromInit::Exited { process, exit } => drop(events.send(Event::Exited { process, exit })),
        }
    }
    calls.close();
    let _ = launcher.wait(); // our own child: fails only if it was never there
    let _ = events.send(Event::Closed);
}

fn launch(options: &LabOptions, control: OwnedFd) -> io::Result<Child> {
    Command::new(&options.launcher)
        .args(&options.launcher_args)
        .stdin(control)
        .stdout(Stdio::null())
        // Ctrl-C on the terminal is for `mizzen up`, which then ends the lab in order.
        .process_group(0)
        .spawn()
}

fn unexpected(answer: &Answer) -> LabError {
    LabError::Refused(format!("unexpected answer {answer:?}"))
}

/// Canonical, since a mask laid through a symlink would follow wherever it points later.
fn masked_paths(options: &LabOptions) -> Result<Vec<PathBuf>, LabError> {
    let canonical = |path: &PathBuf| {
        fs::canonicalize(path).map_err(|error| LabError::Invalid {
            field: "masked_paths",
            problem: format!("{} cannot be masked: {error}", path.display()),
        })
    };
    let mut paths: Vec<PathBuf> =
        options.masked_paths.iter().chain([&options.state_dir]).map(canonical).collect::<Result<_, _>>()?;
    // A path below a masked directory is covered with it.
    paths.sort();
    paths.dedup_by(|later, earlier| later.starts_with(earlier));
    match paths.iter().find(|path| path.as_path() == Path::new("/")) {
        Some(_) => {
            Err(LabError::Invalid { field: "masked_paths", problem: "the root directory cannot be masked".into() })
        }
        None => Ok(paths),
    }
}

fn check_node(spec: &NodeSpec) -> Result<(), LabError> {
    let invalid = |field, problem: &str| Err(LabError::Invalid { field, problem: problem.into() });
    if !files::is_name(&spec.hostname) || spec.hostname.len() > 63 {
        return invalid("hostname", "must be 1 to 63 letters, digits, '-', '_' or '.'");
    }
    if spec.ipv4.octets()[..2] != HOST_ALIAS.octets()[..2] {
        return invalid("ipv4", "must lie in 10.244.0.0/16");
    }
    if spec.ipv6.is_some_and(|address| !crate::addr::is_lab_v6(address)) {
        return invalid("ipv6", "must lie in fd77:6d7a::/64");
    }
    let names = spec.hosts.iter().flat_map(|(_, names)| names).chain(&spec.search);
    if names.into_iter().any(|name| !files::is_name(name)) {
        return invalid("hosts", "names in hosts and search must be letters, digits, '-', '_' or '.'");
    }
    Ok(())
}

fn check_spawn(spec: &SpawnSpec) -> Result<(), LabError> {
    let invalid = |field, problem: String| Err(LabError::Invalid { field, problem });
    if spec.role == crate::Role::App && spec.node.is_none() {
        return invalid("node", "a workload needs a node, whose cage it runs in".into());
    }
    for (index, (_, number)) in spec.fds.iter().enumerate() {
        if !(3..=ReservedFds::LAST).contains(number) {
            return invalid("fds", format!("{number} is not from 3 to {}", ReservedFds::LAST));
        }
        if spec.fds[..index].iter().any(|(_, earlier)| earlier == number) {
            return invalid("fds", format!("{number} is given twice"));
        }
    }
    if spec.fds.len() + 3 > fdpass::FDS_MAX {
        return invalid("fds", "too many".into());
    }
    Ok(())
}

impl From<Failure> for LabError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::NoSuchNode(name) => Self::NoSuchNode(name),
            Failure::NoSuchProcess(process) => Self::NoSuchProcess(process.0),
            Failure::ProgramNotFound(program) => Self::ProgramNotFound(program),
            Failure::Other(message) => Self::Refused(message),
        }
    }
}

#[cfg(test)]
mod tests;
