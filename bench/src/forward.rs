//! `forward.json`: CPU per forwarded request, interleaved rounds, medians.
//!
//! One proxy at a time is under load; all of them are up in every round, pinned to one core; load and backend share the
//! other. The figure is the proxy's CPU time over the requests it answered, from `/proc`.

use std::{
    fs,
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::Context;
use serde::Serialize;

use crate::{
    configs::{self, Ports},
    load::{self, Version},
    machine::{self, Process},
    table::{self, median},
};

const CONNECTIONS: usize = 64;
const PROXY_CORE: usize = 0;
const LOAD_CORE: usize = 1;
const BACKEND_PORT: u16 = 19_000;

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Rounds; the medians over them are reported.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds of load for each proxy, scenario and round.
    #[arg(long, default_value_t = 3.0)]
    seconds: f64,
    /// Only these proxies: mizzen, envoy, nginx, haproxy.
    #[arg(long, value_delimiter = ',')]
    only: Vec<String>,
}

impl Default for Options {
    fn default() -> Self {
        Self { rounds: 5, seconds: 3.0, only: Vec::new() }
    }
}

/// A proxy that is up.
struct Contender {
    name: &'static str,
    version: String,
    /// Why its figures are not quite those of the others.
    label: Option<&'static str>,
    process: Process,
    /// Kept up for it: a control plane.
    _beside: Option<Process>,
    ports: Ports,
}

#[derive(Serialize)]
struct Row {
    scenario: &'static str,
    proxy: String,
    version: String,
    cpu_us_per_request: f64,
    rps: f64,
    p50_ms: f64,
    p99_ms: f64,
    rss_kb: u64,
    errors: u64,
}

#[derive(Default)]
struct Samples {
    cpu: Vec<f64>,
    rps: Vec<f64>,
    p50: Vec<f64>,
    p99: Vec<f64>,
    errors: u64,
}

