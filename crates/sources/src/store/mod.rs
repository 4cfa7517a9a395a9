//! The one writer (pure): layers of objects, laid over each other into [`ObjectSet`]s.

use std::sync::Arc;

use imbl::{OrdMap, Vector};
use mizzen_api::{FileResult, Finding, Object, ObjectId, Severity};

use crate::{
    layer::{Applied, Change, Layer},
    set::{Changed, ObjectSet, Unused},
};

#[cfg(test)]
mod tests;

/// So many generations are remembered in [`ObjectSet::changes`].
const CHANGES_KEPT: usize = 64;

/// The name under which objects reported at run time are held; they are in no file.
const RUNTIME: &str = "runtime";

/// Two layers, and what they make together: what a user wrote beats what is reported at run time.
#[derive(Debug, Default)]
pub struct Store {
    files: Layer,
    runtime: Layer,
    /// What the watching itself has to say.
    notices: Vec<Finding>,
    current: Arc<ObjectSet>,
}

impl Store {
    /// The newest set.
    pub fn current(&self) -> &Arc<ObjectSet> {
        &self.current
    }

    /// Takes over changes of files and notices about watching them. `None` if nothing is different now.
    pub fn apply_files(&mut self, changes: Vec<(Arc<str>, Change)>, notices: Vec<Finding>) -> Option<Arc<ObjectSet>> {
        let files = changes.iter().map(|(name, _)| Arc::clone(name)).collect();
        let applied = self.files.apply(changes);
        self.notices = notices;
        self.publish(&applied, files)
    }

    /// Replaces all objects that are reported at run time. `None` if nothing is different now.
    pub fn replace_runtime(&mut self, objects: Vec<Object>) -> Option<Arc<ObjectSet>> {
        let result = FileResult { objects, ..FileResult::default() };
        let applied = self.runtime.apply([(RUNTIME.into(), Change::Read(Box::new(result)))]);
        self.publish(&applied, Vec::new())
    }

    /// The object in force: of the strongest layer that has it.
    fn in_force(&self, id: &ObjectId) -> Option<&Arc<Object>> {
        self.files.objects().get(id).or_else(|| self.runtime.objects().get(id))
    }

    fn publish(&mut self, applied: &Applied, files: Vec<Arc<str>>) -> Option<Arc<ObjectSet>> {
        let mut objects: OrdMap<ObjectId, Arc<Object>> = self.current.objects.clone();
        for id in &applied.touched {
            match self.in_force(id) {
                Some(object) => objects.insert(id.clone(), Arc::clone(object)),
                None => objects.remove(id),
            };
        }
        let findings = self.findings();
        let not_used: Vec<Unused> = self.files.not_used().chain(self.runtime.not_used()).cloned().collect();
        let first = self.current.generation == 0;
        let same = findings == *self.current.findings && not_used == *self.current.not_used;
        if !first && applied.touched.is_empty() && same {
            return None;
        }
        let generation = self.current.generation + 1;
        let changed = applied.changed.iter().filter(|id| differs(self.current.objects.get(*id), objects.get(*id)));
        let changed = Changed { generation, files, objects: changed.cloned().collect() };
        let mut changes: Vector<Arc<Changed>> = self.current.changes.clone();
        changes.push_back(Arc::new(changed));
        while changes.len() > CHANGES_KEPT {
            changes.pop_front();
        }
        self.current =
            Arc::new(ObjectSet { generation, objects, findings: findings.into(), not_used: not_used.into(), changes });
        Some(Arc::clone(&self.current))
    }

    fn findings(&self) -> Vec<Finding> {
        let hidden = self.runtime.objects().values().filter_map(|object| {
            let file = self.files.objects().get(&object.id)?;
            let message = format!("is reported at run time and also stands in {}, which is in force", file.origin.file);
            Some(Finding {
                severity: Severity::Warning,
                object: Some(object.id.clone()),
                path: String::new(),
                file: Arc::clone(&file.origin.file),
                line: file.origin.line,
                message,
                hint: None,
            })
        });
        let mut findings = self.notices.clone();
        findings.extend(self.files.findings());
        findings.extend(self.runtime.findings());
        findings.extend(hidden);
        findings
    }
}

fn differs(old: Option<&Arc<Object>>, new: Option<&Arc<Object>>) -> bool {
    match (old, new) {
        (Some(old), Some(new)) => !Arc::ptr_eq(old, new) && !old.same_content(new),
        (None, None) => false,
        _ => true,
    }
}
