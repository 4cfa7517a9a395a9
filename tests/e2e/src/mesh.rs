//! A running mesh: `mizzen up` on a directory of its own, with state and sockets of its own.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    os::unix::fs::PermissionsExt as _,
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, ExitStatus, Stdio},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    thread::JoinHandle,
    time::{Duration, SystemTime},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::{Process, descendants, eventually, program, within};

/// What a command inside a workload printed and how it ended.
#[derive(Clone, Debug)]
pub struct Output {
    pub status: i32,
    pub out: String,
    pub err: String,
}

impl Output {
    /// Whether it exited with 0.
    pub fn succeeded(&self) -> bool {
        self.status == 0
    }

    /// The last line as JSON.
    ///
    /// # Panics
    /// When it is none: the test has failed.
    pub fn json(&self) -> Value {
        let line = self.out.lines().rfind(|line| line.starts_with('{')).unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("no JSON ({error}) in {self:?}"))
    }
}

/// A header of a request as the echo server describes it; the empty text if it has none.
pub fn header(description: &Value, name: &str) -> String {
    let pairs = description["headers"].as_array().into_iter().flatten();
    let values = pairs.filter(|pair| pair[0].as_str().is_some_and(|found| found.eq_ignore_ascii_case(name)));
    values.filter_map(|pair| pair[1].as_str()).collect::<Vec<_>>().join(",")
}

/// A mesh of a test. Dropping it ends it and everything in it.
pub struct Mesh {
    root: PathBuf,
    arguments: Vec<String>,
    up: Child,
    lines: Lines,
    readers: Vec<JoinHandle<()>>,
}

/// Lines of output, and when each was read.
type Lines = Arc<Mutex<Vec<(SystemTime, String)>>>;

fn texts(lines: &Lines) -> Vec<String> {
    lines.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|(_, line)| line.clone()).collect()
}

static NEXT: AtomicU32 = AtomicU32::new(0);

