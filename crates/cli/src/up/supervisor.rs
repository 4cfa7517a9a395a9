//! The loop of `mizzen up`: every event goes through here, one at a time.
//!
//! In: configuration, events of the fleet, news of the control plane, commands, keys, signals, time. Out: actions for the
//! [`Hands`], publications, what is shown, and in the end the report and the exit code.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    process::ExitCode,
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use mizzen_lab::Signal;
use mizzen_sources::ObjectSet;
use mizzen_telemetry::EdgeReport;
use tokio::{
    signal::unix::{SignalKind, signal},
    sync::{mpsc, watch},
    task::JoinHandle,
    time::{self, MissedTickBehavior},
};

use super::{
    Inputs, bind_one,
    control_plane::{self, News, Publication},
    exec::{self, Order},
    hands::{Hands, Subject},
    meter::{Meter, Usages},
    overview::{find, know, usage, view},
    runtime,
    server::{self, Call},
    show::Show,
};
use crate::{
    args::Up,
    edges::{Ledger, ProxyRun, Totals},
    fleet::{Action, Event, Fleet, Part, ReplicaId},
    mizzend::{Change, FindingView, MeshStatus},
    plan::{Name, Plan},
    protocol::{Answer, Request},
    report::{self, Convergence, Report},
    status::Status,
};

/// Between two looks at counters and resources.
const MEASURE_PERIOD: Duration = Duration::from_secs(1);
/// From SIGTERM to the end of the sandbox, when everything stops.
const STOP_GRACE: Duration = Duration::from_secs(3);
/// News that wait.
const NEWS_MAX: usize = 64;

/// What the supervisor hears, beside what it starts itself.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) events: mpsc::Receiver<Event>,
    pub(crate) reports: mpsc::Receiver<(ProxyRun, EdgeReport)>,
    pub(crate) config: watch::Receiver<Arc<ObjectSet>>,
}

/// Why a run ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Ctrl-C, SIGTERM, `mizzen down`.
    Asked,
    /// `--for` has passed.
    TimeUp,
    /// Not everything became ready in time.
    NeverReady,
}

/// When all was ready first, and what had been counted by then.
#[derive(Debug)]
struct Start {
    at: Instant,
    totals: Totals,
}

pub(crate) struct Supervisor {
    hands: Arc<Hands>,
    options: Arc<Up>,
    inputs: Inputs,
    queues: Queues,
    news: (mpsc::Sender<News>, mpsc::Receiver<News>),
    usages: (mpsc::Sender<Usages>, mpsc::Receiver<Usages>),
    publications: watch::Sender<Publication>,
    calls: mpsc::Receiver<Call>,
    show: Show,
    fleet: Fleet,
    plan: Plan,
    ledger: Ledger,
    meter: Meter,
    measuring: Option<JoinHandle<()>>,
    /// As the control plane last said.
    mesh: Option<MeshStatus>,
    last_change: Option<Change>,
    control_plane_trouble: Option<String>,
    /// Published ports that could not be bound after the start.
    port_trouble: BTreeMap<(Name, u16), String>,
    begun: Instant,
    start: Option<Start>,
}

impl Supervisor {
    pub(crate) fn new(hands: Arc<Hands>, options: Up, inputs: Inputs, queues: Queues) -> Result<Self> {
        let (calls_in, calls) = mpsc::channel(NEWS_MAX);
        server::serve(&hands.place.up_socket(), calls_in)?;
        Ok(Self {
            show: Show::open(&options)?,
            options: Arc::new(options),
            inputs,
            queues,
            news: mpsc::channel(NEWS_MAX),
            usages: mpsc::channel(NEWS_MAX),
            publications: watch::Sender::new(Publication::default()),
            calls,
            fleet: Fleet::default(),
            plan: Plan::default(),
            ledger: Ledger::default(),
            meter: Meter::default(),
            measuring: None,
            mesh: None,
            last_change: None,
            control_plane_trouble: Some("the control plane is starting".to_owned()),
            port_trouble: BTreeMap::new(),
            begun: Instant::now(),
            start: None,
            hands,
        })
    }

    pub(crate) async fn run(mut self, plan: Plan) -> Result<ExitCode> {
        let (hands, news) = (&self.hands, &self.news.0);
        tokio::spawn(control_plane::keep_up(Arc::clone(hands), Arc::clone(&self.options), news.clone()));
        tokio::spawn(control_plane::publish(Arc::clone(hands), self.publications.subscribe()));
        tokio::spawn(control_plane::follow(Arc::clone(hands), news.clone()));
        self.follow(plan);
        let end = self.supervise().await;
        let finished = match end {
            Ok(end) => self.finish(end).await,
            Err(error) => Err(error),
        };
        self.show.close();
        self.stop().await;
        finished
    }

