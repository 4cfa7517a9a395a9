//! The text of a node's name-service files (`resolv.conf(5)`, `hosts(5)`, `nsswitch.conf(5)`).

use std::{
    fmt::Write as _,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use crate::NodeSpec;

/// `/etc/resolv.conf`.
pub(crate) fn resolv_conf(spec: &NodeSpec) -> String {
    let mut text = format!("nameserver {}\n", spec.nameserver);
    if !spec.search.is_empty() {
        let _ = write!(text, "search {}\noptions ndots:5\n", spec.search.join(" "));
    }
    text
}

/// `/etc/hosts`: localhost, the node itself, then `entries`.
pub(crate) fn hosts(hostname: &str, own: &[IpAddr], entries: &[(IpAddr, Vec<String>)]) -> String {
    let mut text = format!("{} localhost\n{} localhost ip6-localhost\n", Ipv4Addr::LOCALHOST, Ipv6Addr::LOCALHOST);
    for address in own {
        let _ = writeln!(text, "{address} {hostname}");
    }
    for (address, names) in entries {
        let _ = writeln!(text, "{address} {}", names.join(" "));
    }
    text
}

/// The host's `/etc/nsswitch.conf` with host names looked up in files and DNS only, which go by the node's own files.
pub(crate) fn nsswitch(host: &str) -> String {
    let others = host.lines().filter(|line| !line.trim_start().starts_with("hosts:"));
    others.chain(["hosts: files dns"]).fold(String::new(), |text, line| text + line + "\n")
}

/// Whether `name` can stand in these files: letters, digits, `-`, `_` and `.`, 1 to 253 of them.
pub(crate) fn is_name(name: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=253).contains(&name.len()) && name.bytes().all(allowed)
}

#[cfg(test)]
mod tests;
