//! Packets and descriptors against the kernel.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
};

use super::{FDS_MAX, pair, recv, send};

#[test]
fn packets_keep_their_bounds_and_their_descriptors() {
    let (a, b) = pair().expect("socketpair");
    let (mut reader, writer) = std::io::pipe().expect("pipe");
    send(&a, b"first", &[writer.as_fd()]).expect("send");
    send(&a, b"second", &[]).expect("send");
    drop(writer);

    let mut buffer = [0; 64];
    let first = recv(&b, &mut buffer).expect("recv");
    assert_eq!((&buffer[..first.len], first.fds.len()), (&b"first"[..], 1));
    for fd in first.fds {
        File::from(fd).write_all(b"through the descriptor").expect("write");
    }
    let mut text = String::new();
    reader.read_to_string(&mut text).expect("read");
    assert_eq!(text, "through the descriptor");

    let second = recv(&b, &mut buffer).expect("recv");
    assert_eq!((&buffer[..second.len], second.fds.len()), (&b"second"[..], 0));
    drop(a);
    assert_eq!(recv(&b, &mut buffer).expect("recv").len, 0, "a closed peer reads as length 0");
}

#[test]
fn what_does_not_fit_is_refused_whole() {
    let (a, b) = pair().expect("socketpair");
    send(&a, &[7; 100], &[]).expect("send");
    let error = recv(&b, &mut [0; 10]).expect_err("larger than the buffer");
    assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);

    let fds: Vec<OwnedFd> = (0..=FDS_MAX).map(|_| b.try_clone().expect("dup")).collect();
    let borrowed: Vec<_> = fds.iter().map(AsFd::as_fd).collect();
    assert!(send(&a, b"x", &borrowed).is_err(), "one descriptor too many");
    assert!(send(&a, b"", &[]).is_err(), "an empty packet would read as the end");
    send(&a, b"x", &borrowed[..FDS_MAX]).expect("as many as allowed");
    assert_eq!(recv(&b, &mut [0; 10]).expect("recv").fds.len(), FDS_MAX);
}
