//! The process: command line and environment, threads, signals, drain and end.

use std::{
    net::IpAddr,
    os::fd::OwnedFd,
    path::PathBuf,
    rc::Rc,
    sync::{Arc, Mutex},
    time::Duration,
};

use anyhow::Context;
use clap::Parser;
use mizzen_net::inherited;
use mizzen_snapshot::Store;
use mizzen_telemetry::{Limits, Metrics};
use serde::Deserialize;
use serde_json::Value as Json;
use tokio::{
    runtime::{Builder, LocalOptions, LocalRuntime},
    signal::unix::{SignalKind, signal},
    sync::{Notify, mpsc},
};
use tracing_subscriber::{EnvFilter, layer::SubscriberExt, reload, util::SubscriberInitExt};

use crate::{
    admin::{self, Admin, LogLevel},
    agent::{self, Credentials, Progress},
    bootstrap::{Bootstrap, Role},
    dns::{self, upstream::Upstreams},
    shared::{COMMANDS_MAX, Shared},
    upstream::{broker::Broker, resolve},
    worker::{self, Command, Worker},
};

/// Mizzen's data plane. Takes Istio's agent environment (`POD_NAME`, `POD_NAMESPACE`, `INSTANCE_IP`, `SERVICE_ACCOUNT`,
/// `TRUST_DOMAIN`, `CA_ADDR`, `PROXY_CONFIG`, `ISTIO_META_*`, `ISTIO_METAJSON_*`).
#[derive(Debug, Parser)]
#[command(name = "mizzen-proxy", version)]
struct Args {
    /// What the proxy serves.
    role: Role,
    /// Inherited descriptor to read the bootstrap token from.
    #[arg(long)]
    token_fd: Option<i32>,
    /// File with the bootstrap token.
    #[arg(long, default_value = "/var/run/secrets/tokens/istio-token")]
    token: PathBuf,
    /// Inherited descriptor to read the control plane's root certificate (PEM) from.
    #[arg(long)]
    root_cert_fd: Option<i32>,
    /// File with that root certificate.
    #[arg(long, default_value = "/var/run/secrets/istio/root-cert.pem")]
    root_cert: PathBuf,
    /// Speak to the control plane in plain text, without certificates: for a control plane on loopback.
    #[arg(long)]
    plaintext: bool,
    /// Inherited packet socket to the sandbox's broker, which makes connections to the outside.
    #[arg(long)]
    broker_fd: Option<i32>,
    /// Networks reached without the broker.
    #[arg(long, value_name = "CIDR", default_values = ["10.244.0.0/16", "10.96.0.0/16", "fd77:6d7a::/64"])]
    inside: Vec<String>,
    /// A listening socket, inherited, to be used for a port.
    #[arg(long, value_name = "PORT=FD")]
    listen_fd: Vec<String>,
    /// Unix socket for administration.
    #[arg(long)]
    admin_socket: Option<PathBuf>,
    /// Worker threads; default: `PROXY_CONFIG`'s concurrency, else 2.
    #[arg(long)]
    workers: Option<usize>,
    /// Do not answer DNS on port 15053.
    #[arg(long)]
    no_dns: bool,
}

/// The fields of `ProxyConfig` that are used.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct ProxyConfig {
    discovery_address: Option<String>,
    concurrency: Option<usize>,
    termination_drain_duration: Option<String>,
    proxy_admin_port: Option<u16>,
    status_port: Option<u16>,
    proxy_metadata: std::collections::BTreeMap<String, String>,
}

/// Runs the proxy until it is told to end.
pub fn run() -> anyhow::Result<()> {
    let args = Args::parse();
    let log_level = logging();
    let credentials = credentials(&args)?;
    let broker =
        args.broker_fd.map(|fd| inherited::take(fd).and_then(Broker::new)).transpose().context("--broker-fd")?;
    let bootstrap = bootstrap(&args)?;
    let with_dns = !args.no_dns;
    tracing::info!(node = bootstrap.node_id(), workers = bootstrap.workers, marks = bootstrap.marks, "starting");

    let metrics = Metrics::new(Limits::default());
    metrics.build(env!("CARGO_PKG_VERSION"));
    let shared = Arc::new(Shared::new(bootstrap, metrics, broker));
    start_workers(&shared)?;
    side_thread(&shared, credentials, log_level, with_dns)
}

fn logging() -> LogLevel {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let (filter, handle) = reload::Layer::new(filter);
    let format = tracing_subscriber::fmt::layer().with_writer(std::io::stderr).with_ansi(false);
    tracing_subscriber::registry().with(filter).with(format).init();
    Box::new(move |level| {
        let level: tracing::Level = level.parse().map_err(|_| format!("{level:?} is no level"))?;
        handle.reload(EnvFilter::new(level.to_string())).map_err(|error| error.to_string())
    })
}

