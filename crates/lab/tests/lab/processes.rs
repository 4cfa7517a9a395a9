//! How processes are started, told apart, measured and ended.

use std::io::{Read as _, Write as _};

use mizzen_lab::{Exit, Lab, LabError, LabOptions, Role, Signal, SpawnSpec};

use crate::fixture::{Sandbox, TempDir, eventually, launcher};

#[test]
fn a_process_gets_exactly_what_it_was_given() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    let (mut theirs, mut ours) = std::io::pipe().expect("pipe");
    ours.write_all(b"through descriptor nine").expect("write");
    drop(ours);
    let (mut output, writer) = std::io::pipe().expect("pipe");
    let script = "pwd; env | sort | grep -v '^PWD=\\|^SHLVL=\\|^_='; cat <&9; ls /proc/self/fd | tr '\\n' ' '";
    let mut spec =
        SpawnSpec::new(Some("a"), Role::App, "sh").args(["-c", script]).env("PATH", "/usr/bin:/bin").env("A", "1 2");
    spec.cwd = Some("/etc".into());
    spec.stdout = Some(writer.into());
    spec.fds = vec![(theirs.try_clone().expect("dup").into(), 9)];
    let process = sandbox.lab.spawn(spec).expect("spawn");
    assert_eq!(sandbox.wait(process), Exit::Code(0));
    let mut text = String::new();
    output.read_to_string(&mut text).expect("read");
    // 3 is the directory that ls reads.
    assert_eq!(text, "/etc\nA=1 2\nPATH=/usr/bin:/bin\nthrough descriptor nine0 1 2 3 9 ");
    let mut rest = Vec::new();
    theirs.read_to_end(&mut rest).expect("read");
    assert!(rest.is_empty());
}

#[test]
fn what_cannot_be_started_says_why() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    let spawn = |spec| sandbox.lab.spawn(spec).expect_err("cannot start");
    let missing = spawn(SpawnSpec::new(Some("a"), Role::App, "/nonexistent"));
    assert!(matches!(&missing, LabError::ProgramNotFound(program) if program == "/nonexistent"), "{missing:?}");
    let nowhere = spawn(SpawnSpec::new(Some("b"), Role::App, "/bin/true"));
    assert!(matches!(&nowhere, LabError::NoSuchNode(name) if name == "b"), "{nowhere:?}");
    let directory =
        spawn(SpawnSpec { cwd: Some("/nonexistent".into()), ..SpawnSpec::new(Some("a"), Role::App, "/bin/true") });
    assert!(directory.to_string().contains("cannot enter /nonexistent: No such file"), "{directory}");
    let large = spawn(SpawnSpec::new(Some("a"), Role::App, "/bin/true").args(["x".repeat(400_000)]));
    assert!(matches!(large, LabError::TooLarge), "{large:?}");
    // And after all that, the lab works.
    sandbox.app("a", "true");
}

#[test]
fn ends_are_reported_with_status_or_signal() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    for role in [Role::App, Role::Proxy, Role::Control, Role::Tool] {
        assert_eq!(sandbox.sh(Some("a"), role, "exit 7").0, Exit::Code(7), "{role:?}");
    }
    let sleeper = sandbox.spawn(SpawnSpec::new(Some("a"), Role::App, "/bin/sleep").args(["1000"]));
    sandbox.lab.signal(sleeper.process, Signal::TERM).expect("signal");
    assert_eq!(
        sandbox.wait(sleeper.process),
        Exit::Signal(15),
        "a workload is not process 1: TERM has its usual effect"
    );
    assert!(matches!(sandbox.lab.signal(sleeper.process, Signal::TERM), Err(LabError::NoSuchProcess(_))));
}

#[test]
fn nothing_a_workload_started_outlives_it() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    let detached = "sleep 1001 & setsid sleep 1002 & (setsid sh -c 'sleep 1003 & sleep 1004' &) ; exit 0";
    sandbox.app("a", detached);
    let left = || {
        let script =
            "for f in /proc/[0-9]*/cmdline; do tr '\\0' ' ' < $f; echo; done 2>/dev/null | grep -c '^sleep 100'";
        sandbox.sh(Some("a"), Role::Tool, script).1
    };
    eventually("the workload's children are gone", || left().trim() == "0");
}

#[test]
fn resources_are_those_of_the_process() {
    let sandbox = Sandbox::start();
    sandbox.node(0, "a");
    let program = "x = bytearray(b'x') * (50 << 20)\nwhile True: print(sum(range(10**6)))";
    let mut busy = sandbox.python("a", Role::Proxy, program, &[]);
    busy.line();
    let process = busy.process;
    let stats = || sandbox.lab.stats(process).expect("runs");
    assert!((50 << 10..500 << 10).contains(&stats().rss_kb), "{:?}", stats());
    assert!(stats().rss_peak_kb >= stats().rss_kb && stats().threads == 1, "{:?}", stats());
    let before = stats().cpu_s;
    for _ in 0..100 {
        busy.line();
    }
    assert!(stats().cpu_s > before);
}

#[test]
fn a_launcher_that_is_none_is_an_error_not_a_hang() {
    let dir = TempDir::new();
    let start = |launcher: &str| Lab::start(LabOptions::new(launcher, dir.state())).expect_err("no lab");
    assert!(matches!(start("/nonexistent"), LabError::Launch { .. }));
    let silent = start("/bin/true");
    assert!(matches!(&silent, LabError::Start(why) if why.contains("lab_init")), "{silent:?}");
    let unmaskable =
        LabOptions { masked_paths: vec!["/nonexistent".into()], ..LabOptions::new(launcher(), dir.state()) };
    assert!(matches!(Lab::start(unmaskable), Err(LabError::Invalid { field: "masked_paths", .. })));
}

#[test]
fn two_labs_do_not_see_each_other() {
    let (one, two) = (Sandbox::start(), Sandbox::start());
    let spec = one.node(0, "a");
    two.node(0, "a");
    two.node(1, "b");
    let program = "import socket,sys; s=socket.create_server((sys.argv[1], 80)); print('up'); s.accept()";
    let _server = one.python("a", Role::App, program, &[&spec.ipv4.to_string()]).wait_for("up");
    let (exit, output) = two.sh(Some("b"), Role::App, &format!("curl -sS --max-time 20 http://{}/", spec.ipv4));
    assert_eq!(exit, Exit::Code(7), "{output}");
}
