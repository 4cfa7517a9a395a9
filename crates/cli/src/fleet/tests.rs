//! Roll-outs, restarts and exits, step by step, with a clock of our own.

use super::*;
use crate::plan::{Check, Container, Probe, ProxySettings, Role, Template};

/// A fleet, its clock, and everything it asked for that was not answered yet.
struct Run {
    fleet: Fleet,
    now: Instant,
    asked: Vec<Action>,
}

fn workload(name: &str, revision: u64, replicas: u32) -> Workload {
    let probe = Probe {
        check: Check::Running,
        initial_delay: Duration::ZERO,
        period: Duration::from_secs(1),
        timeout: Duration::from_secs(1),
        failures_max: 3,
        successes_min: 1,
    };
    let container = Container {
        name: "app".into(),
        program: "/bin/app".into(),
        arguments: Vec::new(),
        variables: Vec::new(),
        directory: "/".into(),
        mounts: Vec::new(),
        probe,
        ports: Vec::new(),
    };
    let template = Template {
        role: Role::Sidecar,
        labels: BTreeMap::new(),
        annotations: BTreeMap::new(),
        service_account: "default".into(),
        hostname: None,
        subdomain: None,
        grace: Duration::from_secs(30),
        proxy: ProxySettings { concurrency: 2, drain: None, termination_drain: None },
        containers: vec![container],
    };
    Workload { name: Name::new("default", name), replicas, template, revision, starts_last: false }
}

fn plan(workloads: impl IntoIterator<Item = Workload>) -> Plan {
    let workloads = workloads.into_iter().map(|workload| (workload.name.clone(), Arc::new(workload)));
    Plan { workloads: workloads.collect(), ..Plan::default() }
}

impl Run {
    fn new(first: &Plan) -> Self {
        let mut run = Self { fleet: Fleet::default(), now: Instant::now(), asked: Vec::new() };
        run.follow(first);
        run
    }

    fn follow(&mut self, plan: &Plan) {
        self.fleet.follow(plan);
        self.step();
    }

    fn step(&mut self) {
        self.asked.extend(self.fleet.step(self.now).0);
    }

    fn tell(&mut self, event: Event) {
        self.fleet.observe(event, self.now);
        self.step();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.step();
    }

    /// Takes the asked actions that `matches`.
    fn take(&mut self, matches: impl Fn(&Action) -> bool) -> Vec<Action> {
        let (taken, rest) = std::mem::take(&mut self.asked).into_iter().partition(matches);
        self.asked = rest;
        taken
    }

    /// Answers everything as a machine where all goes well would, except publications if they are held back.
    fn settle(&mut self, hold_publications: bool) {
        loop {
            let held = |action: &Action| hold_publications && matches!(action, Action::Publish(_));
            let due = self.take(|action| !held(action));
            if due.is_empty() {
                return;
            }
            for action in due {
                self.answer(&action);
            }
        }
    }

    fn answer(&mut self, action: &Action) {
        match *action {
            Action::Prepare(replica) => self.tell(Event::Prepared { replica, result: Ok(()) }),
            Action::Start { replica, part, run } => {
                self.tell(Event::Started { replica, part, result: Ok(()) });
                self.tell(Event::Readiness { replica, part, run, result: Ok(()) });
            }
            Action::Drain(replica) => self.tell(Event::Drained(replica)),
            Action::Signal { replica, part, .. } => {
                self.tell(Event::Exited { replica, part, how: "exit status 0".into() });
            }
            Action::Remove(replica) => self.tell(Event::Removed(replica)),
            Action::Publish(version) => {
                self.tell(Event::Published(version));
                self.tell(Event::Applied(version));
            }
        }
    }

    /// `(revision, is an endpoint)` of all replicas.
    fn replicas(&self) -> Vec<(u64, bool)> {
        self.fleet.replicas().map(|replica| (replica.workload.revision, replica.is_endpoint())).collect()
    }
}

fn is_start(action: &Action, wanted: Part) -> bool {
    matches!(action, Action::Start { part, .. } if *part == wanted)
}

