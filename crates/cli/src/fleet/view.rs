//! What people see of the fleet.

use serde::{Deserialize, Serialize};

use super::Fleet;

/// One Deployment, replicas summed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct WorkloadView {
    /// `NAMESPACE/NAME`.
    pub(crate) name: String,
    /// Wanted; 0 while the last ones leave.
    pub(crate) replicas: u32,
    /// Of the wanted revision.
    pub(crate) ready: u32,
    /// Replicas of older revisions that still run.
    pub(crate) leaving: u32,
    /// Why it is not ready.
    pub(crate) why: Option<String>,
}

impl WorkloadView {
    pub(crate) fn is_ready(&self) -> bool {
        self.ready >= self.replicas && self.why.is_none()
    }
}

impl Fleet {
    pub(crate) fn view(&self) -> Vec<WorkloadView> {
        let views = self.rollouts.iter().map(|(name, rollout)| {
            let desired = rollout.desired.as_ref();
            let current = rollout
                .replicas
                .values()
                .filter(|replica| replica.is_staying() && desired.is_some_and(|desired| replica.is_current(desired)));
            let (ready, waiting): (Vec<_>, Vec<_>) = current.partition(|replica| replica.is_endpoint());
            let why = rollout.broken.clone().or_else(|| waiting.iter().find_map(|replica| replica.why_not_ready()));
            let waits = desired.is_some_and(|desired| desired.starts_last && rollout.replicas.is_empty());
            WorkloadView {
                name: name.to_string(),
                replicas: desired.map_or(0, |desired| desired.replicas),
                ready: ready.len() as u32,
                leaving: (rollout.replicas.len() - ready.len() - waiting.len()) as u32,
                why: why.or_else(|| waits.then(|| "waits for the others".to_owned())),
            }
        });
        views.collect()
    }
}
