//! The server session, case by case, against requests written by hand.

use std::sync::Arc;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use envoy_types::pb::envoy::service::discovery::v3::{DeltaDiscoveryRequest, DeltaDiscoveryResponse};
use envoy_types::pb::google::rpc::Status;
use mizzen_xds::server::{Heard, Limits, Session, Violation};
use mizzen_xds::{Generation, Kind, Rejection, Resource, Version, nack};
use prost::Message;

const LIMITS: Limits = Limits { subscriptions_max: 10, name_bytes_max: 30, message_bytes_max: 1 << 20 };

/// The next generation; `name=number` puts a resource of that version, `-name` removes one.
fn next(from: &Generation, edits: &[(Kind, &str)]) -> Generation {
    let mut generation = from.next(from.number + 1);
    for (kind, edit) in edits {
        let (changed, removed) = match edit.strip_prefix('-') {
            Some(name) => (None, Some(name)),
            None => (edit.split_once('='), None),
        };
        let changed = changed.map(|(name, version)| Resource {
            name: Arc::from(name),
            version: Version(version.parse().expect("a number")),
            body: Bytes::from(format!("body of {name} {version}")),
        });
        let set = generation.set(*kind).edited(changed, removed);
        generation.put(set);
    }
    generation
}

fn world(edits: &[(Kind, &str)]) -> Generation {
    next(&Generation::empty(0), edits)
}

fn ask(kind: Kind, names: &[&str]) -> DeltaDiscoveryRequest {
    DeltaDiscoveryRequest {
        node: Some(Node { id: "n".to_owned(), ..Default::default() }),
        type_url: kind.type_url().to_owned(),
        resource_names_subscribe: names.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    }
}

/// A client that is as obedient as its test wants.
struct Peer(Session);

impl Peer {
    fn new(generation: &Generation) -> Self {
        Self(Session::new(generation, LIMITS))
    }

    fn say(&mut self, request: &DeltaDiscoveryRequest) -> Heard {
        self.0.request(request).expect("within the limits")
    }

    fn ask(&mut self, kind: Kind, names: &[&str]) {
        assert_eq!(self.say(&ask(kind, names)), Heard::Subscribed(kind));
    }

    fn message(&mut self) -> Option<DeltaDiscoveryResponse> {
        let response = self.0.poll()?;
        let bytes: Vec<u8> = response.parts.iter().flat_map(|part| part.iter().copied()).collect();
        assert_eq!(bytes.len(), response.bytes_len());
        let message = DeltaDiscoveryResponse::decode(bytes.as_slice()).expect("decodes");
        assert_eq!((message.resources.len(), message.removed_resources.len()), (response.resources, response.removed));
        Some(message)
    }

    /// Everything that can be sent now, as `CDS a=1 -b`, without an answer.
    fn due(&mut self) -> (Vec<String>, Vec<DeltaDiscoveryResponse>) {
        let messages: Vec<_> = std::iter::from_fn(|| self.message()).collect();
        (messages.iter().map(show).collect(), messages)
    }

    fn answer(&mut self, message: &DeltaDiscoveryResponse, error: Option<Status>) -> Heard {
        self.say(&DeltaDiscoveryRequest {
            type_url: message.type_url.clone(),
            response_nonce: message.nonce.clone(),
            error_detail: error,
            ..Default::default()
        })
    }

    fn accept(&mut self, messages: &[DeltaDiscoveryResponse]) {
        for message in messages {
            assert!(matches!(self.answer(message, None), Heard::Acked(_)));
        }
    }

    /// Sends and acknowledges until nothing is due.
    fn settle(&mut self) -> Vec<String> {
        let mut all = Vec::new();
        loop {
            let (shown, messages) = self.due();
            if messages.is_empty() {
                return all;
            }
            all.extend(shown);
            self.accept(&messages);
        }
    }
}

