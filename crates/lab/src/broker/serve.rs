//! The broker's thread: one `poll(2)` over all proxies and all connects under way.

use std::{
    collections::{BTreeMap, VecDeque},
    fs, io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    os::fd::{AsFd, OwnedFd},
    time::Instant,
};

use mizzen_net::fdpass;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
};
use serde::{Deserialize, Serialize};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use super::{
    BrokerOptions, DIAL_TIMEOUT, DIALS_MAX,
    policy::{destination, error_name, name_servers},
};

/// Answers that may wait for a proxy to read them; a proxy with more is not read from until it has caught up.
const OUTBOX_MAX: usize = 64;

#[derive(Debug, Deserialize)]
struct Ask {
    #[serde(default)]
    id: u64,
    connect: Option<String>,
    udp: Option<String>,
}

#[derive(Debug, Serialize)]
struct Answer {
    id: u64,
    ok: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    servers: Vec<SocketAddr>,
}

/// What goes back to a proxy: a socket, and the name servers if it is one for DNS; or an error.
type Outcome = Result<(OwnedFd, Vec<SocketAddr>), Errno>;

struct Proxy {
    socket: OwnedFd,
    outbox: VecDeque<(Answer, Option<OwnedFd>)>,
}

/// A connect under way.
struct Dial {
    proxy: u64,
    id: u64,
    socket: Socket,
    deadline: Instant,
}

pub(super) struct Server {
    options: BrokerOptions,
    admission: OwnedFd,
    proxies: BTreeMap<u64, Proxy>,
    next_proxy: u64,
    dials: Vec<Dial>,
}

impl Server {
    pub(super) fn new(options: BrokerOptions, admission: OwnedFd) -> Self {
        Self { options, admission, proxies: BTreeMap::new(), next_proxy: 0, dials: Vec::new() }
    }

    /// Serves until the admission socket is closed.
    pub(super) fn run(mut self) {
        while let Ok(ready) = self.wait() {
            self.finish_dials(&ready.dials); // first, while positions are those of the wait
            if ready.admission && !self.admit() {
                return;
            }
            for key in ready.readable {
                self.read(key);
            }
            self.flush();
        }
    }

