//! Where lines go: a buffer per worker, a bounded queue, one thread that writes and may block.
//!
//! ```text
//!  LogWriter ──16 KiB or tick──► try_send ──► [ QUEUE_CHUNKS ] ──► thread ──► stdout | file | descriptor
//!                                   └─ full: the chunk's lines are dropped and counted
//! ```

use std::{
    fs::{File, OpenOptions},
    io::{self, ErrorKind, Write},
    os::fd::{AsFd as _, OwnedFd},
    path::PathBuf,
    sync::mpsc::{Receiver, SyncSender, sync_channel},
    thread,
    time::Duration,
};

use super::format::Format;
use crate::{
    metrics::Counter,
    record::{ConnFacts, Flow, HttpRecord},
};

/// A worker's buffer goes to the queue when it holds so much.
pub const CHUNK_BYTES: usize = 16 * 1024;
/// Chunks that wait for the writer, of all workers; about 1 MiB. Further ones are dropped and their lines counted.
pub const QUEUE_CHUNKS: usize = 64;
/// Counts dropped lines; the name of the counter to give to [`Sink::start`].
pub const DROPPED_METRIC: &str = "mizzen_access_log_dropped_total";
/// How long the writer waits before it tries a non-blocking descriptor again.
const RETRY: Duration = Duration::from_millis(5);

/// What to write to.
#[derive(Debug)]
pub enum Target {
    /// The process' standard output.
    Stdout,
    /// A file, appended to and made if it is not there.
    File(PathBuf),
    /// A descriptor that was inherited.
    Fd(OwnedFd),
}

enum Message {
    Chunk { bytes: Vec<u8>, lines: u64 },
    Flush(SyncSender<()>),
}

/// The queue to a writer thread; the thread ends when the last sink and writer are gone and the queue is empty.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Message>,
    dropped: Counter,
}

impl Sink {
    /// Opens `target` and starts its thread. Lines that are lost, by a full queue or a failed write, are counted in
    /// `dropped`, which must come from [`crate::Metrics::counter`]: several threads add to it.
    pub fn start(target: Target, dropped: Counter) -> io::Result<Self> {
        let output = match target {
            // The descriptor itself: std's handle has a lock, and whoever else prints would wait behind a blocked
            // write.
            Target::Stdout => File::from(io::stdout().as_fd().try_clone_to_owned()?),
            Target::File(path) => OpenOptions::new().append(true).create(true).open(path)?,
            Target::Fd(fd) => File::from(fd),
        };
        let (queue, messages) = sync_channel(QUEUE_CHUNKS);
        let lost = dropped.clone();
        thread::Builder::new().name("access-log".to_owned()).spawn(move || run(output, &messages, &lost))?;
        Ok(Self { queue, dropped })
    }

    /// A writer for one worker.
    pub fn writer(&self) -> LogWriter {
        LogWriter { sink: self.clone(), buffer: Vec::new(), lines: 0 }
    }

    /// Waits until what is queued was written; false if that took longer than `within`. Workers flush their buffers
    /// before. For the end of the process: blocks its thread.
    pub fn flush(&self, within: Duration) -> bool {
        let (done, wait) = sync_channel(1);
        self.queue.try_send(Message::Flush(done)).is_ok() && wait.recv_timeout(within).is_ok()
    }
}

/// A worker's buffer. What it holds is queued when it is dropped.
#[derive(Debug)]
pub struct LogWriter {
    sink: Sink,
    buffer: Vec<u8>,
    lines: u64,
}

impl LogWriter {
    /// Writes the line of an HTTP request.
    pub fn http(&mut self, format: &Format, conn: &ConnFacts, record: &HttpRecord) {
        format.write_http(conn, record, self.reserve());
        self.line_done();
    }

    /// Writes the line of a TCP connection.
    pub fn tcp(&mut self, format: &Format, conn: &ConnFacts, flow: &Flow) {
        format.write_tcp(conn, flow, self.reserve());
        self.line_done();
    }

    /// Queues what the buffer holds: to be called a few times a second, so that a quiet log is read promptly.
    pub fn flush(&mut self) {
        if self.lines == 0 {
            return;
        }
        let chunk = Message::Chunk { bytes: std::mem::take(&mut self.buffer), lines: self.lines };
        if self.sink.queue.try_send(chunk).is_err() {
            self.sink.dropped.add(self.lines);
        }
        self.lines = 0;
    }

    fn reserve(&mut self) -> &mut Vec<u8> {
        if self.buffer.capacity() == 0 {
            // One allocation a chunk; a line that begins before the mark may end behind it.
            self.buffer.reserve_exact(CHUNK_BYTES + CHUNK_BYTES / 8);
        }
        &mut self.buffer
    }

    fn line_done(&mut self) {
        self.lines += 1;
        if self.buffer.len() >= CHUNK_BYTES {
            self.flush();
        }
    }
}

impl Drop for LogWriter {
    fn drop(&mut self) {
        self.flush();
    }
}

fn run(mut output: File, messages: &Receiver<Message>, lost: &Counter) {
    for message in messages {
        match message {
            Message::Chunk { bytes, lines } => {
                if write_all(&mut output, &bytes).is_err() {
                    lost.add(lines);
                }
            }
            // Whoever asked may have given up.
            Message::Flush(done) => drop(done.try_send(())),
        }
    }
}

/// As [`Write::write_all`], and patient with a descriptor that somebody else made non-blocking.
fn write_all(output: &mut impl Write, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match output.write(bytes) {
            Ok(0) => return Err(ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(RETRY),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}
