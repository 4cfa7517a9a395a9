//! The command line of `mizzen`.
//!
//! In: arguments. Out: [`Arguments`], checked as far as they can be without looking at the machine.

use std::{ffi::OsString, net::IpAddr, path::PathBuf, str::FromStr, time::Duration};

use clap::{Args, Parser, Subcommand, ValueEnum};
use mizzen_api::Kind;

/// A service mesh on one Linux machine.
#[derive(Debug, Parser)]
#[command(name = "mizzen", version, about, disable_help_subcommand = true)]
pub(crate) struct Arguments {
    /// Which running mesh, by its directory; the only one is the default
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) mesh: Option<PathBuf>,
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the services that a directory's YAML describes, meshed, until Ctrl-C
    Up(Up),
    /// Workloads, edges, findings and the last change
    Status,
    /// The objects of a kind, and whether each is in force
    Get {
        /// Such as virtualservices or vs
        #[arg(value_name = "KIND", value_parser = parse_kind)]
        kind: Kind,
    },
    /// What a workload has written
    Logs(Logs),
    /// Run a command beside a workload, in its network and cage
    Exec {
        /// [NAMESPACE/]NAME of a Deployment, or a replica's name
        workload: String,
        /// After `--`
        #[arg(last = true, required = true, value_name = "CMD")]
        command: Vec<String>,
    },
    /// Stop a running mesh
    Down,
    /// The sandbox's first process (started by `up`)
    #[command(hide = true)]
    LabInit {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<OsString>,
    },
    /// One readiness check, made inside a workload's network (started by `up`)
    #[command(hide = true)]
    LabProbe {
        /// JSON of the check
        check: String,
    },
}

#[derive(Debug, Args)]
#[expect(clippy::struct_excessive_bools, reason = "switches of a command line")]
pub(crate) struct Up {
    /// Directory with the mesh's YAML
    #[arg(default_value = ".")]
    pub(crate) directory: PathBuf,
    /// Run this long after all workloads became ready, then exit 0 if all went well (20s, 5m)
    #[arg(long = "for", value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) run_for: Option<Duration>,
    /// With --for: how long all workloads may take to become ready
    #[arg(long, value_name = "DURATION", default_value = "60s", value_parser = parse_duration)]
    pub(crate) ready_timeout: Duration,
    /// Write what was measured to this file, as JSON
    #[arg(long, value_name = "FILE")]
    pub(crate) report: Option<PathBuf>,
    /// Where a gateway's port appears on this machine: 9080:80, 0.0.0.0:80 or 0.0.0.0:9080:80
    #[arg(long, value_name = "HOST:PORT")]
    pub(crate) publish: Vec<Publish>,
    /// Let workloads reach this machine's loopback as host.mizzen.internal
    #[arg(long)]
    pub(crate) host_access: bool,
    /// Start although the directory holds policies that are not enforced yet
    #[arg(long)]
    pub(crate) allow_unenforced: bool,
    /// Lifetime of workloads' certificates
    #[arg(long, value_name = "DURATION", value_parser = parse_duration)]
    pub(crate) cert_ttl: Option<Duration>,
    /// Print one line per change even on a terminal
    #[arg(long)]
    pub(crate) plain: bool,
    /// List what is not used, and more
    #[arg(short, long)]
    pub(crate) verbose: bool,
}

#[derive(Debug, Args)]
pub(crate) struct Logs {
    /// Go on printing what is written
    #[arg(short, long)]
    pub(crate) follow: bool,
    /// Whose output
    #[arg(short = 'c', long = "container", value_enum, default_value_t = LogSource::App)]
    pub(crate) source: LogSource,
    /// [NAMESPACE/]NAME of a Deployment, or a replica's name
    pub(crate) workload: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogSource {
    App,
    Proxy,
}

/// `--publish [ADDRESS:][HOST_PORT:]PORT`: where a gateway's port appears on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Publish {
    /// Default 127.0.0.1.
    pub(crate) address: Option<IpAddr>,
    /// Default: the port, plus 8000 if it is below 1024.
    pub(crate) host_port: Option<u16>,
    /// The gateway's.
    pub(crate) port: u16,
}

impl FromStr for Publish {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}`: expected HOST:PORT, for example 9080:80 or 0.0.0.0:9080:80");
        let (rest, port) = text.rsplit_once(':').ok_or_else(wrong)?;
        let port = port.parse().map_err(|_| wrong())?;
        let (address, host_port) = if let Ok(host_port) = rest.parse::<u16>() {
            (None, Some(host_port))
        } else if let Some(address) = parse_address(rest) {
            (Some(address), None)
        } else {
            let (address, host_port) = rest.rsplit_once(':').ok_or_else(wrong)?;
            let address = parse_address(address).ok_or_else(wrong)?;
            (Some(address), Some(host_port.parse().map_err(|_| wrong())?))
        };
        if port == 0 || host_port == Some(0) {
            return Err(wrong());
        }
        Ok(Self { address, host_port, port })
    }
}

/// An address as in a URL: IPv6 in brackets, or `localhost`.
fn parse_address(text: &str) -> Option<IpAddr> {
    match text.strip_prefix('[').and_then(|text| text.strip_suffix(']')) {
        Some(v6) => v6.parse().ok().map(IpAddr::V6),
        None if text == "localhost" => Some(IpAddr::from([127, 0, 0, 1])),
        None => text.parse().ok().filter(IpAddr::is_ipv4),
    }
}

fn parse_kind(word: &str) -> Result<Kind, String> {
    Kind::from_typed(word).ok_or_else(|| {
        let known = Kind::ALL.map(Kind::as_str).join(", ");
        format!("no such kind; known are {known}")
    })
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = mizzen_api::Duration::parse(text).map(mizzen_api::Duration::get);
    duration.ok_or_else(|| "expected a duration, for example 20s or 1m30s".to_owned())
}

#[cfg(test)]
mod tests;
