//! Gate: which crate may know which other (ARCHITECTURE.md, "Crate map").
//!
//! In: `cargo metadata`. Out: one complaint for each edge that the table does not allow, for a crate without a row, and
//! for a chain of crates longer than [`CHAIN_MAX`].
//! Dependencies of tests are free; no crate of the product may depend on a package outside `crates/`.

use std::{collections::BTreeMap, fs, path::Path};

use crate::{
    complaint::Complaint,
    metadata::{Metadata, Package},
};

/// Longest chain of `mizzen-*` crates, both ends counted.
const CHAIN_MAX: usize = 7;

/// Crates that only some rooms may use; everything else is free (but needs its line in docs/dependencies.md).
const GUARDED: &[&str] = &[
    "crossterm",
    "envoy-types",
    "fastrand",
    "hickory-proto",
    "hyper",
    "hyper-util",
    "k8s-openapi",
    "kube",
    "notify",
    "prost",
    "prost-types",
    "ratatui",
    "rcgen",
    "rustix",
    "rustls",
    "socket2",
    "tokio",
    "tokio-rustls",
    "tonic",
    "tonic-prost",
];

/// Rooms without clock, rng, files or sockets: their `clippy.toml` is [`PURE_CLIPPY`].
const PURE: &[&str] = &["balance", "compile", "rules", "snapshot", "world"];

/// Bans the standard library's back doors; linked into every pure crate.
const PURE_CLIPPY: &str = "ci/pure.clippy.toml";

/// The only crate that may hold `unsafe`, hence the only one without the workspace's lint table.
const UNSAFE: &str = "net";

/// One row: a crate, the `mizzen-*` crates it may use, the guarded foreign crates it may use.
struct Room {
    name: &'static str,
    rooms: &'static [&'static str],
    guarded: &'static [&'static str],
}

const fn room(name: &'static str, rooms: &'static [&'static str], guarded: &'static [&'static str]) -> Room {
    Room { name, rooms, guarded }
}

/// In order from the ground up: a row names only rooms of rows above it.
#[rustfmt::skip]
const ROOMS: &[Room] = &[
    room("api", &[], &["k8s-openapi"]),
    room("net", &[], &["rustix", "socket2", "tokio"]),
    room("rules", &[], &[]),
    room("balance", &[], &[]),
    room("telemetry", &[], &[]),
    room("xds", &[], &["envoy-types", "fastrand", "hyper", "hyper-util", "prost", "prost-types", "rustls", "tokio", "tokio-rustls", "tonic", "tonic-prost"]),
    room("pki", &[], &["prost", "prost-types", "rcgen", "rustls", "tonic", "tonic-prost"]),
    room("world", &["api"], &[]),
    room("sources", &["api"], &["k8s-openapi", "kube", "notify", "tokio"]),
    room("compile", &["world"], &["envoy-types", "prost", "prost-types"]),
    room("snapshot", &["rules", "balance", "telemetry", "pki"], &["envoy-types", "prost", "prost-types", "rustls"]),
    room("capture", &["net"], &[]),
    room("lab", &["net", "capture"], &["rustix", "socket2", "tokio"]),
    room("peers", &["telemetry"], &["prost", "tokio", "tonic", "tonic-prost"]),
    room("proxy", &["net", "rules", "balance", "telemetry", "xds", "pki", "snapshot", "capture", "peers"],
        &["fastrand", "hickory-proto", "hyper", "hyper-util", "rustix", "rustls", "socket2", "tokio", "tokio-rustls", "tonic"]),
    room("control", &["api", "net", "telemetry", "xds", "pki", "world", "sources", "compile"],
        &["envoy-types", "fastrand", "hyper", "hyper-util", "k8s-openapi", "kube", "prost", "prost-types", "rustix", "rustls", "tokio",
          "tokio-rustls", "tonic", "tonic-prost"]),
    room("cli", &["api", "net", "rules", "balance", "telemetry", "world", "sources", "snapshot", "capture", "lab"],
        &["crossterm", "fastrand", "hyper", "hyper-util", "k8s-openapi", "ratatui", "rustix", "socket2", "tokio"]),
];

pub(crate) fn check(root: &Path, metadata: &Metadata) -> Vec<Complaint> {
    let mut complaints: Vec<Complaint> =
        metadata.packages.iter().flat_map(|package| package_edges(root, package)).collect();
    complaints.extend(metadata.packages.iter().flat_map(|package| lint_tables(root, package)));
    complaints.extend(chain(metadata));
    complaints.sort();
    complaints
}

/// The package's manifest, relative to the root.
fn manifest(root: &Path, package: &Package) -> String {
    let path = Path::new(&package.manifest_path);
    path.strip_prefix(root).unwrap_or(path).display().to_string()
}

/// The room's name of a package below `crates/`.
fn room_name<'a>(root: &Path, package: &'a Package) -> Option<&'a str> {
    let is_room = manifest(root, package).starts_with("crates/");
    is_room.then(|| package.name.strip_prefix("mizzen-").unwrap_or(&package.name))
}

