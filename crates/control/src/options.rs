//! `mizzend`'s command line.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

/// Mizzen's control plane: compiles a directory of manifests and serves it to proxies over xDS, with their certificates.
#[derive(Clone, Debug, clap::Parser)]
#[command(name = "mizzend", version)]
pub struct Options {
    /// Directory of manifests, watched.
    #[arg(long, value_name = "DIR")]
    pub config: PathBuf,
    /// Directory for what must outlive the process: the authority's key and the key for tokens.
    #[arg(long, value_name = "DIR")]
    pub state: PathBuf,
    /// Unix socket for the CLI.
    #[arg(long, value_name = "PATH")]
    pub control_socket: Option<PathBuf>,
    /// Address of the listeners for proxies (15012) and for monitoring (15014).
    #[arg(long, value_name = "ADDR", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    pub listen: IpAddr,
    /// xDS and certificates with TLS; default: the --listen address, port 15012.
    #[arg(long, value_name = "ADDR:PORT")]
    pub xds_address: Option<SocketAddr>,
    /// xDS in plain text, without authentication; a loopback address.
    #[arg(long, value_name = "ADDR:PORT", default_value = "127.0.0.1:15010")]
    pub plaintext_address: SocketAddr,
    /// Metrics, version, debugging; default: the --listen address, port 15014.
    #[arg(long, value_name = "ADDR:PORT")]
    pub monitoring_address: Option<SocketAddr>,
    /// Directory with an authority of your own: ca-cert.pem, ca-key.pem, cert-chain.pem, root-cert.pem.
    #[arg(long, value_name = "DIR")]
    pub ca_dir: Option<PathBuf>,
    /// Life of a workload's certificate (20s, 90m, 24h); what a workload asks for is cut to it.
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = parse_duration)]
    pub cert_ttl: Duration,
    /// Start although the directory holds policies that are not enforced yet.
    #[arg(long)]
    pub allow_unenforced: bool,
}

impl Options {
    pub fn xds(&self) -> SocketAddr {
        self.xds_address.unwrap_or_else(|| SocketAddr::new(self.listen, 15012))
    }

    pub fn monitoring(&self) -> SocketAddr {
        self.monitoring_address.unwrap_or_else(|| SocketAddr::new(self.listen, 15014))
    }
}

/// `20s`, `90m`, `24h`; more than nothing, at most 90 days (the authority's own limit).
fn parse_duration(text: &str) -> Result<Duration, String> {
    let expected = || format!("expected a number with s, m or h, as 24h, found {text:?}");
    let unit = text.chars().last().ok_or_else(expected)?;
    let number: u64 = text[..text.len() - unit.len_utf8()].parse().map_err(|_| expected())?;
    let seconds = match unit {
        's' => Some(number),
        'm' => number.checked_mul(60),
        'h' => number.checked_mul(3600),
        _ => return Err(expected()),
    };
    let duration = seconds.map(Duration::from_secs).filter(|duration| *duration <= mizzen_pki::authority::MAX_TTL);
    match duration {
        Some(duration) if !duration.is_zero() => Ok(duration),
        _ => Err(format!("expected more than 0s and at most 2160h, found {text:?}")),
    }
}

#[cfg(test)]
mod tests;
