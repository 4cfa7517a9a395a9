//! Choice of a filter chain: by destination port, address, server name, transport, application protocols, source.
//!
//! The order and the "most specific wins, no backtracking" rule are Envoy's (`config.listener.v3.FilterChainMatch`).
//! A chain with lists in its conditions becomes one row per combination; the rows are sorted by their conditions in the
//! order of the choice, so that each step narrows a slice to a smaller one by binary search:
//!
//! ```text
//! rows ─► port 9080 ─► 10.0.0.0/8 ─► "*.example.com" ─► TLS ─► "h2" ─► any source ─► any source port ─► chain
//! ```

use std::{
    cmp::Ordering,
    net::{IpAddr, SocketAddr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};

use crate::trace::{Step, Trace};

/// Rows that a table may have; beyond, the listener is refused.
pub const ROWS_MAX: usize = 1 << 16;

/// What the first bytes of a connection are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// Anything but a `ClientHello`.
    Raw,
    /// TLS.
    Tls,
}

/// All that is known of a connection before its filter chain is chosen.
#[derive(Clone, Copy, Debug)]
pub struct ConnectionFacts<'a> {
    /// Where the client wanted to go (the original destination of a redirected connection).
    pub destination: SocketAddr,
    /// The peer.
    pub source: SocketAddr,
    /// Raw or TLS.
    pub transport: Transport,
    /// SNI in lower case; empty when there is none.
    pub server_name: &'a str,
    /// ALPN of the `ClientHello`, or what was detected in plaintext: `http/1.0`, `http/1.1`, `h2c`.
    pub protocols: &'a [&'a str],
}

/// The conditions of one chain. Empty or `None` means any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ChainMatch {
    /// Destination port.
    pub destination_port: Option<u16>,
    /// Destination addresses.
    pub destinations: Vec<IpNet>,
    /// SNI: exact or `*.suffix`, lower case.
    pub server_names: Vec<Box<str>>,
    /// Raw or TLS.
    pub transport: Option<Transport>,
    /// Any of these application protocols.
    pub protocols: Vec<Box<str>>,
    /// Peer addresses.
    pub sources: Vec<IpNet>,
    /// Peer ports.
    pub source_ports: Vec<u16>,
}

/// Chains that make no table.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    #[error("filter chains {first} and {second} have a condition in common: nothing tells them apart")]
    Duplicate { first: usize, second: usize },
    #[error("filter chain {chain}: server name `{name}` is neither a name nor `*.` before a name")]
    ServerName { chain: usize, name: Box<str> },
    #[error("the conditions of the filter chains have more than {ROWS_MAX} combinations")]
    TooMany,
}

/// The chains of a listener, compiled.
#[derive(Debug, Default)]
pub struct ChainTable {
    /// Sorted.
    rows: Box<[Row]>,
}

/// One combination of conditions. The order of the fields is the order of the choice; `None` is any, and sorts first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    port: Option<u16>,
    destination: Option<IpNet>,
    server_name: Option<ServerName>,
    transport: Option<Transport>,
    protocol: Option<Box<str>>,
    source: Option<IpNet>,
    source_port: Option<u16>,
    chain: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum ServerName {
    Exact(Box<str>),
    /// With its leading dot.
    Suffix(Box<str>),
}

impl ChainTable {
    /// Compiles the conditions of chains; two chains that share a combination are refused, as in Envoy.
    pub fn compile(matches: Vec<ChainMatch>) -> Result<Self, ChainError> {
        let has_open =
            |nets: fn(&ChainMatch) -> &[IpNet]| matches.iter().flat_map(nets).any(|net| net.prefix_len() == 0);
        let (open_destination, open_source) = (has_open(|m| &m.destinations), has_open(|m| &m.sources));
        let mut rows = Vec::with_capacity(matches.len());
        for (chain, mut conditions) in matches.into_iter().enumerate() {
            spell_out(&mut conditions.destinations, open_destination);
            spell_out(&mut conditions.sources, open_source);
            combine(chain, &conditions, &mut rows)?;
        }
        rows.sort_unstable();
        rows.dedup();
        match rows.windows(2).find(|pair| pair[0].same_conditions(&pair[1])) {
            Some(pair) => Err(ChainError::Duplicate { first: pair[0].chain, second: pair[1].chain }),
            None => Ok(Self { rows: rows.into_boxed_slice() }),
        }
    }

