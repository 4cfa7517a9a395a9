//! How running replicas follow the plan: a pure state machine.
//!
//! In: plans, and [`Event`]s about processes and the control plane. Out, from [`Fleet::step`]: the [`Action`]s that are due
//! and the time of the next look. `now` is an argument; nothing here starts or signals anything itself.
//!
//! ```text
//!  Waiting ─► Preparing ─► Live ─────────────► Leaving ─► Draining ─► Stopping ─► Removing ─► (gone)
//!             node,        proxy, then apps;   endpoint   proxy       SIGTERM,     node
//!             Pod pushed   restarts            removed,   drained     grace,
//!                                              not ACKed              SIGKILL
//! ```
//! A replica of an old revision leaves when a new one is ready, never before; one that was never ready leaves at once.
//!
//! Invariant: a replica that is or was an endpoint gets its SIGTERM only after its removal was ACKed (or
//! [`ACK_WAIT_MAX`] has passed, so that a control plane that is down for good does not keep it for ever).

mod replica;
mod view;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use replica::Stage;
pub(crate) use replica::{Part, Replica};
pub(crate) use view::WorkloadView;

use crate::plan::{Name, Plan, PodFacts, Workload, ipv4_of, ipv6_of};

/// Longest wait for the ACK of a removal.
pub(crate) const ACK_WAIT_MAX: Duration = Duration::from_mins(1);

/// Names a replica for the length of a run.
pub(crate) type ReplicaId = u64;

/// Something for the caller to do; it answers with an [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    /// Make the node → [`Event::Prepared`].
    Prepare(ReplicaId),
    /// Start a process and watch its readiness → [`Event::Started`], then [`Event::Readiness`]. `run` tells this process
    /// from the ones before it.
    Start { replica: ReplicaId, part: Part, run: u32 },
    /// Let the proxy finish what is open → [`Event::Drained`].
    Drain(ReplicaId),
    /// Ask a process to end, or end it → [`Event::Exited`].
    Signal { replica: ReplicaId, part: Part, kill: bool },
    /// Remove the node and all that belongs to it → [`Event::Removed`].
    Remove(ReplicaId),
    /// Tell the control plane what [`Fleet::replicas`] are → [`Event::Published`], then [`Event::Applied`].
    Publish(u64),
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Event {
    Prepared {
        replica: ReplicaId,
        result: Result<(), String>,
    },
    Started {
        replica: ReplicaId,
        part: Part,
        result: Result<(), String>,
    },
    /// `Err` says why it is not ready.
    Readiness {
        replica: ReplicaId,
        part: Part,
        run: u32,
        result: Result<(), String>,
    },
    /// With the exit status in words.
    Exited {
        replica: ReplicaId,
        part: Part,
        how: String,
    },
    Drained(ReplicaId),
    Removed(ReplicaId),
    /// The control plane knows this version of the replicas.
    Published(u64),
    /// All proxies have it in force.
    Applied(u64),
}

/// One Deployment's replicas, wanted and had.
#[derive(Debug, Default)]
struct Rollout {
    /// `None` when the Deployment is gone.
    desired: Option<Arc<Workload>>,
    /// Why the newest edit of the Deployment cannot run.
    broken: Option<String>,
    replicas: BTreeMap<ReplicaId, Replica>,
}

/// All replicas of the mesh.
#[derive(Debug, Default)]
pub(crate) struct Fleet {
    rollouts: BTreeMap<Name, Rollout>,
    /// Addresses that are not ours to give.
    reserved: BTreeSet<Ipv4Addr>,
    next_id: ReplicaId,
    /// What was published last: replicas, and whether each is an endpoint.
    endpoints: Vec<(ReplicaId, bool)>,
    /// Counts changes of `endpoints`.
    version: u64,
    published: u64,
    applied: u64,
}

