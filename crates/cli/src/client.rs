//! `status`, `get`, `logs`, `exec`, `down`: clients of a running mesh.

use std::{
    io::{self, Write as _},
    os::fd::{AsFd as _, OwnedFd},
    path::Path,
    process::ExitCode,
    sync::Arc,
};

use anyhow::{Context, Result, bail, ensure};
use mizzen_api::Kind;

use crate::{
    args, logs,
    place::{Homes, Place},
    protocol::{self, Answer, Request, Signal},
    status::Status,
    text,
};

/// A running mesh.
struct Mesh {
    socket: OwnedFd,
}

impl Mesh {
    /// The mesh of `directory`, or the only one.
    fn connect(directory: Option<&Path>) -> Result<Self> {
        let homes = Homes::of_user()?;
        if let Some(directory) = directory {
            let place = Place::of(directory, &homes)?;
            let socket = protocol::connect_to(&place.up_socket());
            return socket
                .map(|socket| Self { socket })
                .with_context(|| format!("no mesh of {} is up", place.directory.display()));
        }
        let mut running: Vec<OwnedFd> =
            homes.control_sockets().iter().filter_map(|path| protocol::connect_to(path)).collect();
        match (running.pop(), running.len()) {
            (None, _) => bail!("no mesh is up; start one with `mizzen up DIR`"),
            (Some(socket), 0) => Ok(Self { socket }),
            (Some(last), _) => {
                running.push(last);
                let directories = running
                    .into_iter()
                    .filter_map(|socket| Self { socket }.status().ok())
                    .map(|status| status.directory);
                let directories: Vec<String> = directories.map(|directory| format!("  --mesh {directory}")).collect();
                bail!("several meshes are up, choose one:\n{}", directories.join("\n"))
            }
        }
    }

    fn ask(&self, request: &Request) -> Result<Answer> {
        protocol::send(&self.socket, request, &[])?;
        self.answer()
    }

    fn answer(&self) -> Result<Answer> {
        match protocol::receive(&self.socket)? {
            Some((Answer::Refused(why), _)) => bail!(why),
            Some((answer, _)) => Ok(answer),
            None => bail!("the mesh has ended"),
        }
    }

    fn status(&self) -> Result<Status> {
        match self.ask(&Request::Status)? {
            Answer::Status(status) => Ok(*status),
            other => bail!("unexpected answer {other:?}"),
        }
    }
}

pub(crate) fn status(mesh: Option<&Path>) -> Result<ExitCode> {
    let status = Mesh::connect(mesh)?.status()?;
    print(&text::status(&status))?;
    Ok(ExitCode::SUCCESS)
}

pub(crate) fn get(mesh: Option<&Path>, kind: Kind) -> Result<ExitCode> {
    match Mesh::connect(mesh)?.ask(&Request::Get { kind: kind.as_str().to_owned() })? {
        Answer::Objects(objects) => print(&text::objects(&objects))?,
        other => bail!("unexpected answer {other:?}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Works on a mesh that has ended, too, if it is named.
pub(crate) fn logs(mesh: Option<&Path>, options: &args::Logs) -> Result<ExitCode> {
    let directory = match mesh {
        Some(directory) => directory.to_path_buf(),
        None => Mesh::connect(None)?.status()?.directory.into(),
    };
    let place = Place::of(&directory, &Homes::of_user()?)?;
    let files = logs::files_of(&place.logs(), &options.workload, options.source)?;
    match logs::print(&files, options.follow, &mut io::stdout().lock()) {
        // Whoever read has seen enough.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(ExitCode::SUCCESS),
        printed => Ok(printed.map(|()| ExitCode::SUCCESS)?),
    }
}

pub(crate) fn exec(mesh: Option<&Path>, workload: String, command: Vec<String>) -> Result<ExitCode> {
    let mesh = Arc::new(Mesh::connect(mesh)?);
    let request = Request::Exec { workload, command, terminal: std::env::var("TERM").ok() };
    let (stdin, stdout, stderr) = (io::stdin(), io::stdout(), io::stderr());
    protocol::send(&mesh.socket, &request, &[stdin.as_fd(), stdout.as_fd(), stderr.as_fd()])?;
    hand_on_signals(Arc::clone(&mesh))?;
    match mesh.answer()? {
        Answer::Exited { code } => Ok(ExitCode::from(u8::try_from(code).unwrap_or(1))),
        other => bail!("unexpected answer {other:?}"),
    }
}

/// Ctrl-C here is meant for the command there.
fn hand_on_signals(mesh: Arc<Mesh>) -> Result<()> {
    use tokio::signal::unix::{SignalKind, signal};

    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    std::thread::Builder::new().name("signals".into()).spawn(move || {
        runtime.block_on(async {
            let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup(), SignalKind::quit()];
            let [Ok(mut interrupt), Ok(mut terminate), Ok(mut hangup), Ok(mut quit)] = kinds.map(signal) else {
                return;
            };
            loop {
                let kind = tokio::select! {
                    _ = interrupt.recv() => SignalKind::interrupt(),
                    _ = terminate.recv() => SignalKind::terminate(),
                    _ = hangup.recv() => SignalKind::hangup(),
                    _ = quit.recv() => SignalKind::quit(),
                };
                if protocol::send(&mesh.socket, &Signal(kind.as_raw_value()), &[]).is_err() {
                    return;
                }
            }
        });
    })?;
    Ok(())
}

/// Returns when nothing of it is left.
pub(crate) fn down(mesh: Option<&Path>) -> Result<ExitCode> {
    let mesh = Mesh::connect(mesh)?;
    let answer = mesh.ask(&Request::Down)?;
    ensure!(matches!(answer, Answer::Stopping), "unexpected answer {answer:?}");
    // The end of the connection, however it ends, is the end of the mesh.
    while let Ok(Some(_)) = protocol::receive::<Answer>(&mesh.socket) {}
    Ok(ExitCode::SUCCESS)
}

fn print(text: &str) -> Result<()> {
    match io::stdout().lock().write_all(text.as_bytes()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}
