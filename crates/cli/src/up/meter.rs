//! Rates: from cumulative figures to "per second, lately". Pure; `now` is an argument.

use std::{
    collections::{BTreeMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    edges::{EdgeName, Totals},
    report::{Usage, edge_views},
    status::{LiveEdge, WorkloadUsage},
};

/// "Lately".
const WINDOW: Duration = Duration::from_secs(5);

/// Resources of one workload's processes at one time.
pub(crate) type Usages = BTreeMap<String, (Option<Usage>, Option<Usage>)>;

#[derive(Debug, Default)]
pub(crate) struct Meter {
    edges: VecDeque<(Instant, Totals)>,
    usage: VecDeque<(Instant, Usages)>,
}

impl Meter {
    pub(crate) fn edges(&mut self, totals: Totals, now: Instant) {
        keep_window(&mut self.edges, now);
        self.edges.push_back((now, totals));
    }

    /// `(proxies, programs)` by workload.
    pub(crate) fn usage(&mut self, usage: Usages, now: Instant) {
        keep_window(&mut self.usage, now);
        self.usage.push_back((now, usage));
    }

    /// Everything counted so far, with the pace of the last seconds.
    pub(crate) fn live_edges(&self) -> Vec<LiveEdge> {
        let (Some((from, first)), Some((to, last))) = (self.edges.front(), self.edges.back()) else {
            return Vec::new();
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        let lately = last.since(first);
        let rate = |name: &EdgeName| {
            let requests = lately.0.get(name).map_or(0, |figures| figures.requests);
            if seconds > 0.0 { requests as f64 / seconds } else { 0.0 }
        };
        last.0.keys().zip(edge_views(last)).map(|(name, edge)| LiveEdge { rate: rate(name), edge }).collect()
    }

    pub(crate) fn workload_usage(&self) -> BTreeMap<String, WorkloadUsage> {
        let (Some((from, first)), Some((to, last))) = (self.usage.front(), self.usage.back()) else {
            return BTreeMap::new();
        };
        let seconds = to.duration_since(*from).as_secs_f64();
        let cpu = |(proxy, app): &(Option<Usage>, Option<Usage>)| {
            [proxy, app].into_iter().flatten().map(|usage| usage.cpu_s).sum::<f64>()
        };
        let usage = last.iter().map(|(name, now)| {
            let before = first.get(name).map(cpu);
            // A replica that went takes its seconds with it.
            let cpu_share = before.filter(|_| seconds > 0.0).map(|before| ((cpu(now) - before) / seconds).max(0.0));
            (name.clone(), WorkloadUsage { proxy: now.0, app: now.1, cpu_share })
        });
        usage.collect()
    }

    /// Of the proxies, as last seen.
    pub(crate) fn proxies(&self) -> BTreeMap<String, Usage> {
        let last = self.usage.back().map(|(_, usages)| usages);
        last.into_iter().flatten().filter_map(|(name, (proxy, _))| Some((name.clone(), (*proxy)?))).collect()
    }
}

/// Drops what is older than the window, except the newest of it, from which rates are taken.
fn keep_window<T>(samples: &mut VecDeque<(Instant, T)>, now: Instant) {
    while samples.get(1).is_some_and(|(at, _)| now.duration_since(*at) >= WINDOW) {
        samples.pop_front();
    }
}

#[cfg(test)]
mod tests {
    //! Pace over a window that moves.

    use mizzen_telemetry::EdgeProtocol;

    use super::*;
    use crate::edges::Figures;

    fn totals(requests: u64) -> Totals {
        let name = EdgeName { source: "a".into(), destination: "b".into(), protocol: EdgeProtocol::Http };
        Totals([(name, Figures { requests, ..Figures::default() })].into())
    }

    #[test]
    fn a_rate_is_that_of_the_last_seconds() {
        let start = Instant::now();
        let mut meter = Meter::default();
        for second in 0..60 {
            // Slow at first, then 100 a second.
            let requests = if second < 30 { second } else { 30 + (second - 30) * 100 };
            meter.edges(totals(requests), start + Duration::from_secs(second));
        }
        assert_eq!(meter.live_edges()[0].rate.to_string(), "100");
        assert!(meter.edges.len() <= 7, "{}", meter.edges.len());
    }

    #[test]
    fn cpu_is_a_share_of_one_core() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let usages = |proxy, app| {
            let usage = |cpu_s| Some(Usage { rss_kb: 1, cpu_s });
            Usages::from([("a".to_owned(), (usage(proxy), usage(app)))])
        };
        meter.usage(usages(1.0, 2.0), start);
        assert_eq!(meter.workload_usage()["a"].cpu_share, None);
        meter.usage(usages(1.5, 2.5), start + Duration::from_secs(2));
        assert_eq!(meter.workload_usage()["a"].cpu_share, Some(0.5));
        assert_eq!(meter.proxies()["a"], Usage { rss_kb: 1, cpu_s: 1.5 });
    }
}
