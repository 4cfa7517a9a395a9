//! Namespaces and prepared children against the kernel. Without the test harness, because it runs tests on threads, and a
//! process with threads may not enter a user namespace.

use std::{
    fs,
    io::{self, Read as _},
    os::fd::{AsFd as _, AsRawFd as _},
    process::{Command, Stdio},
};

use mizzen_net::ns::{self, NetNs, ReservedFds, SpawnError};

fn main() {
    a_failed_preparation_says_why();
    a_missing_program_is_told_apart();
    a_descriptor_arrives_at_its_number();
    inherited_descriptors_do_not_pass_an_exec();
    network_namespaces_are_entered_and_left();
    println!("namespaces: 5 checks passed");
}

fn a_failed_preparation_says_why() {
    let failed = ns::spawn(Command::new("/bin/true"), || Err("the cage has no door"));
    assert!(matches!(&failed, Err(SpawnError::Setup(why)) if why == "the cage has no door"), "{failed:?}");
}

fn a_missing_program_is_told_apart() {
    let failed = ns::spawn(Command::new("/nonexistent/program"), || Ok::<(), String>(()));
    assert!(matches!(&failed, Err(SpawnError::Exec(e)) if e.kind() == io::ErrorKind::NotFound), "{failed:?}");
}

fn a_descriptor_arrives_at_its_number() {
    let reserved = ReservedFds::new().expect("reserve");
    let (reader, writer) = io::pipe().expect("pipe");
    let in_child = reserved.clone();
    let mut command = Command::new("/bin/sh");
    command.args(["-c", "echo through nine >&9"]);
    let mut child = ns::spawn(command, move || in_child.place(writer.as_fd(), 9)).expect("spawn");
    assert!(child.wait().expect("wait").success());
    let mut text = String::new();
    (&reader).read_to_string(&mut text).expect("read");
    assert_eq!(text, "through nine\n");
}

fn inherited_descriptors_do_not_pass_an_exec() {
    let (leaked, _writer) = io::pipe().expect("pipe");
    rustix::io::fcntl_setfd(&leaked, rustix::io::FdFlags::empty()).expect("clear");
    let link = fs::read_link(format!("/proc/self/fd/{}", leaked.as_raw_fd())).expect("link").display().to_string();
    let listing = || {
        let out = Command::new("/bin/ls").args(["-l", "/proc/self/fd"]).stdin(Stdio::null()).output().expect("ls");
        String::from_utf8_lossy(&out.stdout).into_owned()
    };
    assert!(listing().contains(&link), "without the call the pipe is handed on");
    ns::close_inherited_on_exec().expect("mark");
    assert!(!listing().contains(&link), "with it, it is not: {}", listing());
}

fn network_namespaces_are_entered_and_left() {
    let caller = rustix::process::geteuid().as_raw();
    ns::enter_user_namespace().expect("user namespaces are allowed to this user");
    let map = fs::read_to_string("/proc/self/uid_map").expect("uid_map");
    assert_eq!(map.split_whitespace().collect::<Vec<_>>(), [&caller.to_string(), &caller.to_string(), "1"]);

    // The way back leads only into namespaces of one's own: the one this process began in belongs to the host.
    ns::unshare(rustix::thread::UnshareFlags::NEWNET).expect("unshare");

    let link = || fs::read_link("/proc/thread-self/ns/net").expect("link");
    let home = link();
    let made = NetNs::create().expect("create");
    assert_eq!(link(), home, "creating does not move the caller");
    let inside = made.within(link).expect("within");
    assert_ne!(inside, home);
    assert_eq!(link(), home, "and within comes back");

    let mut command = Command::new("/bin/readlink");
    command.arg("/proc/self/ns/net").stdout(Stdio::piped());
    let child = ns::spawn(command, move || made.enter()).expect("spawn");
    let out = child.wait_with_output().expect("wait");
    assert_eq!(String::from_utf8_lossy(&out.stdout).trim(), inside.to_string_lossy());
}
