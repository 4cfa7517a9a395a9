//! What processes write: bounded files in the state directory, and `mizzen logs`, which reads them.
//!
//! ```text
//! logs/NAMESPACE/NAME-ORDINAL.proxy.log     each at most LOG_BYTES_MAX, then renamed to ….1 (the older one is lost)
//! logs/NAMESPACE/NAME-ORDINAL.app.CONTAINER.log
//! logs/mizzend.log
//! ```
//! A process writes into a pipe that `mizzen up` always reads: nobody who reads a log can block who writes it.

use std::{
    collections::HashMap,
    fs::{self, DirBuilder, File, OpenOptions},
    io::{self, BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write},
    os::{
        fd::OwnedFd,
        unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    },
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use anyhow::{Context, Result, ensure};
use tokio::{io::AsyncReadExt as _, net::unix::pipe};

use crate::{args::LogSource, plan::Name};

/// A file's size at which a new one is begun; twice this is kept.
const LOG_BYTES_MAX: u64 = 8 << 20;
/// Between two looks at a file that is followed.
const FOLLOW_PAUSE: Duration = Duration::from_millis(200);
/// Lines shown of each file before following it.
const FOLLOW_LINES: usize = 10;

/// Whose output a file holds.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Source {
    ControlPlane,
    Proxy { workload: Name, ordinal: u32 },
    App { workload: Name, ordinal: u32, container: String },
}

impl Source {
    fn path(&self, logs: &Path) -> PathBuf {
        match self {
            Self::ControlPlane => logs.join("mizzend.log"),
            Self::Proxy { workload, ordinal } => {
                logs.join(&*workload.namespace).join(format!("{}-{ordinal}.proxy.log", workload.name))
            }
            Self::App { workload, ordinal, container } => {
                logs.join(&*workload.namespace).join(format!("{}-{ordinal}.app.{container}.log", workload.name))
            }
        }
    }
}

/// All log files of a run. A file that several replicas write (during a roll-out) is opened once.
#[derive(Debug)]
pub(crate) struct Logs {
    directory: PathBuf,
    open: Mutex<HashMap<Source, Arc<Mutex<LogFile>>>>,
}

impl Logs {
    /// Forgets what an earlier run wrote.
    pub(crate) fn start(directory: PathBuf) -> Result<Self> {
        if let Err(error) = fs::remove_dir_all(&directory)
            && error.kind() != io::ErrorKind::NotFound
        {
            return Err(error).with_context(|| format!("removing old logs in {}", directory.display()));
        }
        DirBuilder::new().mode(0o700).recursive(true).create(&directory)?;
        Ok(Self { directory, open: Mutex::default() })
    }

    /// A pipe whose content goes to the file of `source` until its last writer is gone; twice, for output and error.
    pub(crate) fn pipe(&self, source: Source) -> Result<(OwnedFd, OwnedFd)> {
        let file = self.file(source)?;
        let (writer, mut reader) = pipe::pipe()?;
        let out = writer.into_blocking_fd()?;
        let error = out.try_clone()?;
        tokio::spawn(async move {
            let mut buffer = vec![0; 16 << 10];
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                let mut file = file.lock().unwrap_or_else(PoisonError::into_inner);
                // A full disk loses lines; the process that wrote them goes on.
                let _ = file.write_all(&buffer[..read]);
            }
        });
        Ok((out, error))
    }

    fn file(&self, source: Source) -> Result<Arc<Mutex<LogFile>>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(file) = open.get(&source) {
            return Ok(Arc::clone(file));
        }
        let path = source.path(&self.directory);
        let file = LogFile::open(path.clone(), LOG_BYTES_MAX).with_context(|| format!("opening {}", path.display()))?;
        let file = Arc::new(Mutex::new(file));
        open.insert(source, Arc::clone(&file));
        Ok(file)
    }
}

/// A file that begins anew when it is full.
#[derive(Debug)]
struct LogFile {
    path: PathBuf,
    file: File,
    written: u64,
    bytes_max: u64,
}

impl LogFile {
    fn open(path: PathBuf, bytes_max: u64) -> io::Result<Self> {
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let file = OpenOptions::new().create(true).append(true).mode(0o600).open(&path)?;
        let written = file.metadata()?.len();
        Ok(Self { path, file, written, bytes_max })
    }

    fn rotate(&mut self) -> io::Result<()> {
        fs::rename(&self.path, older(&self.path))?;
        *self = Self::open(self.path.clone(), self.bytes_max)?;
        Ok(())
    }
}

