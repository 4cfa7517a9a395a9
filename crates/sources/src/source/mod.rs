//! The thread that looks, waits and writes.
//!
//! ```text
//!  events ─► debounce ─► tree ─► store ─► watch channel
//!  poll  ──────────────► tree ─►   ▲
//!  replace_runtime ────────────────┘
//! ```

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread::JoinHandle,
    time::{Duration, Instant},
};

use mizzen_api::{Finding, Object, Severity};
use notify::{
    Event, EventKind,
    event::{AccessKind, AccessMode, ModifyKind},
};
use tokio::sync::{oneshot, watch};

use crate::{
    debounce::{Debounce, Look, Writing},
    set::ObjectSet,
    store::Store,
    tree::{Tree, is_manifest},
    watcher::Watcher,
};

#[cfg(test)]
mod tests;

/// How a directory is followed.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How often directories without events are looked at.
    pub poll_interval: Duration,
    /// So many directories are watched by the kernel; the others are polled.
    pub watches_max: usize,
}

impl Default for Options {
    fn default() -> Self {
        Self { poll_interval: Duration::from_secs(2), watches_max: 8_192 }
    }
}

/// Why a directory cannot be followed.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error("the directory {path} cannot be read")]
    Unreadable { path: PathBuf, source: std::io::Error },
    #[error("no thread can be started")]
    Thread(#[source] std::io::Error),
}

/// A directory that is followed, and the runtime objects laid under it. Dropping it ends its thread.
#[derive(Debug)]
pub struct Sources {
    current: watch::Receiver<Arc<ObjectSet>>,
    inbox: mpsc::Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

enum Message {
    Event(notify::Result<Event>),
    Replace(Vec<Object>, oneshot::Sender<u64>),
    Stop,
}

impl Sources {
    /// Reads all below `root` and follows it from then on. The first generation is there on return.
    ///
    /// Files are named by their path from `root` on as it was given (`samples/bookinfo/reviews.yaml`).
    pub fn open(root: &Path, options: Options) -> Result<Self, OpenError> {
        let (inbox, messages) = mpsc::channel();
        let events = inbox.clone();
        let watcher = Watcher::new(options.watches_max, move |event| {
            // The receiver is gone when nobody wants to know any more.
            let _ = events.send(Message::Event(event));
        });
        let mut writer = Writer::new(root, watcher, options.poll_interval);
        let changes = writer.tree.look_everywhere(&mut writer.watcher);
        if let Some(source) = writer.tree.root_error.take() {
            return Err(OpenError::Unreadable { path: root.to_owned(), source });
        }
        writer.watch_parent();
        writer.store.apply_files(changes, writer.notices());
        let (publish, current) = watch::channel(Arc::clone(writer.store.current()));
        let thread = std::thread::Builder::new()
            .name("sources".into())
            .spawn(move || writer.run(&messages, &publish))
            .map_err(OpenError::Thread)?;
        Ok(Self { current, inbox, thread: Some(thread) })
    }

    /// The newest set.
    pub fn current(&self) -> Arc<ObjectSet> {
        Arc::clone(&self.current.borrow())
    }

    /// Follows the sets. A slow reader sees the newest one; [`ObjectSet::changes_since`] tells what it missed.
    pub fn subscribe(&self) -> watch::Receiver<Arc<ObjectSet>> {
        self.current.clone()
    }

