//! `ip` and `nft`: run with their program on standard input, in one network namespace or another.

use std::{
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    sync::Arc,
};

use mizzen_net::ns::{self, NetNs};

use super::error::{During as _, InitError};

/// The programs, with `None` for the network namespace that init is in.
#[derive(Debug)]
pub(super) struct Tools {
    pub(super) ip: PathBuf,
    pub(super) nft: PathBuf,
}

impl Tools {
    /// Runs `ip(8)` commands, without the leading `ip`, in one process. Stops at the first that fails.
    pub(super) fn ip(&self, net: Option<&Arc<NetNs>>, batch: &[String]) -> Result<(), InitError> {
        let output = run(&self.ip, "-batch", net, &(batch.join("\n") + "\n"))?;
        if output.status.success() { Ok(()) } else { Err(InitError::tool("ip", &output)) }
    }

    /// Runs an `nft(8)` program, as one transaction, and returns what it prints.
    pub(super) fn nft(&self, net: Option<&Arc<NetNs>>, program: &str) -> Result<String, InitError> {
        let output = run(&self.nft, "-f", net, program)?;
        if output.status.success() {
            Ok(String::from_utf8_lossy(&output.stdout).into())
        } else {
            Err(InitError::tool("nft", &output))
        }
    }
}

/// Runs `tool OPTION -` with `input` on its standard input.
fn run(tool: &Path, option: &str, net: Option<&Arc<NetNs>>, input: &str) -> Result<Output, InitError> {
    let mut command = Command::new(tool);
    command.args([option, "-"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let net = net.map(Arc::clone);
    let mut child = ns::spawn(command, move || net.as_ref().map_or(Ok(()), |net| net.enter()))
        .map_err(|source| InitError::Spawn { program: tool.display().to_string(), source })?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that has stopped reading says why on its standard error, which counts more than our EPIPE.
        let _ = stdin.write_all(input.as_bytes());
    }
    child.wait_with_output().during(format!("wait for {}", tool.display()))
}
