//! The egress broker: makes sockets in the host's network for proxies that live in a sandbox without one.
//!
//! In: packets on a Unix socket that a proxy inherited, one JSON object each. Out: the answer, with the socket beside it
//! (`SCM_RIGHTS`). Answers may come in another order than requests.
//!
//! ```text
//! {"id":1,"connect":"93.184.216.34:443"}  → {"id":1,"ok":true} + connected TCP socket (non-blocking)
//!                                         → {"id":1,"ok":false,"error":"ECONNREFUSED"}
//! {"id":2,"udp":"dns"}                    → {"id":2,"ok":true,"servers":["192.0.2.53:53"]} + unconnected UDP socket
//! ```
//!
//! One thread serves every proxy and never blocks: a slow connect delays nobody else. Bounds: [`DIALS_MAX`] connects
//! under way per proxy (more are answered `EAGAIN`), [`DIAL_TIMEOUT`] for each (`ETIMEDOUT`), and a proxy that does not
//! read its answers is not read from. Which destinations are refused is in [`policy`].

mod policy;
mod serve;

use std::{
    io,
    os::fd::{AsFd as _, OwnedFd},
    thread::{self, JoinHandle},
    time::Duration,
};

use mizzen_net::fdpass;

/// Connects under way per proxy; further ones are answered `EAGAIN`.
const DIALS_MAX: usize = 512;
/// How long a connect may take before it is answered `ETIMEDOUT`.
const DIAL_TIMEOUT: Duration = Duration::from_secs(10);

/// What a broker allows.
#[derive(Clone, Copy, Debug, Default)]
pub struct BrokerOptions {
    /// Whether [`crate::HOST_ALIAS`] leads to the host's loopback (`EACCES` otherwise).
    pub host_access: bool,
}

/// A running broker. Dropping it closes every proxy's socket to it.
#[derive(Debug)]
pub struct Broker {
    /// New proxies' sockets are passed to the thread through this; its end is the thread's end.
    admission: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Broker {
    /// Starts the broker's thread, in the caller's network namespace.
    pub fn start(options: BrokerOptions) -> io::Result<Self> {
        let (ours, theirs) = fdpass::pair()?;
        let thread = thread::Builder::new()
            .name("egress-broker".into())
            .spawn(move || serve::Server::new(options, theirs).run())?;
        Ok(Self { admission: Some(ours), thread: Some(thread) })
    }

    /// A new socket for one proxy, which speaks the protocol above on it.
    pub fn attach(&self) -> io::Result<OwnedFd> {
        let (proxy, broker) = fdpass::pair()?;
        rustix::io::ioctl_fionbio(&broker, true)?;
        let admission = self.admission.as_ref().ok_or(io::ErrorKind::BrokenPipe)?;
        fdpass::send(admission, b"proxy", &[broker.as_fd()])?;
        Ok(proxy)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.admission.take();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // a panic there has been reported already
        }
    }
}