    /// The position (in the order given to `compile`) of the chain that serves the connection. Allocates nothing.
    pub fn decide(&self, facts: &ConnectionFacts<'_>, trace: &mut impl Trace) -> Option<usize> {
        let rows = exact_or_any(&self.rows, |row| row.port.cmp(&Some(facts.destination.port())), |row| &row.port);
        trace.step(Step::Narrow { by: "destination port", left: rows.len() });
        let rows = by_address(rows, facts.destination.ip(), |row| &row.destination);
        trace.step(Step::Narrow { by: "destination address", left: rows.len() });
        let rows = by_server_name(rows, facts.server_name);
        trace.step(Step::Narrow { by: "server name", left: rows.len() });
        let rows = exact_or_any(rows, |row| row.transport.cmp(&Some(facts.transport)), |row| &row.transport);
        trace.step(Step::Narrow { by: "transport", left: rows.len() });
        let rows = by_protocol(rows, facts.protocols);
        trace.step(Step::Narrow { by: "application protocol", left: rows.len() });
        let rows = by_address(rows, facts.source.ip(), |row| &row.source);
        trace.step(Step::Narrow { by: "source address", left: rows.len() });
        let rows = exact_or_any(rows, |row| row.source_port.cmp(&Some(facts.source.port())), |row| &row.source_port);
        trace.step(Step::Narrow { by: "source port", left: rows.len() });
        rows.first().map(|row| row.chain)
    }
}

impl Row {
    fn same_conditions(&self, other: &Self) -> bool {
        (self.port, self.destination, &self.server_name, self.transport)
            == (other.port, other.destination, &other.server_name, other.transport)
            && (&self.protocol, self.source, self.source_port) == (&other.protocol, other.source, other.source_port)
    }
}

/// To Envoy "any address" and `0.0.0.0/0` are the same condition. Where a table has the second, the first is written out
/// as both families' `/0`; elsewhere it stays one row.
fn spell_out(nets: &mut Vec<IpNet>, has_open: bool) {
    if has_open && nets.is_empty() {
        *nets = vec![IpNet::V4(Ipv4Net::default()), IpNet::V6(Ipv6Net::default())];
    }
}

/// One row for each combination of a chain's conditions.
fn combine(chain: usize, conditions: &ChainMatch, rows: &mut Vec<Row>) -> Result<(), ChainError> {
    let names = conditions.server_names.iter().map(|name| server_name(chain, name)).collect::<Result<Vec<_>, _>>()?;
    let lists = [
        conditions.destinations.len(),
        names.len(),
        conditions.protocols.len(),
        conditions.sources.len(),
        conditions.source_ports.len(),
    ];
    let count = lists.iter().try_fold(1_usize, |count, list| count.checked_mul((*list).max(1)));
    if count.is_none_or(|count| rows.len() + count.min(ROWS_MAX) >= ROWS_MAX) {
        return Err(ChainError::TooMany);
    }
    let mut made = vec![Row {
        port: conditions.destination_port,
        destination: None,
        server_name: None,
        transport: conditions.transport,
        protocol: None,
        source: None,
        source_port: None,
        chain,
    }];
    multiply(&mut made, &conditions.destinations, |row, net| row.destination = Some(net.trunc()));
    multiply(&mut made, &names, |row, name| row.server_name = Some(name.clone()));
    multiply(&mut made, &conditions.protocols, |row, protocol| row.protocol = Some(protocol.clone()));
    multiply(&mut made, &conditions.sources, |row, net| row.source = Some(net.trunc()));
    multiply(&mut made, &conditions.source_ports, |row, port| row.source_port = Some(*port));
    rows.append(&mut made);
    Ok(())
}

