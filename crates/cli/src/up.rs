//! `mizzen up`: everything is checked before anything starts; then the [`supervisor`] runs it until it ends.
//!
//! ```text
//! config (watched directory) ─► plan ─► fleet ─► actions ─► hands ─► sandbox (nodes, processes)
//!                                        ▲                    │
//!                                        └────── events ◄─────┴─► mizzend, proxies (Unix sockets)
//! ```

mod check;
mod control_plane;
mod exec;
mod hands;
mod lines;
mod meter;
mod overview;
mod proxy;
mod runtime;
mod sandbox;
mod server;
mod show;
mod supervisor;
mod table;
mod volumes;

use std::{
    collections::BTreeMap,
    io::{self, IsTerminal as _},
    net::TcpListener,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail};
use mizzen_lab::{LabOptions, StateDir, StateDirError};
use mizzen_sources::Sources;
use rustix::fs::{Access, access};
use tokio::sync::mpsc;

use self::{
    hands::{Binaries, Hands},
    sandbox::Sandbox,
    supervisor::Supervisor,
};
use crate::{
    args::Up,
    logs::Logs,
    mizzend::Mizzend,
    place::{Homes, Place},
    plan::{self, Name, Objects, Plan, Programs, Published},
};

/// Events that wait for the supervisor; a task that finds the queue full waits.
const EVENTS_MAX: usize = 1024;

/// What a workload's environment takes over from the one `mizzen up` was started in.
const INHERITED: [&str; 9] = ["PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_ALL", "TZ", "TMPDIR"];

pub(crate) fn run(options: Up) -> Result<ExitCode> {
    let homes = Homes::of_user()?;
    let place = Place::of(&options.directory, &homes)?;
    let _lock = lock(&place)?;
    place.create()?;
    // What a run that was killed has left.
    place.clear_runtime()?;
    place.create()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let ended = runtime.block_on(start_and_supervise(options, place.clone()));
    // Tasks hold the sandbox: with the runtime, the last of it goes.
    drop(runtime);
    place.clear_runtime()?;
    ended
}

fn lock(place: &Place) -> Result<StateDir> {
    StateDir::lock(&place.state).map_err(|error| match error {
        StateDirError::InUse { pid, .. } => {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            anyhow::anyhow!("{} is up already{pid}; `mizzen down` stops it", place.directory.display())
        }
        error @ StateDirError::Io { .. } => error.into(),
    })
}

async fn start_and_supervise(options: Up, place: Place) -> Result<ExitCode> {
    let binaries = Binaries::find()?;
    let sources = Sources::open(&options.directory, mizzen_sources::Options::default())?;
    let first = sources.current();
    if !options.allow_unenforced {
        refuse_unenforced(&first.objects)?;
    }
    let inputs = Inputs::new(&binaries)?;
    let plan = inputs.plan(&first.objects, &options);
    let listeners = bind(&plan.published)?;
    let mut lab = LabOptions::new(&binaries.mizzen, &place.state);
    lab.masked_paths = place.masked();
    lab.host_access = options.host_access;
    let sandbox = tokio::task::spawn_blocking(|| Sandbox::start(lab)).await??;

    let (events, event_queue) = mpsc::channel(EVENTS_MAX);
    let (reports, report_queue) = mpsc::channel(EVENTS_MAX);
    let hands = Arc::new(Hands {
        sandbox: Arc::new(sandbox),
        mizzend: Mizzend::at(place.mizzend_socket()),
        logs: Logs::start(place.logs())?,
        place,
        binaries,
        cert_ttl: options.cert_ttl,
        listeners: Mutex::new(listeners),
        events,
        reports,
        processes: Mutex::default(),
    });
    let queues = supervisor::Queues { events: event_queue, reports: report_queue, config: sources.subscribe() };
    Supervisor::new(hands, options, inputs, queues)?.run(plan).await
}

impl Binaries {
    /// Beside this program, then in `PATH`.
    fn find() -> Result<Self> {
        let mizzen = std::env::current_exe().context("finding this program")?;
        let beside = mizzen.parent().map(Path::to_path_buf);
        let directories: Vec<PathBuf> = beside.into_iter().chain(path_directories()).collect();
        let find = |name: &str| {
            let paths = directories.iter().map(|directory| directory.join(name));
            paths
                .into_iter()
                .find(|path| is_program(path))
                .with_context(|| format!("no program `{name}` beside mizzen or in PATH"))
        };
        Ok(Self { mizzend: find("mizzend")?, proxy: find("mizzen-proxy")?, mizzen })
    }
}

fn path_directories() -> Vec<PathBuf> {
    std::env::var_os("PATH").map(|path| std::env::split_paths(&path).collect()).unwrap_or_default()
}

fn is_program(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

/// What plans are made with, beside the objects.
#[derive(Debug)]
pub(crate) struct Inputs {
    /// The sources name files relative to where `mizzen` was started.
    directory: PathBuf,
    directories: Vec<PathBuf>,
    inherited: BTreeMap<String, String>,
}

impl Inputs {
    fn new(binaries: &Binaries) -> Result<Self> {
        let mut directories = path_directories();
        // Samples come beside the program.
        directories.extend(binaries.mizzen.parent().map(Path::to_path_buf));
        let inherited = INHERITED.into_iter().filter_map(|name| Some((name.to_owned(), std::env::var(name).ok()?)));
        Ok(Self { directory: std::env::current_dir()?, directories, inherited: inherited.collect() })
    }

    pub(crate) fn plan(&self, objects: &Objects, options: &Up) -> Plan {
        let programs =
            Programs { directories: &self.directories, is_program: &is_program, is_directory: &|path| path.is_dir() };
        let context = plan::Context {
            directory: &self.directory,
            programs: &programs,
            publish: &options.publish,
            inherited: &self.inherited,
        };
        plan::plan(objects, &context)
    }
}

/// What denies access is not silently left out.
fn refuse_unenforced(objects: &Objects) -> Result<()> {
    let refused = objects.values().filter(|object| mizzen_api::needs_allow_unenforced(object.id.kind));
    let lines: Vec<String> =
        refused.map(|object| format!("  {} ({}:{})", object.id, object.origin.file, object.origin.line)).collect();
    if lines.is_empty() {
        return Ok(());
    }
    bail!(
        "these are not enforced yet, so nothing is started (--allow-unenforced starts without them):\n{}",
        lines.join("\n")
    )
}

/// The sockets of all published ports, or an error about the first that is taken.
fn bind(published: &[Published]) -> Result<BTreeMap<(Name, u16), TcpListener>> {
    let sockets = published.iter().map(|wanted| Ok(((wanted.gateway.clone(), wanted.port), bind_one(wanted)?)));
    sockets.collect()
}

fn bind_one(wanted: &Published) -> Result<TcpListener> {
    TcpListener::bind(wanted.host).map_err(|error| {
        let (host, port) = (wanted.host, wanted.port);
        let free = if host.port() < u16::MAX - 1000 { host.port() + 1000 } else { host.port() - 1000 };
        let object = &wanted.object;
        let place = format!("{} ({}:{})", object.id, object.origin.file, object.origin.line);
        match error.kind() {
            io::ErrorKind::AddrInUse => anyhow::anyhow!(
                "port {} is taken: {place} wants its port {port} there; free it, or choose another with --publish {free}:{port}",
                host.port(),
            ),
            _ => anyhow::anyhow!("cannot listen on {host} for {place}: {error}; choose another place with --publish HOST:{port}"),
        }
    })
}

fn is_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

#[cfg(test)]
mod tests;
