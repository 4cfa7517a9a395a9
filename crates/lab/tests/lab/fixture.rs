//! A lab with its events, and shell scripts run in it.

use std::{
    cell::RefCell,
    collections::HashMap,
    env, fs,
    io::{BufRead as _, BufReader, PipeReader, Read as _},
    path::PathBuf,
    process,
    sync::{
        atomic::{AtomicU32, Ordering},
        mpsc::Receiver,
    },
    time::{Duration, Instant},
};

use mizzen_lab::{Event, Exit, Lab, LabOptions, NodeSpec, ProcessId, Role, SpawnSpec, workload_address};

/// Far more than anything here takes; reached only when a test fails.
pub(crate) const DEADLINE: Duration = Duration::from_secs(30);

pub(crate) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
pub(crate) const PYTHON: &str = "/usr/bin/python3";

pub(crate) fn launcher() -> PathBuf {
    env::var_os("MIZZEN_LAB_LAUNCHER").unwrap_or_else(|| env!("CARGO_BIN_EXE_lab-init").into()).into()
}

/// A directory of one test's own, removed at its end.
pub(crate) struct TempDir(pub(crate) PathBuf);

impl TempDir {
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = format!("mizzen-lab-test-{}-{}", process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
        let path = env::temp_dir().join(name);
        fs::create_dir_all(path.join("state")).expect("make a directory");
        Self(path)
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.0.join("state")
    }
}

impl Drop for TempDir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Sandbox {
    pub(crate) lab: Lab,
    events: Receiver<Event>,
    exits: RefCell<HashMap<ProcessId, Exit>>,
    pub(crate) dir: TempDir,
}

/// A process whose output is being read.
pub(crate) struct Running {
    pub(crate) process: ProcessId,
    output: BufReader<PipeReader>,
}

impl Sandbox {
    pub(crate) fn start() -> Self {
        Self::start_with(|_| {})
    }

    pub(crate) fn start_with(change: impl FnOnce(&mut LabOptions)) -> Self {
        let dir = TempDir::new();
        let mut options = LabOptions::new(launcher(), dir.state());
        change(&mut options);
        let (lab, events) = match Lab::start(options) {
            Ok(started) => started,
            Err(error) => panic!("the lab does not start: {error}"),
        };
        Self { lab, events, exits: RefCell::default(), dir }
    }

    /// Adds the `n`th node without capture.
    pub(crate) fn node(&self, n: u16, name: &str) -> NodeSpec {
        let spec = NodeSpec::new(name, workload_address(n).expect("within the plan"));
        self.lab.add_node(&spec).expect("add a node");
        spec
    }

    /// Starts a program with its standard output and error in one pipe.
    pub(crate) fn spawn(&self, mut spec: SpawnSpec) -> Running {
        let (reader, writer) = std::io::pipe().expect("pipe");
        spec.stderr = Some(writer.try_clone().expect("dup").into());
        spec.stdout = Some(writer.into());
        let spec = spec.env("PATH", PATH).env("PYTHONUNBUFFERED", "1");
        let what = format!("{spec:?}");
        let process = self.lab.spawn(spec).unwrap_or_else(|error| panic!("{what}: {error}"));
        Running { process, output: BufReader::new(reader) }
    }

    /// Runs a shell script to its end.
    pub(crate) fn sh(&self, node: Option<&str>, role: Role, script: &str) -> (Exit, String) {
        let mut running = self.spawn(SpawnSpec::new(node, role, "/bin/sh").args(["-c", script]));
        let exit = self.wait(running.process);
        (exit, running.rest())
    }

    /// As [`Self::sh`] for a workload, which must succeed.
    pub(crate) fn app(&self, node: &str, script: &str) -> String {
        let (exit, output) = self.sh(Some(node), Role::App, script);
        assert!(exit.success(), "{script}: {exit}: {output}");
        output
    }

    /// A Python program with its arguments.
    pub(crate) fn python(&self, node: &str, role: Role, program: &str, arguments: &[&str]) -> Running {
        self.spawn(SpawnSpec::new(Some(node), role, PYTHON).args(["-c", program]).args(arguments.iter().copied()))
    }

    pub(crate) fn wait(&self, process: ProcessId) -> Exit {
        let deadline = Instant::now() + DEADLINE;
        loop {
            if let Some(exit) = self.exits.borrow_mut().remove(&process) {
                return exit;
            }
            match self.events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(Event::Exited { process, exit }) => drop(self.exits.borrow_mut().insert(process, exit)),
                other => panic!("waiting for process {process}: {other:?}"),
            }
        }
    }
}

impl Running {
    pub(crate) fn line(&mut self) -> String {
        let mut line = String::new();
        self.output.read_line(&mut line).expect("read");
        line
    }

    /// What is left of the output, up to its end.
    pub(crate) fn rest(&mut self) -> String {
        let mut text = String::new();
        self.output.read_to_string(&mut text).expect("read");
        text
    }

    /// Reads until a line contains `text`.
    pub(crate) fn wait_for(mut self, text: &str) -> Self {
        let mut seen = String::new();
        loop {
            let line = self.line();
            assert!(!line.is_empty(), "ended without {text:?}: {seen}");
            if line.contains(text) {
                return self;
            }
            seen += &line;
        }
    }
}

/// Tries until it holds.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !holds() {
        assert!(Instant::now() < deadline, "not in time: {what}");
        std::thread::yield_now();
    }
}
