//! What `mizzen up` shows while it runs: a live table on a terminal, a line per change elsewhere.

use std::{
    io::{self, Write as _},
    time::{Duration, Instant},
};

use anyhow::Result;
use tokio::sync::mpsc;

use super::{
    is_terminal,
    lines::{self, Lines},
    table::{Key, Screen},
};
use crate::{args::Up, mizzend::Change, status::Status};

/// Between two frames, so that a burst of events is one.
const FRAME: Duration = Duration::from_millis(100);
/// Keys that wait.
const KEYS_MAX: usize = 8;

pub(crate) struct Show {
    kind: Kind,
    keys: mpsc::Receiver<Key>,
    /// So that [`Show::key`] waits for ever where there is no keyboard.
    _keyboard: mpsc::Sender<Key>,
}

enum Kind {
    Table { screen: Screen, drawn: Option<Instant> },
    Lines(Lines),
    Closed,
}

impl Show {
    pub(crate) fn open(options: &Up) -> Result<Self> {
        let (keyboard, keys) = mpsc::channel(KEYS_MAX);
        let kind = if is_terminal() && !options.plain {
            Kind::Table { screen: Screen::open(keyboard.clone())?, drawn: None }
        } else {
            Kind::Lines(Lines::new(options.verbose))
        };
        Ok(Self { kind, keys, _keyboard: keyboard })
    }

    pub(crate) fn status(&mut self, status: &Status) {
        match &mut self.kind {
            Kind::Table { screen, drawn } => {
                if drawn.is_none_or(|drawn| drawn.elapsed() >= FRAME) && screen.draw(status).is_ok() {
                    *drawn = Some(Instant::now());
                }
            }
            Kind::Lines(lines) => lines.news(status, Instant::now()).iter().for_each(|line| print(line)),
            Kind::Closed => {}
        }
    }

    pub(crate) fn change(&mut self, change: &Change) {
        if let Kind::Lines(_) = self.kind {
            print(&lines::change(change));
        }
    }

    /// True if the user wants to stop.
    pub(crate) async fn key(&mut self) -> bool {
        match self.keys.recv().await {
            Some(Key::Stop) => true,
            Some(Key::Redraw) => {
                if let Kind::Table { drawn, .. } = &mut self.kind {
                    *drawn = None;
                }
                false
            }
            None => std::future::pending().await,
        }
    }

    /// Gives the terminal back.
    pub(crate) fn close(&mut self) {
        self.kind = Kind::Closed;
    }
}

/// Nobody needs to read along.
fn print(line: &str) {
    let mut out = io::stdout().lock();
    let _ = writeln!(out, "{line}").and_then(|()| out.flush());
}
