//! Packets that carry file descriptors over a Unix socket (`SOCK_SEQPACKET`, `SCM_RIGHTS`; `unix(7)`).
//!
//! In: bytes and borrowed descriptors. Out: the same bytes in one piece, and descriptors that the receiver owns.
//! A packet is delivered whole or not at all, so no framing is needed; an empty packet does not exist (it would look like
//! the end of the connection).

use std::{
    io::{self, IoSlice, IoSliceMut},
    mem::MaybeUninit,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
};

use rustix::{
    cmsg_space,
    net::{
        AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
        SendAncillaryMessage, SendFlags, SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
    },
};

/// Most descriptors in one packet. A packet with more is refused by [`send`] with `EINVAL`.
pub const FDS_MAX: usize = 64;

/// One received packet.
#[derive(Debug)]
pub struct Packet {
    /// Bytes written to the start of the caller's buffer; 0 means that the other end is closed.
    pub len: usize,
    /// The descriptors, in the order in which they were sent; closed on exec.
    pub fds: Vec<OwnedFd>,
}

/// A connected pair of packet sockets, blocking, closed on exec.
pub fn pair() -> io::Result<(OwnedFd, OwnedFd)> {
    Ok(socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?)
}

/// Sends one packet. `EMSGSIZE` when it exceeds the socket's send buffer; `EPIPE` when the other end is closed;
/// `WouldBlock` on a non-blocking socket whose peer does not read.
pub fn send(socket: impl AsFd, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<()> {
    if fds.len() > FDS_MAX || bytes.is_empty() {
        return Err(rustix::io::Errno::INVAL.into());
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() && !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(rustix::io::Errno::INVAL.into());
    }
    rustix::io::retry_on_intr(|| sendmsg(&socket, &[IoSlice::new(bytes)], &mut control, SendFlags::NOSIGNAL))?;
    Ok(())
}

/// Receives one packet into `buffer`. A packet larger than the buffer, or with more than [`FDS_MAX`] descriptors, is an
/// error of kind `InvalidData`: half a message is never returned.
pub fn recv(socket: impl AsFd, buffer: &mut [u8]) -> io::Result<Packet> {
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(FDS_MAX))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let message = rustix::io::retry_on_intr(|| {
        recvmsg(&socket, &mut [IoSliceMut::new(buffer)], &mut control, RecvFlags::CMSG_CLOEXEC)
    })?;
    let fds = control
        .drain()
        .filter_map(|part| match part {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if message.flags.intersects(ReturnFlags::TRUNC | ReturnFlags::CTRUNC) {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "packet larger than the receiver's bounds"));
    }
    Ok(Packet { len: message.bytes, fds })
}

#[cfg(test)]
mod tests;
