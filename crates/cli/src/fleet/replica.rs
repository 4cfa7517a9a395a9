//! One replica: its stage, its processes, and what is due next.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ACK_WAIT_MAX, Action, ReplicaId};
use crate::plan::{PodFacts, Workload};

/// First pause before a program is started again; doubles with each failure.
const BACK_OFF_MIN: Duration = Duration::from_millis(500);
/// Longest pause before a program is started again.
const BACK_OFF_MAX: Duration = Duration::from_secs(30);
/// The same for a proxy: without it nothing reaches the program.
const PROXY_BACK_OFF_MIN: Duration = Duration::from_millis(100);
const PROXY_BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// A process that ran this long counts as having failed for the first time.
const STEADY: Duration = Duration::from_mins(1);
/// From a proxy's SIGTERM to its SIGKILL, when its programs are gone.
const PROXY_GRACE: Duration = Duration::from_secs(5);

/// A process of a replica.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Part {
    Proxy,
    /// By its place among the template's containers.
    App(usize),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Has no node; not before the time, if there is one.
    Waiting(Option<Instant>),
    Preparing,
    Live,
    /// Waits for the ACK of the version without it.
    Leaving {
        version: u64,
        since: Instant,
    },
    Draining,
    /// `told`: programs have their SIGTERM; `killed`: their SIGKILL.
    Stopping {
        since: Instant,
        told: bool,
        killed: bool,
    },
    /// Only the proxy is left.
    StoppingProxy {
        since: Instant,
        killed: bool,
    },
    Removing,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Idle,
    Starting,
    Running {
        since: Instant,
        ready: bool,
    },
    /// Ended, or could not be started; again at this time.
    Down {
        until: Instant,
    },
}

#[derive(Debug, Clone)]
pub(super) struct Process {
    part: Part,
    state: State,
    run: u32,
    /// In a row.
    failures: u32,
    /// Why it is not ready.
    pub(super) trouble: Option<String>,
}

/// What a step knows beside the replica.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    pub(super) published: u64,
    pub(super) applied: u64,
}

/// One copy of a Deployment.
#[derive(Debug)]
pub(crate) struct Replica {
    pub(crate) id: ReplicaId,
    pub(crate) workload: Arc<Workload>,
    pub(crate) ordinal: u32,
    pub(crate) pod: PodFacts,
    /// The first version that the control plane hears of it in.
    known_from: u64,
    pub(super) stage: Stage,
    pub(super) processes: Vec<Process>,
    pub(super) was_ready: bool,
    preparations: u32,
    pub(super) trouble: Option<String>,
}

impl Process {
    fn new(part: Part) -> Self {
        Self { part, state: State::Idle, run: 0, failures: 0, trouble: None }
    }

    pub(super) fn is_ready(&self) -> bool {
        matches!(self.state, State::Running { ready: true, .. })
    }

    fn is_up(&self) -> bool {
        matches!(self.state, State::Starting | State::Running { .. })
    }

    fn is_due(&self, now: Instant) -> bool {
        match self.state {
            State::Idle => true,
            State::Down { until } => until <= now,
            State::Starting | State::Running { .. } => false,
        }
    }

    fn down(&mut self, why: String, now: Instant) {
        if matches!(self.state, State::Running { since, .. } if now.duration_since(since) >= STEADY) {
            self.failures = 0;
        }
        let (least, most) = match self.part {
            Part::Proxy => (PROXY_BACK_OFF_MIN, PROXY_BACK_OFF_MAX),
            Part::App(_) => (BACK_OFF_MIN, BACK_OFF_MAX),
        };
        let pause = (least * 2u32.pow(self.failures.min(16))).min(most);
        self.failures += 1;
        self.state = State::Down { until: now + pause };
        self.trouble = Some(why);
    }

    fn start(&mut self, replica: ReplicaId, actions: &mut Vec<Action>) {
        self.run += 1;
        self.state = State::Starting;
        actions.push(Action::Start { replica, part: self.part, run: self.run });
    }
}

