//! Processes come, go and die while requests are under way: who notices, and who does not.

use std::{
    thread,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use mizzen_e2e::{
    Load, Mesh, Process, Sniffer, check_all, eventually,
    manifest::{client, deployment, documents, mesh_config, service, virtual_service, without_retries},
    within,
};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Requests a second, of each version; "under load" means no less.
const RPS: &str = "500";
/// Two of each Deployment but the last two.
const PROXIES: usize = 2 + 2 + 2 + 1 + 1;
/// How long a load runs at least.
const LOAD_MIN: Duration = Duration::from_secs(20);
const FAULTS: [&str; 5] = ["non_2xx", "resets", "timeouts", "connect_errors", "body_mismatches"];

fn rolling(version: &str) -> String {
    let command = format!("mizzen-peer echo --port 8080 --name roll-{version}");
    deployment("rolling", &command).replicas(2).port(8080).to_string()
}

/// Routes to the service that stays, which mark their answers.
fn steady(mark: &str) -> String {
    let route = json!([{"destination": {"host": "steady"}}]);
    let headers = json!({"response": {"set": {"x-edited": mark}}});
    virtual_service("steady", &json!([{"route": route, "headers": headers, "retries": {"attempts": 0}}])).to_string()
}

fn manifests() -> String {
    let replica = "mizzen-peer echo --port 8080 --name $(HOSTNAME)";
    documents(&[
        &mesh_config("accessLogFile: /dev/stdout"),
        &service("rolling", &[("http", 80, 8080)]),
        &without_retries("rolling"),
        &deployment("twins", replica).replicas(2).port(8080),
        &service("twins", &[("http", 80, 8080)]),
        &deployment("pair", replica).replicas(2).port(8080),
        &service("pair", &[("http", 80, 8080)]),
        &without_retries("pair"),
        &deployment("steady", "mizzen-peer echo --port 8080 --name steady").port(8080),
        &service("steady", &[("http", 80, 8080)]),
        &client("client"),
    ])
}

/// HTTP/1.1 and HTTP/2 on kept connections, until they are told to stop.
struct Pressure {
    loads: Vec<Load>,
    began: Instant,
}

impl Pressure {
    fn on(mesh: &Mesh, url: &str) -> Self {
        let load = |version: &str| {
            let fixed = ["mizzen-peer", "load", "--url", url, "--rps", RPS, "--connections", "16", "--http", version];
            mesh.spawn("client", &fixed)
        };
        let pressure = Self { loads: vec![load("1"), load("2")], began: Instant::now() };
        eventually("the load under way", || {
            mesh.processes().iter().filter(|process| process.command.contains("mizzen-peer load")).nth(1).map(drop)
        });
        pressure
    }

    /// Lets it run for its time, and ends it.
    fn end(self) -> Vec<Value> {
        let told = self.told();
        for told in &told {
            let least = LOAD_MIN.as_secs() * 450;
            assert!(told["sent"].as_u64().is_some_and(|sent| sent >= least), "at least {least} requests: {told}");
        }
        told
    }

    fn told(self) -> Vec<Value> {
        within(2 * LOAD_MIN, "the load's time", || (self.began.elapsed() >= LOAD_MIN).then_some(()));
        self.loads.into_iter().map(|load| load.stop().json()).collect()
    }

    fn end_without_a_fault(self) -> Vec<Value> {
        let told = self.end();
        for told in &told {
            for fault in FAULTS {
                assert_eq!(told[fault], 0, "{fault}: {told}");
            }
        }
        told
    }
}

fn apps(mesh: &Mesh, word: &str) -> Vec<Process> {
    let mut found = mesh.processes();
    found.retain(|process| {
        process.command.starts_with("mizzen-peer echo") || process.command.contains("/mizzen-peer echo")
    });
    found.retain(|process| process.command.contains(word));
    found
}

fn unix_ms(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).expect("after 1970").as_millis() as u64
}

/// When each failed request began.
fn failures_began(told: &Value) -> Vec<u64> {
    told["failures"].as_array().into_iter().flatten().filter_map(|failure| failure["began_unix_ms"].as_u64()).collect()
}