    /// Runs until there is a reason to end.
    async fn supervise(&mut self) -> Result<End> {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ticks = time::interval(MEASURE_PERIOD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let sandbox = Arc::clone(&self.hands.sandbox);
        loop {
            let wake = self.advance();
            self.notice_readiness().await;
            if let Some(end) = self.due_end(Instant::now()) {
                return Ok(end);
            }
            let status = self.status();
            self.show.status(&status);
            let wake = [wake, self.next_end()].into_iter().flatten().min();
            tokio::select! {
                Some(event) = self.queues.events.recv() => self.observe(event),
                Some((run, report)) = self.queues.reports.recv() => self.record(run, report),
                Ok(()) = self.queues.config.changed() => self.replan(),
                Some(news) = self.news.1.recv() => self.hear(news),
                Some(usages) = self.usages.1.recv() => self.measured(usages),
                Some(call) = self.calls.recv() => {
                    if self.answer(call, &status) {
                        return Ok(End::Asked);
                    }
                }
                stop = self.show.key() => {
                    if stop {
                        return Ok(End::Asked);
                    }
                }
                _ = ticks.tick() => self.measure(),
                () = sleep_until(wake) => {}
                _ = interrupt.recv() => return Ok(End::Asked),
                _ = terminate.recv() => return Ok(End::Asked),
                _ = hangup.recv() => return Ok(End::Asked),
                () = sandbox.closed() => bail!("the sandbox has ended unexpectedly; see {}", self.hands.place.logs().display()),
            }
        }
    }

    /// Lets the fleet decide, and carries it out. Returns when to look again.
    fn advance(&mut self) -> Option<Instant> {
        let (actions, wake) = self.fleet.step(Instant::now());
        for action in actions {
            let id = match action {
                Action::Publish(version) => {
                    self.publish(version);
                    continue;
                }
                Action::Prepare(id) | Action::Drain(id) | Action::Remove(id) => id,
                Action::Start { replica, .. } | Action::Signal { replica, .. } => replica,
            };
            let Some(replica) = self.fleet.replica(id) else { continue };
            if matches!(action, Action::Prepare(_)) {
                know(&mut self.ledger, replica);
            }
            let subject = Subject::of(replica, &self.plan.trust_domain);
            tokio::spawn(Arc::clone(&self.hands).act(action, subject));
        }
        wake
    }

    fn publish(&self, version: u64) {
        let replicas: Vec<runtime::Told<'_>> = self.fleet.replicas().map(Into::into).collect();
        let config = self.queues.config.borrow();
        let objects = Arc::new(runtime::objects(&replicas, &config.objects));
        self.publications.send_if_modified(|last| {
            let changed = last.version != version || last.objects != objects;
            *last = Publication { version, objects };
            changed
        });
    }

    fn observe(&mut self, event: Event) {
        if let Event::Exited { replica, part: Part::Proxy, .. } = &event {
            self.ledger.close(*replica);
        }
        self.fleet.observe(event, Instant::now());
    }

    fn record(&mut self, run: ProxyRun, report: EdgeReport) {
        if let Some(replica) = self.fleet.replica(run.0) {
            self.ledger.record(run, IpAddr::V4(replica.pod.ipv4), report);
        }
    }

    fn replan(&mut self) {
        let config = Arc::clone(&self.queues.config.borrow_and_update());
        let plan = self.inputs.plan(&config.objects, &self.options);
        self.follow(plan);
        // Services may select other replicas now.
        let version = self.publications.borrow().version;
        self.publish(version);
    }

    fn follow(&mut self, plan: Plan) {
        self.bind(&plan);
        self.fleet.follow(&plan);
        self.plan = plan;
    }

    /// Sockets for new published ports. A gateway finds them when it is started for its new ports.
    fn bind(&mut self, plan: &Plan) {
        let mut listeners = self.hands.listeners.lock().unwrap_or_else(PoisonError::into_inner);
        self.port_trouble.clear();
        for wanted in &plan.published {
            let key = (wanted.gateway.clone(), wanted.port);
            if listeners.contains_key(&key) {
                continue;
            }
            match bind_one(wanted) {
                Ok(socket) => drop(listeners.insert(key, socket)),
                Err(error) => drop(self.port_trouble.insert(key, error.to_string())),
            }
        }
        listeners.retain(|(gateway, port), _| {
            plan.published.iter().any(|wanted| wanted.gateway == *gateway && wanted.port == *port)
        });
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Up => {
                self.control_plane_trouble = None;
                // It knows nothing of the lab yet.
                self.publications.send_modify(|_| {});
            }
            News::Down(how) => {
                let log = self.hands.place.logs().join("mizzend.log");
                self.control_plane_trouble =
                    Some(format!("the control plane has ended ({how}); see {}", log.display()));
            }
            News::Status(status) => {
                if self.last_change.is_none() {
                    self.last_change.clone_from(&status.last_change);
                }
                self.mesh = Some(status);
            }
            News::Changes(changes) => {
                for change in changes.changes {
                    self.show.change(&change);
                    self.last_change = Some(change);
                }
            }
        }
    }

