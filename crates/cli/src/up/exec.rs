//! `mizzen exec`: a command beside a workload, with the caller's terminal.

use std::{os::fd::OwnedFd, sync::Arc};

use anyhow::{Result, bail};
use mizzen_lab::{Exit, Role, Signal, SpawnSpec};
use tokio::sync::mpsc;

use super::{
    hands::{Hands, Subject, app_spec},
    server::Client,
};
use crate::protocol::Answer;

/// What is to be run.
#[derive(Debug)]
pub(crate) struct Order {
    pub(crate) command: Vec<String>,
    pub(crate) terminal: Option<String>,
    pub(crate) fds: Vec<OwnedFd>,
    /// Ends when the client is gone.
    pub(crate) signals: mpsc::Receiver<i32>,
}

/// Runs the command in the cage of the replica's program, and tells the client how it ended.
pub(crate) async fn exec(hands: Arc<Hands>, subject: Subject, order: Order, client: Client) {
    let answer = match run(&hands, &subject, order).await {
        Ok(exit) => Answer::Exited { code: code(exit) },
        Err(error) => Answer::Refused(format!("{error:#}")),
    };
    client.answer(&answer);
}

async fn run(hands: &Arc<Hands>, subject: &Subject, mut order: Order) -> Result<Option<Exit>> {
    let [stdin, stdout, stderr] =
        <[OwnedFd; 3]>::try_from(order.fds).map_err(|_| anyhow::anyhow!("expected three descriptors"))?;
    let Some((program, arguments)) = order.command.split_first() else { bail!("no command") };
    let base = if subject.workload.template.containers.is_empty() {
        // A gateway runs no program of its own.
        SpawnSpec::new(Some(&subject.pod.name), Role::App, "").env("PATH", std::env::var("PATH").unwrap_or_default())
    } else {
        app_spec(subject, 0)
    };
    let mut spec = SpawnSpec { program: program.clone(), args: arguments.to_vec(), ..base };
    spec.env.extend(order.terminal.map(|terminal| ("TERM".to_owned(), terminal)));
    (spec.stdin, spec.stdout, spec.stderr) = (Some(stdin), Some(stdout), Some(stderr));
    let mut running = hands.sandbox.spawn(spec).await?;
    let process = running.id;
    loop {
        tokio::select! {
            exit = running.exit() => return Ok(exit),
            signal = order.signals.recv() => {
                // A client that is gone wants it gone.
                let signal = signal.map_or(Some(Signal::KILL), Signal::from_named_raw);
                let Some(signal) = signal else { continue };
                hands.sandbox.signal(process, signal).await;
                if signal == Signal::KILL {
                    return Ok(running.exit().await);
                }
            }
        }
    }
}

/// As a shell would say it.
fn code(exit: Option<Exit>) -> i32 {
    match exit {
        Some(Exit::Code(code)) => code,
        Some(Exit::Signal(signal)) => 128 + signal,
        None => 1,
    }
}
