//! Model for the simulation: a world whose resources name each other, and a link with a client behind it.
//!
//! A body is text: `salt|C:name|R:name|bad`. References of a kind are found by their letter.

mod link;
mod plant;

pub(crate) use link::Link;
pub(crate) use plant::Plant;

/// How virtual hosts are subscribed to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Hosts {
    All,
    ByPrefix,
    /// By name, now and then, and dropped again.
    OnDemand,
}

/// What varies between runs beside the seed's dice.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Options {
    /// Endpoints are subscribed to one by one, as Envoy does.
    pub(crate) endpoints_by_name: bool,
    pub(crate) hosts: Hosts,
    /// Some resources are such that the client refuses them.
    pub(crate) poison: bool,
    /// The client names what it refuses in the details; otherwise in words only, as Envoy does.
    pub(crate) structured: bool,
    pub(crate) message_bytes_max: usize,
}

impl Options {
    pub(crate) fn random(rng: &mut fastrand::Rng) -> Self {
        Self {
            endpoints_by_name: rng.bool(),
            hosts: [Hosts::All, Hosts::ByPrefix, Hosts::OnDemand][rng.usize(0..3)],
            poison: rng.bool(),
            structured: rng.u8(0..4) > 0,
            message_bytes_max: [200, 600, 1 << 20][rng.usize(0..3)],
        }
    }
}
