//! What is known of the fleet beside its state machine: whose an address is, which replica a name means, what a finding
//! says, what processes use.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    net::IpAddr,
    sync::Arc,
};

use super::{hands::Hands, meter::Usages};
use crate::{
    edges::{Ledger, Member, MemberKind},
    fleet::{Fleet, Part, Replica, ReplicaId},
    mizzend::FindingView,
    plan::Role,
    report::Usage,
};

/// Tells the ledger whose the replica's addresses are.
pub(super) fn know(ledger: &mut Ledger, replica: &Replica) {
    let kind = match replica.workload.template.role {
        Role::Sidecar => MemberKind::Sidecar,
        Role::Router { .. } => MemberKind::Router,
        Role::Bare => MemberKind::Bare,
    };
    let name: Arc<str> = replica.workload.name.to_string().into();
    for address in [IpAddr::V4(replica.pod.ipv4), IpAddr::V6(replica.pod.ipv6)] {
        ledger.know(address, Member { name: Arc::clone(&name), kind });
    }
}

/// A replica of `[NAMESPACE/]NAME`, or with this name; a ready one if there is one.
pub(super) fn find<'a>(fleet: &'a Fleet, workload: &str) -> Result<&'a Replica, String> {
    let (namespace, name) =
        workload.split_once('/').map_or((None, workload), |(namespace, name)| (Some(namespace), name));
    let is_meant = |replica: &&Replica| {
        let own = &replica.workload.name;
        namespace.is_none_or(|namespace| *own.namespace == *namespace)
            && (*own.name == *name || replica.pod.name == name)
    };
    let found: Vec<&Replica> = fleet.replicas().filter(is_meant).collect();
    let namespaces: BTreeSet<&str> = found.iter().map(|replica| &*replica.workload.name.namespace).collect();
    if namespaces.len() > 1 {
        let choices: Vec<String> = namespaces.iter().map(|namespace| format!("{namespace}/{name}")).collect();
        return Err(format!("several workloads are called `{name}`: {}", choices.join(", ")));
    }
    let ready = found.iter().find(|replica| replica.is_endpoint());
    ready.or(found.first()).copied().ok_or_else(|| format!("no workload `{workload}`; `mizzen status` lists them"))
}

/// A finding of our own, as those of the control plane come.
pub(super) fn view(finding: &mizzen_api::Finding) -> FindingView {
    let mut message = finding.message.clone();
    if !finding.path.is_empty() {
        message = format!("{}: {message}", finding.path);
    }
    if let Some(hint) = &finding.hint {
        let _ = write!(message, "; for example: {hint}");
    }
    FindingView {
        severity: finding.severity.to_string(),
        object: finding.object.as_ref().map(ToString::to_string),
        file: Some(finding.file.to_string()),
        line: (finding.line > 0).then_some(finding.line),
        message,
    }
}

/// Resources of all processes, by workload.
pub(super) async fn usage(hands: &Hands, names: &BTreeMap<ReplicaId, String>) -> Usages {
    let processes: Vec<_> = hands.processes().iter().map(|(key, live)| (*key, live.process)).collect();
    let mut usages = Usages::new();
    for ((replica, part), process) in processes {
        let (Some(name), Some(stats)) = (names.get(&replica), hands.sandbox.stats(process).await) else { continue };
        let (proxy, app) = usages.entry(name.clone()).or_default();
        let sum = if part == Part::Proxy { proxy } else { app }.get_or_insert_with(Usage::default);
        sum.rss_kb += stats.rss_kb;
        sum.cpu_s += stats.cpu_s;
    }
    usages
}
