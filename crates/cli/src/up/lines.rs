//! One plain line for each change of a mesh: what `mizzen up` prints without a terminal.
//!
//! In: one status after the other. Out: what is new in it, in words; nothing twice.

use crate::{
    mizzend::{Change, FindingView},
    status::Status,
    text,
};

#[derive(Debug, Default)]
pub(crate) struct Lines {
    last: Status,
    verbose: bool,
}

impl Lines {
    pub(crate) fn new(verbose: bool) -> Self {
        Self { last: Status::default(), verbose }
    }

    /// What has changed since the last call.
    pub(crate) fn news(&mut self, status: &Status) -> Vec<String> {
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
        self.workloads(status, &mut news);
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

    fn workloads(&self, status: &Status, news: &mut Vec<String>) {
        for workload in &status.workloads {
            let before = self.last.workloads.iter().find(|before| before.name == workload.name);
            let count = |ready, replicas| if replicas == 1 { String::new() } else { format!(" ({ready}/{replicas})") };
            let suffix = count(workload.ready, workload.replicas);
            match (before, workload.is_ready()) {
                (Some(before), _) if before.ready == workload.ready && before.why == workload.why => {}
                (_, true) => news.push(format!("{} is ready{suffix}", workload.name)),
                (_, false) => {
                    let why = workload.why.as_deref().unwrap_or("starting");
                    news.push(format!("{} is not ready{suffix}: {why}", workload.name));
                }
            }
        }
        let gone =
            self.last.workloads.iter().filter(|before| status.workloads.iter().all(|now| now.name != before.name));
        news.extend(gone.map(|workload| format!("{} is gone", workload.name)));
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
    use crate::fleet::WorkloadView;

    fn workload(ready: u32, why: Option<&str>) -> WorkloadView {
        WorkloadView { name: "shop/web".into(), replicas: 1, ready, leaving: 0, why: why.map(str::to_owned) }
    }

    #[test]
    fn each_change_is_one_line() {
        let mut lines = Lines::new(false);
        let mut status = Status { workloads: vec![workload(0, Some("making its network"))], ..Status::default() };
        assert_eq!(lines.news(&status), ["shop/web is not ready: making its network"]);
        assert_eq!(lines.news(&status), Vec::<String>::new());
        status.workloads = vec![workload(1, None)];
        status.ready = true;
        assert_eq!(lines.news(&status), ["shop/web is ready", "all 1 workloads are ready"]);
        let finding = FindingView { severity: "warning".into(), message: "odd".into(), ..FindingView::default() };
        status.findings = vec![finding];
        assert_eq!(lines.news(&status), ["warning: odd"]);
        status.findings.clear();
        status.not_used = vec!["Chart.yaml: no Kubernetes object".into(), "b".into()];
        assert_eq!(
            lines.news(&status),
            ["not used: 2 documents of other kinds (-v lists them)", "resolved: warning: odd"]
        );
        status.workloads.clear();
        status.trouble = Some("the control plane is down: signal 9".into());
        assert_eq!(lines.news(&status), ["the control plane is down: signal 9", "shop/web is gone"]);
    }
}
