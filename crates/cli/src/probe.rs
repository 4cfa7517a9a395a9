//! `mizzen lab-probe CHECK`: one readiness check, made by a short process inside a workload's network and cage.
//!
//! In: a [`Check`] as JSON. Out: exit code 0 if it passed, else 1 and a line on standard error that says why.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::{Read as _, Write as _},
    net::{TcpStream, ToSocketAddrs as _},
    process::ExitCode,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail, ensure};

use crate::plan::Check;

/// The caller ends a check that takes longer than its own timeout; this one ends a process that nobody ends.
const DEADLINE: Duration = Duration::from_mins(1);
/// Bytes of an answer that are read; the status line is at its start.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

pub(crate) fn run(check: &str) -> ExitCode {
    let done = serde_json::from_str(check).context("reading the check").and_then(|check: Check| probe(&check));
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::FAILURE
        }
    }
}

fn probe(check: &Check) -> Result<()> {
    match check {
        // A command is started by the caller itself.
        Check::Running | Check::Exec(_) => Ok(()),
        Check::Listening(ports) => {
            let open = listening();
            match ports.iter().find(|port| !open.contains(port)) {
                None => Ok(()),
                Some(port) => bail!("nothing listens on port {port}"),
            }
        }
        Check::Tcp { host, port } => connect(host, *port).map(drop),
        Check::Http { host, port, path, headers } => http(host, *port, path, headers),
    }
}

/// Ports with a listening TCP socket in this network namespace (`proc_pid_net(5)`: local address in column 2, state in 4).
fn listening() -> BTreeSet<u16> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1)).filter_map(listening_port).collect()
}

fn listening_port(line: &str) -> Option<u16> {
    let mut columns = line.split_whitespace().skip(1);
    let (_, port) = columns.next()?.rsplit_once(':')?;
    (columns.nth(1)? == "0A").then(|| u16::from_str_radix(port, 16).ok())?
}

fn connect(host: &str, port: u16) -> Result<TcpStream> {
    let address = (host, port).to_socket_addrs()?.next().with_context(|| format!("no address for {host}"))?;
    TcpStream::connect_timeout(&address, DEADLINE).with_context(|| format!("{host}:{port}"))
}

fn http(host: &str, port: u16, path: &str, headers: &[(String, String)]) -> Result<()> {
    let mut stream = connect(host, port)?;
    let mut request =
        format!("GET {path} HTTP/1.1\r\nConnection: close\r\nUser-Agent: mizzen-probe\r\nAccept: */*\r\n");
    if !headers.iter().any(|(name, _)| name.eq_ignore_ascii_case("host")) {
        let _ = write!(request, "Host: {host}:{port}\r\n");
    }
    for (name, value) in headers {
        let _ = write!(request, "{name}: {value}\r\n");
    }
    request += "\r\n";
    stream.set_write_timeout(Some(DEADLINE))?;
    stream.write_all(request.as_bytes())?;
    let line = status_line(&stream, Instant::now() + DEADLINE)?;
    let status = line.split(' ').nth(1).and_then(|status| status.parse::<u16>().ok());
    let status = status.with_context(|| format!("not HTTP: {line}"))?;
    ensure!((200..400).contains(&status), "GET {path}: status {status}");
    Ok(())
}

/// The first line of the answer.
fn status_line(stream: &TcpStream, deadline: Instant) -> Result<String> {
    let mut answer = Vec::new();
    let mut stream = stream.take(ANSWER_BYTES_MAX);
    let mut chunk = [0; 512];
    while !answer.contains(&b'\n') {
        let left = deadline.saturating_duration_since(Instant::now());
        ensure!(!left.is_zero(), "no answer in time");
        stream.get_ref().set_read_timeout(Some(left))?;
        match stream.read(&mut chunk)? {
            0 => bail!("closed without an answer"),
            read => answer.extend(&chunk[..read]),
        }
    }
    let line = answer.split(|byte| *byte == b'\n').next().unwrap_or_default();
    Ok(String::from_utf8_lossy(line).trim_end().to_owned())
}

#[cfg(test)]
mod tests;