impl Fleet {
    /// Takes over a new plan. What is broken in it goes on as it was.
    pub(crate) fn follow(&mut self, plan: &Plan) {
        self.reserved.clone_from(&plan.reserved);
        for rollout in self.rollouts.values_mut() {
            rollout.broken = None;
        }
        for (name, workload) in &plan.workloads {
            self.rollouts.entry(name.clone()).or_default().desired = Some(Arc::clone(workload));
        }
        for (name, finding) in &plan.broken {
            self.rollouts.entry(name.clone()).or_default().broken = Some(finding.message.clone());
        }
        for (name, rollout) in &mut self.rollouts {
            if !plan.workloads.contains_key(name) && rollout.broken.is_none() {
                rollout.desired = None;
            }
        }
    }

    /// Takes note of what happened. Events about what is gone already are ignored.
    pub(crate) fn observe(&mut self, event: Event, now: Instant) {
        match event {
            Event::Published(version) => self.published = self.published.max(version),
            Event::Applied(version) => self.applied = self.applied.max(version),
            Event::Removed(id) => {
                for rollout in self.rollouts.values_mut() {
                    rollout.replicas.remove(&id);
                }
            }
            Event::Prepared { replica, result } => self.with(replica, |replica| replica.prepared(result, now)),
            Event::Started { replica, part, result } => {
                self.with(replica, |replica| replica.started(part, result, now));
            }
            Event::Readiness { replica, part, run, result } => {
                self.with(replica, |replica| replica.readiness(part, run, result));
            }
            Event::Exited { replica, part, how } => self.with(replica, |replica| replica.exited(part, how, now)),
            Event::Drained(id) => {
                self.with(id, |replica| replica.stage = Stage::Stopping { since: now, told: false, killed: false });
            }
        }
    }

    fn with(&mut self, id: ReplicaId, f: impl FnOnce(&mut Replica)) {
        if let Some(replica) = self.rollouts.values_mut().find_map(|rollout| rollout.replicas.get_mut(&id)) {
            f(replica);
        }
    }

    /// What is due now, and when to look again if nothing happens before.
    pub(crate) fn step(&mut self, now: Instant) -> (Vec<Action>, Option<Instant>) {
        self.create();
        self.retire(now);
        let mut actions = Vec::new();
        self.publish(&mut actions);
        let mut wake: Option<Instant> = None;
        let (published, applied) = (self.published, self.applied);
        for replica in self.rollouts.values_mut().flat_map(|rollout| rollout.replicas.values_mut()) {
            replica.step(replica::Clock { now, published, applied }, &mut actions);
            wake = [wake, replica.wake()].into_iter().flatten().min();
        }
        self.rollouts
            .retain(|_, rollout| rollout.desired.is_some() || rollout.broken.is_some() || !rollout.replicas.is_empty());
        (actions, wake)
    }

    /// Makes the replicas that are missing.
    fn create(&mut self) {
        let others_ready =
            self.rollouts.values().filter(|rollout| !rollout.starts_last()).all(Rollout::is_ready) && self.is_settled();
        let mut taken: BTreeSet<Ipv4Addr> = self.replicas().map(|replica| replica.pod.ipv4).collect();
        taken.extend(&self.reserved);
        for (name, rollout) in &mut self.rollouts {
            let Some(desired) = rollout.desired.clone() else { continue };
            if desired.starts_last && rollout.replicas.is_empty() && !others_ready {
                continue;
            }
            for ordinal in 0..desired.replicas {
                let same = |replica: &Replica| replica.is_current(&desired) && replica.ordinal == ordinal;
                if rollout.replicas.values().any(|replica| replica.is_staying() && same(replica)) {
                    continue;
                }
                let Some(ipv4) = ipv4_of(&name.to_string(), ordinal, |address| taken.contains(&address)) else {
                    continue;
                };
                taken.insert(ipv4);
                let pod = PodFacts {
                    name: pod_name(&desired, ipv4),
                    ipv4,
                    ipv6: ipv6_of(ipv4),
                    host_ip: Ipv4Addr::new(10, 244, 0, 1),
                };
                let id = self.next_id;
                self.next_id += 1;
                // It must be known to the control plane before its proxy asks: the next version holds it.
                rollout.replicas.insert(id, Replica::new(id, Arc::clone(&desired), ordinal, (pod, self.version + 1)));
            }
        }
    }