fn a_deployment_is_edited(mesh: &Mesh) {
    let pressure = Pressure::on(mesh, "http://rolling/");
    let slow = ["mizzen-peer", "load", "--url", "http://rolling/?delay_ms=500", "--rps", "50", "--connections", "50"];
    let slow = mesh.spawn("client", &slow);
    for version in ["v2", "v3"] {
        mesh.write("rolling.yaml", &rolling(version));
        eventually(&format!("two replicas of {version} and no others"), || {
            let all = apps(mesh, "--name roll-").len();
            (all == 2 && apps(mesh, &format!("--name roll-{version}")).len() == 2).then_some(())
        });
    }
    for told in pressure.end_without_a_fault() {
        for version in ["roll-v1", "roll-v2", "roll-v3"] {
            assert!(told["per_peer"][version].as_u64().is_some_and(|count| count > 0), "{version} answered: {told}");
        }
    }
    let told = slow.stop().json();
    assert_eq!(told["ok"], told["sent"], "requests under way when their server is asked to end: {told}");
}

fn a_whole_replica_is_killed(mesh: &Mesh) {
    let pressure = Pressure::on(mesh, "http://twins/");
    let app = apps(mesh, "--name twins-").pop().expect("a replica");
    let proxy = mesh.sidecar(&app);
    let before = unix_ms(SystemTime::now());
    app.signal(Signal::KILL);
    proxy.signal(Signal::KILL);
    let killed = unix_ms(SystemTime::now());
    eventually("the replica to be back", || (apps(mesh, "--name twins-").len() == 2).then_some(()));
    for told in pressure.end() {
        let began = failures_began(&told);
        let failed = told["sent"].as_u64().zip(told["ok"].as_u64()).map(|(sent, ok)| sent - ok);
        // Sixteen connections, and one request at a time on each of them (HTTP/1) or about so (HTTP/2 at this pace).
        assert!(failed.is_some_and(|failed| failed <= 16), "at most what was in flight: {told}");
        // In flight is what began before the kill, or before the kernel had told the other side.
        let late: Vec<u64> = began.iter().filter(|began| **began > killed + 500).map(|began| began - before).collect();
        assert!(late.is_empty(), "none begins later: {late:?} ms after the kill: {told}");
    }
}

fn generation(mesh: &Mesh) -> u64 {
    mesh.control("/v1/status")
        .and_then(|status| status["generation"].as_u64())
        .expect("the control plane tells its generation")
}

fn only_the_app_of_a_replica_is_killed(mesh: &Mesh) {
    let pressure = Pressure::on(mesh, "http://pair/");
    let app = apps(mesh, "--name pair-").pop().expect("a replica");
    let before = generation(mesh);
    app.signal(Signal::KILL);
    let removal = eventually("a generation without the replica", || Some(generation(mesh)).filter(|now| *now > before));
    eventually("its ACKs", || mesh.control(&format!("/v1/wait?generation={removal}&timeout_ms=10000")));
    // From here on nothing that begins may fail.
    let acked = unix_ms(SystemTime::now());
    for told in pressure.end() {
        let late: Vec<u64> = failures_began(&told).into_iter().filter(|began| *began > acked).collect();
        assert!(late.is_empty(), "after the ACKs of {removal} at {acked}: {late:?}: {told}");
        let peers = told["per_peer"].as_object().map_or(0, serde_json::Map::len);
        assert_eq!(peers, 2, "both answered: {told}");
    }
}

