//! The inside of a lab: from a launcher to the first process of the sandbox.
//!
//! One binary, three stages, told apart by an environment variable; each has one thread and ends with the next one's exec:
//!
//! ```text
//! launcher   enters user and pid namespaces; its child is the sandbox's first process; waits for it
//! init       enters mount, network, host-name and IPC namespaces; builds the bridge; serves requests   (init::server)
//! pause      first process of one node's cage, which lives as long as it does; does nothing            (init::node)
//! ```

mod bind;
mod cage;
mod error;
mod node;
mod privileges;
mod process;
mod server;
mod tools;

use std::{
    env, io,
    os::fd::{AsFd as _, OwnedFd},
    process::{Command, ExitCode, Stdio},
    thread,
};

use mizzen_net::ns;
use rustix::{
    process::{Signal, set_parent_process_death_signal},
    thread::UnshareFlags,
};

use self::{
    error::{During as _, InitError},
    server::Server,
};
use crate::wire::{self, BOOT_ID, FromInit, Request, ToInit};

/// Tells a stage which one it is; absent for the launcher.
const STAGE: &str = "MIZZEN_LAB_STAGE";

/// The whole of a launcher program's `main`: builds the sandbox and serves it until the host side is gone.
///
/// To be called before the process has started a thread, with the control socket as standard input; [`crate::Lab::start`]
/// runs the launcher so. Errors are told to the host side.
pub fn lab_init() -> ExitCode {
    let done = match env::var(STAGE).as_deref() {
        Err(_) => control_socket().and_then(|control| told(&control, launch(&control))),
        Ok("init") => control_socket().and_then(|control| {
            let served = init(&control);
            told(&control, served)
        }),
        Ok(_) => pause(),
    };
    // The host side has been told, or is gone.
    if done.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Takes the control socket away from standard input, so that no child inherits it.
fn control_socket() -> Result<OwnedFd, InitError> {
    let control = io::stdin().as_fd().try_clone_to_owned().during("take the control socket")?;
    let null = std::fs::File::open("/dev/null").during("open /dev/null")?;
    rustix::stdio::dup2_stdin(&null).during("replace standard input")?;
    Ok(control)
}

/// Sends an error that ends a stage to whoever waits for the sandbox.
fn told<T>(control: &OwnedFd, result: Result<T, InitError>) -> Result<T, InitError> {
    result.inspect_err(|error| {
        // If the host side is gone, nobody is left to be told.
        let _ = wire::send(control, &FromInit::Reply { id: BOOT_ID, result: Err(error.to_failure()) }, &[]);
    })
}

/// First stage. Returns when init has ended.
fn launch(control: &OwnedFd) -> Result<(), InitError> {
    ns::close_inherited_on_exec().during("close inherited descriptors")?;
    rustix::thread::set_no_new_privs(true).during("give up new privileges")?;
    ns::enter_user_namespace().during("enter a user namespace")?;
    ns::unshare(UnshareFlags::NEWPID).during("enter a pid namespace")?;
    die_with_parent()?;
    // The next exec would drop the capabilities that the namespace gave us, were they not ambient.
    privileges::keep_over_exec().during("keep capabilities over exec")?;
    let mut init = next_stage("init")
        .stdin(control.try_clone().during("hand on the control socket")?)
        .spawn()
        .during("start init")?;
    init.wait().during("wait for init")?;
    Ok(())
}

/// Second stage: the first process of the sandbox. When it returns, the kernel kills every other process there.
fn init(control: &OwnedFd) -> Result<(), InitError> {
    die_with_parent()?;
    rustix::process::setsid().during("lead a session")?;
    let Some((ToInit { request: Request::Boot(boot), .. }, _)) =
        wire::recv(control).during("read the first request")?
    else {
        return Ok(());
    };
    Server::boot(control, &boot)?.run()
}

/// Third stage: keeps a cage's namespaces alive. Orphans of the cage become its children, and the kernel reaps them
/// because `SIGCHLD` is ignored; it ends by SIGKILL.
fn pause() -> ! {
    loop {
        thread::park();
    }
}

fn next_stage(stage: &str) -> Command {
    let mut command = Command::new("/proc/self/exe");
    command.args(env::args_os().skip(1)).env_clear().env(STAGE, stage).stdin(Stdio::null()).stdout(Stdio::null());
    if let Some(path) = env::var_os("PATH") {
        command.env("PATH", path);
    }
    command
}

/// The kernel's help against a host side that is killed. The end of the control socket has the same effect, which covers
/// a parent that died before this call.
fn die_with_parent() -> Result<(), InitError> {
    set_parent_process_death_signal(Some(Signal::KILL)).during("follow the parent's death")
}
