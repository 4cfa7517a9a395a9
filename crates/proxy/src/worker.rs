//! A worker: one thread, one runtime, its own sockets, pools, cursors, random numbers and metric shards.
//!
//! In: commands from the side thread and from other workers (a connection handed over). Nothing here blocks, and no lock
//! is shared with another worker per request.

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    net::SocketAddr,
    rc::Rc,
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use mizzen_snapshot::{FilterChain, Snapshot, listener::Direction};
use mizzen_telemetry::Shard;
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
};

use crate::{
    accept, clock, connection,
    rand::Rng,
    registry::{ConnectionInfo, Ending, Entry, Registry, Speaks},
    shared::{Resolved, Shared},
    telemetry::Observer,
    tls::TlsCache,
    upstream::live::Live,
};

/// What a worker is told.
pub(crate) enum Command {
    /// A connection accepted by another worker, whose load is already counted here.
    Connection(accept::Accepted),
    /// Something in [`Shared`] changed.
    Reconfigured,
    /// List the connections.
    Connections(oneshot::Sender<Vec<ConnectionInfo>>),
    /// State of the upstream side, as text lines.
    Clusters(oneshot::Sender<Vec<String>>),
    /// Let connections finish and take no new ones on inbound listeners (or all).
    Drain { all: bool },
}

/// The configuration as this worker last read it.
pub(crate) struct Config {
    pub(crate) epoch: u64,
    pub(crate) snapshot: Arc<Snapshot>,
    pub(crate) resolved: Arc<Resolved>,
    pub(crate) identity: Option<Arc<crate::tls::Identity>>,
}

/// One worker's state; everything in it stays on its thread.
pub(crate) struct Worker {
    pub(crate) id: usize,
    pub(crate) shared: Arc<Shared>,
    pub(crate) registry: Rc<Registry>,
    pub(crate) live: Live,
    pub(crate) tls: TlsCache,
    pub(crate) observer: Observer,
    pub(crate) rng: Rng,
    config: RefCell<Rc<Config>>,
    listening: RefCell<HashMap<SocketAddr, Listening>>,
    /// What drains: `Some(true)` everything, `Some(false)` inbound listeners.
    draining: Cell<Option<bool>>,
    broken_binds: RefCell<HashMap<SocketAddr, String>>,
}

/// A socket of this worker and the task that accepts on it.
struct Listening {
    listener: Arc<str>,
    task: JoinHandle<()>,
}

impl Worker {
    pub(crate) fn new(id: usize, shared: Arc<Shared>, shard: Shard) -> Rc<Self> {
        let config = read(&shared);
        Rc::new(Self {
            id,
            registry: Rc::default(),
            live: Live::default(),
            tls: TlsCache::default(),
            observer: Observer::new(shard, &shared),
            rng: Rng::new(),
            config: RefCell::new(Rc::new(config)),
            listening: RefCell::default(),
            draining: Cell::new(None),
            broken_binds: RefCell::default(),
            shared,
        })
    }

    /// The generation in force; one atomic load when nothing changed.
    pub(crate) fn config(&self) -> Rc<Config> {
        if self.config.borrow().epoch != self.shared.epoch() {
            *self.config.borrow_mut() = Rc::new(read(&self.shared));
        }
        Rc::clone(&self.config.borrow())
    }

    /// Whether connections of this listener are to end.
    pub(crate) fn is_draining(&self, direction: Direction) -> bool {
        self.draining.get().is_some_and(|all| all || direction == Direction::Inbound)
    }

    /// Opens what should be open, closes what should not, and looks at each connection again.
    fn reconfigure(self: &Rc<Self>) {
        let config = self.config();
        self.rebind(&config.snapshot);
        let snapshot = &config.snapshot;
        self.registry.recheck(|entry| recheck(snapshot, entry));
        self.live.retain(|name| matches!(snapshot.cluster(name), mizzen_snapshot::Lookup::Known(_)));
        self.tls.retain();
    }

