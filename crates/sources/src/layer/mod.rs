//! What was last good of each file (pure).
//!
//! | what a file is now | its objects |
//! |---|---|
//! | parsed | those in it; an object that is refused keeps its last good version |
//! | parsed, an object without a readable name refused | as above, and nothing is deleted: any of the missing may be that one |
//! | not parsable, not readable, too large, blank | all stay |
//! | gone | all go |
//!
//! Several files that claim one object: the first by path is in force, the others are told so, wherever they are read.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use imbl::OrdMap;
use mizzen_api::{FileResult, Finding, Object, ObjectId, Rejection, Severity};

use crate::set::Unused;

#[cfg(test)]
mod tests;

/// What became of a file.
#[derive(Debug)]
pub enum Change {
    /// Its text was read.
    Read(Box<FileResult>),
    /// It is none that can hold manifests (too large, not text), for this reason.
    Aside(&'static str),
    /// It could not be read, for this reason.
    Unreadable(String),
    Gone,
}

/// What changes to files did to the objects in force.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Applied {
    /// Came, went, or have other content.
    pub changed: BTreeSet<ObjectId>,
    /// `changed`, and those that only moved or have other findings.
    pub touched: BTreeSet<ObjectId>,
}

/// The objects of some files, each the last good one.
#[derive(Debug, Default)]
pub struct Layer {
    files: BTreeMap<Arc<str>, File>,
    claims: BTreeMap<ObjectId, BTreeSet<Arc<str>>>,
    objects: OrdMap<ObjectId, Arc<Object>>,
}

#[derive(Debug, Default)]
struct File {
    objects: BTreeMap<ObjectId, Arc<Object>>,
    /// About the file and about what was refused; an accepted object has its own.
    findings: Vec<Finding>,
    not_used: Vec<Unused>,
}

impl Layer {
    /// The objects in force.
    pub fn objects(&self) -> &OrdMap<ObjectId, Arc<Object>> {
        &self.objects
    }

    /// Takes over what became of some files.
    pub fn apply(&mut self, changes: impl IntoIterator<Item = (Arc<str>, Change)>) -> Applied {
        let mut affected = BTreeSet::new();
        for (name, change) in changes {
            let old = self.files.remove(&name).unwrap_or_default();
            affected.extend(old.objects.keys().cloned());
            for id in old.objects.keys() {
                if let Some(claims) = self.claims.get_mut(id) {
                    claims.remove(&name);
                }
            }
            if let Some(file) = File::after(&name, old, change) {
                affected.extend(file.objects.keys().cloned());
                for id in file.objects.keys() {
                    self.claims.entry(id.clone()).or_default().insert(Arc::clone(&name));
                }
                self.files.insert(name, file);
            }
        }
        self.settle(affected)
    }

    /// Decides anew who is in force for each of `ids`.
    fn settle(&mut self, ids: BTreeSet<ObjectId>) -> Applied {
        let mut applied = Applied::default();
        for id in ids {
            let first = self.claims.get(&id).and_then(|files| files.first()).and_then(|file| self.files.get_mut(file));
            let new = first.and_then(|file| file.objects.get_mut(&id));
            let old = self.objects.get(&id);
            match (old, new) {
                (None, None) => {}
                (Some(_), None) => {
                    self.objects.remove(&id);
                    applied.changed.insert(id.clone());
                }
                (None, Some(new)) => {
                    self.objects.insert(id.clone(), Arc::clone(new));
                    applied.changed.insert(id.clone());
                }
                (Some(old), Some(new)) if is_same(old, new) => {
                    *new = Arc::clone(old);
                    continue;
                }
                (Some(old), Some(new)) => {
                    if !new.same_content(old) {
                        applied.changed.insert(id.clone());
                    }
                    Arc::make_mut(new).adopt(old);
                    self.objects.insert(id.clone(), Arc::clone(new));
                }
            }
            if self.claims.get(&id).is_some_and(BTreeSet::is_empty) {
                self.claims.remove(&id);
            }
            applied.touched.insert(id);
        }
        applied
    }

    /// What there is to say about files and objects, by file and line.
    pub fn findings(&self) -> Vec<Finding> {
        let of_files = self.files.values().flat_map(|file| &file.findings).cloned();
        let of_objects = self.objects.values().flat_map(|object| object.findings.iter()).cloned();
        let mut findings: Vec<Finding> = of_files.chain(of_objects).chain(self.contested()).collect();
        findings.sort_by(|a, b| (&a.file, a.line, &a.path, &a.message).cmp(&(&b.file, b.line, &b.path, &b.message)));
        findings
    }

