//! What the terminal commands say to a running `mizzen up`, over its control socket.
//!
//! Packets (`SOCK_SEQPACKET`): the client sends one [`Request`], with its standard descriptors for `exec`, then perhaps
//! [`Signal`]s; the server answers with one message, whole or in pieces. Both ends are the same program.

use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    path::Path,
};

use anyhow::{Context, Result, bail};
use mizzen_net::fdpass;
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen, socket_with,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{mizzend::ObjectView, status::Status};

/// Bytes of a message in one packet; the kernel's default buffers hold several.
const PIECE_BYTES: usize = 32 << 10;
/// Largest message that is read.
const MESSAGE_BYTES_MAX: usize = 64 << 20;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    Status,
    /// By the kind's name in a manifest.
    Get {
        kind: String,
    },
    /// With standard input, output and error.
    Exec {
        workload: String,
        command: Vec<String>,
        terminal: Option<String>,
    },
    Down,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Answer {
    Status(Box<Status>),
    Objects(Vec<ObjectView>),
    /// Of the command.
    Exited {
        code: i32,
    },
    /// It has begun to stop; the end of the connection is the end of the mesh.
    Stopping,
    Refused(String),
}

/// For the command that runs.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Signal(pub(crate) i32);

/// A listening socket at `path`, which must not exist.
pub(crate) fn listener(path: &Path) -> Result<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    bind(&socket, &SocketAddrUnix::new(path)?).with_context(|| format!("making {}", path.display()))?;
    listen(&socket, BACKLOG)?;
    Ok(socket)
}

pub(crate) fn accept(listener: &OwnedFd) -> io::Result<OwnedFd> {
    Ok(rustix::io::retry_on_intr(|| accept_with(listener, SocketFlags::CLOEXEC))?)
}

/// `None` if nobody listens there.
pub(crate) fn connect_to(path: &Path) -> Option<OwnedFd> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).ok()?;
    connect(&socket, &SocketAddrUnix::new(path).ok()?).ok()?;
    Some(socket)
}

/// Sends a message; each packet but the last begins with `+`, the last with `.`.
pub(crate) fn send(socket: impl AsFd, message: &impl Serialize, fds: &[BorrowedFd<'_>]) -> Result<()> {
    let bytes = serde_json::to_vec(message)?;
    let pieces = bytes.len().div_ceil(PIECE_BYTES);
    for (at, piece) in bytes.chunks(PIECE_BYTES).enumerate() {
        let last = at + 1 == pieces;
        let mut packet = Vec::with_capacity(piece.len() + 1);
        packet.push(if last { b'.' } else { b'+' });
        packet.extend(piece);
        fdpass::send(&socket, &packet, if last { fds } else { &[] })?;
    }
    Ok(())
}

/// Receives a message and the descriptors beside it; `None` at the end of the connection.
pub(crate) fn receive<T: DeserializeOwned>(socket: impl AsFd) -> Result<Option<(T, Vec<OwnedFd>)>> {
    let mut message = Vec::new();
    let mut buffer = vec![0; PIECE_BYTES + 1];
    loop {
        let packet = fdpass::recv(&socket, &mut buffer)?;
        match buffer[..packet.len].split_first() {
            None => return Ok(None),
            Some((mark, piece)) => {
                message.extend(piece);
                if *mark == b'.' {
                    return Ok(Some((serde_json::from_slice(&message)?, packet.fds)));
                }
            }
        }
        if message.len() > MESSAGE_BYTES_MAX {
            bail!("a message of more than {MESSAGE_BYTES_MAX} bytes");
        }
    }
}

#[cfg(test)]
mod tests {
    //! Messages of all sizes arrive whole, with their descriptors.

    use super::*;

    #[test]
    fn a_message_may_take_several_packets() {
        let path = std::env::temp_dir().join(format!("mizzen-protocol-{}.sock", std::process::id()));
        let _ = std::fs::remove_file(&path);
        assert!(connect_to(&path).is_none());
        let listener = listener(&path).expect("it can be made");
        let client = connect_to(&path).expect("someone listens");
        let server = accept(&listener).expect("someone came");
        let _ = std::fs::remove_file(&path);
        for size in [0, 1, PIECE_BYTES - 2, PIECE_BYTES, 3 * PIECE_BYTES + 5] {
            let text = "x".repeat(size);
            let sent = text.clone();
            std::thread::scope(|scope| {
                scope.spawn(|| send(&client, &sent, &[client.as_fd()]).expect("someone reads"));
                let (received, fds) = receive::<String>(&server).expect("well-formed").expect("not the end");
                assert_eq!((received, fds.len()), (text, 1), "{size}");
            });
        }
        drop(client);
        assert!(receive::<String>(&server).expect("no error").is_none());
    }
}
