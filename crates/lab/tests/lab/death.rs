//! However the host side ends, nothing stays behind.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead as _, BufReader},
    process::{Command, Stdio},
};

use mizzen_lab::{Role, SpawnSpec};

use crate::fixture::{Sandbox, TempDir, eventually, launcher};

/// Process ids and start times (`proc(5)`, stat fields 4 and 22) of `root`'s descendants, as the host sees them.
fn descendants(root: u32) -> HashMap<u32, u64> {
    let read = |pid: u32| {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        (fields[0] != "Z").then_some((fields[1].parse::<u32>().ok()?, fields[19].parse::<u64>().ok()?))
    };
    let all: HashMap<u32, (u32, u64)> = fs::read_dir("/proc")
        .expect("proc")
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, read(pid)?)))
        .collect();
    let mut found: HashMap<u32, u64> = all.get(&root).map(|(_, started)| (root, *started)).into_iter().collect();
    loop {
        let more: Vec<_> = all
            .iter()
            .filter(|(pid, (parent, _))| found.contains_key(parent) && !found.contains_key(pid))
            .map(|(pid, (_, started))| (*pid, *started))
            .collect();
        if more.is_empty() {
            return found;
        }
        found.extend(more);
    }
}

fn alive(of: &HashMap<u32, u64>) -> Vec<u32> {
    of.iter().filter(|(pid, started)| descendants(**pid).get(pid) == Some(*started)).map(|(pid, _)| *pid).collect()
}

#[test]
fn a_killed_host_side_leaves_no_process() {
    let dir = TempDir::new();
    let mut host = Command::new(launcher())
        .arg("host")
        .arg(dir.state())
        .stdout(Stdio::piped())
        .spawn()
        .expect("run the host side");
    let mut line = String::new();
    BufReader::new(host.stdout.take().expect("piped")).read_line(&mut line).expect("read");
    assert_eq!(line, "ready\n");
    // The host side, the launcher, init, two cages, and five processes with the children that two of them detach.
    let mut processes = HashMap::new();
    eventually("the workloads have detached their children", || {
        processes = descendants(host.id());
        processes.len() >= 5 + 5 + 4
    });
    host.kill().expect("SIGKILL");
    host.wait().expect("wait");
    eventually("every process of the lab is gone", || alive(&processes).is_empty());
}

#[test]
fn a_dropped_lab_has_ended_when_drop_returns() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    let _app = sandbox.spawn(SpawnSpec::new(Some("a"), Role::App, "/bin/sleep").args(["1000"]));
    let processes = descendants(sandbox.lab.launcher_pid());
    assert!(processes.len() >= 4, "launcher, init, cage, workload: {processes:?}");
    drop(sandbox);
    assert_eq!(alive(&processes), Vec::<u32>::new());
}