pub(crate) fn run(options: &Options) -> anyhow::Result<()> {
    let dir = std::env::temp_dir().join(format!("mizzen-bench-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    let outcome = measure(options, &dir);
    fs::remove_dir_all(&dir).ok();
    let rows = outcome?;
    print(&rows);
    fs::write(crate::out("forward.json")?, serde_json::to_string_pretty(&rows)?)?;
    Ok(())
}

fn measure(options: &Options, dir: &Path) -> anyhow::Result<Vec<Row>> {
    let me = std::env::current_exe()?;
    let mut command = Command::new(&me);
    command.args(["backend", &BACKEND_PORT.to_string(), &LOAD_CORE.to_string()]);
    let mut backend = Process::start("backend", LOAD_CORE, command, &dir.join("backend.log"))?;
    backend.wait_for(local(BACKEND_PORT))?;
    let contenders = start_all(options, dir)?;
    machine::pin(LOAD_CORE)?;
    let scenarios = [("h1", Version::Http1), ("h2", Version::Http2)];
    let mut samples: Vec<[Samples; 2]> = contenders.iter().map(|_| Default::default()).collect();
    for round in 0..=options.rounds {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            for ((_, version), samples) in scenarios.iter().zip(samples) {
                // Round 0 warms up: connections, caches, branch predictors.
                let lasting = Duration::from_secs_f64(if round == 0 { 0.5 } else { options.seconds });
                sample(contender, *version, lasting, if round == 0 { None } else { Some(samples) })?;
            }
        }
    }
    let mut rows = Vec::new();
    for (at, (scenario, _)) in scenarios.iter().enumerate() {
        for (contender, samples) in contenders.iter().zip(&mut samples) {
            rows.push(row(scenario, contender, &mut samples[at])?);
        }
    }
    Ok(rows)
}

fn sample(
    contender: &Contender,
    version: Version,
    lasting: Duration,
    samples: Option<&mut Samples>,
) -> anyhow::Result<()> {
    let port = if version == Version::Http1 { contender.ports.http1 } else { contender.ports.http2 };
    let before = contender.process.cpu()?;
    let mut outcome = load::run(local(port), version, CONNECTIONS, lasting)?;
    let spent = contender.process.cpu()?.saturating_sub(before);
    let Some(samples) = samples else { return Ok(()) };
    samples.cpu.push(spent.as_secs_f64() * 1e6 / outcome.requests.max(1) as f64);
    samples.rps.push(outcome.requests as f64 / outcome.elapsed.as_secs_f64());
    samples.p50.push(outcome.percentile_ms(0.5));
    samples.p99.push(outcome.percentile_ms(0.99));
    samples.errors += outcome.errors;
    Ok(())
}

fn row(scenario: &'static str, contender: &Contender, samples: &mut Samples) -> anyhow::Result<Row> {
    let label = contender.label.filter(|_| scenario == "h2").map_or(String::new(), |label| format!(" ({label})"));
    Ok(Row {
        scenario,
        proxy: format!("{}{label}", contender.name),
        version: contender.version.clone(),
        cpu_us_per_request: median(&mut samples.cpu),
        rps: median(&mut samples.rps),
        p50_ms: median(&mut samples.p50),
        p99_ms: median(&mut samples.p99),
        rss_kb: contender.process.rss_kb()?,
        errors: samples.errors,
    })
}

fn print(rows: &[Row]) {
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|r| {
            vec![
                r.scenario.to_owned(),
                r.proxy.clone(),
                r.version.clone(),
                format!("{:.1}", r.cpu_us_per_request),
                format!("{:.0}", r.rps),
                format!("{:.2}", r.p50_ms),
                format!("{:.2}", r.p99_ms),
                format!("{:.1}", r.rss_kb as f64 / 1024.0),
                r.errors.to_string(),
            ]
        })
        .collect();
    table::print(
        &["scenario", "proxy", "version", "cpu µs/req", "req/s", "p50 ms", "p99 ms", "RSS MiB", "errors"],
        &cells,
    );
    for scenario in ["h1", "h2"] {
        let of = |name: &str| rows.iter().find(|r| r.scenario == scenario && r.proxy.starts_with(name));
        if let Some(mizzen) = of("mizzen") {
            for other in ["envoy", "haproxy", "nginx"] {
                if let Some(other) = of(other) {
                    let ratio = mizzen.cpu_us_per_request / other.cpu_us_per_request;
                    println!("{scenario}: mizzen / {} = {ratio:.2}", other.proxy);
                }
            }
        }
    }
}

fn start_all(options: &Options, dir: &Path) -> anyhow::Result<Vec<Contender>> {
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut contenders = Vec::new();
    for (at, (name, start)) in [
        ("mizzen", start_mizzen as fn(Ports, &Path) -> anyhow::Result<Contender>),
        ("envoy", start_envoy),
        ("nginx", start_nginx),
        ("haproxy", start_haproxy),
    ]
    .into_iter()
    .enumerate()
    {
        if wanted(name) {
            let base = 19_100 + 10 * at as u16;
            let ports = Ports { http1: base, http2: base + 1, backend: BACKEND_PORT };
            contenders.push(start(ports, dir).with_context(|| format!("start {name}"))?);
        }
    }
    Ok(contenders)
}

fn local(port: u16) -> SocketAddr {
    (Ipv4Addr::LOCALHOST, port).into()
}

fn ready(mut process: Process, ports: Ports) -> anyhow::Result<Process> {
    process.wait_for(local(ports.http1))?;
    process.wait_for(local(ports.http2))?;
    Ok(process)
}

/// First line of what `PROGRAM ARGS` prints, from its first digit.
fn version_of(program: &Path, args: &[&str]) -> String {
    let output = Command::new(program).args(args).output();
    let text = output.map(|o| [o.stdout, o.stderr].concat()).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let at = text.find(|c: char| c.is_ascii_digit()).unwrap_or(text.len());
    text[at..].split(|c: char| c.is_whitespace() || c == '/').next().unwrap_or_default().to_owned()
}

fn sibling(name: &str) -> anyhow::Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    anyhow::ensure!(path.exists(), "{} is not built", path.display());
    Ok(path)
}

