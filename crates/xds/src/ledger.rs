//! What one client holds of one kind, kept as the difference from what it should hold.
//!
//! A client that is in step costs nothing but a shared pointer to its [`Set`]. In: the set, subscriptions, ACKs and
//! NACKs. Out: the content of the next response.
//!
//! ```text
//!            set changed, or name asked for             sent
//!  in step ───────────────────────────────► queued ───────────────► in flight
//!     ▲                                       ▲ │ target equals        │
//!     │                                       │ └─ what is held ─┐     │
//!     │                       target changed  │                  ▼     │
//!     ├───────────────────────────────────── stuck ◄── NACK ───────────┤
//!     └──────────────────────────────── ACK ───────────────────────────┘
//! ```
//!
//! "Stuck": the client refused exactly what it should hold. The same bytes are not sent again in the same stream, and
//! what it really holds is unknown, so that nothing it may still refer to is removed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use smallvec::SmallVec;

use crate::encode::{self, Chunk, ChunkBuilder};
use crate::kind::Kind;
use crate::set::{Set, Version};
use crate::subscription::{Pattern, Subscription};

/// Refused versions remembered per resource; one refused in more versions may see its oldest again.
const REFUSED_VERSIONS_MAX: usize = 8;
/// Resources whose refusals are remembered; beyond it all are forgotten, and may be sent once more.
const REFUSED_NAMES_MAX: usize = 10_000;

/// What the client has of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Held {
    Absent,
    Version(Version),
    /// It holds something we did not send, or refused what we sent.
    Unknown,
    /// It has just asked for it by name, so it gets an answer whatever it holds.
    Asked,
}

/// What was sent, or refused, of a resource: a version, or that it is gone.
type Sent = Result<Version, Gone>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Gone;

/// A resource in which client and set differ, or may differ.
#[derive(Debug)]
struct Pending {
    held: Held,
    /// First generation that the client does not have because of this resource.
    since: u64,
    /// What was sent and is not answered.
    sent: Option<Sent>,
    /// First generation that changed it again after it was sent.
    again: Option<u64>,
}

impl Pending {
    fn new(held: Held, since: u64) -> Self {
        Self { held, since, sent: None, again: None }
    }
}

/// What a client has refused in this stream.
#[derive(Debug, Default)]
struct Refusals(HashMap<Arc<str>, SmallVec<[Sent; 1]>>);

impl Refusals {
    fn add(&mut self, name: &Arc<str>, sent: Sent) {
        if self.0.len() >= REFUSED_NAMES_MAX {
            self.0.clear();
        }
        let versions = self.0.entry(name.clone()).or_default();
        if versions.len() == REFUSED_VERSIONS_MAX {
            versions.drain(..1);
        }
        versions.push(sent);
    }

    fn contains(&self, name: &str, sent: Sent) -> bool {
        self.0.get(name).is_some_and(|versions| versions.contains(&sent))
    }
}

/// A first transfer: everything of the set under `prefix` that comes after the name `sent`.
#[derive(Debug)]
struct Cold {
    prefix: Arc<str>,
    sent: Option<Arc<str>>,
}

#[derive(Debug)]
enum Content {
    Cold(Arc<Chunk>),
    Named(Vec<(Arc<str>, Sent)>),
}

#[derive(Debug)]
struct InFlight {
    nonce: u64,
    content: Content,
    /// Something in it was changed again after it was sent, so an update follows the answer.
    outdated: bool,
}

/// The varying parts of a response.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    pub(crate) resources: usize,
    pub(crate) removed: usize,
    pub(crate) bytes: SmallVec<[Bytes; 2]>,
    /// Nothing more of this kind is waiting to be sent.
    pub(crate) complete: bool,
}

