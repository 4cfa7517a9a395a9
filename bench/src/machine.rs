//! Processes under measurement: pinned to a core, with their CPU time and memory from `/proc`, ended when dropped.

use std::{
    fs,
    io::Read,
    net::{SocketAddr, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, bail};
use rustix::{
    process::{Pid, Signal, kill_process},
    thread::{CpuSet, sched_setaffinity},
};

/// How long a started server may take until it accepts.
const START_TIMEOUT: Duration = Duration::from_secs(20);

/// Pins the calling thread, and what it starts, to one core.
pub(crate) fn pin(core: usize) -> anyhow::Result<()> {
    let mut set = CpuSet::new();
    set.set(core);
    sched_setaffinity(None, &set).with_context(|| format!("pin to core {core}"))
}

/// A process that is ended with this value.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

impl Process {
    /// Starts a program on `core`; its output goes to `log`.
    pub(crate) fn start(name: &str, core: usize, mut command: Command, log: &Path) -> anyhow::Result<Self> {
        let file = fs::File::create(log)?;
        let before = rustix::thread::sched_getaffinity(None)?;
        // A child inherits its parent's mask: no wrapper, so that the pid is the program's.
        pin(core)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .with_context(|| format!("start {name}"));
        sched_setaffinity(None, &before)?;
        Ok(Self { child: child?, name: name.to_owned(), log: log.to_owned() })
    }

    /// Waits until something accepts on `address`.
    pub(crate) fn wait_for(&mut self, address: SocketAddr) -> anyhow::Result<()> {
        let deadline = Instant::now() + START_TIMEOUT;
        while TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_err() {
            if let Some(status) = self.child.try_wait()? {
                let said = fs::read_to_string(&self.log).unwrap_or_default();
                bail!("{} ended at its start: {status}: {said}", self.name);
            }
            if Instant::now() > deadline {
                bail!("{} does not accept on {address}", self.name);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// CPU time of the process and its children, all threads.
    pub(crate) fn cpu(&self) -> anyhow::Result<Duration> {
        self.tree()?.into_iter().map(cpu_of).sum::<anyhow::Result<Duration>>()
    }

    /// Resident memory of the process and its children, in KiB.
    pub(crate) fn rss_kb(&self) -> anyhow::Result<u64> {
        self.tree()?.into_iter().map(rss_of).sum()
    }

    fn tree(&self) -> anyhow::Result<Vec<u32>> {
        let mut pids = vec![self.id()];
        let mut at = 0;
        while let Some(pid) = pids.get(at).copied() {
            for task in fs::read_dir(format!("/proc/{pid}/task"))? {
                let children = fs::read_to_string(task?.path().join("children")).unwrap_or_default();
                pids.extend(children.split_whitespace().filter_map(|child| child.parse::<u32>().ok()));
            }
            at += 1;
        }
        Ok(pids)
    }
}

/// Nanoseconds on the CPU (`schedstat`), of all threads.
fn cpu_of(pid: u32) -> anyhow::Result<Duration> {
    let mut total = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let mut text = String::new();
        fs::File::open(task?.path().join("schedstat"))?.read_to_string(&mut text)?;
        total += text.split_whitespace().next().context("schedstat is empty")?.parse::<u64>()?;
    }
    Ok(Duration::from_nanos(total))
}

fn rss_of(pid: u32) -> anyhow::Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
            let deadline = Instant::now() + Duration::from_secs(5);
            while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
                std::thread::sleep(Duration::from_millis(10));
            }
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