fn start_mizzen(ports: Ports, dir: &Path) -> anyhow::Result<Contender> {
    let config = dir.join("mizzen");
    fs::create_dir_all(&config)?;
    fs::write(config.join("bench.yaml"), configs::mizzen(ports))?;
    let mizzend = sibling("mizzend")?;
    let mut command = Command::new(&mizzend);
    command.arg("--config").arg(&config).arg("--state").arg(dir.join("state"));
    command.arg("--control-socket").arg(dir.join("control.sock"));
    let mut control = Process::start("mizzend", LOAD_CORE, command, &dir.join("mizzend.log"))?;
    control.wait_for(local(15_010))?;
    let proxy = sibling("mizzen-proxy")?;
    let mut command = Command::new(&proxy);
    command.args(["router", "--plaintext", "--no-dns", "--workers", "1"]);
    command.env("PROXY_CONFIG", r#"{"discoveryAddress":"127.0.0.1:15010"}"#);
    command.env("POD_NAME", "bench").env("POD_NAMESPACE", "bench").env("INSTANCE_IP", "127.0.0.1");
    command.env("ISTIO_METAJSON_LABELS", r#"{"app":"bench"}"#);
    let process = Process::start("mizzen-proxy", PROXY_CORE, command, &dir.join("mizzen-proxy.log"))?;
    Ok(Contender {
        name: "mizzen",
        version: version_of(&proxy, &["--version"]),
        label: None,
        process: ready(process, ports)?,
        _beside: Some(control),
        ports,
    })
}

fn start_envoy(ports: Ports, dir: &Path) -> anyhow::Result<Contender> {
    let found = Command::new("sh")
        .args(["-c", "ls target/tools/envoy/lib/python3*/site-packages/envoy/_bin/envoy"])
        .output()?;
    let program = PathBuf::from(String::from_utf8(found.stdout)?.trim());
    anyhow::ensure!(program.exists(), "Envoy is not installed under target/tools/envoy (`ci/setup bench`)");
    let file = dir.join("envoy.yaml");
    fs::write(&file, configs::envoy(ports, ports.http1 + 5))?;
    let mut command = Command::new(&program);
    command.arg("-c").arg(&file).args(["--concurrency", "1", "--disable-hot-restart", "-l", "error"]);
    let process = Process::start("envoy", PROXY_CORE, command, &dir.join("envoy.log"))?;
    Ok(Contender {
        name: "envoy",
        version: envoy_version(&program),
        label: None,
        process: ready(process, ports)?,
        _beside: None,
        ports,
    })
}

/// `envoy  version: HASH/1.40.0/…`
fn envoy_version(program: &Path) -> String {
    let output = Command::new(program).arg("--version").output().map(|o| o.stdout).unwrap_or_default();
    let text = String::from_utf8_lossy(&output).into_owned();
    text.split('/')
        .find(|part| part.starts_with(|c: char| c.is_ascii_digit()) && part.contains('.'))
        .unwrap_or_default()
        .to_owned()
}

fn start_nginx(ports: Ports, dir: &Path) -> anyhow::Result<Contender> {
    let file = dir.join("nginx.conf");
    fs::write(&file, configs::nginx(ports, &dir.to_string_lossy()))?;
    let program = PathBuf::from("/usr/sbin/nginx");
    let mut command = Command::new(&program);
    command.arg("-c").arg(&file);
    let process = Process::start("nginx", PROXY_CORE, command, &dir.join("nginx.log"))?;
    Ok(Contender {
        name: "nginx",
        version: version_of(&program, &["-v"]),
        label: Some("HTTP/1 upstream"),
        process: ready(process, ports)?,
        _beside: None,
        ports,
    })
}

fn start_haproxy(ports: Ports, dir: &Path) -> anyhow::Result<Contender> {
    let file = dir.join("haproxy.cfg");
    fs::write(&file, configs::haproxy(ports))?;
    let program = PathBuf::from("/usr/sbin/haproxy");
    let mut command = Command::new(&program);
    command.arg("-f").arg(&file);
    let process = Process::start("haproxy", PROXY_CORE, command, &dir.join("haproxy.log"))?;
    Ok(Contender {
        name: "haproxy",
        version: version_of(&program, &["-v"]),
        label: None,
        process: ready(process, ports)?,
        _beside: None,
        ports,
    })
}
