//! The client's side of a delta stream, over all kinds and over reconnections.
//!
//! In: responses ([`Session::response`]), the caller's verdicts ([`Session::applied`]), changes of subscription.
//! Out: requests ([`Session::poll`]) and updates to apply. A response is acknowledged after the caller has said that
//! it is in force; refused resources are named, the others of the same response count.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{
    DeltaDiscoveryRequest, DeltaDiscoveryResponse, Resource as WireResource,
};

use crate::kind::{KINDS, Kind};
use crate::nack::{self, Rejection};
use crate::server::PARTIAL_SUFFIX;
use crate::subscription::{Pattern, Subscription};

/// One response, to be applied and then given to [`Session::applied`] by its ticket.
#[derive(Clone, Debug)]
pub struct Update {
    pub kind: Kind,
    pub added: Vec<Added>,
    /// Names that are gone; also the answer for a name that was asked for and does not exist.
    pub removed: Vec<Arc<str>>,
    /// Nothing more of this kind is on its way (servers other than `mizzend` do not tell: then always true).
    pub complete: bool,
    pub ticket: Ticket,
}

/// A resource of an update; `body` is the encoded message inside its `Any`.
#[derive(Clone, Debug)]
pub struct Added {
    pub name: Arc<str>,
    pub version: Arc<str>,
    pub body: Bytes,
}

/// Which response an update came in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    kind: Kind,
    stream: u64,
    nonce: String,
}

impl Ticket {
    pub fn kind(&self) -> Kind {
        self.kind
    }
}

/// A response that no honest server sends; the stream is to be closed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    #[error("response of a type that was not subscribed to: {type_url}")]
    UnknownType { type_url: String },
    #[error("response of {kind} without a nonce")]
    NoNonce { kind: Kind },
    #[error("more than {max} responses of {kind} before an answer")]
    TooManyUnanswered { kind: Kind, max: usize },
}

/// Responses of one kind that may wait for the caller's verdict.
const UNANSWERED_MAX: usize = 64;

/// What is remembered of a response until the caller has applied it.
#[derive(Debug)]
struct Unanswered {
    ticket: Ticket,
    added: Vec<(Arc<str>, Arc<str>)>,
    removed: Vec<Arc<str>>,
    /// Resources that this session refuses itself.
    malformed: Vec<Rejection>,
}

#[derive(Debug, Default)]
struct Interest {
    subscription: Subscription,
    /// Versions in force by name, told to the server after a reconnection.
    held: HashMap<Arc<str>, Arc<str>>,
    unanswered: VecDeque<Unanswered>,
}

/// One client.
#[derive(Debug)]
pub struct Session {
    node: Node,
    interests: [Interest; KINDS.len()],
    requests: VecDeque<DeltaDiscoveryRequest>,
    /// Number of the current stream; 0 before the first.
    stream: u64,
    connected: bool,
}

