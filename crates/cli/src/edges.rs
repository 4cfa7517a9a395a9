//! Who called whom: the proxies' counters, put together.
//!
//! In: each proxy's `/edges` (cumulative for one run of the proxy), and which address is whose. Out: [`Figures`] for each
//! [`EdgeName`], named after Deployments.
//!
//! A request is counted once per edge, at the destination's proxy; at the source's if the destination has none. What a
//! source saw fail and no destination's proxy has counted (a refused connection, no endpoint) is added to its edge: it was
//! a request, too.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    sync::Arc,
};

use mizzen_telemetry::{Direction, EdgeProtocol, EdgeReport, EdgeTotals, merge_latencies};

use crate::fleet::ReplicaId;

/// What is outside, or not known.
pub(crate) const UNKNOWN: &str = "unknown";

/// From one Deployment to another, `NAMESPACE/NAME` or [`UNKNOWN`].
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct EdgeName {
    pub(crate) source: Arc<str>,
    pub(crate) destination: Arc<str>,
    pub(crate) protocol: EdgeProtocol,
}

/// What was counted on an edge.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Figures {
    /// Connections for TCP.
    pub(crate) requests: u64,
    pub(crate) failures: u64,
    /// Requests whose connection's security was seen by a sidecar at its destination.
    pub(crate) arrived: u64,
    /// Those of them that came over mutual TLS.
    pub(crate) mtls: u64,
    pub(crate) key_exchange: BTreeMap<Arc<str>, u64>,
    /// `[upper bound in µs, count]`.
    pub(crate) latency_us: Vec<(u64, u64)>,
}

impl Figures {
    fn of(edge: &EdgeTotals) -> Self {
        Self {
            requests: edge.requests,
            failures: edge.failures,
            arrived: edge.requests,
            mtls: edge.mtls,
            key_exchange: edge.key_exchange.clone(),
            latency_us: edge.latency_us.clone(),
        }
    }

    /// As counted where the connection's security is not that of the edge.
    fn unseen(edge: &EdgeTotals) -> Self {
        Self { arrived: 0, mtls: 0, key_exchange: BTreeMap::new(), ..Self::of(edge) }
    }

    pub(crate) fn add(&mut self, more: &Self) {
        self.requests += more.requests;
        self.failures += more.failures;
        self.arrived += more.arrived;
        self.mtls += more.mtls;
        for (group, count) in &more.key_exchange {
            *self.key_exchange.entry(Arc::clone(group)).or_default() += count;
        }
        merge_latencies(&mut self.latency_us, &more.latency_us);
    }

    /// What was counted since `earlier`.
    fn since(&self, earlier: &Self) -> Self {
        let rest = |groups: &BTreeMap<Arc<str>, u64>, group: &Arc<str>, count: u64| {
            count.saturating_sub(groups.get(group).copied().unwrap_or_default())
        };
        let key_exchange = self.key_exchange.iter();
        let key_exchange =
            key_exchange.map(|(group, count)| (Arc::clone(group), rest(&earlier.key_exchange, group, *count)));
        let before: HashMap<u64, u64> = earlier.latency_us.iter().copied().collect();
        let latency = self.latency_us.iter();
        let latency = latency
            .map(|(bound, count)| (*bound, count.saturating_sub(before.get(bound).copied().unwrap_or_default())));
        Self {
            requests: self.requests.saturating_sub(earlier.requests),
            failures: self.failures.saturating_sub(earlier.failures),
            arrived: self.arrived.saturating_sub(earlier.arrived),
            mtls: self.mtls.saturating_sub(earlier.mtls),
            key_exchange: key_exchange.filter(|(_, count)| *count > 0).collect(),
            latency_us: latency.filter(|(_, count)| *count > 0).collect(),
        }
    }
}

/// All edges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Totals(pub(crate) BTreeMap<EdgeName, Figures>);

impl Totals {
    fn add(&mut self, name: EdgeName, figures: &Figures) {
        self.0.entry(name).or_default().add(figures);
    }

    fn absorb(&mut self, more: &Self) {
        for (name, figures) in &more.0 {
            self.add(name.clone(), figures);
        }
    }

    /// What was counted since `earlier`; edges without a request are left out.
    pub(crate) fn since(&self, earlier: &Self) -> Self {
        let nothing = Figures::default();
        let edges =
            self.0.iter().map(|(name, figures)| (name.clone(), figures.since(earlier.0.get(name).unwrap_or(&nothing))));
        Self(edges.filter(|(_, figures)| figures.requests > 0).collect())
    }

    /// All edges as one.
    pub(crate) fn sum(&self) -> Figures {
        let mut sum = Figures::default();
        for figures in self.0.values() {
            sum.add(figures);
        }
        sum
    }
}

/// A workload behind an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Member {
    /// `NAMESPACE/NAME` of the Deployment.
    pub(crate) name: Arc<str>,
    pub(crate) kind: MemberKind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MemberKind {
    Sidecar,
    Router,
    Bare,
}

