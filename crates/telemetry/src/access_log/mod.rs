//! Access logs: a format compiled once, lines written into a worker's buffer, chunks handed to a thread that may block.
//!
//! In: a format string (Envoy's command operators,
//! <https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage>) and a record per request
//! or connection. Out: lines on stdout or in a file. What a peer sent is escaped, so that it can neither end a line nor
//! a quoted field nor steer a terminal. A reader that stops costs lines, which are counted, and never time.

mod escape;
mod format;
mod operator;
mod sink;
mod time;
mod value;

pub use format::{Captured, DEFAULT_FORMAT, Format, FormatError};
pub use sink::{CHUNK_BYTES, DROPPED_METRIC, LogWriter, QUEUE_CHUNKS, Sink, Target};

#[cfg(test)]
mod tests;
