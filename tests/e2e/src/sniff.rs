//! What is on the wire of a mesh: every packet of the network in which the bridge and the far ends of all veths are.

use std::{
    io::{BufRead as _, BufReader},
    process::{Child, ChildStdout, Command, Stdio},
};

use rustix::process::{Pid, Signal, kill_process};

use crate::Process;

/// Enters the network, then counts what a packet socket on all interfaces brings, and looks for a word in it. The sandbox's
/// user namespace is the caller's own, and whoever made one may enter it with every privilege (`user_namespaces(7)`).
const SNIFFER: &str = "
import ctypes, os, signal, socket, sys
class End(Exception): pass
def end(*_): raise End()
signal.signal(signal.SIGTERM, end)
libc = ctypes.CDLL(None, use_errno=True)
for kind in ['user', 'net']:
    namespace = os.open(f'/proc/{sys.argv[1]}/ns/{kind}', os.O_RDONLY)
    if libc.setns(namespace, 0): sys.exit(os.strerror(ctypes.get_errno()))
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.ntohs(3))
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 << 20)
word, packets, found = sys.argv[2].encode(), 0, 0
print('listening', flush=True)
try:
    while True:
        packet = s.recv(70000)
        packets += 1
        found += word in packet
except End: pass
print(packets, found, flush=True)
";

/// A capture under way.
pub struct Sniffer {
    child: Child,
    out: BufReader<ChildStdout>,
}

impl Sniffer {
    /// Starts to look for `word` in the network of a process.
    ///
    /// # Panics
    /// When it cannot: the test has failed.
    pub fn start(network_of: &Process, word: &str) -> Self {
        let mut child = Command::new("/usr/bin/python3")
            .args(["-c", SNIFFER, &network_of.pid.to_string(), word])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python started");
        let mut out = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        out.read_line(&mut line).expect("the sniffer speaks");
        assert_eq!(line.trim(), "listening", "the sniffer could not open its socket");
        Self { child, out }
    }

    /// Ends it: how many packets there were, and how many held the word.
    ///
    /// # Panics
    /// When it died before: the test has failed.
    pub fn stop(mut self) -> (u64, u64) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        let mut line = String::new();
        self.out.read_line(&mut line).expect("the sniffer speaks");
        let figures = line.trim().split_once(' ').expect("two figures");
        (figures.0.parse().expect("packets"), figures.1.parse().expect("finds"))
    }
}

impl Drop for Sniffer {
    fn drop(&mut self) {
        self.child.kill().ok();
        self.child.wait().ok();
    }
}
