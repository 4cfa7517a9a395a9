//! Commands inside workloads (`mizzen exec`) that print JSON lines, with errors instead of the harness's panics.

use std::{
    io::{BufRead, BufReader, Read},
    process::{Child, ChildStdin, Command, Stdio},
    sync::mpsc::{self, Receiver, RecvTimeoutError},
    time::{Duration, Instant},
};

use anyhow::{Context, anyhow, bail, ensure};
use mizzen_e2e::{Mesh, program};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// How long a command may take to end when it is asked to.
const END_TIMEOUT: Duration = Duration::from_secs(10);

/// The probe's own name: workloads have its directory in their path.
pub(super) const PROBE: [&str; 2] = ["mizzen-bench", "probe"];

/// What a command that came to its end printed last.
pub(super) fn ask(mesh: &Mesh, workload: &str, command: &[&str]) -> anyhow::Result<Value> {
    let output = mesh.exec(workload, command);
    ensure!(output.succeeded(), "{command:?} in {workload}: {} {}", output.out.trim(), output.err.trim());
    let line = output.out.lines().next_back().with_context(|| format!("{command:?} printed nothing"))?;
    Ok(serde_json::from_str(line)?)
}

/// A command that runs. Dropping it ends it.
pub(super) struct Inside {
    child: Child,
    lines: Receiver<String>,
    /// `exec` passes it on; its end would be the command's.
    _stdin: Option<ChildStdin>,
}

impl Inside {
    pub(super) fn start(mesh: &Mesh, workload: &str, command: &[&str]) -> anyhow::Result<Self> {
        let mut process = Command::new(program("mizzen"));
        process.env("XDG_STATE_HOME", mesh.state()).env("XDG_RUNTIME_DIR", mesh.runtime());
        process.arg("--mesh").arg(mesh.directory()).args(["exec", workload, "--"]).args(command);
        let mut child = process.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        let out = child.stdout.take().context("its output")?;
        let stdin = child.stdin.take();
        Ok(Self { child, lines: follow(out), _stdin: stdin })
    }

    /// The next line it prints.
    pub(super) fn next(&mut self, patience: Duration) -> anyhow::Result<Value> {
        match self.lines.recv_timeout(patience) {
            Ok(line) => serde_json::from_str(&line).with_context(|| format!("no JSON: {line}")),
            Err(RecvTimeoutError::Timeout) => bail!("nothing was printed for {patience:?}"),
            Err(RecvTimeoutError::Disconnected) => {
                let status = self.child.wait()?;
                Err(anyhow!("the command ended: {status}"))
            }
        }
    }
}

fn follow(stream: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    receiver
}

impl Drop for Inside {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        let deadline = Instant::now() + END_TIMEOUT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            std::thread::sleep(Duration::from_millis(10));
        }
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