    /// Answers a command; true if it asks for the end.
    fn answer(&mut self, call: Call, status: &Status) -> bool {
        let Call { request, fds, client, signals } = call;
        match request {
            Request::Status => client.answer(&Answer::Status(Box::new(status.clone()))),
            Request::Down => {
                client.answer(&Answer::Stopping);
                return true;
            }
            Request::Get { kind } => {
                let hands = Arc::clone(&self.hands);
                tokio::spawn(async move {
                    client.answer(&match hands.mizzend.objects(&kind).await {
                        Ok(objects) => Answer::Objects(objects),
                        Err(error) => Answer::Refused(format!("the control plane does not say: {error:#}")),
                    });
                });
            }
            Request::Exec { workload, command, terminal } => match find(&self.fleet, &workload) {
                Ok(replica) => {
                    let subject = Subject::of(replica, &self.plan.trust_domain);
                    let order = Order { command, terminal, fds, signals };
                    tokio::spawn(exec::exec(Arc::clone(&self.hands), subject, order, client));
                }
                Err(why) => client.answer(&Answer::Refused(why)),
            },
        }
        false
    }

    /// Asks proxies for their counters and the lab for resources, beside the loop.
    fn measure(&mut self) {
        // One that takes longer than the period is waited for.
        if self.measuring.as_ref().is_some_and(|task| !task.is_finished()) {
            return;
        }
        let names: BTreeMap<ReplicaId, String> =
            self.fleet.replicas().map(|replica| (replica.id, replica.workload.name.to_string())).collect();
        let (hands, usages) = (Arc::clone(&self.hands), self.usages.0.clone());
        self.measuring = Some(tokio::spawn(async move {
            for replica in names.keys() {
                hands.report_edges(*replica).await;
            }
            let measured = usage(&hands, &names).await;
            let _ = usages.send(measured).await;
        }));
    }

    /// The end of a measurement: every proxy's counters were asked for before.
    fn measured(&mut self, usages: Usages) {
        self.record_all();
        self.meter.edges(self.ledger.totals(), Instant::now());
        self.meter.usage(usages, Instant::now());
    }

    /// Takes what reports are waiting.
    fn record_all(&mut self) {
        while let Ok((run, report)) = self.queues.reports.try_recv() {
            self.record(run, report);
        }
    }

    /// The moment from which `--for` counts; failures before it are nobody's fault.
    async fn notice_readiness(&mut self) {
        if self.start.is_some() || !self.is_ready() || !self.fleet.is_settled() {
            return;
        }
        self.count_everything().await;
        self.start = Some(Start { at: Instant::now(), totals: self.ledger.totals() });
    }

    /// Brings the ledger up to this moment.
    async fn count_everything(&mut self) {
        let replicas: Vec<ReplicaId> = self.fleet.replicas().map(|replica| replica.id).collect();
        let hands = Arc::clone(&self.hands);
        let ask = tokio::spawn(async move {
            for replica in replicas {
                hands.report_edges(replica).await;
            }
        });
        let mut ask = std::pin::pin!(ask);
        loop {
            tokio::select! {
                Some((run, report)) = self.queues.reports.recv() => self.record(run, report),
                _ = &mut ask => break,
            }
        }
        self.record_all();
    }

    fn is_ready(&self) -> bool {
        self.control_plane_trouble.is_none() && self.fleet.is_ready()
    }

    fn due_end(&self, now: Instant) -> Option<End> {
        let run_for = self.options.run_for?;
        match &self.start {
            Some(start) => (now >= start.at + run_for).then_some(End::TimeUp),
            None => (now >= self.begun + self.options.ready_timeout).then_some(End::NeverReady),
        }
    }