    fn wait(&self) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.admission, PollFlags::IN)];
        fds.extend(self.proxies.values().map(|proxy| {
            let read = if proxy.outbox.len() < OUTBOX_MAX { PollFlags::IN } else { PollFlags::empty() };
            let write = if proxy.outbox.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            PollFd::from_borrowed_fd(proxy.socket.as_fd(), read | write)
        }));
        fds.extend(self.dials.iter().map(|dial| PollFd::from_borrowed_fd(dial.socket.as_fd(), PollFlags::OUT)));
        let timeout = self.dials.iter().map(|dial| dial.deadline).min().map(|deadline| {
            // Rounded up, so that waking at the deadline finds it passed.
            let left = deadline.saturating_duration_since(Instant::now()).as_millis() + 1;
            Timespec { tv_sec: (left / 1000) as i64, tv_nsec: ((left % 1000) * 1_000_000) as i64 }
        });
        match poll(&mut fds, timeout.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ended = PollFlags::HUP | PollFlags::ERR;
        let (proxies, dials) = fds[1..].split_at(self.proxies.len());
        Ok(Ready {
            admission: !fds[0].revents().is_empty(),
            readable: (self.proxies.keys().zip(proxies))
                .filter(|(_, fd)| fd.revents().intersects(PollFlags::IN | ended))
                .map(|(key, _)| *key)
                .collect(),
            dials: dials.iter().map(|fd| !fd.revents().is_empty()).collect(),
        })
    }

    /// Takes in a new proxy; `false` when there will be no more.
    fn admit(&mut self) -> bool {
        let Ok(packet) = fdpass::recv(&self.admission, &mut [0; 16]) else { return false };
        for socket in packet.fds {
            self.proxies.insert(self.next_proxy, Proxy { socket, outbox: VecDeque::new() });
            self.next_proxy += 1;
        }
        packet.len > 0
    }

    /// Reads one request; the poll will report the next one.
    fn read(&mut self, key: u64) {
        let mut buffer = [0; 4096];
        let Some(proxy) = self.proxies.get(&key) else { return };
        match fdpass::recv(&proxy.socket, &mut buffer) {
            Ok(packet) if packet.len > 0 => self.serve(key, &buffer[..packet.len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) if error.kind() == io::ErrorKind::InvalidData => self.answer(key, 0, Err(Errno::INVAL)),
            Ok(_) | Err(_) => {
                self.proxies.remove(&key);
                self.dials.retain(|dial| dial.proxy != key);
            }
        }
    }

    fn serve(&mut self, key: u64, packet: &[u8]) {
        let Ok(ask) = serde_json::from_slice::<Ask>(packet) else { return self.answer(key, 0, Err(Errno::INVAL)) };
        let outcome = match (ask.connect.as_deref(), ask.udp.as_deref()) {
            (Some(address), None) => match self.dial(key, address) {
                Ok(socket) => {
                    self.dials.push(Dial { proxy: key, id: ask.id, socket, deadline: Instant::now() + DIAL_TIMEOUT });
                    return;
                }
                Err(error) => Err(error),
            },
            (None, Some("dns")) => dns_socket(),
            _ => Err(Errno::INVAL),
        };
        self.answer(key, ask.id, outcome);
    }

    /// Starts a connect.
    fn dial(&self, key: u64, address: &str) -> Result<Socket, Errno> {
        if self.dials.iter().filter(|dial| dial.proxy == key).count() >= DIALS_MAX {
            return Err(Errno::AGAIN);
        }
        let asked = address.parse().map_err(|_| Errno::INVAL)?;
        let address = destination(asked, self.options.host_access, &host_name_servers())?;
        let connect = || {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
            socket.set_nonblocking(true)?;
            match socket.connect(&SockAddr::from(address)) {
                Err(error) if error.raw_os_error() != Some(Errno::INPROGRESS.raw_os_error()) => Err(error),
                _ => Ok(socket),
            }
        };
        connect().map_err(|error| errno(&error))
    }

    /// Answers the connects that are ready or out of time. `ready` goes by position in `dials`.
    fn finish_dials(&mut self, ready: &[bool]) {
        let now = Instant::now();
        let mut index = 0;
        let done: Vec<Dial> = self
            .dials
            .extract_if(.., |dial| {
                index += 1;
                ready.get(index - 1).copied().unwrap_or(false) || dial.deadline <= now
            })
            .collect();
        for dial in done {
            let outcome = match dial.socket.take_error() {
                Ok(None) if dial.socket.peer_addr().is_ok() => Ok((dial.socket.into(), Vec::new())),
                Ok(None) => Err(Errno::TIMEDOUT),
                Ok(Some(error)) | Err(error) => Err(errno(&error)),
            };
            self.answer(dial.proxy, dial.id, outcome);
        }
    }

    fn answer(&mut self, key: u64, id: u64, outcome: Outcome) {
        let Some(proxy) = self.proxies.get_mut(&key) else { return };
        proxy.outbox.push_back(match outcome {
            Ok((socket, servers)) => (Answer { id, ok: true, error: None, servers }, Some(socket)),
            Err(error) => (Answer { id, ok: false, error: Some(error_name(error)), servers: Vec::new() }, None),
        });
    }

    /// Sends what the proxies have room for. A proxy that has gone is noticed when it is read.
    fn flush(&mut self) {
        for proxy in self.proxies.values_mut() {
            while let Some((answer, socket)) = proxy.outbox.front() {
                match send(&proxy.socket, answer, socket.as_ref()) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                    // Too many descriptors are on their way (`ETOOMANYREFS`): say so instead of passing one more.
                    Err(_) if socket.is_some() => {
                        let failed = Answer { id: answer.id, ok: false, error: Some("EMFILE"), servers: Vec::new() };
                        proxy.outbox[0] = (failed, None);
                    }
                    Ok(()) | Err(_) => drop(proxy.outbox.pop_front()),
                }
            }
        }
    }
}

fn send(socket: &OwnedFd, answer: &Answer, passed: Option<&OwnedFd>) -> io::Result<()> {
    let fds: Vec<_> = passed.into_iter().map(AsFd::as_fd).collect();
    fdpass::send(socket, &serde_json::to_vec(answer)?, &fds)
}

/// What a wait found.
struct Ready {
    admission: bool,
    /// Keys of proxies.
    readable: Vec<u64>,
    /// By position in `Server::dials`.
    dials: Vec<bool>,
}

fn host_name_servers() -> Vec<SocketAddr> {
    name_servers(&fs::read_to_string("/etc/resolv.conf").unwrap_or_default())
}

/// An unconnected, non-blocking UDP socket of the name servers' family.
fn dns_socket() -> Outcome {
    let servers = host_name_servers();
    let any: SocketAddr = if servers.iter().all(SocketAddr::is_ipv4) {
        (Ipv4Addr::UNSPECIFIED, 0).into()
    } else {
        (Ipv6Addr::UNSPECIFIED, 0).into()
    };
    let bind = || {
        let socket = UdpSocket::bind(any)?;
        socket.set_nonblocking(true)?;
        Ok(socket)
    };
    bind().map(|socket| (socket.into(), servers)).map_err(|error: io::Error| errno(&error))
}

fn errno(error: &io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::IO, Errno::from_raw_os_error)
}