    fn rebind(self: &Rc<Self>, snapshot: &Snapshot) {
        let mut wanted: HashMap<SocketAddr, Arc<str>> = HashMap::new();
        for listener in snapshot.bound_listeners() {
            wanted.extend(listener.addresses.iter().map(|a| (*a, Arc::clone(&listener.name))));
        }
        let mut listening = self.listening.borrow_mut();
        listening.retain(|address, open| {
            let keep = wanted.get(address).is_some_and(|name| *name == open.listener);
            if !keep {
                open.task.abort();
            }
            keep
        });
        for (address, name) in wanted {
            if listening.contains_key(&address) {
                continue;
            }
            match accept::open(&self.shared, address) {
                Ok(socket) => {
                    self.broken_binds.borrow_mut().remove(&address);
                    let task = tokio::task::spawn_local(accept::run(Rc::clone(self), socket, Arc::clone(&name)));
                    listening.insert(address, Listening { listener: name, task });
                }
                Err(error) => self.note_broken_bind(address, &name, &error),
            }
        }
    }

    /// Said once per cause; tried again at each tick.
    fn note_broken_bind(&self, address: SocketAddr, listener: &str, error: &std::io::Error) {
        let text = error.to_string();
        let before = self.broken_binds.borrow_mut().insert(address, text.clone());
        if before.as_ref() != Some(&text) {
            tracing::error!(listener, %address, error = text, "listener cannot be opened");
        }
    }

    fn tick(self: &Rc<Self>) {
        clock::tick();
        let config = self.config();
        self.registry.sweep(unix_now());
        self.live.sweep(unix_now());
        self.observer.tick();
        if !self.broken_binds.borrow().is_empty() {
            self.rebind(&config.snapshot);
        }
    }

    /// The sockets stay open: who comes is served, and told to come back elsewhere.
    fn drain(self: &Rc<Self>, all: bool) {
        self.draining.set(Some(all));
        let config = self.config();
        let direction = |name: &str| config.snapshot.listener(name).map_or(Direction::Inbound, |l| l.direction);
        self.registry.retire(|entry| self.is_draining(direction(&entry.accepted_on)));
    }
}

/// Seconds since 1970.
pub(crate) fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

fn read(shared: &Shared) -> Config {
    // The epoch first: what is read after it is at least as new.
    let epoch = shared.epoch();
    Config { epoch, snapshot: shared.snapshot(), resolved: shared.resolved(), identity: shared.identity() }
}

/// A connection pins a key (listener, chain), not content. If the chain is gone, the connection is drained, a TCP
/// connection cut; if only what it does changed, the next request follows the new content.
fn recheck(snapshot: &Snapshot, entry: &Entry) -> Option<(Ending, &'static str)> {
    let chain = entry.chain.borrow();
    let chain = chain.as_ref()?;
    match snapshot.listener(&entry.listener.borrow()) {
        None => Some((Ending::Drain, "listener removed")),
        Some(listener) => match find_chain(listener, chain) {
            None => Some((Ending::Drain, "filter chain removed")),
            Some(now) => requires_certificate_now(entry, &now),
        },
    }
}

/// A plaintext connection does not outlive a change to STRICT, nor a peer its expulsion from the allowed names.
fn requires_certificate_now(entry: &Entry, chain: &FilterChain) -> Option<(Ending, &'static str)> {
    let peer = entry.identity.borrow();
    match (&chain.tls, peer.as_ref()) {
        (Some(_), None) if entry.speaks.get() != Speaks::Detecting => {
            Some((Ending::Abort, "filter chain demands mutual TLS now"))
        }
        (Some(tls), Some(peer)) if !peer.satisfies(&tls.peers) => Some((Ending::Abort, "peer is not allowed any more")),
        _ => None,
    }
}

/// A chain by name.
pub(crate) fn find_chain(listener: &mizzen_snapshot::Listener, name: &str) -> Option<Arc<FilterChain>> {
    listener.filter_chains.iter().chain(&listener.default_chain).find(|c| &*c.name == name).cloned()
}

/// The worker's thread: handles commands until the process ends.
pub(crate) async fn run(worker: Rc<Worker>, mut commands: mpsc::Receiver<Command>) {
    clock::tick();
    worker.reconfigure();
    let mut ticks = tokio::time::interval(clock::TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        tokio::select! {
            command = commands.recv() => match command {
                Some(command) => worker.obey(command),
                None => return,
            },
            _ = ticks.tick() => worker.tick(),
        }
    }
}

impl Worker {
    fn obey(self: &Rc<Self>, command: Command) {
        match command {
            Command::Connection(accepted) => connection::start(Rc::clone(self), accepted),
            Command::Reconfigured => self.reconfigure(),
            Command::Connections(reply) => drop(reply.send(self.registry.list(self.id))),
            Command::Clusters(reply) => drop(reply.send(self.live.describe())),
            Command::Drain { all } => {
                self.drain(all);
            }
        }
    }
}
