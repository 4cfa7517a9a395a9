//! The gate rejects each kind of forbidden edge, and passes a tree that obeys.

use super::*;

/// A workspace at the fixture's root whose packages are `(manifest directory, name, dependencies)`; a dependency whose
/// name starts with `mizzen-` has a path.
fn workspace(fixture: &Path, packages: &[(&str, &str, &[&str])]) -> Metadata {
    let package = |(directory, name, dependencies): &(&str, &str, &[&str])| {
        let dependencies: Vec<_> = dependencies
            .iter()
            .map(|name| serde_json::json!({"name": name, "kind": null, "path": name.starts_with("mizzen-").then_some("/x")}))
            .collect();
        let manifest = fixture.join(directory).join("Cargo.toml");
        serde_json::json!({"name": name, "manifest_path": manifest, "dependencies": dependencies})
    };
    let packages: Vec<_> = packages.iter().map(package).collect();
    Metadata::parse(&serde_json::json!({ "packages": packages }).to_string()).expect("well-formed")
}

#[test]
fn every_rule_rejects_its_fixture() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/layers");
    let cases: &[(&str, &str, &[&str], &str)] = &[
        ("crates/api", "mizzen-api", &["serde", "tokio"], "`api` must not use `tokio`"),
        ("crates/sources", "mizzen-sources", &["mizzen-xds"], "`sources` must not know `mizzen-xds`"),
        ("crates/api", "mizzen-api", &["mizzen-sources"], "`api` must not know `mizzen-sources`"),
        ("crates/unheard", "mizzen-unheard", &[], "no row"),
        ("crates/sources", "mizzen-sources", &["mizzen-peer"], "nobody may depend on `mizzen-peer`"),
        ("samples/shop", "mizzen-shop", &["mizzen-net"], "a sample knows nothing"),
        ("crates/control", "mizzen-control", &[], "takes its lints from the workspace"),
        ("crates/world", "mizzen-world", &[], "`world` is pure"),
        ("crates/net", "mizzen-net", &["tokio"], ""),
        ("crates/sources", "mizzen-sources", &["mizzen-api", "tokio"], ""),
    ];
    for (directory, name, dependencies, wanted) in cases {
        let complaints = check(&root, &workspace(&root, &[(directory, name, dependencies)]));
        let seen: Vec<String> = complaints.iter().map(ToString::to_string).collect();
        let hit = if wanted.is_empty() { seen.is_empty() } else { seen.iter().any(|line| line.contains(wanted)) };
        assert!(hit, "{name} {dependencies:?}: {seen:?}");
    }
}

#[test]
fn a_chain_is_bounded_even_if_it_is_a_circle() {
    let root = Path::new("/r");
    let short =
        workspace(root, &[("crates/proxy", "mizzen-proxy", &["mizzen-net"]), ("crates/net", "mizzen-net", &[])]);
    assert_eq!(chain(&short), None);
    let circle = workspace(
        root,
        &[("crates/proxy", "mizzen-proxy", &["mizzen-net"]), ("crates/net", "mizzen-net", &["mizzen-proxy"])],
    );
    assert!(chain(&circle).is_some());
}

#[test]
fn the_table_itself_goes_downwards() {
    for (at, row) in ROOMS.iter().enumerate() {
        let above: Vec<&str> = ROOMS[..at].iter().map(|row| row.name).collect();
        assert!(row.rooms.iter().all(|room| above.contains(room)), "{} names a room that is not above it", row.name);
        assert!(row.guarded.iter().all(|name| GUARDED.contains(name)), "{} names an unguarded crate", row.name);
    }
}