/// One run of one proxy, which counts from zero.
pub(crate) type ProxyRun = (ReplicaId, u32);

/// The counters of all proxies, those of ended runs included.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    members: HashMap<IpAddr, Member>,
    /// The last report of each running proxy, with the address of its workload.
    running: BTreeMap<ProxyRun, (IpAddr, EdgeReport)>,
    /// The last run that has ended, of each replica.
    closed: BTreeMap<ReplicaId, u32>,
    /// What ended runs had counted; outbound losses among them are settled against the arrivals of all.
    ended: Tally,
}

/// Sums before losses are settled.
#[derive(Debug, Clone, Default)]
struct Tally {
    counted: Totals,
    /// Failures that sources saw on the way to meshed destinations.
    seen_failing: BTreeMap<EdgeName, u64>,
}

impl Ledger {
    /// An address belongs to a workload from now on. Addresses are not used twice for different Deployments in a run.
    pub(crate) fn know(&mut self, address: IpAddr, member: Member) {
        self.members.insert(address, member);
    }

    /// The newest report of a running proxy, whose workload has this address. One that comes after the end of its run is
    /// ignored.
    pub(crate) fn record(&mut self, run: ProxyRun, address: IpAddr, report: EdgeReport) {
        if self.closed.get(&run.0).is_none_or(|closed| *closed < run.1) {
            self.running.insert(run, (address, report));
        }
    }

    /// A replica's proxy has ended: what it last reported is final.
    pub(crate) fn close(&mut self, replica: ReplicaId) {
        let ended: Vec<ProxyRun> =
            self.running.range((replica, 0)..=(replica, u32::MAX)).map(|(run, _)| *run).collect();
        let mut tally = std::mem::take(&mut self.ended);
        for run in ended {
            if let Some((address, report)) = self.running.remove(&run) {
                self.tally(address, &report, &mut tally);
            }
            self.closed.insert(replica, run.1);
        }
        self.ended = tally;
    }

    pub(crate) fn totals(&self) -> Totals {
        let mut tally = self.ended.clone();
        for (address, report) in self.running.values() {
            self.tally(*address, report, &mut tally);
        }
        tally.settle()
    }

    fn tally(&self, address: IpAddr, report: &EdgeReport, tally: &mut Tally) {
        let Some(own) = self.members.get(&address) else { return };
        let reports_arrivals = report.edges.iter().any(|edge| edge.direction == Direction::Inbound);
        for edge in &report.edges {
            let caller = self.name_of(edge.source_ip);
            match edge.direction {
                Direction::Inbound => {
                    let figures =
                        if own.kind == MemberKind::Sidecar { Figures::of(edge) } else { Figures::unseen(edge) };
                    tally.counted.add(name(caller, &own.name, edge), &figures);
                }
                Direction::Outbound => {
                    if own.kind == MemberKind::Router && !reports_arrivals {
                        tally.counted.add(name(caller, &own.name, edge), &Figures::unseen(edge));
                    }
                    self.outbound(own, edge, tally);
                }
            }
        }
    }

    fn outbound(&self, own: &Member, edge: &EdgeTotals, tally: &mut Tally) {
        let upstream = edge.upstream_ip.and_then(|address| self.members.get(&address));
        match upstream {
            Some(member) if member.kind != MemberKind::Bare => {
                let name = name(Arc::clone(&own.name), &member.name, edge);
                *tally.seen_failing.entry(name).or_default() += edge.failures;
            }
            Some(member) => tally.counted.add(name(Arc::clone(&own.name), &member.name, edge), &Figures::unseen(edge)),
            None => tally.counted.add(name(Arc::clone(&own.name), &UNKNOWN.into(), edge), &Figures::unseen(edge)),
        }
    }

    fn name_of(&self, address: Option<IpAddr>) -> Arc<str> {
        let canonical = address.map(|address| address.to_canonical());
        let member = canonical.and_then(|address| self.members.get(&address));
        member.map_or_else(|| UNKNOWN.into(), |member| Arc::clone(&member.name))
    }
}

impl Tally {
    /// Adds what sources saw fail beyond what destinations counted as failed.
    fn settle(mut self) -> Totals {
        for (name, seen) in self.seen_failing {
            let counted = self.counted.0.get(&name).map_or(0, |figures| figures.failures);
            let lost = seen.saturating_sub(counted);
            if lost > 0 {
                self.counted.add(name, &Figures { requests: lost, failures: lost, ..Figures::default() });
            }
        }
        let mut totals = Totals::default();
        totals.absorb(&self.counted);
        totals
    }
}

fn name(source: Arc<str>, destination: &Arc<str>, edge: &EdgeTotals) -> EdgeName {
    EdgeName { source, destination: Arc::clone(destination), protocol: edge.protocol }
}

#[cfg(test)]
mod tests;
