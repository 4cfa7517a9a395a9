//! A client session and a server session with two pipes between them, and what the client has in force.

use std::collections::{BTreeSet, HashSet, VecDeque};

use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use mizzen_xds::client::{self, Update};
use mizzen_xds::server::{self, Limits};
use mizzen_xds::{Kind, Rejection};
use prost::Message;

use super::plant::{LIVE, Plant, Store, references};
use super::{Hosts, Options};

/// More steps than any healthy run needs to come to rest.
const SETTLE_STEPS_MAX: usize = 20_000;

struct Stream {
    server: server::Session,
    to_server: VecDeque<DeltaDiscoveryRequest>,
    to_client: VecDeque<DeltaDiscoveryResponse>,
    /// Kinds that the server was asked for.
    heard: HashSet<String>,
    /// (name, version) refused in this stream.
    refused: HashSet<(Kind, String, String)>,
}

pub(crate) struct Link {
    options: Options,
    client: client::Session,
    stream: Option<Stream>,
    /// Received and not yet applied.
    updates: VecDeque<(usize, Update)>,
    streams: usize,
    /// Virtual hosts asked for on demand.
    hosts: BTreeSet<String>,
    in_force: Store,
    /// Refused, so that it may be missing.
    refused_names: BTreeSet<(Kind, String)>,
    /// Resources sent by the server.
    pub(crate) sent: usize,
    broken: Option<String>,
}

impl Link {
    pub(crate) fn new(options: &Options, _plant: &Plant) -> Self {
        let mut subscriptions = vec![(Kind::Cluster, "*"), (Kind::Listener, "*"), (Kind::Route, "*")];
        if !options.endpoints_by_name {
            subscriptions.push((Kind::Endpoints, "*"));
        }
        match options.hosts {
            Hosts::All => subscriptions.push((Kind::VirtualHost, "*")),
            Hosts::ByPrefix => subscriptions.extend([(Kind::VirtualHost, "80/*"), (Kind::VirtualHost, "81/*")]),
            Hosts::OnDemand => subscriptions.push((Kind::VirtualHost, "80/h0")),
        }
        let node = Node { id: "sim".to_owned(), ..Default::default() };
        Self {
            options: *options,
            client: client::Session::new(node, subscriptions),
            stream: None,
            updates: VecDeque::new(),
            hosts: BTreeSet::from(["80/h0".to_owned()]),
            streams: 0,
            in_force: Store::new(),
            refused_names: BTreeSet::new(),
            sent: 0,
            broken: None,
        }
    }

    /// Loses whatever is under way in both directions.
    pub(crate) fn disconnect(&mut self) {
        self.stream = None;
        self.client.disconnected();
    }

    /// Asks for a virtual host, or drops one.
    pub(crate) fn change_mind(&mut self, rng: &mut fastrand::Rng) {
        let host = format!("8{}/h{}", rng.u8(0..2), rng.u8(0..6));
        if self.options.hosts != Hosts::OnDemand {
            return;
        }
        if self.hosts.remove(&host) {
            self.client.unsubscribe(Kind::VirtualHost, [host.as_str()]);
            let key = (Kind::VirtualHost, host);
            self.refused_names.remove(&key);
            self.in_force.remove(&key);
        } else {
            self.client.subscribe(Kind::VirtualHost, [host.as_str()]);
            self.hosts.insert(host);
        }
    }

    /// Whether the client wants the resource now.
    fn wants(&self, kind: Kind, name: &str) -> bool {
        kind != Kind::VirtualHost || self.options.hosts != Hosts::OnDemand || self.hosts.contains(name)
    }

    /// Lets one random party do one thing.
    pub(crate) fn step(&mut self, plant: &Plant, rng: &mut fastrand::Rng) {
        let Some(stream) = &mut self.stream else {
            let limits = Limits { message_bytes_max: self.options.message_bytes_max, ..Limits::default() };
            self.client.connected();
            self.streams += 1;
            self.stream = Some(Stream {
                server: server::Session::new(&plant.generation, limits),
                to_server: VecDeque::new(),
                to_client: VecDeque::new(),
                heard: HashSet::new(),
                refused: HashSet::new(),
            });
            return;
        };
        match rng.u8(0..6) {
            0 => stream.server.publish(&plant.generation),
            1 => {
                let mut request = self.client.poll();
                if let Some(detail) = request.as_mut().and_then(|request| request.error_detail.as_mut())
                    && !self.options.structured
                {
                    // As Envoy: the good ones are in force, the bad ones are named in words only.
                    let named = mizzen_xds::nack::from_wire(detail).into_iter().map(|rejection| rejection.name);
                    detail.message = named.collect::<Vec<_>>().join(", ");
                    detail.details.clear();
                }
                stream.to_server.extend(request);
            }
            2 => {
                if let Some(request) = stream.to_server.pop_front() {
                    stream.heard.insert(request.type_url.clone());
                    stream.server.request(&request).expect("the client keeps to the limits");
                }
            }
            3 => self.send(),
            4 => {
                if let Some(response) = stream.to_client.pop_front() {
                    let update = self.client.response(response).expect("the server keeps to the protocol");
                    self.updates.push_back((self.streams, update));
                }
            }
            _ => self.apply(),
        }
    }

