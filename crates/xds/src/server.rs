//! The server's side of one delta stream, over all kinds.
//!
//! In: requests of the client ([`Session::request`]) and new generations ([`Session::publish`]).
//! Out: responses ([`Session::poll`]) and how far the client is ([`Session::applied`]).
//!
//! Order ("make before break"):
//! - an update of a kind is sent when no kind before it ([`Kind`]) has an update left to send;
//! - a removal is sent when every kind that may refer to it is acknowledged in full, removals included;
//! - one response per kind is in flight, later changes merge into the next.

use bytes::Bytes;
use envoy_types::pb::envoy::service::discovery::v3::DeltaDiscoveryRequest;
use smallvec::SmallVec;

use crate::encode;
use crate::kind::{KINDS, Kind};
use crate::ledger::{Ledger, Verdict};
use crate::nack::{self, Rejection};
use crate::set::Generation;
use crate::subscription::Pattern;

/// Marks, in `system_version_info`, a response after which more of its kind follows.
pub const PARTIAL_SUFFIX: &str = "/partial";

/// What a client may cost.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Subscribed names and prefixes of one kind; a request beyond it ends the stream.
    pub subscriptions_max: usize,
    /// Longest name in bytes; a longer one ends the stream.
    pub name_bytes_max: usize,
    /// A response is closed before its resources (or the removed names, by half) grow beyond this, so that gRPC's
    /// default limit of 4 MiB is far; one resource that is larger travels alone.
    pub message_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { subscriptions_max: 100_000, name_bytes_max: 2048, message_bytes_max: 256 << 10 }
    }
}

/// A request that ends the stream.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("more than {max} subscriptions of {kind}")]
    TooManySubscriptions { kind: Kind, max: usize },
    #[error("a resource name of {kind} is longer than {max} bytes")]
    NameTooLong { kind: Kind, max: usize },
}

/// A NACK as it was received.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Nack {
    pub kind: Kind,
    pub message: String,
    /// The refused resources; empty if the client named none in the details (see its message).
    pub resources: Vec<Rejection>,
}

/// What a request was.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Heard {
    /// A subscription, or a change of one.
    Subscribed(Kind),
    Acked(Kind),
    Nacked(Nack),
    /// It answers a response that is not in flight; only its subscriptions were taken.
    Stale(Kind),
    /// Of a kind that is not served.
    Ignored,
}

/// One `DeltaDiscoveryResponse`, as pieces to be sent one after the other.
#[derive(Debug)]
pub struct Response {
    pub kind: Kind,
    pub nonce: u64,
    pub resources: usize,
    pub removed: usize,
    /// The first piece is this client's; the others may be shared by many.
    pub parts: SmallVec<[Bytes; 3]>,
}

impl Response {
    /// Length of the message in bytes.
    pub fn bytes_len(&self) -> usize {
        self.parts.iter().map(Bytes::len).sum()
    }
}

/// One client's stream.
#[derive(Debug)]
pub struct Session {
    limits: Limits,
    ledgers: [Ledger; KINDS.len()],
    generation: u64,
    nonce: u64,
    /// The client came with resources of an earlier stream.
    resumed: bool,
    /// The client has answered a response of this stream. Clients send the first requests of all kinds before they
    /// read, so that what it holds is known from then on; a client that comes back is sent a response in any case.
    answered: bool,
}

impl Session {
    pub fn new(generation: &Generation, limits: Limits) -> Self {
        Self {
            limits,
            ledgers: KINDS
                .map(|kind| Ledger::new(generation.set(kind).clone(), generation.number, limits.message_bytes_max)),
            generation: generation.number,
            nonce: 0,
            resumed: false,
            answered: false,
        }
    }

    /// Takes over a later generation; an earlier one is ignored.
    pub fn publish(&mut self, generation: &Generation) {
        if generation.number <= self.generation {
            return;
        }
        self.generation = generation.number;
        for (kind, ledger) in KINDS.into_iter().zip(&mut self.ledgers) {
            ledger.publish(generation.set(kind), generation.number);
        }
    }

    /// The last generation that the client has in full: everything sent for it was acknowledged, or nothing in it
    /// concerned the client. `None` before the first subscription, or while a client that came back has not told
    /// what it holds.
    pub fn applied(&self) -> Option<u64> {
        if !self.ledgers.iter().any(Ledger::heard) || !self.ledgers.iter().all(|ledger| self.is_known(ledger)) {
            return None;
        }
        let missing = self.ledgers.iter().filter_map(Ledger::oldest_missing).min();
        Some(missing.map_or(self.generation, |first| first.saturating_sub(1)))
    }

