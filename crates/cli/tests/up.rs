//! `mizzen up` with a real sandbox and real programs; control plane and proxy are stand-ins (`stand_ins/`), so that what
//! is tested is the supervision alone.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

/// Longest wait for anything.
const PATIENCE: Duration = Duration::from_mins(1);

/// A mesh's directories and programs, and the running `mizzen up`.
struct Mesh {
    root: PathBuf,
    up: Option<Child>,
}

impl Mesh {
    fn new(name: &str) -> Self {
        // Short: a socket's path has at most 107 bytes.
        let root = std::env::temp_dir().join(format!("mz-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&root);
        for directory in ["bin", "mesh", "run", "state", "home"] {
            fs::create_dir_all(root.join(directory)).expect("it can be made");
        }
        let stand_ins = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/stand_ins");
        fs::copy(env!("CARGO_BIN_EXE_mizzen"), root.join("bin/mizzen")).expect("the program can be copied");
        for stand_in in ["mizzend", "mizzen-proxy"] {
            fs::copy(stand_ins.join(stand_in), root.join("bin").join(stand_in)).expect("it can be copied");
        }
        Self { root, up: None }
    }

    fn write(&self, file: &str, text: &str) {
        // As editors do: a reader sees the old file or the new one.
        let new = self.root.join("new");
        fs::write(&new, text).expect("it can be written");
        fs::rename(new, self.root.join("mesh").join(file)).expect("it can be renamed");
    }

    fn mizzen(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(self.root.join("bin/mizzen"));
        command.args(arguments).stdin(Stdio::null());
        command.env("XDG_STATE_HOME", self.root.join("state")).env("XDG_RUNTIME_DIR", self.root.join("run"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.mizzen(arguments).output().expect("it can be run")
    }

    fn up(&mut self, arguments: &[&str]) {
        let directory = self.root.join("mesh");
        let out = File::create(self.root.join("up.log")).expect("it can be made");
        let error = out.try_clone().expect("it can be cloned");
        let mut command = self.mizzen(&["up"]);
        command.arg(directory).args(arguments).stdout(out).stderr(error);
        self.up = Some(command.spawn().expect("it can be started"));
    }

    fn log(&self) -> String {
        fs::read_to_string(self.root.join("up.log")).unwrap_or_default()
    }

    /// Waits until something is so; fails with what `mizzen up` has printed.
    fn until(&mut self, what: &str, mut is_so: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !is_so(self) {
            let ended = self.up.as_mut().and_then(|up| up.try_wait().ok().flatten());
            assert!(Instant::now() < deadline && ended.is_none(), "{what}: {ended:?}\n{}", self.log());
            // poll: between two looks at the condition
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn until_logged(&mut self, words: &str) {
        self.until(words, |mesh| mesh.log().contains(words));
    }

    /// Waits for the end; the exit code.
    fn end(&mut self) -> Option<i32> {
        let mut up = self.up.take().expect("it is up");
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(status) = up.try_wait().expect("it can be waited for") {
                return status.code();
            }
            if Instant::now() >= deadline {
                let _ = up.kill();
                panic!("it does not end\n{}", self.log());
            }
            // poll: between two looks at the process
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn signal(&self, signal: &str) {
        let pid = self.up.as_ref().expect("it is up").id().to_string();
        let done = Command::new("kill").args([signal, &pid]).status().expect("kill can be run");
        assert!(done.success());
    }

    /// Processes started from this mesh's directory.
    fn processes(&self) -> Vec<String> {
        let marker = self.root.to_string_lossy().into_owned();
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let lines = entries.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
        lines
            .map(|line| String::from_utf8_lossy(&line).replace('\0', " "))
            .filter(|line| line.contains(&marker))
            .collect()
    }

    fn is_gone(&self) -> bool {
        self.processes().is_empty()
    }
}

impl Drop for Mesh {
    fn drop(&mut self) {
        if let Some(mut up) = self.up.take() {
            let _ = up.kill();
            let _ = up.wait();
        }
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// A Deployment with a Python web server that answers with this word.
fn web(word: &str) -> String {
    format!(
        "apiVersion: apps/v1
kind: Deployment
metadata: {{name: web}}
spec:
  selector: {{matchLabels: {{app: web}}}}
  template:
    metadata: {{labels: {{app: web}}}}
    spec:
      terminationGracePeriodSeconds: 2
      containers:
        - name: web
          command: [/usr/bin/python3, -u, -m, http.server, '80']
          env: [{{name: WORD, value: {word}}}]
          ports: [{{containerPort: 80}}]
          readinessProbe: {{httpGet: {{path: /, port: 80}}, periodSeconds: 1}}
---
apiVersion: v1
kind: Service
metadata: {{name: web}}
spec: {{selector: {{app: web}}, ports: [{{port: 80}}]}}
"
    )
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A port that was free a moment ago.
fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind("127.0.0.1:0").expect("a port is free");
    socket.local_addr().expect("it is bound").port()
}

fn gateway() -> &'static str {
    "apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: edge}
spec: {selector: {istio: ingressgateway}, servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ['*']}]}
"
}

#[test]
fn a_mesh_comes_up_is_looked_at_and_goes_down() {
    let mut mesh = Mesh::new("life");
    mesh.write("web.yaml", &web("one"));
    mesh.write("gateway.yaml", gateway());
    let port = free_port();
    mesh.up(&["--publish", &format!("{port}:80")]);
    mesh.until_logged("all 2 workloads are ready");

    let status = text(&mesh.run(&["status"]).stdout);
    assert!(status.contains("is ready") && status.contains("default/web") && status.contains("1/1"), "{status}");
    let objects = text(&mesh.run(&["get", "svc"]).stdout);
    assert!(objects.contains("Service/default/web") && objects.contains("web.yaml:1"), "{objects}");

    // In the workload's network: its own name, its own port 80, its environment.
    let shell = "hostname; echo $WORD; /usr/bin/python3 -c 'import urllib.request as r; print(r.urlopen(\"http://127.0.0.1\").status)'";
    let exec = mesh.run(&["exec", "web", "--", "/bin/sh", "-c", shell]);
    let said = text(&exec.stdout);
    assert!(said.starts_with("web-") && said.ends_with("one\n200\n"), "{said}{}", text(&exec.stderr));
    assert_eq!(mesh.run(&["exec", "web", "--", "/bin/sh", "-c", "exit 7"]).status.code(), Some(7));
    let missing = mesh.run(&["exec", "nobody", "--", "true"]);
    assert!(!missing.status.success() && text(&missing.stderr).contains("no workload `nobody`"), "{missing:?}");

    // The state directory is masked there.
    let state = format!("ls {}", mesh.root.join("state/mizzen").display());
    assert!(!mesh.run(&["exec", "web", "--", "/bin/sh", "-c", &state]).status.success());

    let logs = text(&mesh.run(&["logs", "web"]).stdout);
    assert!(logs.contains("GET / HTTP/1.1"), "{logs}");
    let logs = text(&mesh.run(&["logs", "-c", "proxy", "default/web"]).stdout);
    assert!(logs.contains("proxy of web-"), "{logs}");

    // The gateway has the published socket.
    let mut client = TcpStream::connect(("127.0.0.1", port)).expect("it is published");
    client.write_all(b"GET / HTTP/1.1\r\n\r\n").expect("it can be written");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("it answers");
    assert!(answer.ends_with("hello"), "{answer}");

    let second = mesh.run(&["up", &mesh.root.join("mesh").to_string_lossy()]);
    assert!(!second.status.success() && text(&second.stderr).contains("is up already (process "), "{second:?}");

    assert!(mesh.run(&["down"]).status.success());
    assert_eq!(mesh.end(), Some(0));
    assert!(mesh.is_gone(), "{:?}", mesh.processes());
    assert!(fs::read_dir(mesh.root.join("run/mizzen")).expect("it exists").next().is_none());
    let status = mesh.run(&["status"]);
    assert!(!status.status.success() && text(&status.stderr).contains("no mesh is up"), "{status:?}");
}

#[test]
fn an_edit_rolls_the_workload() {
    let mut mesh = Mesh::new("roll");
    mesh.write("web.yaml", &web("one"));
    mesh.up(&[]);
    mesh.until_logged("all 1 workloads are ready");
    let word = |mesh: &Mesh| text(&mesh.run(&["exec", "web", "--", "/bin/sh", "-c", "echo $WORD"]).stdout);
    assert_eq!(word(&mesh), "one\n");
    mesh.write("web.yaml", &web("two"));
    mesh.until("the new one serves", |mesh| word(mesh) == "two\n");
    mesh.until("the old one was drained", |mesh| {
        text(&mesh.run(&["logs", "-c", "proxy", "web"]).stdout).contains("drained")
    });
    mesh.until("one is left", |mesh| {
        let servers = mesh.processes().iter().filter(|line| line.contains("mizzen-proxy")).count();
        servers == 1 && text(&mesh.run(&["status"]).stdout).contains("is ready")
    });
    // A broken edit leaves what runs.
    mesh.write("web.yaml", &web("three").replace("/usr/bin/python3", "/no/such/program"));
    mesh.until_logged("no program `/no/such/program`");
    assert_eq!(word(&mesh), "two\n");
    mesh.signal("-INT");
    assert_eq!(mesh.end(), Some(0));
    assert!(mesh.is_gone(), "{:?}", mesh.processes());
}

#[test]
fn what_dies_comes_back() {
    let mut mesh = Mesh::new("die");
    mesh.write("web.yaml", &web("one"));
    mesh.up(&[]);
    mesh.until_logged("all 1 workloads are ready");
    let pid = |mesh: &Mesh, name: &str| {
        let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
        let marker = mesh.root.join("bin").join(name).to_string_lossy().into_owned();
        let is_meant = |line: &[u8]| text(line).split('\0').nth(1).is_some_and(|program| program == marker);
        let pids = entries.filter(|entry| fs::read(entry.path().join("cmdline")).is_ok_and(|line| is_meant(&line)));
        pids.map(|entry| entry.file_name().to_string_lossy().into_owned()).next()
    };
    for name in ["mizzen-proxy", "mizzend"] {
        let first = pid(&mesh, name).expect("it runs");
        assert!(Command::new("kill").args(["-KILL", &first]).status().expect("kill can be run").success());
        mesh.until(name, |mesh| {
            let again = pid(mesh, name).is_some_and(|now| now != first);
            again && text(&mesh.run(&["status"]).stdout).contains("is ready")
        });
    }
    assert!(mesh.log().contains("the control plane has ended (signal 9)"), "{}", mesh.log());
    // It was told of the lab again.
    let told = text(&mesh.run(&["logs", "mizzend"]).stdout);
    let last: Value = serde_json::from_str(told.lines().last().unwrap_or_default()).expect("JSON");
    assert_eq!(last["generation"], 1, "{told}");
    mesh.signal("-KILL");
    assert_eq!(mesh.end(), None);
    mesh.up = None;
    let deadline = Instant::now() + PATIENCE;
    while !mesh.is_gone() {
        assert!(Instant::now() < deadline, "{:?}", mesh.processes());
        // poll: the kernel ends what the sandbox held
        std::thread::sleep(Duration::from_millis(20));
    }
    // What the killed one left does not stand in the way.
    mesh.up(&["--for", "1s", "--report", &mesh.root.join("r.json").to_string_lossy()]);
    assert_eq!(mesh.end(), Some(0), "{}", mesh.log());
}

#[test]
fn a_run_for_a_time_has_a_verdict_and_a_report() {
    let mut mesh = Mesh::new("for");
    mesh.write("web.yaml", &web("one"));
    let report = mesh.root.join("r.json");
    mesh.up(&["--for", "2s", "--report", &report.to_string_lossy()]);
    assert_eq!(mesh.end(), Some(0), "{}", mesh.log());
    let report: Value = serde_json::from_slice(&fs::read(&report).expect("it was written")).expect("JSON");
    assert!(report["requests_total"].as_u64().is_some_and(|requests| requests >= 100), "{report:#}");
    assert_eq!(report["edges"][0]["source"], "unknown");
    assert_eq!(report["edges"][0]["destination"], "default/web");
    assert_eq!(report["edges"][0]["key_exchange"], "X25519MLKEM768");
    assert_eq!((&report["success_rate"], &report["mtls_share"]), (&Value::from(1.0), &Value::from(1.0)));
    assert_eq!(report["workloads"][0]["ready"], true);
    assert!(report["workloads"][0]["proxy_rss_kb"].as_u64().is_some_and(|kb| kb > 0), "{report:#}");
    assert_eq!(report["config"]["convergence_ms_p50"], 1.5);

    // A workload that never becomes ready is named.
    mesh.write("web.yaml", &web("one").replace("path: /,", "path: /absent,"));
    mesh.up(&["--for", "1s", "--ready-timeout", "3s"]);
    assert_eq!(mesh.end(), Some(1));
    assert!(mesh.log().contains("default/web is not ready: web: "), "{}", mesh.log());
    assert!(mesh.log().contains("status 404"), "{}", mesh.log());
}

#[test]
fn volumes_are_files_in_the_cage() {
    let mut mesh = Mesh::new("vol");
    let volumes = "          volumeMounts:
            - {name: settings, mountPath: /etc/mizzen-volume}
            - {name: scratch, mountPath: /var/mizzen-scratch}
      volumes:
        - {name: settings, configMap: {name: settings}}
        - {name: scratch, emptyDir: {}}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {mode: MODE}
---
";
    let with = |mode: &str| web("one").replacen("---\n", &volumes.replace("MODE", mode), 1);
    mesh.write("web.yaml", &with("fast"));
    mesh.up(&[]);
    mesh.until_logged("all 1 workloads are ready");
    let mode = |mesh: &Mesh| {
        let shell = "cat /etc/mizzen-volume/mode && echo x > /var/mizzen-scratch/x && cat /var/mizzen-scratch/x";
        text(&mesh.run(&["exec", "web", "--", "/bin/sh", "-c", shell]).stdout)
    };
    assert_eq!(mode(&mesh), "fastx\n");
    // Another content is another revision.
    mesh.write("web.yaml", &with("slow"));
    mesh.until("the new settings are in force", |mesh| mode(mesh) == "slowx\n");
    mesh.signal("-INT");
    assert_eq!(mesh.end(), Some(0));
}

#[test]
fn two_meshes_run_side_by_side() {
    let mut one = Mesh::new("a");
    let mut two = Mesh::new("b");
    one.write("web.yaml", &web("one"));
    two.write("web.yaml", &web("two"));
    one.up(&[]);
    let shared = one.root.clone();
    let mut command = two.mizzen(&["up"]);
    command
        .arg(two.root.join("mesh"))
        .env("XDG_STATE_HOME", shared.join("state"))
        .env("XDG_RUNTIME_DIR", shared.join("run"));
    let out = File::create(two.root.join("up.log")).expect("it can be made");
    two.up = Some(command.stdout(out).spawn().expect("it can be started"));
    one.until_logged("all 1 workloads are ready");
    two.until_logged("all 1 workloads are ready");
    let choice = one.run(&["status"]);
    assert!(text(&choice.stderr).contains("several meshes are up"), "{choice:?}");
    let directory = two.root.join("mesh").to_string_lossy().into_owned();
    let word = one.run(&["exec", "--mesh", &directory, "web", "--", "/bin/sh", "-c", "echo $WORD"]);
    assert_eq!(text(&word.stdout), "two\n", "{}", text(&word.stderr));
    for mesh in [&mut one, &mut two] {
        mesh.signal("-TERM");
        assert_eq!(mesh.end(), Some(0));
    }
}