    /// Replaces all objects that `lab` reports; returns the generation in which they are in force.
    pub async fn replace_runtime(&self, objects: Vec<Object>) -> u64 {
        let (reply, answer) = oneshot::channel();
        let asked = self.inbox.send(Message::Replace(objects, reply)).is_ok();
        let answered = if asked { answer.await.ok() } else { None };
        answered.unwrap_or_else(|| self.current.borrow().generation)
    }
}

impl Drop for Sources {
    fn drop(&mut self) {
        // It can have ended only by a panic, which was printed.
        let _ = self.inbox.send(Message::Stop);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

struct Writer {
    root: PathBuf,
    tree: Tree,
    watcher: Watcher,
    store: Store,
    debounce: Debounce,
    poll_interval: Duration,
    next_poll: Instant,
}

impl Writer {
    fn new(root: &Path, watcher: Watcher, poll_interval: Duration) -> Self {
        let root = root.to_owned();
        let next_poll = Instant::now() + poll_interval;
        let (store, debounce) = (Store::default(), Debounce::default());
        Self { tree: Tree::new(&root), root, watcher, store, debounce, poll_interval, next_poll }
    }

    /// Events of the parent tell when the root itself is replaced (a link that is swapped, a directory moved into its place).
    fn watch_parent(&mut self) {
        if let Some(parent) = self.parent() {
            self.watcher.watch_beside(&parent);
        }
    }

    fn parent(&self) -> Option<PathBuf> {
        self.root.file_name()?;
        let parent = self.root.parent()?;
        Some(if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_owned() })
    }

    fn run(mut self, messages: &mpsc::Receiver<Message>, publish: &watch::Sender<Arc<ObjectSet>>) {
        loop {
            let message = match messages.recv_timeout(self.wait(Instant::now())) {
                Ok(Message::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(message) => Some(message),
                Err(RecvTimeoutError::Timeout) => None,
            };
            match message {
                Some(Message::Event(event)) => self.event(Instant::now(), event),
                Some(Message::Replace(objects, reply)) => {
                    if let Some(set) = self.store.replace_runtime(objects) {
                        publish.send_replace(set);
                    }
                    // Who asked may have gone.
                    let _ = reply.send(self.store.current().generation);
                }
                Some(Message::Stop) | None => {}
            }
            if let Some(set) = self.look(Instant::now()) {
                publish.send_replace(set);
            }
        }
    }

    /// How long there is nothing to do.
    fn wait(&self, now: Instant) -> Duration {
        let due = self.debounce.due().map_or(self.next_poll, |due| due.min(self.next_poll));
        due.saturating_duration_since(now)
    }

    fn event(&mut self, now: Instant, event: notify::Result<Event>) {
        let Ok(event) = event else { return self.debounce.lost(now) };
        if event.need_rescan() {
            return self.debounce.lost(now);
        }
        let writing = match event.kind {
            // Reading a file makes events, too.
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => Writing::Done,
            EventKind::Access(_) => return,
            EventKind::Modify(ModifyKind::Data(_)) => Writing::Going,
            _ => Writing::Other,
        };
        for path in &event.paths {
            // Some program's log beside the manifests is no reason to look.
            let content = writing != Writing::Other;
            if self.concerns_us(path) && (!content || is_manifest(path)) {
                self.debounce.event(now, path, writing);
            }
        }
    }

    /// Of what happens beside the root, only what happens to the root itself.
    fn concerns_us(&self, path: &Path) -> bool {
        path.starts_with(&self.root) || self.is_root(path)
    }

    fn is_root(&self, path: &Path) -> bool {
        path == self.root || path.strip_prefix("./").is_ok_and(|path| path == self.root)
    }

    /// Looks at what is due.
    fn look(&mut self, now: Instant) -> Option<Arc<ObjectSet>> {
        let mut changes = Vec::new();
        let mut looked = false;
        if let Some(look) = self.debounce.take(now) {
            looked = true;
            changes = match look {
                Look::Everywhere => self.tree.look_everywhere(&mut self.watcher),
                Look::At(paths) => {
                    let paths =
                        paths.into_iter().map(|path| if self.is_root(&path) { self.root.clone() } else { path });
                    self.tree.look_at(&paths.collect(), &mut self.watcher)
                }
            };
        }
        if now >= self.next_poll {
            self.next_poll = now + self.poll_interval;
            let mut polled = self.watcher.polled().clone();
            if self.tree.root_error.is_some() {
                polled.insert(self.root.clone());
            }
            looked |= !polled.is_empty();
            changes.extend(self.tree.look_at(&polled, &mut self.watcher));
        }
        if looked { self.store.apply_files(changes, self.notices()) } else { None }
    }

    fn notices(&self) -> Vec<Finding> {
        let root = self.tree.root_error.as_ref().map(|error| Finding {
            severity: Severity::Error,
            object: None,
            path: String::new(),
            file: self.root.to_string_lossy().into(),
            line: 0,
            message: format!("the directory cannot be read ({error}): what was read before stays in force"),
            hint: None,
        });
        root.into_iter().chain(self.watcher.notice().cloned()).collect()
    }
}