    /// A finding for each claim that is not in force.
    fn contested(&self) -> impl Iterator<Item = Finding> {
        self.claims.iter().filter(|(_, files)| files.len() > 1).flat_map(move |(id, files)| {
            let mut claims = files.iter().filter_map(|file| self.files.get(file)?.objects.get(id));
            let first = claims.next();
            claims.filter_map(move |object| Some(shadowed(object, first?))).collect::<Vec<_>>()
        })
    }

    /// What is none of ours, by file and line.
    pub fn not_used(&self) -> impl Iterator<Item = &Unused> {
        self.files.values().flat_map(|file| &file.not_used)
    }
}

/// The same content at the same place, with the same to say about it.
fn is_same(a: &Arc<Object>, b: &Arc<Object>) -> bool {
    Arc::ptr_eq(a, b) || (a.origin == b.origin && a.findings == b.findings && a.lines == b.lines && a.same_content(b))
}

fn shadowed(object: &Object, first: &Object) -> Finding {
    Finding {
        severity: Severity::Error,
        object: Some(object.id.clone()),
        path: String::new(),
        file: Arc::clone(&object.origin.file),
        line: object.origin.line,
        message: format!("also stands in {}:{}, which is in force", first.origin.file, first.origin.line),
        hint: None,
    }
}

impl File {
    /// What a file is after a change; `None` if nothing is left of it.
    fn after(name: &Arc<str>, old: Self, change: Change) -> Option<Self> {
        match change {
            Change::Gone => None,
            Change::Read(result) => Some(Self::read(name, old, *result)),
            Change::Aside(what) if old.objects.is_empty() => {
                let not_used = vec![Unused { file: Arc::clone(name), line: 0, what: what.to_owned() }];
                Some(Self { not_used, ..Self::default() })
            }
            Change::Aside(why) => Some(old.kept(about_file(name, why))),
            Change::Unreadable(why) => Some(old.kept(about_file(name, &format!("cannot be read: {why}")))),
        }
    }

    fn read(name: &Arc<str>, old: Self, result: FileResult) -> Self {
        let unused = |what: String, line| Unused { file: Arc::clone(name), line, what };
        if let Some(error) = result.unparsable {
            return match result.foreign {
                Some(foreign) if old.objects.is_empty() => {
                    Self { not_used: vec![unused(foreign.what, foreign.line)], ..Self::default() }
                }
                _ => old.kept(error),
            };
        }
        if result.blank && !old.objects.is_empty() {
            let mut finding = about_file(name, "is blank; delete it, or leave a comment in it, to delete its objects");
            finding.severity = Severity::Warning;
            return old.kept(finding);
        }
        let mut file = Self {
            not_used: result.not_used.into_iter().map(|entry| unused(entry.what, entry.line)).collect(),
            ..Self::default()
        };
        for object in result.objects {
            match file.objects.get(&object.id) {
                Some(first) => file.findings.push(shadowed(&object, first)),
                None => {
                    file.objects.insert(object.id.clone(), Arc::new(object));
                }
            }
        }
        file.keep_refused(old, result.rejected);
        file
    }

    /// What was refused keeps its last good version, and says so.
    fn keep_refused(&mut self, old: Self, rejected: Vec<Rejection>) {
        let nameless = rejected.iter().any(|rejection| rejection.object.is_none());
        let refused: BTreeSet<&ObjectId> = rejected.iter().filter_map(|rejection| rejection.object.as_ref()).collect();
        for (id, object) in old.objects {
            if nameless || refused.contains(&id) {
                self.objects.entry(id).or_insert(object);
            }
        }
        for Rejection { object, mut findings } in rejected {
            let kept = object.as_ref().is_some_and(|id| self.objects.contains_key(id));
            if let Some(first) = findings.iter_mut().find(|finding| finding.severity == Severity::Error)
                && kept
            {
                first.message.push_str(" (the last good version stays in force)");
            }
            self.findings.extend(findings);
        }
    }

    /// All objects stay, and `finding` says why.
    fn kept(self, mut finding: Finding) -> Self {
        match self.objects.len() {
            0 => {}
            1 => finding.message.push_str(" (its object stays in force as it was)"),
            count => finding.message = format!("{} (its {count} objects stay in force as they were)", finding.message),
        }
        Self { findings: vec![finding], ..self }
    }
}

fn about_file(name: &Arc<str>, message: &str) -> Finding {
    Finding {
        severity: Severity::Error,
        object: None,
        path: String::new(),
        file: Arc::clone(name),
        line: 0,
        message: format!("the file {message}"),
        hint: None,
    }
}