impl Session {
    /// A client that subscribes to these names (`*`, `80/*`, or exact) whenever it connects.
    pub fn new<'a>(node: Node, subscriptions: impl IntoIterator<Item = (Kind, &'a str)>) -> Self {
        let mut interests: [Interest; KINDS.len()] = std::array::from_fn(|_| Interest::default());
        for (kind, name) in subscriptions {
            interests[kind.index()].subscription.add(Pattern::parse(name));
        }
        Self { node, interests, requests: VecDeque::new(), stream: 0, connected: false }
    }

    /// A new stream is open: queues the first request of each kind, in sending order.
    pub fn connected(&mut self) {
        self.stream += 1;
        self.connected = true;
        self.requests.clear();
        let mut node = Some(self.node.clone());
        for kind in KINDS {
            let interest = &self.interests[kind.index()];
            if !interest.subscription.is_empty() {
                self.requests.push_back(DeltaDiscoveryRequest {
                    node: node.take(),
                    type_url: kind.type_url().to_owned(),
                    resource_names_subscribe: interest.subscription.to_wire(),
                    initial_resource_versions: interest.versions(),
                    ..Default::default()
                });
            }
        }
    }

    /// The stream is gone; what is in force stays.
    pub fn disconnected(&mut self) {
        self.connected = false;
        self.requests.clear();
    }

    /// The next request to send.
    pub fn poll(&mut self) -> Option<DeltaDiscoveryRequest> {
        self.requests.pop_front()
    }

    /// Takes a response of the current stream.
    pub fn response(&mut self, response: DeltaDiscoveryResponse) -> Result<Update, Violation> {
        let kind = Kind::from_type_url(&response.type_url)
            .filter(|kind| self.stream > 0 && !self.interests[kind.index()].subscription.is_empty())
            .ok_or(Violation::UnknownType { type_url: response.type_url })?;
        if response.nonce.is_empty() {
            return Err(Violation::NoNonce { kind });
        }
        let interest = &mut self.interests[kind.index()];
        if interest.unanswered.len() >= UNANSWERED_MAX {
            return Err(Violation::TooManyUnanswered { kind, max: UNANSWERED_MAX });
        }
        let ticket = Ticket { kind, stream: self.stream, nonce: response.nonce };
        let (added, malformed) = read_resources(kind, response.resources);
        let removed: Vec<Arc<str>> = response.removed_resources.into_iter().map(Arc::from).collect();
        interest.unanswered.push_back(Unanswered {
            ticket: ticket.clone(),
            added: added.iter().map(|added| (added.name.clone(), added.version.clone())).collect(),
            removed: removed.clone(),
            malformed,
        });
        let complete = !response.system_version_info.ends_with(PARTIAL_SUFFIX);
        Ok(Update { kind, added, removed, complete, ticket })
    }

    /// The update is in force, without the resources that are refused: queues the ACK or NACK.
    /// Updates of one kind are answered in their order; an unknown ticket is ignored.
    pub fn applied(&mut self, ticket: &Ticket, mut refused: Vec<Rejection>) {
        let interest = &mut self.interests[ticket.kind.index()];
        let Some(at) = interest.unanswered.iter().position(|unanswered| unanswered.ticket == *ticket) else {
            return;
        };
        let Some(unanswered) = interest.unanswered.remove(at) else { return };
        refused.extend(unanswered.malformed);
        let is_refused = |name: &str| refused.iter().any(|rejection| rejection.name == name);
        for (name, version) in unanswered.added {
            // Dropped in the meantime: then it is no longer in force.
            if interest.subscription.covers(&name) && !is_refused(&name) {
                interest.held.insert(name, version);
            }
        }
        for name in unanswered.removed.iter().filter(|name| !is_refused(name)) {
            interest.held.remove(name);
        }
        if self.connected && ticket.stream == self.stream {
            self.requests.push_back(DeltaDiscoveryRequest {
                type_url: ticket.kind.type_url().to_owned(),
                response_nonce: ticket.nonce.clone(),
                error_detail: (!refused.is_empty()).then(|| nack::to_wire(&refused)),
                ..Default::default()
            });
        }
    }

    /// Subscribes to further names. Names that are subscribed already are not asked for again.
    pub fn subscribe<'a>(&mut self, kind: Kind, names: impl IntoIterator<Item = &'a str>) {
        let interest = &mut self.interests[kind.index()];
        let versions = if interest.subscription.is_empty() { interest.versions() } else { HashMap::new() };
        let subscription = &mut interest.subscription;
        let new: Vec<String> =
            names.into_iter().filter(|name| subscription.add(Pattern::parse(name))).map(str::to_owned).collect();
        if new.is_empty() || !self.connected {
            return;
        }
        self.requests.push_back(DeltaDiscoveryRequest {
            type_url: kind.type_url().to_owned(),
            resource_names_subscribe: new,
            initial_resource_versions: versions,
            ..Default::default()
        });
    }

    /// Drops subscriptions. What they alone covered is no longer kept up to date and is for the caller to forget.
    pub fn unsubscribe<'a>(&mut self, kind: Kind, names: impl IntoIterator<Item = &'a str>) {
        let interest = &mut self.interests[kind.index()];
        let gone: Vec<String> = names
            .into_iter()
            .filter(|name| interest.subscription.remove(&Pattern::parse(name)))
            .map(str::to_owned)
            .collect();
        if gone.is_empty() {
            return;
        }
        let subscription = &interest.subscription;
        interest.held.retain(|name, _| subscription.covers(name));
        if self.connected {
            self.requests.push_back(DeltaDiscoveryRequest {
                type_url: kind.type_url().to_owned(),
                resource_names_unsubscribe: gone,
                ..Default::default()
            });
        }
    }

    /// Versions in force.
    pub fn held(&self, kind: Kind) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.interests[kind.index()].held.iter()
    }
}

impl Interest {
    /// What the server is told after a reconnection. What an update of the old stream is still about to change has
    /// no version, so that the server sends or removes it anew.
    fn versions(&self) -> HashMap<String, String> {
        let held = self.held.iter().map(|(name, version)| (name.to_string(), version.to_string()));
        let added = self.unanswered.iter().flat_map(|unanswered| unanswered.added.iter().map(|(name, _)| name));
        let removed = self.unanswered.iter().flat_map(|unanswered| &unanswered.removed);
        held.chain(added.chain(removed).map(|name| (name.to_string(), String::new()))).collect()
    }
}

/// Unwraps the resources; one whose `Any` is of another type, or missing, is refused by name.
fn read_resources(kind: Kind, resources: Vec<WireResource>) -> (Vec<Added>, Vec<Rejection>) {
    let mut added = Vec::with_capacity(resources.len());
    let mut malformed = Vec::new();
    for resource in resources {
        match resource.resource {
            Some(any) if any.type_url == kind.type_url() => added.push(Added {
                name: Arc::from(resource.name),
                version: Arc::from(resource.version),
                body: Bytes::from(any.value),
            }),
            other => {
                let found = other.map_or_else(|| "no message".to_owned(), |any| any.type_url);
                let message = format!("expected {}, found {found}", kind.type_url());
                malformed.push(Rejection { name: resource.name, message });
            }
        }
    }
    (added, malformed)
}