fn show(message: &DeltaDiscoveryResponse) -> String {
    let kind = Kind::from_type_url(&message.type_url).expect("known");
    let put = message.resources.iter().map(|resource| {
        let any = resource.resource.as_ref().expect("a body");
        assert_eq!(any.type_url, message.type_url);
        let version = Version::parse(&resource.version).expect("ours").0;
        assert_eq!(any.value, format!("body of {} {version}", resource.name).into_bytes());
        format!("{}={version}", resource.name)
    });
    let gone = message.removed_resources.iter().map(|name| format!("-{name}"));
    std::iter::once(kind.to_string()).chain(put).chain(gone).collect::<Vec<_>>().join(" ")
}

use Kind::{Cluster, Endpoints, Listener, Route, VirtualHost};

#[test]
fn first_transfer_comes_in_order() {
    let world =
        world(&[(VirtualHost, "80/a=1"), (Listener, "l=1"), (Cluster, "c=1"), (Cluster, "d=2"), (Endpoints, "c=1")]);
    let mut peer = Peer::new(&world);
    assert_eq!((peer.0.poll().is_none(), peer.0.applied()), (true, None));
    for kind in [VirtualHost, Listener, Endpoints, Cluster] {
        peer.ask(kind, &["*"]);
    }
    let (sent, messages) = peer.due();
    assert_eq!(sent, ["CDS c=1 d=2", "EDS c=1", "LDS l=1", "VHDS 80/a=1"]);
    assert!(messages.iter().all(|message| message.system_version_info == "1"));
    assert_eq!(peer.0.applied(), Some(0));
    peer.accept(&messages);
    assert_eq!((peer.0.applied(), peer.due().0.len()), (Some(1), 0));
}

#[test]
fn clients_share_the_bytes_of_a_first_transfer() {
    let world = world(&[(Cluster, "c=1"), (Cluster, "d=2")]);
    let mut peers = [Peer::new(&world), Peer::new(&world)];
    let sent = peers.each_mut().map(|peer| {
        peer.ask(Cluster, &["*"]);
        peer.0.poll().expect("a first transfer")
    });
    assert_ne!(sent[0].parts[0].as_ptr(), sent[1].parts[0].as_ptr());
    assert_eq!(sent[0].parts[1].as_ptr(), sent[1].parts[1].as_ptr());
}

#[test]
fn large_kinds_are_split_and_hold_up_what_follows() {
    let edits: Vec<String> = (0..9).map(|number| format!("c{number}=1")).collect();
    let edits: Vec<(Kind, &str)> =
        edits.iter().map(|edit| (Cluster, edit.as_str())).chain([(Listener, "l=1")]).collect();
    let world = world(&edits);
    let mut peer = Peer(Session::new(&world, Limits { message_bytes_max: 300, ..LIMITS }));
    peer.ask(Cluster, &["*"]);
    peer.ask(Listener, &["*"]);
    let mut parts = Vec::new();
    loop {
        let (sent, messages) = peer.due();
        if messages.is_empty() {
            break;
        }
        for (sent, message) in sent.into_iter().zip(messages) {
            assert!(message.encoded_len() < 300 + 120);
            parts.push((sent, message.system_version_info.clone()));
            peer.answer(&message, None);
        }
    }
    let (last, clusters) = parts.split_last().expect("several");
    assert_eq!(*last, ("LDS l=1".to_owned(), "1".to_owned()));
    assert!(clusters.len() > 2 && clusters.iter().all(|(sent, _)| sent.starts_with("CDS")));
    let infos: Vec<&str> = clusters.iter().map(|(_, info)| info.as_str()).collect();
    assert_eq!(infos.iter().filter(|info| **info == "1/partial").count(), infos.len() - 1);
    assert_eq!(infos.last(), Some(&"1"));
}