impl Write for LogFile {
    /// Breaks between lines where it can.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.written + bytes.len() as u64 > self.bytes_max && self.written > 0 {
            self.rotate()?;
        }
        let written = self.file.write(bytes)?;
        self.written += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

fn older(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    PathBuf::from(name)
}

/// The current files of a workload: `[NAMESPACE/]NAME`, or one replica's `NAME-ORDINAL`; `mizzend` is the control plane.
pub(crate) fn files_of(logs: &Path, workload: &str, source: LogSource) -> Result<Vec<PathBuf>> {
    if workload == "mizzend" {
        return Ok(vec![Source::ControlPlane.path(logs)]);
    }
    let (namespace, name) =
        workload.split_once('/').map_or((None, workload), |(namespace, name)| (Some(namespace), name));
    let kind = match source {
        LogSource::App => ".app.",
        LogSource::Proxy => ".proxy",
    };
    let mut found = Vec::new();
    for directory in fs::read_dir(logs).context("no logs: has this mesh been up?")?.flatten() {
        if namespace.is_some_and(|namespace| directory.file_name() != namespace) {
            continue;
        }
        for file in fs::read_dir(directory.path()).into_iter().flatten().flatten() {
            let file_name = file.file_name().to_string_lossy().into_owned();
            let Some((replica, _)) = file_name.strip_suffix(".log").and_then(|name| name.rsplit_once(kind)) else {
                continue;
            };
            let deployment = replica.rsplit_once('-').map_or(replica, |(deployment, _)| deployment);
            if replica == name || deployment == name {
                found.push(file.path());
            }
        }
    }
    found.sort();
    ensure!(!found.is_empty(), "nothing logged by a workload `{workload}`; `mizzen status` lists the workloads");
    Ok(found)
}

/// Prints files, older part first; with several, each line carries its file's name.
pub(crate) fn print(files: &[PathBuf], follow: bool, out: &mut impl Write) -> io::Result<()> {
    let mut tails = Vec::new();
    for path in files {
        let prefix = if files.len() > 1 { format!("{} | ", stem(path)) } else { String::new() };
        let mut tail = Tail { path: path.clone(), prefix, file: File::open(path)?, partial: Vec::new() };
        let mut text = Vec::new();
        if !follow && let Ok(mut older) = File::open(older(path)) {
            older.read_to_end(&mut text)?;
        }
        tail.file.read_to_end(&mut text)?;
        let lines: Vec<&[u8]> = text.split_inclusive(|byte| *byte == b'\n').collect();
        let shown = if follow { lines.len().saturating_sub(FOLLOW_LINES) } else { 0 };
        for line in &lines[shown..] {
            tail.print(line, out)?;
        }
        tails.push(tail);
    }
    out.flush()?;
    if !follow {
        return Ok(());
    }
    loop {
        for tail in &mut tails {
            tail.catch_up(out)?;
        }
        out.flush()?;
        std::thread::sleep(FOLLOW_PAUSE);
    }
}

fn stem(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// A file that grows, and is sometimes replaced.
struct Tail {
    path: PathBuf,
    prefix: String,
    file: File,
    /// A line without its end yet.
    partial: Vec<u8>,
}

impl Tail {
    fn catch_up(&mut self, out: &mut impl Write) -> io::Result<()> {
        self.rest(out)?;
        let current = fs::metadata(&self.path).map(|meta| meta.ino()).ok();
        if current.is_some_and(|current| self.file.metadata().is_ok_and(|meta| meta.ino() != current)) {
            self.rest(out)?;
            self.file = File::open(&self.path)?;
            self.file.seek(SeekFrom::Start(0))?;
            self.rest(out)?;
        }
        Ok(())
    }

    fn rest(&mut self, out: &mut impl Write) -> io::Result<()> {
        let mut text = std::mem::take(&mut self.partial);
        self.file.read_to_end(&mut text)?;
        let mut reader = BufReader::new(text.as_slice());
        let mut line = Vec::new();
        while reader.read_until(b'\n', &mut line)? > 0 {
            if line.ends_with(b"\n") {
                self.print(&line, out)?;
            } else {
                self.partial.clone_from(&line);
            }
            line.clear();
        }
        Ok(())
    }

    fn print(&self, line: &[u8], out: &mut impl Write) -> io::Result<()> {
        out.write_all(self.prefix.as_bytes())?;
        out.write_all(line)?;
        if line.ends_with(b"\n") { Ok(()) } else { out.write_all(b"\n") }
    }
}

#[cfg(test)]
mod tests;
