//! Which directories and files there are, and what changed since the last look.
//!
//! A look compares a directory with what was seen of it. What happened in between is of no interest, so a rename over a file, a
//! swapped symbolic link and an editor's way of saving all come out alike.

use std::{
    collections::{BTreeMap, BTreeSet, hash_map::DefaultHasher},
    fs::{self, File, Metadata},
    hash::Hasher,
    io::{self, Read},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, SystemTime},
};

use mizzen_api::FILE_BYTES_MAX;

use crate::{layer::Change, watcher::Watcher};

#[cfg(test)]
mod tests;

/// Directories that hold other people's files; dot-directories are skipped too.
const SKIPPED: &[&str] = &["node_modules", "target", "vendor"];
const EXTENSIONS: &[&str] = &["yaml", "yml", "json"];
/// A file changed so lately may change again with the same size within one tick of the file system's clock: it is read again.
const SETTLED: Duration = Duration::from_secs(2);

/// A root directory and what was last seen below it.
pub(crate) struct Tree {
    root: PathBuf,
    directories: BTreeMap<PathBuf, Directory>,
    /// Why the root could not be read at the last look.
    pub(crate) root_error: Option<io::Error>,
}

#[derive(Default)]
struct Directory {
    inode: (u64, u64),
    files: BTreeMap<PathBuf, Seen>,
}

/// What was last seen of a file.
struct Seen {
    stamp: Stamp,
    /// Hash of its bytes; `None` if it was not read.
    hash: Option<u64>,
}

/// Changes whenever a file does, but for what [`SETTLED`] is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: (u64, u64),
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        Self {
            inode: inode(metadata),
            bytes: metadata.len(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    fn is_settled(&self) -> bool {
        let changed = SystemTime::UNIX_EPOCH + Duration::new(self.changed.0.max(0) as u64, self.changed.1 as u32);
        SystemTime::now().duration_since(changed).is_ok_and(|age| age > SETTLED)
    }
}

fn inode(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

/// Files by the name that findings print, with what became of them.
pub(crate) type Changes = Vec<(Arc<str>, Change)>;

impl Tree {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned(), directories: BTreeMap::new(), root_error: None }
    }

    /// Looks at everything.
    pub(crate) fn look_everywhere(&mut self, watcher: &mut Watcher) -> Changes {
        let mut all: BTreeSet<PathBuf> = self.directories.keys().cloned().collect();
        all.insert(self.root.clone());
        self.look(all, watcher)
    }

    /// Looks where something happened: at the directories among `paths`, and at those which the paths are in.
    pub(crate) fn look_at(&mut self, paths: &BTreeSet<PathBuf>, watcher: &mut Watcher) -> Changes {
        let near = paths.iter().flat_map(|path| [Some(path.as_path()), path.parent()]).flatten();
        let known = near.filter(|path| self.directories.contains_key(*path) || *path == self.root);
        let known = known.map(Path::to_owned).collect();
        self.look(known, watcher)
    }

    /// Looks at some directories, and at those that are new below them. A link to a directory is followed after all others, and
    /// only if its target was not come by otherwise: so there are no circles, and nothing is read twice.
    fn look(&mut self, directories: BTreeSet<PathBuf>, watcher: &mut Watcher) -> Changes {
        let mut changes = Vec::new();
        let mut links = BTreeSet::new();
        let mut open: Vec<PathBuf> = directories.into_iter().rev().collect();
        loop {
            if let Some(directory) = open.pop() {
                let found = self.look_into(&directory, watcher, &mut changes);
                open.extend(found.directories);
                links.extend(found.links);
            } else if let Some(link) = links.pop_first() {
                let known = fs::metadata(&link).is_ok_and(|target| {
                    self.directories.iter().any(|(path, directory)| *path != link && directory.inode == inode(&target))
                });
                if !known {
                    open.push(link);
                }
            } else {
                return changes;
            }
        }
    }

    /// One directory. Returns what is to be looked at next.
    fn look_into(&mut self, path: &Path, watcher: &mut Watcher, changes: &mut Changes) -> Entries {
        let metadata = match fs::metadata(path).and_then(directory_only) {
            Ok(metadata) => metadata,
            Err(error) => {
                self.unreadable(path, error, watcher, changes);
                return Entries::default();
            }
        };
        let known = self.directories.get(path).map(|directory| directory.inode);
        if known.is_some_and(|known| known != inode(&metadata)) {
            watcher.unwatch(path); // It would watch the directory that was here before.
        }
        // Before listing: what comes after the listing makes an event.
        watcher.watch(path);
        let entries = match Entries::list(path) {
            Ok(entries) => entries,
            Err(error) => {
                self.unreadable(path, error, watcher, changes);
                return Entries::default();
            }
        };
        if path == self.root {
            self.root_error = None;
        }
        let gone: Vec<PathBuf> = self.children(path).filter(|child| !entries.holds(child)).cloned().collect();
        for child in gone {
            self.leave(&child, watcher, changes);
        }
        let directory = self.directories.entry(path.to_owned()).or_default();
        directory.inode = inode(&metadata);
        directory.look_at_files(&entries.files, changes);
        entries.only_news(&self.directories)
    }

    fn children(&self, path: &Path) -> impl Iterator<Item = &PathBuf> {
        self.directories.keys().filter(move |child| child.parent() == Some(path) && *child != path)
    }

    /// A directory that cannot be looked into is gone, or keeps what it had. The root is never taken for gone: where a disk is not
    /// mounted, nothing was deleted.
    fn unreadable(&mut self, path: &Path, error: io::Error, watcher: &mut Watcher, changes: &mut Changes) {
        let gone = matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory);
        if path == self.root {
            watcher.unwatch(path);
            self.root_error = Some(error);
        } else if gone {
            self.leave(path, watcher, changes);
        } else {
            tracing::warn!(directory = %path.display(), %error, "a directory cannot be read and keeps what was read before");
        }
    }

    /// Forgets a directory and all below it.
    fn leave(&mut self, path: &Path, watcher: &mut Watcher, changes: &mut Changes) {
        let below: Vec<PathBuf> = self.directories.keys().filter(|child| child.starts_with(path)).cloned().collect();
        for child in below {
            watcher.unwatch(&child);
            let files = self.directories.remove(&child).map(|directory| directory.files).unwrap_or_default();
            changes.extend(files.into_keys().map(|file| (name(&file), Change::Gone)));
        }
    }
}

