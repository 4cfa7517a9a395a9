//! The lab, made awaitable: its calls block for milliseconds, its exits come on a thread.
//!
//! In: specifications of nodes and processes. Out: a [`Running`] process whose end can be awaited by whoever started it.

use std::{
    collections::HashMap,
    os::fd::OwnedFd,
    sync::{Arc, Mutex, PoisonError, mpsc::Receiver},
    thread,
};

use anyhow::{Context, Result};
use mizzen_lab::{Event, Exit, Lab, LabOptions, NodeSpec, ProcessId, Signal, SpawnSpec, Stats};
use tokio::{
    sync::{oneshot, watch},
    task::spawn_blocking,
};

/// A running lab.
#[derive(Debug)]
pub(crate) struct Sandbox {
    lab: Lab,
    exits: Arc<Exits>,
    closed: watch::Receiver<bool>,
}

/// Who waits for which process. An exit may be reported before the process's id is known to its starter.
#[derive(Debug, Default)]
struct Exits(Mutex<HashMap<ProcessId, Slot>>);

#[derive(Debug)]
enum Slot {
    Awaited(oneshot::Sender<Exit>),
    Ended(Exit),
}

/// A started process.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) id: ProcessId,
    exit: oneshot::Receiver<Exit>,
}

impl Running {
    /// How it ended; `None` if the lab ended with it.
    pub(crate) async fn exit(&mut self) -> Option<Exit> {
        (&mut self.exit).await.ok()
    }
}

impl Exits {
    fn ended(&self, process: ProcessId, exit: Exit) {
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Slot::Awaited(waiter)) = slots.insert(process, Slot::Ended(exit)) {
            slots.remove(&process);
            // Whoever waited may have stopped to; nobody else wants to know.
            let _ = waiter.send(exit);
        }
    }

    fn wait(&self, process: ProcessId) -> oneshot::Receiver<Exit> {
        let (sender, receiver) = oneshot::channel();
        let mut slots = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match slots.remove(&process) {
            Some(Slot::Ended(exit)) => drop(sender.send(exit)),
            _ => drop(slots.insert(process, Slot::Awaited(sender))),
        }
        receiver
    }

    /// Tells everyone who waits that there is nothing to wait for.
    fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl Sandbox {
    /// Checks the machine and builds the sandbox. Fails with what is missing and how to mend it.
    pub(crate) fn start(options: LabOptions) -> Result<Self> {
        let (lab, events) = Lab::start(options)?;
        let exits = Arc::new(Exits::default());
        let (close, closed) = watch::channel(false);
        {
            let exits = Arc::clone(&exits);
            thread::Builder::new().name("exits".into()).spawn(move || follow(&events, &exits, &close))?;
        }
        Ok(Self { lab, exits, closed })
    }

    /// Resolves when the sandbox has ended, with everything in it.
    pub(crate) async fn closed(&self) {
        let mut closed = self.closed.clone();
        // The sender lives until it has said so.
        let _ = closed.wait_for(|closed| *closed).await;
    }

    pub(crate) async fn add_node(self: &Arc<Self>, spec: NodeSpec) -> Result<()> {
        let this = Arc::clone(self);
        spawn_blocking(move || this.lab.add_node(&spec)).await?.context("making its network")
    }

    pub(crate) async fn remove_node(self: &Arc<Self>, name: String) -> Result<()> {
        let this = Arc::clone(self);
        Ok(spawn_blocking(move || this.lab.remove_node(&name)).await??)
    }

    pub(crate) async fn spawn(self: &Arc<Self>, spec: SpawnSpec) -> Result<Running> {
        let this = Arc::clone(self);
        let id = spawn_blocking(move || this.lab.spawn(spec)).await??;
        Ok(Running { id, exit: self.exits.wait(id) })
    }

    /// A process that has ended already is no error.
    pub(crate) async fn signal(self: &Arc<Self>, process: ProcessId, signal: Signal) {
        let this = Arc::clone(self);
        if let Ok(Err(error)) = spawn_blocking(move || this.lab.signal(process, signal)).await {
            tracing::debug!(%error, %process, "signal not sent");
        }
    }

    /// `None` once the process has ended.
    pub(crate) async fn stats(self: &Arc<Self>, process: ProcessId) -> Option<Stats> {
        let this = Arc::clone(self);
        spawn_blocking(move || this.lab.stats(process)).await.ok()?.ok()
    }

    /// For one proxy.
    pub(crate) fn broker_socket(&self) -> Result<OwnedFd> {
        Ok(self.lab.broker_socket()?)
    }
}

fn follow(events: &Receiver<Event>, exits: &Exits, close: &watch::Sender<bool>) {
    for event in events {
        match event {
            Event::Exited { process, exit } => exits.ended(process, exit),
            Event::Closed => break,
        }
    }
    exits.clear();
    let _ = close.send(true);
}

#[cfg(test)]
mod tests {
    //! The race between an exit and the answer to the start.

    use super::*;

    #[test]
    fn an_exit_is_told_whether_it_comes_before_or_after_the_wait() {
        let exits = Exits::default();
        let process = |number: u64| serde_json::from_value::<ProcessId>(number.into()).expect("a number");
        let mut late = exits.wait(process(1));
        exits.ended(process(1), Exit::Code(3));
        assert_eq!(late.try_recv(), Ok(Exit::Code(3)));
        exits.ended(process(2), Exit::Signal(9));
        assert_eq!(exits.wait(process(2)).try_recv(), Ok(Exit::Signal(9)));
        let mut never = exits.wait(process(3));
        exits.clear();
        assert!(never.try_recv().is_err());
        assert!(exits.0.lock().expect("no panic held it").is_empty());
    }
}
