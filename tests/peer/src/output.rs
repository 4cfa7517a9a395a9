//! JSON lines, and the signal that asks for the last one.

use std::io::Write as _;

use serde::Serialize;
use tokio::signal::unix::{SignalKind, signal};

/// Prints `value` on a line of its own, at once. A reader that went away is no reason to stop.
pub(crate) fn line(value: &impl Serialize) {
    if let Ok(text) = serde_json::to_string(value) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }
}

/// Ends with SIGTERM or SIGINT.
pub(crate) async fn terminated() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