fn multiply<T>(rows: &mut Vec<Row>, values: &[T], set: impl Fn(&mut Row, &T)) {
    if values.is_empty() {
        return;
    }
    let with = |row: &Row, value: &T| {
        let mut row = row.clone();
        set(&mut row, value);
        row
    };
    *rows = rows.iter().flat_map(|row| values.iter().map(move |value| with(row, value))).collect();
}

fn server_name(chain: usize, name: &str) -> Result<ServerName, ChainError> {
    let lower = name.to_ascii_lowercase();
    let (made, rest) = match lower.strip_prefix('*') {
        Some(suffix) if suffix.len() > 1 && suffix.starts_with('.') => (ServerName::Suffix(suffix.into()), suffix),
        _ => (ServerName::Exact(lower.as_str().into()), lower.as_str()),
    };
    if rest.is_empty() || rest.contains('*') {
        return Err(ChainError::ServerName { chain, name: name.into() });
    }
    Ok(made)
}

/// The rows for which `order` says equal; they stand together, since `rows` are alike in all conditions before this one.
fn equal(rows: &[Row], order: impl Fn(&Row) -> Ordering) -> &[Row] {
    let start = rows.partition_point(|row| order(row) == Ordering::Less);
    let length = rows[start..].partition_point(|row| order(row) == Ordering::Equal);
    &rows[start..start + length]
}

/// The rows that do not ask.
fn any<T>(rows: &[Row], condition: impl Fn(&Row) -> &Option<T>) -> &[Row] {
    &rows[..rows.partition_point(|row| condition(row).is_none())]
}

/// The rows that ask for this value, else those that do not ask.
fn exact_or_any<T>(rows: &[Row], order: impl Fn(&Row) -> Ordering, condition: impl Fn(&Row) -> &Option<T>) -> &[Row] {
    let exact = equal(rows, order);
    if exact.is_empty() { any(rows, condition) } else { exact }
}

/// The rows with the longest network that holds `address`; looks at each different network once.
fn by_address(rows: &[Row], address: IpAddr, condition: impl Fn(&Row) -> &Option<IpNet>) -> &[Row] {
    let address = address.to_canonical();
    let mut best = any(rows, &condition);
    let mut length = None;
    let mut rest = &rows[best.len()..];
    while let Some(net) = rest.first().and_then(|row| *condition(row)) {
        let (group, others) = rest.split_at(rest.partition_point(|row| *condition(row) == Some(net)));
        if net.contains(&address) && length < Some(net.prefix_len()) {
            (best, length) = (group, Some(net.prefix_len()));
        }
        rest = others;
    }
    best
}

/// The rows with this name, else those with its longest `*.suffix`, else those that do not ask.
fn by_server_name<'a>(rows: &'a [Row], name: &str) -> &'a [Row] {
    let asking = &rows[any(rows, |row| &row.server_name).len()..];
    if asking.is_empty() || name.is_empty() {
        return any(rows, |row| &row.server_name);
    }
    let exact = equal(asking, |row| match &row.server_name {
        Some(ServerName::Exact(known)) => (**known).cmp(name),
        Some(ServerName::Suffix(_)) => Ordering::Greater,
        None => Ordering::Less,
    });
    let by_suffix = |suffix| {
        equal(asking, |row| match &row.server_name {
            Some(ServerName::Suffix(known)) => (**known).cmp(suffix),
            _ => Ordering::Less,
        })
    };
    // The star stands for at least one character.
    let suffixes = name.match_indices('.').filter(|(at, _)| *at > 0).map(|(at, _)| &name[at..]);
    std::iter::once(exact)
        .chain(suffixes.map(by_suffix))
        .find(|found| !found.is_empty())
        .unwrap_or_else(|| any(rows, |row| &row.server_name))
}

/// The rows with the first of the connection's protocols that any row asks for, else those that do not ask.
fn by_protocol<'a>(rows: &'a [Row], protocols: &[&str]) -> &'a [Row] {
    let with = |protocol: &&str| equal(rows, |row| row.protocol.as_deref().cmp(&Some(*protocol)));
    protocols.iter().map(with).find(|found| !found.is_empty()).unwrap_or_else(|| any(rows, |row| &row.protocol))
}

#[cfg(test)]
mod tests;
