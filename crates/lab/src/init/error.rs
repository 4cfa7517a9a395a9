//! What can fail inside, always with the step that failed.

use std::{error::Error, io, process::Output};

use mizzen_net::ns::SpawnError;

use crate::{spec::ProcessId, wire::Failure};

#[derive(Debug, thiserror::Error)]
pub(super) enum InitError {
    #[error("cannot {step}")]
    Step {
        step: String,
        #[source]
        source: io::Error,
    },
    #[error("{program} failed: {message}")]
    Tool { program: String, message: String },
    #[error("cannot start {program}")]
    Spawn {
        program: String,
        #[source]
        source: SpawnError,
    },
    #[error("program {0} not found")]
    ProgramNotFound(String),
    #[error("no node {0}")]
    NoSuchNode(String),
    #[error("node {0} exists already")]
    NodeExists(String),
    #[error("no process {0}")]
    NoSuchProcess(ProcessId),
    #[error("invalid request: {0}")]
    Invalid(String),
}

impl InitError {
    /// As the host side is told: one line with all causes.
    pub(super) fn to_failure(&self) -> Failure {
        match self {
            Self::NoSuchNode(name) => Failure::NoSuchNode(name.clone()),
            Self::NoSuchProcess(process) => Failure::NoSuchProcess(*process),
            Self::ProgramNotFound(program) => Failure::ProgramNotFound(program.clone()),
            other => Failure::Other(chain(other)),
        }
    }

    pub(super) fn tool(program: &str, output: &Output) -> Self {
        Self::Tool { program: program.into(), message: String::from_utf8_lossy(&output.stderr).trim().into() }
    }
}

/// An error and its causes in one line.
pub(super) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = text + ": " + &error.to_string();
        cause = error.source();
    }
    text
}

/// Names the step that a system call was for.
pub(super) trait During<T> {
    /// `step` completes "cannot …".
    fn during(self, step: impl Into<String>) -> Result<T, InitError>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, step: impl Into<String>) -> Result<T, InitError> {
        self.map_err(|error| InitError::Step { step: step.into(), source: error.into() })
    }
}
