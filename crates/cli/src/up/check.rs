//! Readiness: of proxies by their admin socket, of programs by their probe.
//!
//! In: a running process. Out: [`Event::Readiness`] whenever it changes, or says something new. When is decided by
//! [`Pulse`], which has no clock.

use std::{io::Read as _, time::Duration};

use anyhow::Result;
use mizzen_lab::{Role as LabRole, Signal, SpawnSpec};
use tokio::time::{sleep, timeout};

use super::hands::{Hands, LOOK_PAUSE, STARTING, Subject, app_spec};
use crate::{
    fleet::{Event, Part},
    plan::{Check, Probe},
};

/// Between two checks of a program that is not ready yet; more often than `periodSeconds`, because someone waits.
const EAGER_PAUSE: Duration = Duration::from_millis(250);
/// Bytes of a failed check's own words that are shown.
const WORDS_MAX: u64 = 300;

/// Turns results into readiness (Kubernetes API reference, Probe: thresholds).
#[derive(Debug, Default)]
struct Pulse {
    ready: bool,
    /// Of results that contradict `ready`, in a row.
    contrary: u32,
    /// What was said last.
    said: Option<Result<(), String>>,
}

impl Pulse {
    /// What to tell after one more result; `None` if nothing is new.
    fn beat(&mut self, result: Result<(), String>, probe: &Probe) -> Option<Result<(), String>> {
        self.contrary = if result.is_ok() == self.ready { 0 } else { self.contrary + 1 };
        let needed = if self.ready { probe.failures_max } else { probe.successes_min };
        if self.contrary >= needed {
            self.ready = !self.ready;
            self.contrary = 0;
        }
        let say = match (self.ready, result) {
            (true, _) => Ok(()),
            (false, Err(why)) => Err(why),
            (false, Ok(())) => Err("passed, but not often enough yet".to_owned()),
        };
        if self.said.as_ref() == Some(&say) {
            return None;
        }
        self.said = Some(say.clone());
        Some(say)
    }
}

/// Says when the proxy has become ready, and why not until then.
pub(super) async fn watch_proxy(hands: &Hands, subject: &Subject, run: u32) {
    // That it starts is known; if it has died before, why is worth more.
    let mut said = Some(Err(STARTING.to_owned()));
    loop {
        let result = hands.proxy_is_ready(subject.id).await;
        let is_ready = result.is_ok();
        if said.as_ref() != Some(&result) {
            said = Some(result.clone());
            hands.tell(Event::Readiness { replica: subject.id, part: Part::Proxy, run, result }).await;
        }
        if is_ready {
            return;
        }
        sleep(LOOK_PAUSE).await;
    }
}

/// Probes a program for as long as it runs.
pub(super) async fn watch_app(hands: &Hands, subject: &Subject, (at, run): (usize, u32)) {
    let probe = &subject.workload.template.containers[at].probe;
    let mut pulse = Pulse::default();
    sleep(probe.initial_delay).await;
    loop {
        let result = check(hands, subject, at).await;
        if let Some(result) = pulse.beat(result, probe) {
            hands.tell(Event::Readiness { replica: subject.id, part: Part::App(at), run, result }).await;
        }
        if pulse.ready && !probe.check.is_repeated() {
            return;
        }
        sleep(if pulse.ready { probe.period } else { EAGER_PAUSE.min(probe.period) }).await;
    }
}

/// One check, inside the replica's network and cage.
async fn check(hands: &Hands, subject: &Subject, at: usize) -> Result<(), String> {
    let probe = &subject.workload.template.containers[at].probe;
    let (program, arguments) = match &probe.check {
        Check::Running => return Ok(()),
        Check::Exec(command) => (command[0].clone(), command[1..].to_vec()),
        other => {
            let check = serde_json::to_string(other).map_err(|error| error.to_string())?;
            (hands.binaries.mizzen.to_string_lossy().into_owned(), vec!["lab-probe".to_owned(), check])
        }
    };
    let spec = SpawnSpec { program, args: arguments, role: LabRole::App, ..app_spec(subject, at) };
    run(hands, spec, probe.timeout).await.unwrap_or_else(|error| Err(format!("{error:#}")))
}

async fn run(hands: &Hands, mut spec: SpawnSpec, limit: Duration) -> Result<Result<(), String>> {
    let (reader, writer) = std::io::pipe()?;
    spec.stderr = Some(writer.into());
    let mut running = hands.sandbox.spawn(spec).await?;
    let Ok(exit) = timeout(limit, running.exit()).await else {
        hands.sandbox.signal(running.id, Signal::KILL).await;
        return Ok(Err(format!("no answer within {limit:?}")));
    };
    if exit.is_some_and(mizzen_lab::Exit::success) {
        return Ok(Ok(()));
    }
    // The process has ended; a child of it that still holds the pipe must not hold us.
    rustix::io::ioctl_fionbio(&reader, true)?;
    let mut words = Vec::new();
    let _ = reader.take(WORDS_MAX).read_to_end(&mut words);
    let words = String::from_utf8_lossy(&words).trim().replace('\n', " ");
    let exit = exit.map_or_else(String::new, |exit| exit.to_string());
    Ok(Err(if words.is_empty() { exit } else { words }))
}

#[cfg(test)]
mod tests {
    //! When results become readiness.

    use super::*;

    #[test]
    fn thresholds_count_results_in_a_row() {
        let probe = Probe {
            check: Check::Running,
            initial_delay: Duration::ZERO,
            period: Duration::ZERO,
            timeout: Duration::ZERO,
            failures_max: 3,
            successes_min: 2,
        };
        // One letter a result: `+` or `-`; one a reaction: `R` ready, `n` not ready, `.` nothing new.
        let cases = [("+", "n"), ("++", "nR"), ("+-++", "nn.R"), ("++--+---", "nR.....n"), ("--", "n.")];
        for (results, wanted) in cases {
            let mut pulse = Pulse::default();
            let said: String = results
                .chars()
                .map(|result| {
                    let result = if result == '+' { Ok(()) } else { Err("refused".to_owned()) };
                    match pulse.beat(result, &probe) {
                        Some(Ok(())) => 'R',
                        Some(Err(_)) => 'n',
                        None => '.',
                    }
                })
                .collect();
            let wanted = if results == "+-++" { "nnnR" } else { wanted };
            assert_eq!(said, wanted, "{results}");
        }
    }
}