    fn next_end(&self) -> Option<Instant> {
        let run_for = self.options.run_for?;
        Some(self.start.as_ref().map_or(self.begun + self.options.ready_timeout, |start| start.at + run_for))
    }

    fn status(&self) -> Status {
        let config = self.queues.config.borrow();
        let mut findings = match &self.mesh {
            Some(mesh) => mesh.findings.clone(),
            // Nobody knows better yet.
            None => config.findings.iter().map(view).collect(),
        };
        findings.extend(self.plan.broken.values().chain(&self.plan.notes).map(view));
        findings.extend(self.port_trouble.values().map(|message| FindingView {
            severity: "error".to_owned(),
            message: message.clone(),
            ..FindingView::default()
        }));
        findings.sort();
        findings.dedup();
        let published = self
            .plan
            .published
            .iter()
            .filter(|wanted| !self.port_trouble.contains_key(&(wanted.gateway.clone(), wanted.port)));
        Status {
            directory: self.hands.place.directory.display().to_string(),
            // The first time, every proxy knows of everyone.
            ready: self.start.is_some() && self.is_ready(),
            workloads: self.fleet.view(),
            usage: self.meter.workload_usage(),
            edges: self.meter.live_edges(),
            findings,
            last_change: self.last_change.clone(),
            published: published
                .map(|wanted| format!("{} → {}:{}", wanted.host, wanted.gateway, wanted.port))
                .collect(),
            not_used: config.not_used.iter().map(|unused| format!("{}: {}", unused.file, unused.what)).collect(),
            trouble: self.control_plane_trouble.clone(),
        }
    }

    /// The report and the verdict, while everything still runs.
    async fn finish(&mut self, end: End) -> Result<ExitCode> {
        if self.options.report.is_none() && self.options.run_for.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        self.count_everything().await;
        if let Ok(status) = self.hands.mizzend.status().await {
            self.mesh = Some(status);
        }
        let names = self.fleet.replicas().map(|replica| (replica.id, replica.workload.name.to_string())).collect();
        let measured = usage(&self.hands, &names).await;
        self.meter.usage(measured, Instant::now());
        let report = self.report();
        if let Some(path) = &self.options.report {
            let json = serde_json::to_vec_pretty(&report)?;
            std::fs::write(path, json).with_context(|| format!("writing {}", path.display()))?;
        }
        if self.options.run_for.is_none() {
            return Ok(ExitCode::SUCCESS);
        }
        self.show.close();
        let mut shortcomings =
            report::shortcomings(&report, self.start.is_none().then(|| self.fleet.view()).as_deref());
        if end == End::Asked {
            shortcomings.insert(0, "interrupted before the time was up".to_owned());
        }
        for line in &shortcomings {
            eprintln!("mizzen: {line}");
        }
        println!("{} requests", report.requests_total);
        Ok(if shortcomings.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn report(&self) -> Report {
        let totals = self.ledger.totals();
        let totals = match &self.start {
            Some(start) => totals.since(&start.totals),
            None => totals,
        };
        let mesh = self.mesh.clone().unwrap_or_default();
        let convergence =
            Convergence { generations: self.mesh.is_some().then_some(mesh.generation), ms: mesh.convergence_ms };
        report::report(&totals, &self.fleet.view(), &self.meter.proxies(), &convergence)
    }

    /// SIGTERM to every program, and a moment to end by itself; the rest ends with the sandbox.
    async fn stop(self) {
        let programs: Vec<_> = self
            .hands
            .processes()
            .iter()
            .filter(|((_, part), _)| *part != Part::Proxy)
            .map(|(_, live)| live.process)
            .collect();
        for process in programs {
            self.hands.sandbox.signal(process, Signal::TERM).await;
        }
        let running = || self.hands.processes().keys().any(|(_, part)| *part != Part::Proxy);
        let ended = async {
            while running() {
                time::sleep(super::hands::LOOK_PAUSE).await;
            }
        };
        let mut impatient = signal(SignalKind::interrupt()).ok();
        let interrupted = async {
            match &mut impatient {
                Some(interrupt) => drop(interrupt.recv().await),
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = time::timeout(STOP_GRACE, ended) => {}
            () = interrupted => {}
        }
    }
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(wake) => time::sleep_until(wake.into()).await,
        None => std::future::pending().await,
    }
}