/// A directory for one mesh, short enough for Unix sockets in it.
fn scratch() -> PathBuf {
    let name = format!("mz{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed));
    let path = std::env::temp_dir().join(name);
    for sub in ["mesh", "state", "run"] {
        fs::create_dir_all(path.join(sub)).expect("a directory for the test");
    }
    fs::set_permissions(path.join("run"), fs::Permissions::from_mode(0o700)).expect("own directory");
    path
}

impl Mesh {
    /// Starts a mesh from manifests and waits until all its workloads are ready.
    pub fn up(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let mesh = Self::start(files, arguments);
        mesh.wait_ready();
        mesh
    }

    /// Starts a mesh from manifests.
    ///
    /// # Panics
    /// When it cannot be started: the test has failed.
    pub fn start(files: &[(&str, &str)], arguments: &[&str]) -> Self {
        let root = scratch();
        for (name, text) in files {
            fs::write(root.join("mesh").join(name), text).expect("a manifest written");
        }
        Self::start_in(root, arguments)
    }

    /// Starts a mesh from a copy of a directory.
    pub fn copy_of(directory: &Path, arguments: &[&str]) -> Self {
        let root = scratch();
        for entry in fs::read_dir(directory).expect("the sample is there").flatten() {
            if entry.path().extension().is_some_and(|ext| ext == "yaml") {
                fs::copy(entry.path(), root.join("mesh").join(entry.file_name())).expect("copied");
            }
        }
        Self::start_in(root, arguments)
    }

    fn start_in(root: PathBuf, arguments: &[&str]) -> Self {
        let arguments: Vec<String> = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        let (up, lines, readers) = Self::launch(&root, &arguments);
        Self { root, arguments, up, lines, readers }
    }

    fn launch(root: &Path, arguments: &[String]) -> (Child, Lines, Vec<JoinHandle<()>>) {
        let mut command = Self::command_in(root);
        command.arg("up").arg(root.join("mesh")).arg("--plain").args(arguments);
        let mut up = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`mizzen up` started");
        let lines = Lines::default();
        let out = up.stdout.take().map(|stream| follow(stream, &lines));
        let err = up.stderr.take().map(|stream| follow(stream, &lines));
        (up, lines, out.into_iter().chain(err).collect())
    }

    /// Starts `mizzen up` once more, on the same directory and state, after it has ended.
    ///
    /// # Panics
    /// When it has not ended: the test has failed.
    pub fn restart(&mut self) {
        assert!(self.try_end().is_some(), "`mizzen up` has ended");
        (self.up, self.lines, self.readers) = Self::launch(&self.root, &self.arguments);
    }

    fn command_in(root: &Path) -> Command {
        let mizzen = program("mizzen");
        let mut command = Command::new(&mizzen);
        command.env("XDG_STATE_HOME", root.join("state")).env("XDG_RUNTIME_DIR", root.join("run"));
        // The tests' clients and servers lie beside it, and workloads inherit the path.
        let home = mizzen.parent().map_or_else(PathBuf::new, Path::to_path_buf);
        let home = fs::canonicalize(home).expect("the directory of the program");
        let path = std::env::var_os("PATH").unwrap_or_default();
        let all = std::env::join_paths([home].into_iter().chain(std::env::split_paths(&path)));
        command.env("PATH", all.expect("a path without colons"));
        command
    }

    /// `mizzen ARGUMENTS`, against this mesh.
    pub fn mizzen(&self, arguments: &[&str]) -> Output {
        let mut command = Self::command_in(&self.root);
        command.arg("--mesh").arg(self.root.join("mesh")).args(arguments).stdin(Stdio::null());
        run(command)
    }

    /// Runs a command beside a workload.
    pub fn exec(&self, workload: &str, command: &[&str]) -> Output {
        let arguments: Vec<&str> = ["exec", workload, "--"].iter().chain(command).copied().collect();
        self.mizzen(&arguments)
    }

    /// Starts a command beside a workload, to be waited for later.
    ///
    /// # Panics
    /// When it cannot be started: the test has failed.
    pub fn spawn(&self, workload: &str, command: &[&str]) -> Load {
        let mut process = Self::command_in(&self.root);
        process.arg("--mesh").arg(self.root.join("mesh")).args(["exec", workload, "--"]).args(command);
        let mut child = process
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("`mizzen exec` started");
        let stdin = child.stdin.take();
        let lines = Lines::default();
        let out = child.stdout.take().map(|stream| follow(stream, &lines));
        let errors = Lines::default();
        let err = child.stderr.take().map(|stream| follow(stream, &errors));
        Load { child, lines, errors, readers: out.into_iter().chain(err).collect(), _stdin: stdin }
    }

    /// What the echo server was asked, as `curl` beside a workload asks it.
    ///
    /// # Panics
    /// When the answer is none of the echo's: the test has failed.
    pub fn ask(&self, workload: &str, arguments: &[&str]) -> Value {
        let (status, body) = self.curl(workload, arguments);
        serde_json::from_str(&body).unwrap_or_else(|error| panic!("{arguments:?}: {status}: {error}: {body}"))
    }

    /// `curl` beside a workload: status code and body.
    pub fn curl(&self, workload: &str, arguments: &[&str]) -> (u16, String) {
        let mut command = vec!["curl", "-s", "-o", "-", "-w", "\n%{http_code}", "--max-time", "20"];
        command.extend(arguments);
        let output = self.exec(workload, &command);
        let (body, code) = output.out.rsplit_once('\n').unwrap_or(("", "0"));
        (code.trim().parse().unwrap_or(0), body.to_owned())
    }

    /// Writes a manifest (by rename, as editors do) and waits until every proxy has it in force.
    pub fn apply(&self, name: &str, text: &str) {
        let before = self.changes(name);
        self.write(name, text);
        within(Duration::from_secs(30), &format!("the edit of {name} in force"), || {
            (self.changes(name) > before).then_some(())
        });
    }

    /// Writes a manifest.
    ///
    /// # Panics
    /// When it cannot be written: the test has failed.
    pub fn write(&self, name: &str, text: &str) {
        let new = self.root.join(format!("{name}.new"));
        fs::write(&new, text).expect("written");
        fs::rename(new, self.root.join("mesh").join(name)).expect("renamed");
    }

    /// Removes a manifest.
    ///
    /// # Panics
    /// When it is not there: the test has failed.
    pub fn remove(&self, name: &str) {
        fs::remove_file(self.root.join("mesh").join(name)).expect("removed");
    }

    /// The mesh's directory.
    pub fn directory(&self) -> PathBuf {
        self.root.join("mesh")
    }

    /// The state directories' parent.
    pub fn state(&self) -> PathBuf {
        self.root.join("state")
    }

    /// The runtime directories' parent: sockets are below it.
    pub fn runtime(&self) -> PathBuf {
        self.root.join("run")
    }

    /// How often a change of this file was applied so far.
    fn changes(&self, name: &str) -> usize {
        self.lines().iter().filter(|line| line.contains(name) && line.contains("applied by")).count()
    }

    /// Everything that `mizzen up` printed.
    pub fn lines(&self) -> Vec<String> {
        texts(&self.lines)
    }

    /// All of it as one text; of a mesh that has ended, everything.
    pub fn text(&self) -> String {
        self.lines().join("\n")
    }

    /// How many lines there are so far: where to look from for what comes.
    pub fn mark(&self) -> usize {
        self.lines().len()
    }

    /// Waits for a line behind a [`Mesh::mark`] that contains `text`; when it was read, and the line.
    pub fn wait_line_from(&self, mark: usize, text: &str) -> (SystemTime, String) {
        let what = format!("a line with {text:?}");
        eventually(&what, || {
            let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
            lines.iter().skip(mark).find(|(_, line)| line.contains(text)).cloned()
        })
    }

    /// Waits for a line that contains `text`.
    pub fn wait_line(&self, text: &str) -> String {
        let found = || self.lines().into_iter().find(|line| line.contains(text));
        eventually(&format!("a line with {text:?}; so far: {:#?}", self.lines()), found)
    }

    /// Waits until all workloads are ready.
    ///
    /// # Panics
    /// When the mesh ended or takes more than two minutes: the test has failed.
    pub fn wait_ready(&self) {
        let ready = || self.lines().iter().any(|line| line.contains("workloads are ready")).then_some(());
        let deadline = std::time::Instant::now() + Duration::from_mins(2);
        while ready().is_none() {
            let ended = fs::read_to_string(format!("/proc/{}/stat", self.up.id())).map_or(true, |s| s.contains(") Z"));
            assert!(!ended && std::time::Instant::now() < deadline, "not ready: {:#?}", self.lines());
            std::thread::park_timeout(Duration::from_millis(50));
        }
    }

    /// IPv4 and IPv6 addresses of a workload's only replica.
    ///
    /// # Panics
    /// When it has none: the test has failed.
    pub fn addresses(&self, workload: &str) -> (String, String) {
        let output = self.exec(workload, &["hostname", "-I"]);
        let find =
            |v6: bool| output.out.split_whitespace().find(|address| address.contains(':') == v6).map(str::to_owned);
        match (find(false), find(true)) {
            (Some(v4), Some(v6)) => (v4, v6),
            _ => panic!("no addresses of {workload}: {output:?}"),
        }
    }

    /// Every process of the mesh but `mizzen up` itself.
    pub fn processes(&self) -> Vec<Process> {
        descendants(self.pid())
    }

    /// The only process of the mesh whose command line contains all of `words`.
    ///
    /// # Panics
    /// When there is none, or several: the test has failed.
    pub fn process(&self, words: &[&str]) -> Process {
        let mut found = self.processes();
        found.retain(|process| words.iter().all(|word| process.command.contains(word)));
        assert_eq!(found.len(), 1, "one process with {words:?}: {found:#?}");
        found.remove(0)
    }

    /// The sidecar of a workload's process: the proxy in the same network.
    pub fn sidecar(&self, app: &Process) -> Process {
        let network = app.namespace("net");
        assert!(network.is_some(), "the network of {app:?} can be seen");
        let mut proxies = self.processes();
        proxies
            .retain(|process| process.command.contains("mizzen-proxy sidecar") && process.namespace("net") == network);
        assert_eq!(proxies.len(), 1, "one sidecar of {app:?}: {proxies:#?}");
        proxies.remove(0)
    }

    /// The control plane's process; it runs in the network where the bridge is.
    pub fn control_plane(&self) -> Process {
        self.process(&["mizzend --config"])
    }

    /// `GET` on the control plane's own socket (docs/dev/contracts.md); none while it is down, or when it says no.
    pub fn control(&self, path: &str) -> Option<Value> {
        let homes = fs::read_dir(self.runtime().join("mizzen")).ok()?.flatten();
        let socket = homes.map(|home| home.path().join("mizzend.sock")).find(|socket| socket.exists())?;
        let mut command = Command::new("curl");
        command.args(["--silent", "--fail", "--unix-socket"]).arg(socket).arg(format!("http://mizzend{path}"));
        serde_json::from_str(&run(command).out).ok()
    }

    /// Process id of `mizzen up`.
    pub fn pid(&self) -> u32 {
        self.up.id()
    }

    /// Sends a signal to `mizzen up`.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = i32::try_from(self.up.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, signal).ok();
        }
    }

    /// Waits until `mizzen up` has ended.
    ///
    /// # Panics
    /// When it has not after a minute: the test has failed.
    pub fn wait_end(&mut self) -> ExitStatus {
        let status = eventually("`mizzen up` to end", || self.try_end());
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
        status
    }

    /// How `mizzen up` ended, if it has.
    ///
    /// # Panics
    /// Never: it is a child of this process.
    pub fn try_end(&mut self) -> Option<ExitStatus> {
        self.up.try_wait().expect("a child")
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        self.signal(Signal::INT);
        for _ in 0..400 {
            if !matches!(self.up.try_wait(), Ok(None)) {
                break;
            }
            std::thread::park_timeout(Duration::from_millis(50));
        }
        self.up.kill().ok();
        self.up.wait().ok();
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
        if std::thread::panicking() {
            eprintln!("── mizzen up printed:\n{}", self.lines().join("\n"));
            print_logs(&self.root.join("state"));
        }
        fs::remove_dir_all(&self.root).ok();
    }
}

