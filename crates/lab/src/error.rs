//! What can go wrong on the host side.

use std::{io, path::PathBuf};

use crate::preflight::Obstacle;

/// Errors of [`crate::Lab`].
#[derive(Debug, thiserror::Error)]
pub enum LabError {
    /// This machine cannot run a lab; each obstacle says what to do about it. Nothing was changed.
    #[error("this machine cannot run a lab: {}", obstacles.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Preflight {
        /// All that stands in the way, not only the first.
        obstacles: Vec<Obstacle>,
    },
    /// The launcher could not be executed.
    #[error("cannot run the launcher {}", launcher.display())]
    Launch {
        /// The program.
        launcher: PathBuf,
        /// Why not.
        #[source]
        source: io::Error,
    },
    /// A socket or thread of the host side could not be made.
    #[error("cannot set up the lab's host side")]
    Setup(#[from] io::Error),
    /// The sandbox could not be built; the message names the step.
    #[error("cannot build the sandbox: {0}")]
    Start(String),
    /// A field of the request cannot be used.
    #[error("{field}: {problem}")]
    Invalid {
        /// The field of the specification.
        field: &'static str,
        /// What is wrong with its value.
        problem: String,
    },
    /// No node of that name.
    #[error("no node {0:?}")]
    NoSuchNode(String),
    /// The process has ended.
    #[error("no process {0}")]
    NoSuchProcess(u64),
    /// The program to run does not exist where the process would see it.
    #[error("program {0:?} not found")]
    ProgramNotFound(String),
    /// Init could not do it; the message names the step.
    #[error("{0}")]
    Refused(String),
    /// The request does not fit one packet (about 200 KiB): arguments or environment are too large.
    #[error("request too large for one packet")]
    TooLarge,
    /// The sandbox has ended.
    #[error("the lab has ended")]
    Gone,
}