impl Replica {
    pub(super) fn new(
        id: ReplicaId,
        workload: Arc<Workload>,
        ordinal: u32,
        (pod, known_from): (PodFacts, u64),
    ) -> Self {
        let proxy = workload.template.role.has_proxy().then_some(Part::Proxy);
        let apps = (0..workload.template.containers.len()).map(Part::App);
        let processes = proxy.into_iter().chain(apps).map(Process::new).collect();
        let stage = Stage::Waiting(None);
        Self {
            id,
            workload,
            ordinal,
            pod,
            known_from,
            stage,
            processes,
            was_ready: false,
            preparations: 0,
            trouble: None,
        }
    }

    pub(super) fn is_current(&self, desired: &Workload) -> bool {
        self.workload.revision == desired.revision
    }

    /// Not on its way out.
    pub(super) fn is_staying(&self) -> bool {
        matches!(self.stage, Stage::Waiting(_) | Stage::Preparing | Stage::Live)
    }

    pub(super) fn is_ready(&self) -> bool {
        self.stage == Stage::Live && self.processes.iter().all(Process::is_ready)
    }

    /// Whether requests may be sent to it.
    pub(crate) fn is_endpoint(&self) -> bool {
        self.is_ready()
    }

    fn proxy(&self) -> Option<&Process> {
        self.processes.iter().find(|process| process.part == Part::Proxy)
    }

    fn process(&mut self, part: Part) -> Option<&mut Process> {
        self.processes.iter_mut().find(|process| process.part == part)
    }

    pub(super) fn prepared(&mut self, result: Result<(), String>, now: Instant) {
        match result {
            Ok(()) if self.stage == Stage::Preparing => (self.stage, self.trouble) = (Stage::Live, None),
            Ok(()) => {}
            Err(why) => {
                self.preparations += 1;
                let pause = (BACK_OFF_MIN * 2u32.pow(self.preparations.min(16))).min(BACK_OFF_MAX);
                self.trouble = Some(why);
                if self.stage == Stage::Preparing {
                    self.stage = Stage::Waiting(Some(now + pause));
                }
            }
        }
    }

    pub(super) fn started(&mut self, part: Part, result: Result<(), String>, now: Instant) {
        if let Some(process) = self.process(part) {
            match result {
                // An exit can be reported before the start is.
                Ok(()) if process.state == State::Starting => {
                    process.state = State::Running { since: now, ready: false }
                }
                Ok(()) => {}
                Err(why) => process.down(why, now),
            }
        }
    }

    pub(super) fn readiness(&mut self, part: Part, run: u32, result: Result<(), String>) {
        if let Some(process) = self.process(part).filter(|process| process.run == run)
            && let State::Running { ready, .. } = &mut process.state
        {
            *ready = result.is_ok();
            process.trouble = result.err();
        }
        self.was_ready |= self.is_ready();
    }

    pub(super) fn exited(&mut self, part: Part, how: String, now: Instant) {
        if let Some(process) = self.process(part) {
            process.down(how, now);
        }
    }

    /// Sends it away; `version` is the first one in which it is no endpoint. One that never was needs no ACK.
    pub(super) fn leave(&mut self, version: u64, now: Instant) {
        self.stage = if self.was_ready {
            Stage::Leaving { version, since: now }
        } else {
            Stage::Stopping { since: now, told: false, killed: false }
        };
    }

    pub(super) fn step(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        match self.stage {
            Stage::Waiting(until) if until.is_none_or(|until| until <= clock.now) => {
                self.stage = Stage::Preparing;
                actions.push(Action::Prepare(self.id));
            }
            Stage::Waiting(_) | Stage::Preparing | Stage::Draining | Stage::Removing => {}
            Stage::Live => self.keep_running(clock, actions),
            Stage::Leaving { version, since } => {
                // A proxy that dies now still has requests to finish: it is kept up like before.
                self.keep_running(clock, actions);
                if clock.applied >= version || clock.now >= since + ACK_WAIT_MAX {
                    self.stage = Stage::Draining;
                    actions.push(Action::Drain(self.id));
                }
            }
            Stage::Stopping { since, told, killed } => self.stop_apps(clock.now, (since, told, killed), actions),
            Stage::StoppingProxy { since, killed } => self.stop_proxy(clock.now, (since, killed), actions),
        }
    }

