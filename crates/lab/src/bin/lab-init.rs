//! For this crate's own tests: the launcher, as `mizzen lab-init` is for `mizzen up`; and with `host DIR`, a host side that
//! runs a lab until it is killed.

use std::{env, io::Write as _, path::PathBuf, process::ExitCode};

use mizzen_capture::{Capture, Sidecar};
use mizzen_lab::{Event, Lab, LabError, LabOptions, NodeSpec, Role, SpawnSpec, workload_address};

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    if arguments.next().is_none_or(|first| first != "host") {
        return mizzen_lab::lab_init();
    }
    match host(arguments.next().unwrap_or_default().into()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// A lab with every kind of process, among them workloads that detach children. Says when it stands.
fn host(state_dir: PathBuf) -> Result<(), LabError> {
    let launcher = env::current_exe()?;
    let (lab, events) = Lab::start(LabOptions::new(launcher, state_dir))?;
    for (n, name) in ["a", "b"].into_iter().enumerate() {
        let address = workload_address(n as u16).ok_or(LabError::Gone)?;
        let capture = Some(Capture::Sidecar(Sidecar::default()));
        lab.add_node(&NodeSpec { capture, ..NodeSpec::new(name, address) })?;
        let detach = "setsid sleep 1000 & (sleep 1000 &) ; exec sleep 1000";
        lab.spawn(SpawnSpec::new(Some(name), Role::App, "/bin/sh").args(["-c", detach]).env("PATH", "/usr/bin:/bin"))?;
        lab.spawn(SpawnSpec::new(Some(name), Role::Proxy, "/bin/sleep").args(["1000"]))?;
    }
    lab.spawn(SpawnSpec::new(None, Role::Control, "/bin/sleep").args(["1000"]))?;
    println!("ready");
    std::io::stdout().flush()?;
    while !matches!(events.recv(), Ok(Event::Closed) | Err(_)) {}
    Ok(())
}