/// The ends of all log files, for whoever looks at a failure.
fn print_logs(directory: &Path) {
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            print_logs(&path);
        } else if path.extension().is_some_and(|ext| ext == "log") {
            let text = fs::read_to_string(&path).unwrap_or_default();
            let lines: Vec<&str> = text.lines().collect();
            let tail = lines.len().saturating_sub(15);
            eprintln!("── {}\n{}", path.display(), lines[tail..].join("\n"));
        }
    }
}

/// A command that runs beside a workload.
pub struct Load {
    child: Child,
    lines: Lines,
    errors: Lines,
    readers: Vec<JoinHandle<()>>,
    _stdin: Option<ChildStdin>,
}

impl Load {
    /// Waits for a line on its standard output.
    pub fn wait_line(&self, text: &str) -> String {
        eventually(&format!("a line with {text:?} from a command"), || {
            texts(&self.lines).into_iter().find(|line| line.contains(text))
        })
    }

    /// Asks it to end, and waits.
    pub fn stop(self) -> Output {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            kill_process(pid, Signal::TERM).ok();
        }
        self.wait()
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not after two minutes: the test has failed.
    pub fn wait(mut self) -> Output {
        let status = within(Duration::from_mins(2), "a command to end", || self.child.try_wait().expect("a child"));
        for reader in self.readers.drain(..) {
            reader.join().ok();
        }
        let (out, err) = (texts(&self.lines).join("\n"), texts(&self.errors).join("\n"));
        Output { status: status.code().unwrap_or(-1), out, err }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        // A check that failed leaves its load behind.
        self.child.kill().ok();
        self.child.wait().ok();
    }
}

fn follow(stream: impl Read + Send + 'static, lines: &Lines) -> JoinHandle<()> {
    let lines = Arc::clone(lines);
    std::thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            lines.lock().unwrap_or_else(PoisonError::into_inner).push((SystemTime::now(), line));
        }
    })
}

fn run(mut command: Command) -> Output {
    let output = command.output().expect("the command can be started");
    Output {
        status: output.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&output.stdout).into_owned(),
        err: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