fn directory_only(metadata: Metadata) -> io::Result<Metadata> {
    if metadata.is_dir() { Ok(metadata) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// What is in a directory, as far as it concerns us.
#[derive(Default)]
struct Entries {
    files: BTreeMap<PathBuf, Metadata>,
    directories: Vec<PathBuf>,
    /// Links to directories.
    links: Vec<PathBuf>,
    inodes: BTreeMap<PathBuf, (u64, u64)>,
}

impl Entries {
    fn list(path: &Path) -> io::Result<Self> {
        let mut entries = Self::default();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let path = entry.path();
            // Follows links. What vanished meanwhile, or leads nowhere, is not there.
            let Ok(metadata) = fs::metadata(&path) else { continue };
            if metadata.is_file() && is_manifest(&path) {
                entries.files.insert(path, metadata);
            } else if metadata.is_dir() && !is_skipped(&path) {
                entries.inodes.insert(path.clone(), inode(&metadata));
                let link = entry.file_type().is_ok_and(|kind| kind.is_symlink());
                if link { entries.links.push(path) } else { entries.directories.push(path) }
            }
        }
        Ok(entries)
    }

    fn holds(&self, directory: &Path) -> bool {
        self.inodes.contains_key(directory)
    }

    /// The directories that are not known, or that another one took the place of.
    fn only_news(mut self, known: &BTreeMap<PathBuf, Directory>) -> Self {
        let inodes = std::mem::take(&mut self.inodes);
        let is_new = |path: &PathBuf| known.get(path).map(|directory| directory.inode) != inodes.get(path).copied();
        self.directories.retain(is_new);
        self.links.retain(is_new);
        self
    }
}

impl Directory {
    fn look_at_files(&mut self, files: &BTreeMap<PathBuf, Metadata>, changes: &mut Changes) {
        let gone: Vec<PathBuf> = self.files.keys().filter(|path| !files.contains_key(*path)).cloned().collect();
        for path in gone {
            self.files.remove(&path);
            changes.push((name(&path), Change::Gone));
        }
        for (path, metadata) in files {
            let stamp = Stamp::of(metadata);
            let seen = self.files.get(path);
            if seen.is_some_and(|seen| seen.stamp == stamp && stamp.is_settled()) {
                continue;
            }
            let (hash, change) = read(path, stamp.bytes);
            if hash.is_none() || seen.map(|seen| seen.hash) != Some(hash) {
                changes.push((name(path), change()));
            }
            self.files.insert(path.clone(), Seen { stamp, hash });
        }
    }
}

/// Reads a file: the hash of its bytes, and what it makes, which costs parsing and is asked for only if the hash is new.
fn read(path: &Path, bytes: u64) -> (Option<u64>, Box<dyn FnOnce() -> Change>) {
    if bytes > FILE_BYTES_MAX as u64 {
        return (None, Box::new(|| Change::Aside("is larger than 4 MiB")));
    }
    let mut content = Vec::with_capacity(bytes as usize);
    let read = File::open(path).and_then(|file| file.take(FILE_BYTES_MAX as u64 + 1).read_to_end(&mut content));
    if let Err(error) = read {
        return (None, Box::new(move || Change::Unreadable(error.to_string())));
    }
    let mut hasher = DefaultHasher::new();
    hasher.write(&content);
    let name = name(path);
    let change = move || match String::from_utf8(content) {
        Ok(text) => Change::Read(Box::new(mizzen_api::load(&name, &text))),
        Err(_) => Change::Aside("is not text in UTF-8"),
    };
    (Some(hasher.finish()), Box::new(change))
}

/// The name of a file as findings print it: the path from where the program was started.
fn name(path: &Path) -> Arc<str> {
    path.strip_prefix("./").unwrap_or(path).to_string_lossy().into()
}

/// Whether a file may hold manifests, by its name.
pub(crate) fn is_manifest(path: &Path) -> bool {
    let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    EXTENSIONS.iter().any(|known| known.eq_ignore_ascii_case(extension))
}

fn is_skipped(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    name.starts_with('.') || SKIPPED.contains(&name.as_ref())
}
