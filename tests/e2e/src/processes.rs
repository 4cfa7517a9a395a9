//! Processes of a mesh as the host sees them (`proc(5)`): found by their command lines, killed, measured, joined.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::PathBuf,
};

use rustix::process::{Pid, Signal, kill_process};

/// A process.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Process {
    pub pid: u32,
    pub parent: u32,
    /// When it began, in clock ticks since the machine did.
    pub began: u64,
    /// Its arguments, joined by spaces.
    pub command: String,
}

impl Process {
    fn read(pid: u32) -> Option<Self> {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        if field("State:")?.starts_with('Z') {
            return None;
        }
        let command = fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        // Behind the name in parentheses, which may hold anything, the start is the 20th field.
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let began = stat.rsplit(") ").next()?.split(' ').nth(19)?.parse().ok()?;
        let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        Some(Self { pid, parent: field("PPid:")?.parse().ok()?, began, command: words.join(" ").trim().to_owned() })
    }

    /// Sends it a signal; one that is gone has had it.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).ok();
        }
    }

    /// Whether it still runs (and is not another one by now).
    pub fn is_running(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.began == self.began)
    }

    /// A namespace of it, as `net:[4026531840]`; none when it may not be seen.
    pub fn namespace(&self, kind: &str) -> Option<PathBuf> {
        fs::read_link(format!("/proc/{}/ns/{kind}", self.pid)).ok()
    }

    /// A figure of `/proc/PID/status` in KiB: `VmRSS`, `VmHWM`.
    pub fn kib(&self, field: &str) -> Option<u64> {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).ok()?;
        let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    }

    /// Sets `VmHWM` back to what is resident now.
    pub fn forget_peak(&self) -> bool {
        fs::write(format!("/proc/{}/clear_refs", self.pid), "5").is_ok()
    }
}

/// All processes that may be seen.
pub fn processes() -> BTreeMap<u32, Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(|pid| Some((pid, Process::read(pid)?))).collect()
}

/// Children of a process, theirs, and so on.
pub fn descendants(of: u32) -> Vec<Process> {
    let all = processes();
    let mut known = BTreeSet::from([of]);
    loop {
        let before = known.len();
        known.extend(
            all.values()
                .filter(|process| known.contains(&process.parent))
                .map(|process| process.pid)
                .collect::<Vec<_>>(),
        );
        if known.len() == before {
            break;
        }
    }
    known.remove(&of);
    known.iter().filter_map(|pid| all.get(pid).cloned()).collect()
}
