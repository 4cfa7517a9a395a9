//! How a decision tells what it did, and the identity of the user's rule that decided.

use std::sync::Arc;

/// The rule of the user's object that a decision rests on: stable over edits elsewhere in the file.
/// File and line are joined only when something is printed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Origin {
    /// `Kind/NS/NAME`.
    pub object: Arc<str>,
    /// Field path in that object, `spec.http[0].match[1]`.
    pub rule: Arc<str>,
}

/// One thing that a decision looked at.
#[derive(Clone, Copy, Debug)]
pub enum Step<'a> {
    /// A listener that serves this destination.
    Listener { name: &'a str },
    /// One condition of the choice among filter chains, and how many rows of the table are left after it.
    Narrow { by: &'static str, left: usize },
    /// A filter chain, and whether it is the one chosen.
    Chain { name: &'a str, chosen: bool },
    /// The virtual host whose `domain` matched the authority.
    Host { name: &'a str, domain: &'a str },
    /// A route, by its position in the virtual host; `mismatch` names the first condition that failed.
    Route { index: usize, mismatch: Option<&'static str> },
    /// One of several weighted clusters.
    Cluster { name: &'a str },
}

/// Listens to a decision. The default body is empty, so that [`Silent`] compiles to nothing.
pub trait Trace {
    /// Called for each step, in order.
    #[inline]
    fn step(&mut self, _step: Step<'_>) {}

    /// Whether anyone listens: a decision skips what it would compute for the trace alone.
    #[inline]
    fn is_heard(&self) -> bool {
        true
    }
}

/// The trace of the hot path: hears nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Trace for Silent {
    #[inline]
    fn is_heard(&self) -> bool {
        false
    }
}

/// What has a name that a trace can tell.
pub trait Named {
    /// The name, as the user or the control plane gave it.
    fn name(&self) -> &str;
}

impl<T: Named> Named for Arc<T> {
    fn name(&self) -> &str {
        T::name(self)
    }
}