    pub fn request(&mut self, request: &DeltaDiscoveryRequest) -> Result<Heard, Violation> {
        let Some(kind) = Kind::from_type_url(&request.type_url) else {
            return Ok(Heard::Ignored);
        };
        self.check(kind, request)?;
        let ledger = &mut self.ledgers[kind.index()];
        let heard = answer(kind, ledger, request);
        self.answered |= matches!(heard, Heard::Acked(_) | Heard::Nacked(_));
        let first = ledger.hear();
        let mut patterns: Vec<Pattern> =
            request.resource_names_subscribe.iter().map(|name| Pattern::parse(name)).collect();
        if first && patterns.is_empty() && kind.wildcard_when_unnamed() {
            patterns.push(Pattern::parse("*"));
        }
        if first && !request.initial_resource_versions.is_empty() {
            if !std::mem::replace(&mut self.resumed, true) {
                ledger.probe();
            }
            ledger.resume(patterns, &request.initial_resource_versions);
        } else {
            ledger.subscribe(patterns);
        }
        let gone: Vec<Pattern> = request.resource_names_unsubscribe.iter().map(|name| Pattern::parse(name)).collect();
        ledger.unsubscribe(&gone);
        Ok(heard)
    }

    /// The next response to send, if any. Call until `None` after every request and generation.
    pub fn poll(&mut self) -> Option<Response> {
        for kind in KINDS {
            let open = self.removals_open(kind);
            let ledger = &mut self.ledgers[kind.index()];
            if let Some(parts) = ledger.next(self.nonce + 1, open) {
                self.nonce += 1;
                let suffix = if parts.complete { "" } else { PARTIAL_SUFFIX };
                let info = format!("{}{suffix}", self.generation);
                let head = encode::head(kind, &info, &nonce_text(self.nonce));
                let pieces = parts.bytes.into_iter().filter(|piece| !piece.is_empty());
                return Some(Response {
                    kind,
                    nonce: self.nonce,
                    resources: parts.resources,
                    removed: parts.removed,
                    parts: std::iter::once(head).chain(pieces).collect(),
                });
            }
            if ledger.has_unsent_updates() {
                return None;
            }
        }
        None
    }

    fn check(&self, kind: Kind, request: &DeltaDiscoveryRequest) -> Result<(), Violation> {
        let Limits { subscriptions_max, name_bytes_max, .. } = self.limits;
        let known = self.ledgers[kind.index()].subscriptions();
        let named = [request.resource_names_subscribe.len(), request.initial_resource_versions.len()];
        if known + named[0] > subscriptions_max || named[1] > subscriptions_max {
            return Err(Violation::TooManySubscriptions { kind, max: subscriptions_max });
        }
        let mut names = request.resource_names_subscribe.iter().chain(request.initial_resource_versions.keys());
        if names.any(|name| name.len() > name_bytes_max) {
            return Err(Violation::NameTooLong { kind, max: name_bytes_max });
        }
        Ok(())
    }

    /// Whether nothing that the client holds can refer to resources of `kind` that are to go.
    fn removals_open(&self, kind: Kind) -> bool {
        kind.referrers().iter().all(|referrer| {
            let ledger = &self.ledgers[referrer.index()];
            self.is_known(ledger) && ledger.is_clean()
        })
    }

    /// Whether what the client holds of a kind is known: one that came back has to tell first.
    fn is_known(&self, ledger: &Ledger) -> bool {
        ledger.heard() || !self.resumed || self.answered
    }
}

/// Reads the ACK or NACK in a request, if it holds one.
fn answer(kind: Kind, ledger: &mut Ledger, request: &DeltaDiscoveryRequest) -> Heard {
    if request.response_nonce.is_empty() {
        return Heard::Subscribed(kind);
    }
    let Ok(nonce) = u64::from_str_radix(&request.response_nonce, 16) else {
        return Heard::Stale(kind);
    };
    let Some(detail) = &request.error_detail else {
        let current = ledger.answer(nonce, &Verdict::Accepted);
        return if current { Heard::Acked(kind) } else { Heard::Stale(kind) };
    };
    let (resources, message) = (nack::from_wire(detail), nack::cut(&detail.message));
    let verdict = match resources.as_slice() {
        [] => Verdict::RefusedInWords(&message),
        named => Verdict::Refused(named.iter().map(|rejection| rejection.name.as_str()).collect()),
    };
    if !ledger.answer(nonce, &verdict) {
        return Heard::Stale(kind);
    }
    Heard::Nacked(Nack { kind, message, resources })
}

fn nonce_text(nonce: u64) -> String {
    format!("{nonce:x}")
}