#[test]
fn a_proxy_starts_when_it_is_known_and_an_app_when_its_proxy_is_ready() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    assert_eq!(run.asked, [Action::Publish(1), Action::Prepare(0)]);
    run.take(|action| matches!(action, Action::Prepare(_)));
    run.tell(Event::Prepared { replica: 0, result: Ok(()) });
    assert_eq!(run.asked, [Action::Publish(1)]);
    run.tell(Event::Published(1));
    assert!(is_start(&run.asked[1], Part::Proxy), "{:?}", run.asked);
    run.tell(Event::Started { replica: 0, part: Part::Proxy, result: Ok(()) });
    assert_eq!(run.asked.len(), 2);
    run.tell(Event::Readiness { replica: 0, part: Part::Proxy, run: 1, result: Ok(()) });
    assert!(is_start(&run.asked[2], Part::App(0)), "{:?}", run.asked);
    run.asked.truncate(3);
    run.asked.drain(..2);
    run.settle(false);
    assert_eq!(run.replicas(), [(1, true)]);
    assert!(run.fleet.is_ready());
}

#[test]
fn an_edit_takes_the_old_one_away_only_after_the_ack() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    run.follow(&plan([workload("web", 2, 1)]));
    assert_eq!(run.replicas(), [(1, true), (2, false)]);
    run.tell(Event::Published(run.fleet.version));
    run.settle(true);
    // The new one is ready, the old one no endpoint; but nothing has confirmed that yet.
    assert_eq!(run.replicas(), [(1, false), (2, true)]);
    run.pass(ACK_WAIT_MAX / 2);
    assert!(
        !run.asked.iter().any(|action| matches!(action, Action::Drain(_) | Action::Signal { .. })),
        "{:?}",
        run.asked
    );
    run.settle(false);
    assert_eq!(run.replicas(), [(2, true)]);
    assert!(run.fleet.is_ready());
}

#[test]
fn old_ones_stay_until_as_many_new_ones_are_ready() {
    let mut run = Run::new(&plan([workload("web", 1, 3)]));
    run.settle(false);
    run.follow(&plan([workload("web", 2, 3)]));
    let new: Vec<Action> = run.take(|action| matches!(action, Action::Prepare(_)));
    assert_eq!(new.len(), 3);
    // One of the new ones comes up, the others never do.
    run.answer(&new[0]);
    run.settle(false);
    assert_eq!(run.replicas().iter().filter(|replica| **replica == (1, true)).count(), 2);
    assert_eq!(run.replicas().iter().filter(|replica| **replica == (2, true)).count(), 1);
    // A further edit sends away those that never came up, and keeps those that work.
    run.follow(&plan([workload("web", 3, 3)]));
    run.settle(false);
    assert_eq!(run.replicas(), [(3, true), (3, true), (3, true)]);
}

#[test]
fn a_broken_edit_changes_nothing_that_runs() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    let finding = mizzen_api::Finding {
        severity: mizzen_api::Severity::Error,
        object: None,
        path: String::new(),
        file: "app.yaml".into(),
        line: 1,
        message: "no program".into(),
        hint: None,
    };
    let broken = BTreeMap::from([(Name::new("default", "web"), finding)]);
    run.follow(&Plan { broken, ..Plan::default() });
    run.settle(false);
    assert_eq!(run.replicas(), [(1, true)]);
    assert!(!run.fleet.is_ready());
    assert_eq!(run.fleet.view()[0].why.as_deref(), Some("no program"));
    run.follow(&plan([]));
    run.settle(false);
    assert_eq!(run.replicas(), []);
    assert!(run.fleet.view().is_empty());
}

#[test]
fn what_dies_is_started_again_with_growing_pauses() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    let crash = Event::Exited { replica: 0, part: Part::App(0), how: "exit status 1".into() };
    run.tell(crash.clone());
    assert_eq!(run.replicas(), [(1, false)]);
    assert_eq!(run.fleet.view()[0].why.as_deref(), Some("app: exit status 1"));
    run.asked.clear();
    run.pass(Duration::from_millis(499));
    assert_eq!(run.asked, []);
    run.pass(Duration::from_millis(1));
    assert!(is_start(&run.asked[0], Part::App(0)), "{:?}", run.asked);
    run.settle(false);
    run.tell(crash.clone());
    run.asked.clear();
    run.pass(Duration::from_millis(999));
    assert_eq!(run.asked, []);
    run.pass(Duration::from_millis(1));
    run.settle(false);
    assert_eq!(run.replicas(), [(1, true)]);
    // Long enough without a failure, and the pause is the shortest again.
    run.pass(Duration::from_secs(61));
    run.tell(crash);
    run.asked.clear();
    run.pass(Duration::from_millis(500));
    assert!(is_start(&run.asked[0], Part::App(0)), "{:?}", run.asked);
}