fn the_control_plane_is_killed(mesh: &Mesh) {
    const DOWN: Duration = Duration::from_secs(12);
    let pressure = Pressure::on(mesh, "http://steady/");
    let sockets = mesh.spawn("client", &["mizzen-peer", "ws-load", "--url", "http://steady/", "--connections", "4"]);
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < DOWN {
        for process in mesh.processes().iter().filter(|process| process.command.contains("mizzend --config")) {
            process.signal(Signal::KILL);
            kills += 1;
        }
        thread::park_timeout(Duration::from_millis(20));
        let (status, body) = mesh.curl("client", &["http://steady/"]);
        assert_eq!(status, 200, "new connections are made: {body}");
    }
    assert!(kills >= 1, "it was killed, and as often as it came back");
    eventually("the control plane back, and all proxies with it", || {
        let status = mesh.control("/v1/status")?;
        let proxies = status["proxies"].as_array()?;
        (proxies.len() == PROXIES && proxies.iter().all(|proxy| proxy["connected"] == true)).then_some(())
    });
    // It takes an edit to everybody.
    mesh.apply("steady.yaml", &steady("after"));
    let (_, text) = mesh.curl("client", &["-i", "http://steady/"]);
    assert!(text.to_lowercase().contains("x-edited: after"), "{text}");
    pressure.end_without_a_fault();
    let told = sockets.stop().json();
    for fault in ["lost", "out_of_order", "dropped_connections"] {
        assert_eq!(told[fault], 0, "{fault}: {told}");
    }
}

fn nobody_reads_the_log(mesh: &Mesh) {
    // Everything that proxies print goes through `mizzen up`, which stands still: their pipes fill.
    let load = |version: &str| {
        let words = [
            "mizzen-peer",
            "load",
            "--url",
            "http://pair/",
            "--rps",
            RPS,
            "--connections",
            "16",
            "--http",
            version,
            "--duration",
            "20",
        ];
        mesh.spawn("client", &words)
    };
    let loads = [load("1"), load("2")];
    eventually("the load under way", || {
        mesh.processes().iter().filter(|process| process.command.contains("mizzen-peer load")).nth(1).map(drop)
    });
    mesh.signal(Signal::STOP);
    let ended: Vec<String> = loads.iter().map(|load| load.wait_line("\"sent\"")).collect();
    mesh.signal(Signal::CONT);
    for (load, line) in loads.into_iter().zip(ended) {
        load.wait();
        let told: Value = serde_json::from_str(&line).expect("JSON");
        for fault in FAULTS {
            assert_eq!(told[fault], 0, "{fault}: {told}");
        }
    }
    assert_eq!(mesh.curl("client", &["http://pair/"]).0, 200);
}

fn a_proxy_is_killed(mesh: &Mesh) {
    const WORD: &str = "marker-2d9f";
    let sniffer = Sniffer::start(&mesh.control_plane(), WORD);
    let script = format!(
        "for i in $(seq 60); do curl -s -o /dev/null -w '%{{http_code}}\\n' --max-time 5 -d {WORD} http://steady/; done"
    );
    let calls = mesh.spawn("client", &["sh", "-c", &script]);
    calls.wait_line("200");
    for _ in 0..2 {
        let app = mesh.process(&["sleep 100000"]);
        let proxy = eventually("a proxy beside the client", || {
            let network = app.namespace("net");
            mesh.processes()
                .into_iter()
                .find(|process| process.command.contains("mizzen-proxy sidecar") && process.namespace("net") == network)
        });
        proxy.signal(Signal::KILL);
        eventually("its end", || (!proxy.is_running()).then_some(()));
    }
    let output = calls.wait();
    let (packets, found) = sniffer.stop();
    assert_eq!(found, 0, "nothing left in plain text: {found} of {packets} packets: {output:?}");
    eventually("the client's calls succeed again", || {
        (mesh.curl("client", &["http://steady/"]).0 == 200).then_some(())
    });
}

#[test]
fn processes_come_and_go() {
    let files = [("mesh.yaml", manifests()), ("rolling.yaml", rolling("v1")), ("steady.yaml", steady("before"))];
    let files = files.each_ref().map(|(name, text)| (*name, &**text));
    let mesh = Mesh::up(&files, &[]);
    check_all(
        &mesh,
        &[
            ("a Deployment is edited under load: nothing fails", &a_deployment_is_edited),
            ("a whole replica is killed: what was in flight fails", &a_whole_replica_is_killed),
            ("only its app is killed: nothing fails after the ACK", &only_the_app_of_a_replica_is_killed),
            ("the control plane is killed: nothing fails", &the_control_plane_is_killed),
            ("nobody reads the log: nothing fails", &nobody_reads_the_log),
            ("a proxy is killed: nothing leaves in plain text", &a_proxy_is_killed),
        ],
    );
}