    /// Starts what is down and due: the proxy when the control plane knows the replica, programs when the proxy is ready.
    fn keep_running(&mut self, clock: Clock, actions: &mut Vec<Action>) {
        let known = clock.published >= self.known_from;
        let proxy_ready = self.proxy().is_none_or(Process::is_ready);
        let id = self.id;
        for process in self.processes.iter_mut().filter(|process| process.is_due(clock.now)) {
            let may_start = match process.part {
                Part::Proxy => known,
                Part::App(_) => proxy_ready,
            };
            if may_start {
                process.start(id, actions);
            }
        }
    }

    fn stop_apps(&mut self, now: Instant, (since, told, killed): (Instant, bool, bool), actions: &mut Vec<Action>) {
        let up = |process: &&Process| process.part != Part::Proxy && process.is_up();
        let parts: Vec<Part> = self.processes.iter().filter(up).map(|process| process.part).collect();
        let signal = |part: &Part, kill| Action::Signal { replica: self.id, part: *part, kill };
        if parts.is_empty() {
            self.stage = Stage::StoppingProxy { since: now, killed: false };
            if self.proxy().is_some_and(Process::is_up) {
                actions.push(signal(&Part::Proxy, false));
            } else {
                self.stop_proxy(now, (now, false), actions);
            }
        } else if !told {
            actions.extend(parts.iter().map(|part| signal(part, false)));
            self.stage = Stage::Stopping { since: now, told: true, killed };
        } else if !killed && now >= since + self.workload.template.grace {
            actions.extend(parts.iter().map(|part| signal(part, true)));
            self.stage = Stage::Stopping { since, told, killed: true };
        }
    }

    fn stop_proxy(&mut self, now: Instant, (since, killed): (Instant, bool), actions: &mut Vec<Action>) {
        if !self.proxy().is_some_and(Process::is_up) {
            self.stage = Stage::Removing;
            actions.push(Action::Remove(self.id));
        } else if !killed && now >= since + PROXY_GRACE {
            actions.push(Action::Signal { replica: self.id, part: Part::Proxy, kill: true });
            self.stage = Stage::StoppingProxy { since, killed: true };
        }
    }

    /// When something becomes due that no event announces.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self.stage {
            Stage::Waiting(until) => until,
            Stage::Leaving { since, .. } => Some(since + ACK_WAIT_MAX),
            Stage::Stopping { since, killed: false, .. } => Some(since + self.workload.template.grace),
            Stage::StoppingProxy { since, killed: false } => Some(since + PROXY_GRACE),
            Stage::Live => self
                .processes
                .iter()
                .filter_map(|process| match process.state {
                    State::Down { until } => Some(until),
                    _ => None,
                })
                .min(),
            _ => None,
        }
    }

    /// Why it is not ready, in words; `None` if it is.
    pub(crate) fn why_not_ready(&self) -> Option<String> {
        if self.is_ready() {
            return None;
        }
        let first = self.processes.iter().find(|process| !process.is_ready());
        let name = |part: Part| match part {
            Part::Proxy => "proxy".to_owned(),
            Part::App(at) => self.workload.template.containers.get(at).map_or_else(String::new, |app| app.name.clone()),
        };
        Some(match (self.stage, first) {
            (Stage::Waiting(_) | Stage::Preparing, _) => {
                self.trouble.clone().unwrap_or_else(|| "making its network".to_owned())
            }
            (Stage::Live, Some(process)) => match (&process.state, &process.trouble) {
                (_, Some(trouble)) => format!("{}: {trouble}", name(process.part)),
                (State::Idle, None) => format!("{}: waits for {}", name(process.part), waits_for(process.part)),
                _ => format!("{}: starting", name(process.part)),
            },
            _ => "leaving".to_owned(),
        })
    }
}

fn waits_for(part: Part) -> &'static str {
    match part {
        Part::Proxy => "the control plane",
        Part::App(_) => "its proxy",
    }
}