fn package_edges(root: &Path, package: &Package) -> Vec<Complaint> {
    let file = manifest(root, package);
    let row = match room_name(root, package) {
        None => None,
        Some(name) => match ROOMS.iter().find(|row| row.name == name) {
            None => return vec![Complaint::new(&file, 0, format!("crate `{name}` has no row in the table of layers"))],
            row => row,
        },
    };
    let shipped = package.dependencies.iter().filter(|dependency| dependency.is_shipped());
    shipped
        .filter_map(|dependency| {
            let name = dependency.name.as_str();
            match (dependency.path.is_some(), row) {
                (true, Some(_)) if !is_room_package(name) => {
                    Some(format!("nobody may depend on `{name}`: it is no crate of the product"))
                }
                (true, Some(row)) if !row.rooms.iter().any(|room| name == format!("mizzen-{room}")) => {
                    Some(format!("`{}` must not know `{name}`", row.name))
                }
                (true, None) if file.starts_with("samples/") => {
                    Some(format!("a sample knows nothing of the mesh, not `{name}` either"))
                }
                (false, Some(row)) if GUARDED.contains(&name) && !row.guarded.contains(&name) => {
                    Some(format!("`{}` must not use `{name}`", row.name))
                }
                _ => None,
            }
        })
        .map(|message| Complaint::new(&file, 0, message))
        .collect()
}

fn is_room_package(name: &str) -> bool {
    ROOMS.iter().any(|row| name.strip_prefix("mizzen-") == Some(row.name))
}

/// Every package takes the workspace's lints (which forbid `unsafe`), except the one crate that may hold it; pure crates
/// carry the list of banned back doors.
fn lint_tables(root: &Path, package: &Package) -> Vec<Complaint> {
    let file = manifest(root, package);
    let text = fs::read_to_string(root.join(&file)).unwrap_or_default();
    let name = room_name(root, package);
    let mut complaints = Vec::new();
    let takes_workspace =
        text.split_once("[lints]").is_some_and(|(_, after)| after.trim_start().starts_with("workspace = true"));
    if !takes_workspace && name != Some(UNSAFE) {
        complaints.push(Complaint::new(&file, 0, "takes its lints from the workspace: `[lints] workspace = true`"));
    }
    if let Some(name) = name.filter(|name| PURE.contains(name)) {
        let own = format!("crates/{name}/clippy.toml");
        let wanted = fs::read_to_string(root.join(PURE_CLIPPY)).ok();
        if wanted.is_none() || fs::read_to_string(root.join(&own)).ok() != wanted {
            complaints.push(Complaint::new(&own, 0, format!("`{name}` is pure: link {PURE_CLIPPY} here")));
        }
    }
    complaints
}

/// The longest chain, if it is too long or runs in a circle.
fn chain(metadata: &Metadata) -> Option<Complaint> {
    let edges: BTreeMap<&str, Vec<&str>> = metadata
        .packages
        .iter()
        .map(|package| {
            let below =
                package.dependencies.iter().filter(|dependency| dependency.is_shipped() && dependency.path.is_some());
            (package.name.as_str(), below.map(|dependency| dependency.name.as_str()).collect())
        })
        .collect();
    let longest = edges
        .keys()
        .filter(|name| is_room_package(name))
        .map(|name| longest_from(name, &edges, CHAIN_MAX + 1))
        .max_by_key(Vec::len)?;
    let too_long = longest.len() > CHAIN_MAX;
    too_long.then(|| {
        Complaint::new("Cargo.toml", 0, format!("chain of more than {CHAIN_MAX} crates: {}", longest.join(" → ")))
    })
}

/// The longest path down from `name`, followed for `depth_max` steps at most (which also ends circles).
fn longest_from<'a>(name: &'a str, edges: &BTreeMap<&'a str, Vec<&'a str>>, depth_max: usize) -> Vec<&'a str> {
    if depth_max == 0 {
        return Vec::new();
    }
    let below = edges.get(name).into_iter().flatten();
    let mut path = below.map(|next| longest_from(next, edges, depth_max - 1)).max_by_key(Vec::len).unwrap_or_default();
    path.insert(0, name);
    path
}

#[cfg(test)]
mod tests;
