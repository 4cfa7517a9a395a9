//! However `mizzen up` ends, nothing of it is left: no process, namespace, mount, rule, socket or lock.
//!
//! Runs as an ordinary user and once more as root.

use std::{collections::BTreeSet, fs, path::PathBuf, time::Duration};

use mizzen_e2e::{
    Mesh, Process, eventually,
    manifest::{client, deployment, documents, mesh_config, service},
    processes, within,
};
use rustix::process::Signal;

const KINDS: [&str; 5] = ["net", "mnt", "pid", "user", "uts"];

fn manifests() -> String {
    documents(&[
        &mesh_config("accessLogFile: /dev/stdout"),
        &deployment("echo", "mizzen-peer echo --port 8080").replicas(2).port(8080),
        &service("echo", &[("http", 80, 8080)]),
        // A workload that does not want to end, and one that starts children which outlive it.
        &deployment("stubborn", "/bin/sh -c \"trap '' TERM INT; while :; do sleep 1000; done\""),
        &deployment("parent", "/bin/sh -c 'setsid sleep 99999 & exec sleep 99999'"),
        &client("client"),
    ])
}

/// What a mesh consists of while it runs.
struct Traces {
    processes: Vec<Process>,
    namespaces: BTreeSet<PathBuf>,
    mounts: String,
}

impl Traces {
    fn of(mesh: &Mesh) -> Self {
        let own: BTreeSet<PathBuf> = myself().map_or_else(BTreeSet::new, |own| namespaces(&own));
        let processes = mesh.processes();
        let all = processes.iter().flat_map(namespaces);
        let namespaces: BTreeSet<PathBuf> = all.filter(|namespace| !own.contains(namespace)).collect();
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        Self { processes, namespaces, mounts }
    }

    /// A namespace lives as long as a process is in it, a mount shows it, or a descriptor holds it; the last are gone with
    /// their processes. Its number may be given to another one: only processes that began before `end` count.
    fn left(&self, end: u64) -> Vec<String> {
        let running =
            self.processes.iter().filter(|process| process.is_running()).map(|process| process.command.clone());
        let inside = processes().into_values().filter(|process| {
            process.began <= end && namespaces(process).iter().any(|namespace| self.namespaces.contains(namespace))
        });
        running.chain(inside.map(|process| format!("inside: {}", process.command))).collect()
    }

    fn assert_gone(&self, end: u64) {
        eventually("every process and namespace to be gone", || self.left(end).is_empty().then_some(()));
        let mounts = fs::read_to_string("/proc/self/mountinfo").expect("mounts");
        assert_eq!(mounts, self.mounts, "mounts on the host never changed");
    }
}

fn namespaces(process: &Process) -> BTreeSet<PathBuf> {
    KINDS.iter().filter_map(|kind| process.namespace(kind)).collect()
}

fn myself() -> Option<Process> {
    processes().remove(&std::process::id())
}

/// Now, as processes count it.
fn now() -> u64 {
    let mut child = std::process::Command::new("/bin/sleep").arg("60").spawn().expect("sleep");
    let began = processes().get(&child.id()).expect("it runs").began;
    child.kill().ok();
    child.wait().ok();
    began
}

/// Runs a mesh under load, ends it, and looks at what is left.
fn nothing_is_left(end: impl FnOnce(&mut Mesh)) {
    let mut mesh = Mesh::up(&[("mesh.yaml", &manifests())], &[]);
    let load =
        mesh.spawn("client", &["mizzen-peer", "load", "--url", "http://echo/", "--rps", "50", "--duration", "60"]);
    let traces = eventually("the load under way", || {
        let traces = Traces::of(&mesh);
        traces.processes.iter().any(|process| process.command.starts_with("mizzen-peer load")).then_some(traces)
    });
    let proxies = traces.processes.iter().filter(|process| process.command.contains("mizzen-proxy sidecar")).count();
    assert_eq!(proxies, 5, "a sidecar for each replica: {:#?}", traces.processes);
    assert!(
        traces
            .processes
            .iter()
            .any(|process| process.command.starts_with("setsid") || process.command == "sleep 99999")
    );
    assert!(
        traces.namespaces.len() >= 5 + 3,
        "a network for each replica, and the sandbox's own: {:?}",
        traces.namespaces
    );
    end(&mut mesh);
    traces.assert_gone(now());
    let output = load.wait();
    assert_ne!(output.status, 0, "the command beside the workload ended with it: {output:?}");
    // The lock is free and leftovers are in nobody's way: the same directory comes up again.
    mesh.restart();
    mesh.wait_ready();
    assert_eq!(mesh.curl("client", &["http://echo/"]).0, 200);
    let again = Traces::of(&mesh);
    mesh.signal(Signal::INT);
    assert_eq!(mesh.wait_end().code(), Some(0), "{:#?}", mesh.lines());
    again.assert_gone(now());
    let sockets: Vec<_> = fs::read_dir(mesh.runtime().join("mizzen")).into_iter().flatten().flatten().collect();
    assert!(sockets.is_empty(), "no socket is left: {sockets:?}");
}

#[test]
fn control_c() {
    nothing_is_left(|mesh| {
        mesh.signal(Signal::INT);
        let status = within(Duration::from_secs(30), "the end, although one workload is stubborn", || mesh.try_end());
        assert_eq!(status.code(), Some(0), "{:#?}", mesh.lines());
    });
}

#[test]
fn sigkill() {
    nothing_is_left(|mesh| {
        mesh.signal(Signal::KILL);
        assert_eq!(mesh.wait_end().code(), None, "killed");
    });
}

#[test]
fn down_from_another_terminal() {
    let mut mesh = Mesh::up(&[("mesh.yaml", &manifests())], &[]);
    let traces = Traces::of(&mesh);
    let down = mesh.mizzen(&["down"]);
    assert!(down.succeeded(), "{down:?}");
    let left = traces.left(now());
    assert!(left.is_empty(), "when `down` returns, nothing is left: {left:#?}");
    assert_eq!(mesh.wait_end().code(), Some(0));
    let status = mesh.mizzen(&["status"]);
    assert!(!status.succeeded() && status.err.contains("no mesh"), "{status:?}");
}