#[test]
fn only_what_changed_is_sent_and_changes_merge_while_one_is_in_flight() {
    let first = world(&[(Cluster, "c=1"), (Cluster, "d=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(Cluster, &["*"]);
    peer.settle();
    let second = next(&first, &[(Cluster, "c=2")]);
    peer.0.publish(&second);
    let (sent, messages) = peer.due();
    assert_eq!(sent, ["CDS c=2"]);
    let third = next(&second, &[(Cluster, "c=3"), (Cluster, "e=1")]);
    let fourth = next(&third, &[(Cluster, "c=4"), (Cluster, "-e")]);
    peer.0.publish(&third);
    peer.0.publish(&fourth);
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(1)));
    peer.answer(&messages[0], None);
    assert_eq!((peer.0.applied(), peer.settle()), (Some(2), vec!["CDS c=4".to_owned()]));
    assert_eq!(peer.0.applied(), Some(4));
    // An older generation that comes late is no news.
    peer.0.publish(&second);
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(4)));
}

#[test]
fn what_does_not_concern_a_client_is_applied_at_once() {
    let first = world(&[(Cluster, "c=1"), (VirtualHost, "80/a=1"), (VirtualHost, "81/a=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(VirtualHost, &["80/*"]);
    assert_eq!(peer.settle(), ["VHDS 80/a=1"]);
    peer.0.publish(&next(&first, &[(Cluster, "c=2"), (VirtualHost, "81/a=2")]));
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(2)));
}

#[test]
fn removals_wait_for_those_who_may_refer() {
    let first = world(&[(Cluster, "c=1"), (Endpoints, "c=1"), (Listener, "l=1"), (VirtualHost, "80/a=1")]);
    let mut peer = Peer::new(&first);
    for kind in [Cluster, Endpoints, Listener, VirtualHost] {
        peer.ask(kind, &["*"]);
    }
    peer.settle();
    peer.0.publish(&next(&first, &[(Cluster, "-c"), (Endpoints, "-c"), (Listener, "-l"), (VirtualHost, "80/a=2")]));
    let mut steps = Vec::new();
    loop {
        let (sent, messages) = peer.due();
        if messages.is_empty() {
            break;
        }
        steps.push(sent.join(", "));
        peer.accept(&messages);
    }
    assert_eq!(steps, ["LDS -l, VHDS 80/a=2", "CDS -c", "EDS -c"]);
    assert_eq!(peer.0.applied(), Some(2));
}

#[test]
fn a_removed_cluster_that_comes_back_comes_before_its_route() {
    let first = world(&[(Cluster, "c=1"), (VirtualHost, "80/a=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(Cluster, &["*"]);
    peer.ask(VirtualHost, &["*"]);
    peer.settle();
    let gone = next(&first, &[(Cluster, "-c")]);
    peer.0.publish(&gone);
    let (sent, removal) = peer.due();
    assert_eq!(sent, ["CDS -c"]);
    peer.0.publish(&next(&gone, &[(Cluster, "c=2"), (VirtualHost, "80/a=2")]));
    assert_eq!(peer.due().0.len(), 0, "the route must not overtake its cluster");
    peer.answer(&removal[0], None);
    assert_eq!(peer.due().0, ["CDS c=2", "VHDS 80/a=2"]);
}

#[test]
fn refused_resources_are_not_sent_again() {
    let first = world(&[(Listener, "l=1"), (Listener, "m=1"), (Cluster, "c=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(Listener, &["*"]);
    peer.ask(Cluster, &["*"]);
    peer.settle();
    let second = next(&first, &[(Listener, "l=2"), (Listener, "m=2"), (Cluster, "-c")]);
    peer.0.publish(&second);
    let (_, messages) = peer.due();
    let rejection = Rejection { name: "l".to_owned(), message: "no such filter".to_owned() };
    let Heard::Nacked(seen) = peer.answer(&messages[0], Some(nack::to_wire(std::slice::from_ref(&rejection)))) else {
        panic!("a NACK");
    };
    assert_eq!((seen.message.as_str(), seen.resources), ("l: no such filter", vec![rejection]));
    // Not again, and the cluster that the listener in force may name stays.
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(1)));
    // Another version is tried; so is the first one, which the client may hold or not.
    let third = next(&second, &[(Listener, "l=1")]);
    peer.0.publish(&third);
    assert_eq!(peer.settle(), ["LDS l=1", "CDS -c"]);
    assert_eq!(peer.0.applied(), Some(3));
    // Nor are the refused bytes sent when they are wanted a second time.
    peer.0.publish(&next(&third, &[(Listener, "l=2")]));
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(3)));
}

#[test]
fn nacks_in_words() {
    let plain = |message: &str| Some(Status { code: 13, message: message.to_owned(), details: Vec::new() });
    for (message, unknown) in [
        ("Error adding/updating listener(s) l: no such filter", &["LDS l=3"][..]),
        ("something is wrong", &["LDS l=3 m=3"]),
    ] {
        let first = world(&[(Listener, "l=1"), (Listener, "m=1")]);
        let mut peer = Peer::new(&first);
        peer.ask(Listener, &["*"]);
        let (_, messages) = peer.due();
        peer.answer(&messages[0], plain(message));
        assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(0)), "{message}");
        // Only what was refused is missing: a change back to it is nothing to send, another change is.
        let second = next(&first, &[(Listener, "l=3")]);
        peer.0.publish(&second);
        assert_eq!(peer.settle(), ["LDS l=3"]);
        let complete = unknown.len() == 1 && !unknown[0].contains('m');
        assert_eq!(peer.0.applied() == Some(2), complete, "{message}");
    }
}

#[test]
fn stale_answers_and_unknown_types_change_nothing() {
    let first = world(&[(Cluster, "c=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(Cluster, &["*"]);
    let (_, messages) = peer.due();
    for nonce in ["ff", "0", "-1", "not a number", "99999999999999999999999"] {
        let mut old = messages[0].clone();
        old.nonce = nonce.to_owned();
        assert_eq!(peer.answer(&old, None), Heard::Stale(Cluster));
        assert_eq!(peer.answer(&old, Some(Status::default())), Heard::Stale(Cluster));
    }
    let odd = DeltaDiscoveryRequest { type_url: "type.googleapis.com/other".to_owned(), ..Default::default() };
    assert_eq!(peer.say(&odd), Heard::Ignored);
    assert_eq!(peer.0.applied(), Some(0));
    assert_eq!(peer.answer(&messages[0], None), Heard::Acked(Cluster));
    assert_eq!(peer.answer(&messages[0], None), Heard::Stale(Cluster));
}

#[test]
fn on_demand_by_name() {
    let first = world(&[(VirtualHost, "80/a=1"), (VirtualHost, "80/b=1")]);
    let mut peer = Peer::new(&first);
    peer.ask(VirtualHost, &["80/a", "80/x"]);
    assert_eq!(peer.settle(), ["VHDS 80/a=1 -80/x"], "a name that does not exist is told");
    peer.ask(VirtualHost, &["80/a"]);
    assert_eq!(peer.settle(), ["VHDS 80/a=1"], "who asks again gets an answer");
    let second = next(&first, &[(VirtualHost, "80/x=1"), (VirtualHost, "80/b=2"), (VirtualHost, "-80/a")]);
    peer.0.publish(&second);
    assert_eq!(peer.settle(), ["VHDS 80/x=1 -80/a"]);
    let mut drop_x = ask(VirtualHost, &[]);
    drop_x.resource_names_unsubscribe = vec!["80/x".to_owned()];
    peer.say(&drop_x);
    peer.0.publish(&next(&second, &[(VirtualHost, "80/x=2")]));
    assert_eq!((peer.due().0.len(), peer.0.applied()), (0, Some(3)));
}

#[test]
fn wildcards() {
    let world = world(&[(Cluster, "c=1"), (Endpoints, "c=1"), (VirtualHost, "80/a=1"), (VirtualHost, "8080/a=1")]);
    for (kind, names, sent) in [
        (Cluster, &[][..], &["CDS c=1"][..]),
        (Cluster, &["c"], &["CDS c=1"]),
        (Endpoints, &[], &[]),
        (Endpoints, &["*"], &["EDS c=1"]),
        (VirtualHost, &["80/*"], &["VHDS 80/a=1"]),
        (VirtualHost, &["80/*", "*"], &["VHDS 80/a=1", "VHDS 8080/a=1"]),
        (VirtualHost, &["*", "80/a"], &["VHDS 80/a=1 8080/a=1", "VHDS 80/a=1"]),
        (VirtualHost, &["80*"], &["VHDS -80*"]),
        (VirtualHost, &["90/*"], &["VHDS"]),
        (Listener, &["*"], &["LDS"]),
    ] {
        let mut peer = Peer::new(&world);
        peer.ask(kind, names);
        assert_eq!(peer.settle(), sent, "{kind} {names:?}");
    }
}

#[test]
fn coming_back() {
    let first = world(&[(Cluster, "c=1"), (Cluster, "d=1"), (Listener, "l=1")]);
    let version = |number: u64| Version(number).to_string();
    let back = |held: &[(&str, String)]| {
        let mut request = ask(Cluster, &["*"]);
        request.initial_resource_versions =
            held.iter().map(|(name, version)| ((*name).to_owned(), version.clone())).collect();
        request
    };
    for (held, sent) in [
        // An empty response asks for an answer, after which what the client holds is known.
        (vec![("c", version(1)), ("d", version(1))], &["CDS"][..]),
        (vec![("c", version(1))], &["CDS d=1"]),
        (vec![("c", version(9)), ("d", version(1))], &["CDS c=1"]),
        (vec![("c", "other-server".to_owned()), ("d", version(1))], &["CDS c=1"]),
    ] {
        let mut peer = Peer::new(&first);
        peer.say(&back(&held));
        peer.ask(Listener, &["*"]);
        let mut expected: Vec<&str> = sent.to_vec();
        expected.push("LDS l=1");
        assert_eq!(peer.settle(), expected, "{held:?}");
        assert_eq!(peer.0.applied(), Some(1));
    }
    // What is gone is removed, but not before the listeners are told of, and acknowledged.
    let mut peer = Peer::new(&first);
    peer.say(&back(&[("c", version(1)), ("d", version(1)), ("gone", version(3))]));
    let (sent, probe) = peer.due();
    assert_eq!((sent, peer.0.applied()), (vec!["CDS".to_owned()], None));
    peer.ask(Listener, &["*"]);
    peer.answer(&probe[0], None);
    assert_eq!(peer.settle(), ["LDS l=1", "CDS -gone"]);
    // A client that uses nothing else says so by answering.
    let mut peer = Peer::new(&first);
    peer.say(&back(&[("c", version(1)), ("d", version(1)), ("gone", version(3))]));
    assert_eq!((peer.settle(), peer.0.applied()), (vec!["CDS".to_owned(), "CDS -gone".to_owned()], Some(1)));
}

#[test]
fn limits_end_the_stream() {
    let world = Generation::empty(1);
    let many: Vec<String> = (0..11).map(|number| number.to_string()).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let mut peer = Peer::new(&world);
    let error = peer.0.request(&ask(Cluster, &many));
    assert_eq!(error, Err(Violation::TooManySubscriptions { kind: Cluster, max: 10 }));
    assert!(peer.0.request(&ask(Cluster, &many[..10])).is_ok());
    assert!(peer.0.request(&ask(Cluster, &["one more"])).is_err());
    assert!(peer.0.request(&ask(Route, &many[..10])).is_ok());
    let long = "x".repeat(31);
    let error = Peer::new(&world).0.request(&ask(Cluster, &[&long]));
    assert_eq!(error, Err(Violation::NameTooLong { kind: Cluster, max: 30 }));
}
