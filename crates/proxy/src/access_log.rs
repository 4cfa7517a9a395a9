//! Access-log sinks by path: one writing thread per file, one buffer per worker.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use mizzen_snapshot::listener::{AccessLogSpec, LogFormat};
use mizzen_telemetry::{
    Metrics,
    access_log::{DEFAULT_FORMAT, DROPPED_METRIC, Format, LogWriter, Sink, Target},
};

/// The sinks of the process.
#[derive(Default)]
pub(crate) struct AccessLogs {
    // Taken when a worker meets a log for the first time, never per request.
    sinks: Mutex<HashMap<Box<str>, Sink>>,
}

impl AccessLogs {
    /// A writer to `path` for one worker; `None` when it cannot be opened, which is said once in the process log.
    pub(crate) fn writer(&self, path: &str, metrics: &Metrics) -> Option<LogWriter> {
        let mut sinks = self.sinks.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sink) = sinks.get(path) {
            return Some(sink.writer());
        }
        let target = match path {
            "/dev/stdout" | "-" => Target::Stdout,
            path => Target::File(path.into()),
        };
        match Sink::start(target, metrics.counter(DROPPED_METRIC, &[])) {
            Ok(sink) => {
                let writer = sink.writer();
                sinks.insert(path.into(), sink);
                Some(writer)
            }
            Err(error) => {
                tracing::error!(path, %error, "the access log cannot be opened");
                None
            }
        }
    }

    /// Waits a little for what is queued, at the end of the process.
    pub(crate) fn flush(&self) {
        for sink in self.sinks.lock().unwrap_or_else(PoisonError::into_inner).values() {
            sink.flush(std::time::Duration::from_millis(500));
        }
    }
}

/// Compiles the format of a log. With one that cannot be, Istio's default is written and the process log says why: an
/// access log that is asked for is never left out.
pub(crate) fn format(spec: &AccessLogSpec) -> Option<Format> {
    let compiled = match &spec.format {
        LogFormat::Text(text) => Format::text(text),
        LogFormat::Json(fields) => {
            let map = fields.iter().map(|(key, value)| (key.to_string(), value.to_string().into())).collect();
            Format::json(&map)
        }
    };
    compiled
        .or_else(|error| {
            tracing::error!(path = &*spec.path, %error, "access-log format cannot be used; the default is");
            Format::text(DEFAULT_FORMAT)
        })
        .ok()
}