fn read_fd(fd: i32) -> std::io::Result<String> {
    std::io::read_to_string(std::fs::File::from(inherited::take(fd)?))
}

fn credentials(args: &Args) -> anyhow::Result<Credentials> {
    if args.plaintext {
        return Ok(Credentials { token: None, roots: None });
    }
    let roots = match args.root_cert_fd {
        Some(fd) => read_fd(fd).context("--root-cert-fd")?,
        None => std::fs::read_to_string(&args.root_cert)
            .with_context(|| format!("root certificate {}", args.root_cert.display()))?,
    };
    let roots = mizzen_pki::svid::read_pem(&roots).context("the root certificate is not PEM")?;
    let token = match args.token_fd {
        Some(fd) => Some(read_fd(fd).context("--token-fd")?),
        None => std::fs::read_to_string(&args.token).ok(),
    };
    Ok(Credentials { token: token.map(|token| token.trim().to_owned()), roots: Some(roots) })
}

fn env(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

fn bootstrap(args: &Args) -> anyhow::Result<Bootstrap> {
    let proxy_config = proxy_config()?;
    let ip: IpAddr = env("INSTANCE_IP").unwrap_or_else(|| "127.0.0.1".to_owned()).parse().context("INSTANCE_IP")?;
    let metadata = metadata(&proxy_config);
    let text = |name: &str| metadata.get(name).and_then(Json::as_str).map(str::to_owned);
    let labels = match metadata.get("LABELS") {
        Some(labels) => serde_json::from_value(labels.clone()).context("ISTIO_METAJSON_LABELS: expected strings")?,
        None => std::collections::BTreeMap::new(),
    };
    let name = env("POD_NAME").unwrap_or_else(|| "mizzen-proxy".to_owned());
    let discovery_address =
        proxy_config.discovery_address.unwrap_or_else(|| "istiod.istio-system.svc:15012".to_owned());
    Ok(Bootstrap {
        role: args.role,
        workers: args.workers.or(proxy_config.concurrency).unwrap_or(2).max(1),
        namespace: env("POD_NAMESPACE").unwrap_or_else(|| "default".to_owned()),
        service_account: env("SERVICE_ACCOUNT").unwrap_or_else(|| "default".to_owned()),
        trust_domain: env("TRUST_DOMAIN").unwrap_or_else(|| "cluster.local".to_owned()),
        ip,
        workload_name: text("WORKLOAD_NAME").unwrap_or_else(|| name.clone()),
        cluster_id: text("CLUSTER_ID").unwrap_or_else(|| "Kubernetes".to_owned()),
        name,
        labels,
        ca_address: env("CA_ADDR").unwrap_or_else(|| discovery_address.clone()),
        discovery_address,
        admin_port: proxy_config.proxy_admin_port.unwrap_or(15000),
        status_port: proxy_config.status_port.unwrap_or(15020),
        admin_socket: args.admin_socket.clone(),
        termination_drain: duration(proxy_config.termination_drain_duration.as_deref())?,
        certificate_ttl: env("SECRET_TTL").map(|text| duration(Some(&text))).transpose().context("SECRET_TTL")?,
        marks: mizzen_net::sock::can_mark(),
        inside: args.inside.iter().map(|cidr| network(cidr)).collect::<anyhow::Result<_>>()?,
        handed: args.listen_fd.iter().map(|pair| handed(pair)).collect::<anyhow::Result<_>>()?,
        metadata,
    })
}

/// `PROXY_CONFIG` is JSON, which Istio writes; an unset one is empty.
fn proxy_config() -> anyhow::Result<ProxyConfig> {
    match env("PROXY_CONFIG") {
        Some(text) => serde_json::from_str(&text).context("PROXY_CONFIG: expected a JSON object of ProxyConfig"),
        None => Ok(ProxyConfig::default()),
    }
}

/// `ISTIO_META_X` is a string, `ISTIO_METAJSON_X` is JSON; the `proxyMetadata` of `ProxyConfig` counts like the environment.
fn metadata(config: &ProxyConfig) -> std::collections::BTreeMap<String, Json> {
    let mut metadata = std::collections::BTreeMap::new();
    for (name, value) in config.proxy_metadata.iter().map(|(k, v)| (k.clone(), v.clone())).chain(std::env::vars()) {
        if let Some(key) = name.strip_prefix("ISTIO_METAJSON_") {
            metadata.insert(key.to_owned(), serde_json::from_str(&value).unwrap_or(Json::String(value)));
        } else if let Some(key) = name.strip_prefix("ISTIO_META_") {
            metadata.insert(key.to_owned(), Json::String(value));
        }
    }
    metadata
}

/// `5s`, `300ms`, `24h`; five seconds when unset (Istio's terminationDrainDuration).
fn duration(text: Option<&str>) -> anyhow::Result<Duration> {
    let Some(text) = text else { return Ok(Duration::from_secs(5)) };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let number: f64 = text[..split].parse().with_context(|| format!("{text:?}: expected a duration such as 5s"))?;
    let unit = match &text[split..] {
        "ms" => 0.001,
        "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => anyhow::bail!("{text:?}: expected a duration such as 5s"),
    };
    Duration::try_from_secs_f64(number * unit).with_context(|| format!("{text:?}: expected a duration such as 5s"))
}

fn network(cidr: &str) -> anyhow::Result<(IpAddr, u8)> {
    let expected = || format!("--inside {cidr:?}: expected a network such as 10.0.0.0/8");
    let (ip, bits) = cidr.split_once('/').with_context(expected)?;
    Ok((ip.parse().with_context(expected)?, bits.parse().with_context(expected)?))
}

fn handed(pair: &str) -> anyhow::Result<(u16, OwnedFd)> {
    let expected = || format!("--listen-fd {pair:?}: expected PORT=FD");
    let (port, fd) = pair.split_once('=').with_context(expected)?;
    Ok((
        port.parse().with_context(expected)?,
        inherited::take(fd.parse().with_context(expected)?).with_context(expected)?,
    ))
}

fn start_workers(shared: &Arc<Shared>) -> anyhow::Result<()> {
    let (senders, receivers): (Vec<_>, Vec<_>) =
        (0..shared.bootstrap.workers).map(|_| mpsc::channel::<Command>(COMMANDS_MAX)).unzip();
    shared.set_workers(senders);
    for (id, commands) in receivers.into_iter().enumerate() {
        let shared = Arc::clone(shared);
        let runtime = move || -> std::io::Result<LocalRuntime> {
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default())
        };
        std::thread::Builder::new().name(format!("worker-{id}")).spawn(move || {
            let runtime = runtime().expect("a runtime needs a few file descriptors");
            let shard = shared.metrics.shard();
            runtime.block_on(async move { worker::run(Worker::new(id, shared, shard), commands).await });
        })?;
    }
    Ok(())
}