    /// Sends away what is no longer wanted and no longer needed.
    fn retire(&mut self, now: Instant) {
        // What is still published as an endpoint is so up to the next version.
        let endpoints: BTreeSet<ReplicaId> =
            self.endpoints.iter().filter(|(_, ready)| *ready).map(|(id, _)| *id).collect();
        for rollout in self.rollouts.values_mut() {
            let wanted = rollout.desired.as_ref().map_or(0, |desired| desired.replicas as usize);
            let desired = rollout.desired.clone();
            let is_wanted = |replica: &Replica| {
                desired
                    .as_ref()
                    .is_some_and(|desired| replica.is_current(desired) && replica.ordinal < desired.replicas)
            };
            let staying = || rollout.replicas.values().filter(|replica| replica.is_staying());
            let ready = staying().filter(|replica| is_wanted(replica) && replica.is_ready()).count();
            // Old ones stand in for those that are not ready yet; the ready ones among them first, then the newest.
            let mut old: Vec<(bool, ReplicaId)> = staying()
                .filter(|replica| !is_wanted(replica))
                .map(|replica| (replica.was_ready, replica.id))
                .collect();
            old.sort_by_key(|(was_ready, id)| (std::cmp::Reverse(*was_ready), std::cmp::Reverse(*id)));
            let keep = wanted.saturating_sub(ready);
            let leaving = old.into_iter().enumerate().filter(|(at, (was_ready, _))| *at >= keep || !was_ready);
            let leaving: Vec<ReplicaId> = leaving.map(|(_, (_, id))| id).collect();
            for id in leaving {
                if let Some(replica) = rollout.replicas.get_mut(&id) {
                    replica.leave(self.version + u64::from(endpoints.contains(&id)), now);
                }
            }
        }
    }

    /// Notices whether what the control plane should know has changed.
    fn publish(&mut self, actions: &mut Vec<Action>) {
        let endpoints: Vec<(ReplicaId, bool)> =
            self.replicas().map(|replica| (replica.id, replica.is_endpoint())).collect();
        if endpoints != self.endpoints {
            self.endpoints = endpoints;
            self.version += 1;
            actions.push(Action::Publish(self.version));
        }
    }

    /// All replicas that have an address, leaving ones included.
    pub(crate) fn replicas(&self) -> impl Iterator<Item = &Replica> {
        self.rollouts.values().flat_map(|rollout| rollout.replicas.values())
    }

    pub(crate) fn replica(&self, id: ReplicaId) -> Option<&Replica> {
        self.rollouts.values().find_map(|rollout| rollout.replicas.get(&id))
    }

    /// Every wanted replica is ready, and nothing is broken.
    pub(crate) fn is_ready(&self) -> bool {
        self.rollouts.values().all(Rollout::is_ready)
    }

    /// All proxies know of all replicas as they are.
    pub(crate) fn is_settled(&self) -> bool {
        self.applied >= self.version
    }
}

impl Rollout {
    fn starts_last(&self) -> bool {
        self.desired.as_ref().is_some_and(|desired| desired.starts_last)
    }

    fn is_ready(&self) -> bool {
        let Some(desired) = &self.desired else { return self.broken.is_none() };
        let ready =
            self.replicas.values().filter(|replica| replica.is_current(desired) && replica.is_endpoint()).count();
        self.broken.is_none() && ready >= desired.replicas as usize
    }
}

/// As in Kubernetes: the Deployment, its revision, and a suffix that tells replicas apart.
fn pod_name(workload: &Workload, address: Ipv4Addr) -> String {
    let [_, _, high, low] = address.octets();
    let revision = (workload.revision ^ (workload.revision >> 32)) as u32;
    format!("{}-{revision:08x}-{high:02x}{low:02x}", workload.name.name)
}

#[cfg(test)]
mod tests;