#[test]
fn a_proxy_that_dies_takes_its_replica_out_of_service_but_not_its_app() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    run.tell(Event::Exited { replica: 0, part: Part::Proxy, how: "signal 9".into() });
    assert_eq!(run.replicas(), [(1, false)]);
    run.settle(false);
    run.pass(Duration::from_millis(100));
    assert!(is_start(&run.asked[0], Part::Proxy), "{:?}", run.asked);
    assert_eq!(run.asked.len(), 1);
    run.settle(false);
    assert_eq!(run.replicas(), [(1, true)]);
}

#[test]
fn news_of_an_earlier_run_is_ignored() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    run.tell(Event::Exited { replica: 0, part: Part::App(0), how: "exit status 1".into() });
    run.pass(Duration::from_secs(1));
    run.tell(Event::Started { replica: 0, part: Part::App(0), result: Ok(()) });
    run.tell(Event::Readiness { replica: 0, part: Part::App(0), run: 1, result: Ok(()) });
    assert_eq!(run.replicas(), [(1, false)]);
    run.tell(Event::Readiness { replica: 0, part: Part::App(0), run: 2, result: Ok(()) });
    assert_eq!(run.replicas(), [(1, true)]);
}

#[test]
fn grace_ends_in_a_kill() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.settle(false);
    run.follow(&plan([]));
    // Everything is answered, except signals.
    loop {
        let due = run.take(|action| !matches!(action, Action::Signal { .. }));
        if due.is_empty() {
            break;
        }
        for action in &due {
            run.answer(action);
        }
    }
    let signals = |run: &mut Run| run.take(|action| matches!(action, Action::Signal { .. }));
    assert_eq!(signals(&mut run), [Action::Signal { replica: 0, part: Part::App(0), kill: false }]);
    run.pass(Duration::from_secs(29));
    assert_eq!(signals(&mut run), []);
    run.pass(Duration::from_secs(1));
    assert_eq!(signals(&mut run), [Action::Signal { replica: 0, part: Part::App(0), kill: true }]);
    run.tell(Event::Exited { replica: 0, part: Part::App(0), how: "signal 9".into() });
    assert_eq!(signals(&mut run), [Action::Signal { replica: 0, part: Part::Proxy, kill: false }]);
    run.settle(false);
    assert_eq!(run.replicas(), [(1, false)]);
    run.tell(Event::Exited { replica: 0, part: Part::Proxy, how: "exit status 0".into() });
    run.settle(false);
    assert_eq!(run.replicas(), []);
}

#[test]
fn the_last_ones_wait_for_all_others() {
    let last = Workload { starts_last: true, ..workload("traffic", 1, 1) };
    let mut run = Run::new(&plan([workload("web", 1, 1), last]));
    assert_eq!(run.replicas(), [(1, false)]);
    assert!(run.fleet.view().iter().any(|view| view.why.as_deref() == Some("waits for the others")));
    run.settle(false);
    assert_eq!(run.replicas(), [(1, true), (1, true)]);
    assert!(run.fleet.is_ready());
}

#[test]
fn a_node_that_cannot_be_made_is_tried_again() {
    let mut run = Run::new(&plan([workload("web", 1, 1)]));
    run.take(|action| matches!(action, Action::Prepare(_)));
    run.tell(Event::Prepared { replica: 0, result: Err("no address".into()) });
    assert_eq!(run.fleet.view()[0].why.as_deref(), Some("no address"));
    assert!(run.fleet.step(run.now).1.is_some());
    run.pass(Duration::from_secs(2));
    run.settle(false);
    assert!(run.fleet.is_ready());
}

#[test]
fn replicas_have_names_and_addresses_of_their_own() {
    let mut run = Run::new(&plan([workload("web", 1, 4)]));
    run.settle(false);
    run.follow(&plan([workload("web", 2, 4)]));
    let names: BTreeSet<String> = run.fleet.replicas().map(|replica| replica.pod.name.clone()).collect();
    let addresses: BTreeSet<Ipv4Addr> = run.fleet.replicas().map(|replica| replica.pod.ipv4).collect();
    assert_eq!((names.len(), addresses.len()), (8, 8));
}