/// Everything that is not traffic. Returns when the process is to end.
fn side_thread(
    shared: &Arc<Shared>,
    credentials: Credentials,
    log_level: LogLevel,
    with_dns: bool,
) -> anyhow::Result<()> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let quit = Arc::new(Notify::new());
        let progress = Arc::new(Progress::default());
        let store = Arc::new(Mutex::new(Store::default()));
        spawn_broker(shared);
        let upstreams = Arc::new(Upstreams::new(Arc::clone(shared)));
        tokio::task::spawn_local(resolve::run(Arc::clone(shared), Arc::clone(&upstreams)));
        if with_dns {
            let shared = Arc::clone(shared);
            tokio::task::spawn_local(async {
                if let Err(error) = dns::run(shared, upstreams).await {
                    tracing::error!(%error, "DNS port 15053 cannot be opened");
                }
            });
        }
        let admin = Rc::new(Admin {
            shared: Arc::clone(shared),
            progress: Arc::clone(&progress),
            store: Arc::clone(&store),
            quit: Arc::clone(&quit),
            log_level,
        });
        tokio::task::spawn_local(admin::run(admin));
        tokio::task::spawn_local(agent::run(Arc::clone(shared), progress, store, credentials));
        tokio::task::spawn_local(expire_metrics(Arc::clone(shared)));
        tokio::select! {
            _ = terminate.recv() => drain(shared).await,
            _ = interrupt.recv() => drain(shared).await,
            () = quit.notified() => {}
        }
        shared.access_logs.flush();
        Ok(())
    })
}

fn spawn_broker(shared: &Arc<Shared>) {
    if shared.broker.is_none() {
        return;
    }
    let shared = Arc::clone(shared);
    tokio::task::spawn_local(async move {
        if let Some(broker) = &shared.broker
            && let Err(error) = broker.listen().await
        {
            tracing::error!(%error, "the broker is gone: nothing outside can be reached");
        }
    });
}

async fn expire_metrics(shared: Arc<Shared>) {
    let mut minutes = tokio::time::interval(Duration::from_mins(1));
    loop {
        let now = minutes.tick().await;
        shared.metrics.expire(now.into_std());
    }
}

/// After SIGTERM: nothing new on inbound listeners, what is under way finishes, bounded in time.
async fn drain(shared: &Arc<Shared>) {
    tracing::info!(within = ?shared.bootstrap.termination_drain, "draining");
    for worker in shared.workers() {
        worker.send(Command::Drain { all: true }).await.ok();
    }
    let all_closed = async {
        while shared.loads.iter().any(|load| load.get() > 0) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(shared.bootstrap.termination_drain, all_closed).await.ok();
}
