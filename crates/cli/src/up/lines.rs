//! One plain line for each change of a mesh: what `mizzen up` prints without a terminal.
//!
//! In: one status after the other, and the time. Out: what is new in it, in words; nothing twice, and nothing of the steps
//! that every start takes unless one of them takes long.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use crate::{
    fleet::WorkloadView,
    mizzend::{Change, FindingView},
    status::Status,
    text,
};

/// A workload that is not ready for a reason that stays this long is worth a line.
const WORTH_A_LINE: Duration = Duration::from_secs(3);

#[derive(Debug, Default)]
pub(crate) struct Lines {
    last: Status,
    /// Of each workload.
    told: BTreeMap<String, Told>,
    verbose: bool,
}

/// What is known, and was said, of a workload.
#[derive(Debug)]
struct Told {
    view: WorkloadView,
    /// Since when it is as it is.
    since: Instant,
    said: bool,
}

impl Lines {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { verbose, ..Self::default() }
    }

    /// What has changed since the last call.
    pub(crate) fn news(&mut self, status: &Status, now: Instant) -> Vec<String> {
        let mut news = Vec::new();
        news.extend(status.published.iter().filter(|line| !self.last.published.contains(line)).cloned());
        if status.not_used != self.last.not_used {
            news.extend(not_used(&status.not_used, self.verbose));
        }
        let is_new = |finding: &&FindingView| !self.last.findings.contains(finding);
        news.extend(status.findings.iter().filter(is_new).map(text::finding));
        let is_gone = |finding: &&FindingView| !status.findings.contains(finding);
        news.extend(
            self.last.findings.iter().filter(is_gone).map(|finding| format!("resolved: {}", text::finding(finding))),
        );
        if status.trouble != self.last.trouble {
            news.extend(status.trouble.clone());
        }
        self.workloads(status, now, &mut news);
        if status.ready != self.last.ready {
            let count = status.workloads.len();
            news.push(if status.ready {
                format!("all {count} workloads are ready")
            } else {
                "no longer all ready".to_owned()
            });
        }
        self.last = status.clone();
        news
    }

    fn workloads(&mut self, status: &Status, now: Instant, news: &mut Vec<String>) {
        for view in &status.workloads {
            let before = self.told.get(&view.name);
            if before.is_none_or(|told| told.view.ready != view.ready || told.view.why != view.why) {
                // A start begins with steps that nobody needs to hear of; the end of service is always news.
                let fell = before.is_some_and(|told| told.view.is_ready()) && !view.is_ready();
                let said = view.is_ready() || fell;
                if said {
                    news.push(line(view));
                }
                self.told.insert(view.name.clone(), Told { view: view.clone(), since: now, said });
            }
        }
        for told in self.told.values_mut().filter(|told| !told.said && now.duration_since(told.since) >= WORTH_A_LINE) {
            news.push(line(&told.view));
            told.said = true;
        }
        self.told.retain(|name, _| {
            let stays = status.workloads.iter().any(|view| view.name == *name);
            if !stays {
                news.push(format!("{name} is gone"));
            }
            stays
        });
    }
}

fn line(view: &WorkloadView) -> String {
    let count = if view.replicas == 1 { String::new() } else { format!(" ({}/{})", view.ready, view.replicas) };
    if view.is_ready() {
        format!("{} is ready{count}", view.name)
    } else {
        format!("{} is not ready{count}: {}", view.name, view.why.as_deref().unwrap_or("starting"))
    }
}

/// A change is told when it happens, not when it differs.
pub(crate) fn change(change: &Change) -> String {
    text::change(change)
}

fn not_used(documents: &[String], verbose: bool) -> Vec<String> {
    match documents.len() {
        0 => Vec::new(),
        _ if verbose => documents.iter().map(|document| format!("not used: {document}")).collect(),
        count => vec![format!("not used: {count} documents of other kinds (-v lists them)")],
    }
}

#[cfg(test)]
mod tests {
    //! Nothing twice, nothing left out.

    use super::*;

    fn workload(ready: u32, why: Option<&str>) -> WorkloadView {
        WorkloadView { name: "shop/web".into(), replicas: 1, ready, leaving: 0, why: why.map(str::to_owned) }
    }

    #[test]
    fn each_change_is_one_line() {
        let now = Instant::now();
        let mut lines = Lines::new(false);
        let mut status = Status { workloads: vec![workload(0, Some("making its network"))], ..Status::default() };
        assert_eq!(lines.news(&status, now), Vec::<String>::new());
        status.workloads = vec![workload(1, None)];
        status.ready = true;
        assert_eq!(lines.news(&status, now), ["shop/web is ready", "all 1 workloads are ready"]);
        assert_eq!(lines.news(&status, now), Vec::<String>::new());
        status.workloads = vec![workload(0, Some("web: exit status 1"))];
        assert_eq!(lines.news(&status, now), ["shop/web is not ready: web: exit status 1"]);
        status.workloads = vec![workload(1, None)];
        lines.news(&status, now);
        let finding = FindingView { severity: "warning".into(), message: "odd".into(), ..FindingView::default() };
        status.findings = vec![finding];
        assert_eq!(lines.news(&status, now), ["warning: odd"]);
        status.findings.clear();
        status.not_used = vec!["Chart.yaml: no Kubernetes object".into(), "b".into()];
        let wanted = ["not used: 2 documents of other kinds (-v lists them)", "resolved: warning: odd"];
        assert_eq!(lines.news(&status, now), wanted);
        status.workloads.clear();
        status.trouble = Some("the control plane is down: signal 9".into());
        assert_eq!(lines.news(&status, now), ["the control plane is down: signal 9", "shop/web is gone"]);
    }

    #[test]
    fn a_start_that_hangs_says_where_once() {
        let now = Instant::now();
        let mut lines = Lines::new(false);
        let status = Status { workloads: vec![workload(0, Some("proxy: starting"))], ..Status::default() };
        assert_eq!(lines.news(&status, now), Vec::<String>::new());
        let late = now + WORTH_A_LINE;
        assert_eq!(lines.news(&status, late), ["shop/web is not ready: proxy: starting"]);
        assert_eq!(lines.news(&status, late + WORTH_A_LINE), Vec::<String>::new());
    }
}
