//! `mizzen`: the command line.
//!
//! | command | module |
//! |---|---|
//! | `up` | [`up`]: [`plan`] says what is to run, [`fleet`] what is due, `up`'s own modules do it |
//! | `status`, `get`, `exec`, `down` | [`client`], over the control socket of a running `up` ([`protocol`]) |
//! | `logs` | [`logs`], from the files in the state directory |
//! | `lab-init`, `lab-probe` | not for people: the sandbox's first process, and one readiness check ([`probe`]) |
//!
//! Pure, without clock and I/O: [`plan`], [`fleet`], [`edges`], [`report`], [`text`].

mod args;
mod client;
mod edges;
mod fleet;
mod logs;
mod mizzend;
mod place;
mod plan;
mod probe;
mod protocol;
mod report;
mod status;
mod text;
mod unix_http;
mod up;

use std::{io, process::ExitCode};

use anyhow::Result;
use clap::Parser as _;
use tracing_subscriber::EnvFilter;

use crate::args::{Arguments, Command};

fn main() -> ExitCode {
    // The sandbox's first process must have a single thread, so this comes before everything else.
    if std::env::args_os().nth(1).is_some_and(|argument| argument == "lab-init") {
        return mizzen_lab::lab_init();
    }
    let arguments = Arguments::parse();
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("error")))
        .with_writer(io::stderr)
        .init();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("mizzen: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<ExitCode> {
    let mesh = arguments.mesh.as_deref();
    match arguments.command {
        Command::Up(options) => up::run(options),
        Command::Status => client::status(mesh),
        Command::Get { kind } => client::get(mesh, kind),
        Command::Logs(options) => client::logs(mesh, &options),
        Command::Exec { workload, command } => client::exec(mesh, workload, command),
        Command::Down => client::down(mesh),
        Command::LabProbe { check } => Ok(probe::run(&check)),
        // Taken care of before the command line was read.
        Command::LabInit { .. } => Ok(ExitCode::FAILURE),
    }
}