/// How a client answered a response.
#[derive(Debug)]
pub(crate) enum Verdict<'a> {
    Accepted,
    /// These were refused, the others are in force.
    Refused(HashSet<&'a str>),
    /// Something was refused, told to people. Envoy names the resources in its text and applies the others; a text
    /// in which no name of the response occurs refuses them all.
    RefusedInWords(&'a str),
}

impl Verdict<'_> {
    fn refuses(&self, name: &str, any_named: bool) -> bool {
        match self {
            Verdict::Accepted => false,
            Verdict::Refused(names) => names.contains(name),
            Verdict::RefusedInWords(text) => !any_named || text.contains(name),
        }
    }

    /// Whether a name of the response occurs in the text.
    fn names_any(&self, content: &Content) -> bool {
        let Verdict::RefusedInWords(text) = self else { return false };
        match content {
            Content::Cold(chunk) => chunk.resources.iter().any(|(name, _)| text.contains(&**name)),
            Content::Named(names) => names.iter().any(|(name, _)| text.contains(&**name)),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Ledger {
    kind: Kind,
    message_bytes_max: usize,
    set: Arc<Set>,
    generation: u64,
    subscription: Subscription,
    heard: bool,
    cold: VecDeque<Cold>,
    cold_since: u64,
    pending: BTreeMap<Arc<str>, Pending>,
    /// Names to be sent now: in the set, or asked for and not there.
    updates: BTreeSet<Arc<str>>,
    /// Names to be removed once nothing can refer to them.
    removals: BTreeSet<Arc<str>>,
    in_flight: Option<InFlight>,
    refused: Refusals,
    /// A response is wanted even if there is nothing to say.
    probe: bool,
}

impl Ledger {
    pub(crate) fn new(set: Arc<Set>, generation: u64, message_bytes_max: usize) -> Self {
        Self {
            kind: set.kind(),
            message_bytes_max,
            set,
            generation,
            subscription: Subscription::default(),
            heard: false,
            cold: VecDeque::new(),
            cold_since: 0,
            pending: BTreeMap::new(),
            updates: BTreeSet::new(),
            removals: BTreeSet::new(),
            in_flight: None,
            refused: Refusals::default(),
            probe: false,
        }
    }

    /// Whether the client has said anything about this kind in this stream.
    pub(crate) fn heard(&self) -> bool {
        self.heard
    }

    /// The client holds what it should and has said so.
    pub(crate) fn is_clean(&self) -> bool {
        self.pending.is_empty() && self.cold.is_empty() && self.in_flight.is_none()
    }

    pub(crate) fn has_unsent_updates(&self) -> bool {
        let outdated = self.in_flight.as_ref().is_some_and(|in_flight| in_flight.outdated);
        outdated || !self.cold.is_empty() || !self.updates.is_empty()
    }

    pub(crate) fn subscriptions(&self) -> usize {
        self.subscription.len()
    }

    /// The first generation that the client does not have, if any.
    pub(crate) fn oldest_missing(&self) -> Option<u64> {
        let cold_in_flight = matches!(&self.in_flight, Some(InFlight { content: Content::Cold(_), .. }));
        let cold = (cold_in_flight || !self.cold.is_empty()).then_some(self.cold_since);
        self.pending.values().map(|pending| pending.since).chain(cold).min()
    }

    /// Takes over the set of a later generation.
    pub(crate) fn publish(&mut self, set: &Arc<Set>, generation: u64) {
        self.generation = generation;
        if Arc::ptr_eq(&self.set, set) {
            return;
        }
        self.break_off_cold();
        let changes = self.set.difference(set);
        self.set = set.clone();
        for (name, before) in changes {
            if !self.subscription.covers(&name) {
                continue;
            }
            let held = before.map_or(Held::Absent, Held::Version);
            let pending = self.pending.entry(name.clone()).or_insert_with(|| Pending::new(held, generation));
            if pending.sent.is_some() {
                pending.again.get_or_insert(generation);
                if let Some(in_flight) = &mut self.in_flight {
                    in_flight.outdated = true;
                }
            }
            self.plan(&name);
        }
    }

    /// Notes that the client spoke; true the first time.
    pub(crate) fn hear(&mut self) -> bool {
        !std::mem::replace(&mut self.heard, true)
    }

    /// Adds subscriptions of a client that holds nothing of what it names.
    pub(crate) fn subscribe(&mut self, patterns: impl IntoIterator<Item = Pattern>) {
        for pattern in patterns {
            match pattern {
                Pattern::Name(name) => {
                    self.subscription.add(Pattern::Name(name.clone()));
                    self.ask(&name);
                }
                Pattern::Prefix(prefix) if self.subscription.is_disjoint(&prefix) => {
                    self.subscription.add(Pattern::Prefix(prefix.clone()));
                    self.send_all(prefix);
                }
                Pattern::Prefix(prefix) => {
                    let set = self.set.clone();
                    let news = set.under(&prefix, None).filter(|(name, _)| !self.subscription.covers(name));
                    let news: Vec<_> = news.map(|(name, _)| name.clone()).collect();
                    self.subscription.add(Pattern::Prefix(prefix));
                    for name in &news {
                        self.ask(name);
                    }
                }
            }
        }
    }

    /// Adds the subscriptions of a client that comes back with resources of an earlier stream: what is unchanged is
    /// not sent again.
    pub(crate) fn resume(&mut self, patterns: impl IntoIterator<Item = Pattern>, held: &HashMap<String, String>) {
        for pattern in patterns {
            self.subscription.add(pattern);
        }
        for (name, version) in held {
            if !self.subscription.covers(name) {
                continue;
            }
            let version = Version::parse(version);
            let (name, target) = match self.set.entry(name) {
                Some((name, entry)) => (name.clone(), Some(entry.version)),
                None => (Arc::from(name.as_str()), None),
            };
            if target.is_none() || version != target {
                let held = version.map_or(Held::Unknown, Held::Version);
                self.pending.insert(name.clone(), Pending::new(held, self.generation));
                self.plan(&name);
            }
        }
        let set = self.set.clone();
        let under_prefixes: Vec<Arc<str>> = self
            .subscription
            .prefixes()
            .flat_map(|prefix| set.under(prefix, None))
            .map(|(name, _)| name.clone())
            .filter(|name| !held.contains_key(&**name))
            .collect();
        let by_name: Vec<Arc<str>> =
            self.subscription.names().filter(|name| !held.contains_key(&***name)).cloned().collect();
        for name in under_prefixes.iter().chain(&by_name) {
            self.ask(name);
        }
    }

    /// Drops subscriptions; what only they covered is the client's to forget.
    pub(crate) fn unsubscribe(&mut self, patterns: &[Pattern]) {
        for pattern in patterns {
            if !self.subscription.remove(pattern) {
                continue;
            }
            match pattern {
                // The protocol wants an answer that tells whether the wildcard still covers the name.
                Pattern::Name(name) if self.subscription.covered_by_prefix(name) => self.ask(name),
                Pattern::Name(name) => self.forget(name),
                Pattern::Prefix(prefix) => self.cold.retain(|cold| cold.prefix != *prefix),
            }
        }
        if patterns.iter().any(|pattern| matches!(pattern, Pattern::Prefix(_))) {
            let gone = self.pending.keys().filter(|name| !self.subscription.covers(name));
            let gone: Vec<Arc<str>> = gone.cloned().collect();
            for name in &gone {
                self.forget(name);
            }
        }
    }

    /// Has a response sent in any case, for the sake of its answer.
    pub(crate) fn probe(&mut self) {
        self.probe = true;
    }

    /// The next response's content, if there is something to send and nothing in flight.
    pub(crate) fn next(&mut self, nonce: u64, removals_open: bool) -> Option<Parts> {
        if self.in_flight.is_some() {
            return None;
        }
        let next = self.next_cold().or_else(|| self.next_named(removals_open));
        let probe = std::mem::take(&mut self.probe);
        let (content, mut parts) = next.or_else(|| probe.then(|| (Content::Named(Vec::new()), Parts::default())))?;
        self.in_flight = Some(InFlight { nonce, content, outdated: false });
        parts.complete = !self.has_unsent_updates();
        Some(parts)
    }

    /// Takes the answer to the response with this nonce; false if that response is not the one in flight.
    pub(crate) fn answer(&mut self, nonce: u64, verdict: &Verdict<'_>) -> bool {
        let Some(in_flight) = self.in_flight.take_if(|in_flight| in_flight.nonce == nonce) else {
            return false;
        };
        let any_named = verdict.names_any(&in_flight.content);
        match in_flight.content {
            Content::Named(names) => {
                for (name, sent) in names {
                    self.answer_named(&name, sent, verdict.refuses(&name, any_named));
                }
            }
            Content::Cold(_) if matches!(verdict, Verdict::Accepted) => {}
            Content::Cold(chunk) => {
                for (name, version) in &chunk.resources {
                    if verdict.refuses(name, any_named) && self.subscription.covers(name) {
                        let since = self.cold_since;
                        let pending = self.pending.entry(name.clone());
                        let pending = pending.or_insert_with(|| Pending::new(Held::Unknown, since));
                        pending.since = since;
                        pending.held = Held::Unknown;
                        self.refused.add(name, Ok(*version));
                        self.plan(name);
                    }
                }
            }
        }
        true
    }

    fn answer_named(&mut self, name: &Arc<str>, sent: Sent, refused: bool) {
        // Dropped or asked for anew since: then this answer is about the past.
        let Some(pending) = self.pending.get_mut(name).filter(|pending| pending.sent == Some(sent)) else {
            return;
        };
        pending.sent = None;
        let again = pending.again.take();
        if refused {
            pending.held = Held::Unknown;
            self.refused.add(name, sent);
        } else {
            pending.held = sent.map_or(Held::Absent, Held::Version);
            pending.since = again.unwrap_or(pending.since);
        }
        self.plan(name);
    }

    fn next_cold(&mut self) -> Option<(Content, Parts)> {
        let cold = self.cold.front_mut()?;
        let chunk = self.set.chunk(&cold.prefix, cold.sent.as_ref(), self.message_bytes_max);
        match chunk.resources.last() {
            Some((last, _)) if chunk.more => cold.sent = Some(last.clone()),
            _ => drop(self.cold.pop_front()),
        }
        let bytes = std::iter::once(chunk.bytes.clone()).collect();
        let parts = Parts { resources: chunk.resources.len(), removed: 0, bytes, complete: false };
        Some((Content::Cold(chunk), parts))
    }

    fn next_named(&mut self, removals_open: bool) -> Option<(Content, Parts)> {
        let mut chunk = ChunkBuilder::new(self.kind, self.message_bytes_max);
        let mut gone: Vec<Arc<str>> = Vec::new();
        while let Some(name) = self.updates.first() {
            match self.set.entry(name) {
                Some((_, entry)) if !chunk.fits(name, entry) => break,
                Some((name, entry)) => chunk.push(name, entry),
                None => gone.push(name.clone()),
            }
            self.updates.pop_first();
        }
        if removals_open && self.updates.is_empty() {
            let mut bytes = 0;
            while bytes < self.message_bytes_max / 2
                && let Some(name) = self.removals.pop_first()
            {
                bytes += encode::removed_len(&name);
                gone.push(name);
            }
        }
        if chunk.is_empty() && gone.is_empty() {
            return None;
        }
        let chunk = chunk.finish();
        let bytes = [chunk.bytes, encode::removed(gone.iter().map(|name| &**name))];
        let parts =
            Parts { resources: chunk.resources.len(), removed: gone.len(), bytes: bytes.into(), complete: false };
        let names = chunk.resources.into_iter().map(|(name, version)| (name, Ok(version)));
        let names: Vec<_> = names.chain(gone.into_iter().map(|name| (name, Err(Gone)))).collect();
        for (name, sent) in &names {
            if let Some(pending) = self.pending.get_mut(name) {
                pending.sent = Some(*sent);
            }
        }
        Some((Content::Named(names), parts))
    }

    /// Starts a first transfer of everything under `prefix`; an empty one too is told.
    fn send_all(&mut self, prefix: Arc<str>) {
        self.cold.push_back(Cold { prefix, sent: None });
        self.cold_since = self.generation;
    }

    /// Turns what is left of first transfers into single names. Parts of a set that is no longer in force must not be
    /// sent: they may refer to what was never sent, because it is gone.
    fn break_off_cold(&mut self) {
        let set = self.set.clone();
        for cold in std::mem::take(&mut self.cold) {
            for (name, _) in set.under(&cold.prefix, cold.sent.as_deref()) {
                let since = self.cold_since;
                self.pending.entry(name.clone()).or_insert_with(|| Pending::new(Held::Absent, since));
                self.plan(name);
            }
        }
    }

    /// Makes sure that the client gets an answer about `name`.
    fn ask(&mut self, name: &Arc<str>) {
        let since = self.generation;
        let pending = self.pending.entry(name.clone()).or_insert_with(|| Pending::new(Held::Asked, since));
        pending.held = Held::Asked;
        pending.sent = None;
        pending.again = None;
        self.plan(name);
    }

    fn forget(&mut self, name: &str) {
        self.pending.remove(name);
        self.updates.remove(name);
        self.removals.remove(name);
    }

    /// Decides what is to be done about a pending name, after anything about it changed.
    fn plan(&mut self, name: &Arc<str>) {
        let Some(pending) = self.pending.get(name) else { return };
        self.updates.remove(name);
        self.removals.remove(name);
        if pending.sent.is_some() {
            return;
        }
        let target = self.set.version(name);
        match (pending.held, target) {
            (Held::Version(held), Some(target)) if held == target => drop(self.pending.remove(name)),
            (Held::Absent, None) => drop(self.pending.remove(name)),
            _ if self.refused.contains(name, target.ok_or(Gone)) => {}
            (_, Some(_)) | (Held::Asked, None) => drop(self.updates.insert(name.clone())),
            (_, None) => drop(self.removals.insert(name.clone())),
        }
    }
}
