//! Packets between the host side and init: one JSON value each, descriptors beside it in the order in which the request
//! speaks of them. Both ends are the same binary, so the form is free to change.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsFd, BorrowedFd, OwnedFd, RawFd},
    path::PathBuf,
};

use mizzen_net::fdpass;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::spec::{Exit, Mount, ProcessId, Role, Stats};

/// Bytes of the largest packet that is received; the kernel's default send buffer allows no more.
const PACKET_MAX: usize = 256 * 1024;

/// The answer to [`Request::Boot`] has this id, and so has an error that ends the launcher before it could be asked.
pub(crate) const BOOT_ID: u64 = 0;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ToInit {
    pub(crate) id: u64,
    pub(crate) request: Request,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first request: build the sandbox.
    Boot(Boot),
    AddNode(Node),
    RemoveNode {
        name: String,
    },
    /// Descriptors: standard input, output and error as far as [`Spawn::stdio`] says, then those of [`Spawn::fds`].
    Spawn(Spawn),
    Signal {
        process: ProcessId,
        signal: i32,
    },
    Stats {
        process: ProcessId,
    },
    Nft {
        node: Option<String>,
        program: String,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Boot {
    /// Canonical paths.
    pub(crate) masked_paths: Vec<PathBuf>,
    pub(crate) ip: PathBuf,
    pub(crate) nft: PathBuf,
}

/// [`crate::NodeSpec`] with capture and files already as text.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Node {
    pub(crate) name: String,
    pub(crate) hostname: String,
    pub(crate) ipv4: Ipv4Addr,
    pub(crate) ipv6: Option<Ipv6Addr>,
    pub(crate) nft_program: Option<String>,
    pub(crate) resolv_conf: String,
    pub(crate) mounts: Vec<Mount>,
    pub(crate) hosts: Vec<(IpAddr, Vec<String>)>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Spawn {
    pub(crate) process: ProcessId,
    pub(crate) node: Option<String>,
    pub(crate) role: Role,
    pub(crate) program: String,
    pub(crate) args: Vec<String>,
    pub(crate) env: Vec<(String, String)>,
    pub(crate) cwd: Option<PathBuf>,
    pub(crate) stdio: [bool; 3],
    pub(crate) fds: Vec<RawFd>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum FromInit {
    Reply { id: u64, result: Result<Answer, Failure> },
    Exited { process: ProcessId, exit: Exit },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Done,
    Stats(Stats),
    Text(String),
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Failure {
    NoSuchNode(String),
    NoSuchProcess(ProcessId),
    ProgramNotFound(String),
    Other(String),
}

/// Sends `value` as one packet.
pub(crate) fn send(socket: impl AsFd, value: &impl Serialize, fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    fdpass::send(socket, &serde_json::to_vec(value)?, fds)
}

/// Receives one packet; `None` when the other end is closed.
pub(crate) fn recv<T: DeserializeOwned>(socket: impl AsFd) -> io::Result<Option<(T, Vec<OwnedFd>)>> {
    let mut buffer = vec![0; PACKET_MAX];
    let packet = fdpass::recv(socket, &mut buffer)?;
    if packet.len == 0 {
        return Ok(None);
    }
    Ok(Some((serde_json::from_slice(&buffer[..packet.len])?, packet.fds)))
}