    fn send(&mut self) {
        let Some(stream) = &mut self.stream else { return };
        let Some(response) = stream.server.poll() else { return };
        let bytes: Vec<u8> = response.parts.iter().flat_map(|part| part.iter().copied()).collect();
        let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).expect("a response decodes");
        assert_eq!(message.type_url, response.kind.type_url());
        for resource in &message.resources {
            let key = (response.kind, resource.name.clone(), resource.version.clone());
            if stream.refused.contains(&key) {
                self.broken = Some(format!("sent again in the same stream after a NACK: {key:?}"));
            }
        }
        self.sent += message.resources.len();
        stream.to_client.push_back(message);
    }

    fn apply(&mut self) {
        let Some((stream, update)) = self.updates.pop_front() else { return };
        let kind = update.kind;
        let (mut refused, mut new, mut gone) = (Vec::new(), Vec::new(), Vec::new());
        for added in update.added {
            let body = String::from_utf8(added.body.to_vec()).expect("bodies are text");
            let key = (kind, added.name.to_string());
            if !self.wants(kind, &key.1) {
                continue;
            }
            if body.contains("|bad") {
                if let Some(current) = self.stream.as_mut().filter(|_| stream == self.streams) {
                    current.refused.insert((kind, key.1.clone(), added.version.to_string()));
                }
                refused.push(Rejection { name: key.1.clone(), message: "bad".to_owned() });
                self.refused_names.insert(key);
                continue;
            }
            self.refused_names.remove(&key);
            if self.in_force.insert(key.clone(), body).is_none() {
                new.push(key.1);
            }
        }
        for name in &update.removed {
            let key = (kind, name.to_string());
            self.refused_names.remove(&key);
            if self.in_force.remove(&key).is_some() {
                gone.push(key.1);
            }
        }
        self.client.applied(&update.ticket, refused);
        if kind == Kind::Cluster && self.options.endpoints_by_name {
            self.client.subscribe(Kind::Endpoints, new.iter().map(String::as_str));
            self.client.unsubscribe(Kind::Endpoints, gone.iter().map(String::as_str));
            for name in gone {
                self.in_force.remove(&(Kind::Endpoints, name));
            }
        }
    }

    /// Delivers everything until nobody has anything to do.
    pub(crate) fn settle(&mut self, plant: &Plant, rng: &mut fastrand::Rng) -> Result<(), String> {
        let mut idle = 0;
        for _ in 0..SETTLE_STEPS_MAX {
            let before = self.progress();
            self.step(plant, rng);
            self.check(plant)?;
            idle = if self.progress() == before { idle + 1 } else { 0 };
            // Six kinds of step: that none of them was drawn in 80 idle ones does not happen with the seeds used.
            if idle > 80 {
                return Ok(());
            }
        }
        Err("no rest".to_owned())
    }

    fn progress(&self) -> (usize, usize, usize, usize) {
        let stream = self.stream.as_ref();
        let pipes = stream.map_or((0, 0), |stream| (stream.to_server.len(), stream.to_client.len()));
        (pipes.0, pipes.1, self.updates.len(), self.sent)
    }

    pub(crate) fn check(&mut self, plant: &Plant) -> Result<(), String> {
        if let Some(broken) = self.broken.take() {
            return Err(broken);
        }
        for ((kind, name), body) in &self.in_force {
            for cluster in references(body, "C:") {
                let key = (Kind::Cluster, cluster.to_owned());
                if !self.in_force.contains_key(&key) && !self.refused_names.contains(&key) {
                    return Err(format!("{kind} {name} names cluster {cluster}, which is not in force"));
                }
            }
        }
        let Some(stream) = &self.stream else { return Ok(()) };
        if stream.server.applied() == Some(plant.generation.number) && self.updates.is_empty() {
            // What is asked for by name may not have been asked for yet.
            let all_heard = LIVE.iter().all(|kind| stream.heard.contains(kind.type_url()));
            if all_heard && !self.options.endpoints_by_name && self.options.hosts != Hosts::OnDemand {
                return self.check_equal(plant).map_err(|error| format!("said to be applied, but {error}"));
            }
        }
        Ok(())
    }

    /// Every good resource of the world is in force, and no bad one.
    pub(crate) fn check_last_good(&self, plant: &Plant) -> Result<(), String> {
        for ((kind, name), body) in plant.store.iter().filter(|((kind, name), _)| self.wants(*kind, name)) {
            let own = self.in_force.get(&(*kind, name.clone()));
            let bad = body.contains("|bad");
            // A cluster that is refused has nobody to ask for its endpoints.
            let unasked = *kind == Kind::Endpoints && self.options.endpoints_by_name && own.is_none();
            // A NACK that names nothing spoils its neighbours' bookkeeping, not their content.
            if !bad && !unasked && own != Some(body) {
                return Err(format!("{kind} {name} should be {body}, is {own:?}"));
            }
        }
        match self.in_force.iter().find(|(_, body)| body.contains("|bad")) {
            Some(((kind, name), _)) => Err(format!("{kind} {name} is bad and in force")),
            None => Ok(()),
        }
    }

    pub(crate) fn check_equal(&self, plant: &Plant) -> Result<(), String> {
        let wanted = || plant.store.iter().filter(|((kind, name), _)| self.wants(*kind, name));
        if self.in_force.iter().eq(wanted()) {
            return Ok(());
        }
        let missing: Vec<_> = wanted().filter(|(key, body)| self.in_force.get(*key) != Some(*body)).collect();
        let extra: Vec<_> = self.in_force.keys().filter(|key| !plant.store.contains_key(*key)).collect();
        Err(format!("missing or other {missing:?}, left over {extra:?}"))
    }
}
