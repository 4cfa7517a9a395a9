//! Files that change, as a list of steps each.

use std::sync::Arc;

use mizzen_api::load;

use super::{Applied, Change, Layer};

/// A `ServiceAccount` with a label, so that its content can change.
fn account(name: &str, version: &str) -> String {
    format!("---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {{name: {name}, labels: {{version: {version}}}}}\n")
}

/// Takes a file's new text, or its end.
fn step(layer: &mut Layer, file: &str, text: Option<&str>) -> Applied {
    let change = text.map_or(Change::Gone, |text| Change::Read(Box::new(load(file, text))));
    layer.apply([(Arc::from(file), change)])
}

/// The objects in force as `name=version@file:line`.
fn state(layer: &Layer) -> Vec<String> {
    layer
        .objects()
        .values()
        .map(|object| {
            let version = object.meta.labels.get("version").map_or("-", String::as_str);
            format!("{}={version}@{}:{}", object.id.name, object.origin.file, object.origin.line)
        })
        .collect()
}

fn findings(layer: &Layer) -> Vec<String> {
    layer.findings().iter().map(ToString::to_string).collect()
}

fn names(ids: impl IntoIterator<Item = mizzen_api::ObjectId>) -> Vec<String> {
    ids.into_iter().map(|id| id.name.to_string()).collect()
}

#[test]
fn objects_come_change_and_go() {
    let mut layer = Layer::default();
    let applied = step(&mut layer, "a.yaml", Some(&(account("x", "v1") + &account("y", "v1"))));
    assert_eq!(names(applied.changed), ["x", "y"]);
    let applied = step(&mut layer, "a.yaml", Some(&(account("x", "v1") + &account("y", "v2"))));
    assert_eq!(names(applied.changed), ["y"]);
    let applied = step(&mut layer, "a.yaml", Some(&account("x", "v1")));
    assert_eq!(names(applied.changed), ["y"]);
    assert_eq!(state(&layer), ["x=v1@a.yaml:2"]);
    assert_eq!(names(step(&mut layer, "a.yaml", None).changed), ["x"]);
    assert!(state(&layer).is_empty() && findings(&layer).is_empty());
    assert_eq!(step(&mut layer, "a.yaml", None), Applied::default());
}

#[test]
fn what_is_equal_keeps_its_identity() {
    let mut layer = Layer::default();
    let text = account("x", "v1") + &account("y", "v1");
    step(&mut layer, "a.yaml", Some(&text));
    let before = layer.objects().clone();
    assert_eq!(step(&mut layer, "a.yaml", Some(&text)), Applied::default());
    assert!(before.iter().all(|(id, object)| Arc::ptr_eq(object, &layer.objects()[id])));
    let applied = step(&mut layer, "a.yaml", Some(&format!("# a comment\n{text}")));
    assert_eq!((applied.changed.len(), applied.touched.len()), (0, 2));
    for (id, object) in &before {
        let now = &layer.objects()[id];
        assert!(Arc::ptr_eq(&object.meta, &now.meta), "a comment changes positions only");
        assert_eq!(now.origin.line, object.origin.line + 1);
    }
}

#[test]
fn the_last_good_version_stays() {
    let good = account("x", "v1") + &account("y", "v1");
    let bad_x = account("x", "'not a label'") + &account("y", "v2");
    let nameless = "---\napiVersion: v1\nkind: ServiceAccount\nmetadata: {}\n".to_owned() + &account("z", "v1");
    let all_stay = ["x=v1@a.yaml:2", "y=v1@a.yaml:6"];
    let cases: [(&str, &str, &[&str], &str); 6] = [
        (
            "a bad object",
            &bad_x,
            &["x=v1@a.yaml:2", "y=v2@a.yaml:6"],
            "(the last good version stays in force) (a.yaml:4)",
        ),
        ("no YAML", "apiVersion: [", &all_stay, "(its 2 objects stay in force as they were)"),
        ("a template", "apiVersion: v1\n{{- if x }}\n", &all_stay, "the file cannot be parsed"),
        ("blank", "", &all_stay, "the file is blank; delete it, or leave a comment in it"),
        ("cut off", "apiVer", &all_stay, "the file is blank"),
        (
            "without a name",
            &nameless,
            &["x=v1@a.yaml:2", "y=v1@a.yaml:6", "z=v1@a.yaml:6"],
            "metadata.name: an object needs a name",
        ),
    ];
    for (case, text, expected, finding) in cases {
        let mut layer = Layer::default();
        step(&mut layer, "a.yaml", Some(&good));
        step(&mut layer, "a.yaml", Some(text));
        assert_eq!(state(&layer), expected, "{case}");
        let found = findings(&layer);
        assert!(found.len() == 1 && found[0].contains(finding), "{case}: {found:#?}");
        // What is mended is taken, and nothing more is said.
        step(&mut layer, "a.yaml", Some(&account("y", "v3")));
        assert_eq!((state(&layer), findings(&layer)), (vec!["y=v3@a.yaml:2".to_owned()], vec![]), "{case}");
    }
}

#[test]
fn files_that_cannot_be_read_keep_what_they_had() {
    for change in [Change::Aside("is larger than 4 MiB"), Change::Unreadable("permission denied".into())] {
        let mut layer = Layer::default();
        step(&mut layer, "a.yaml", Some(&account("x", "v1")));
        layer.apply([("a.yaml".into(), change)]);
        assert_eq!(state(&layer), ["x=v1@a.yaml:2"]);
        assert!(findings(&layer)[0].contains("its object stays in force"), "{:?}", findings(&layer));
    }
    let mut layer = Layer::default();
    layer.apply([("big.yaml".into(), Change::Aside("is larger than 4 MiB"))]);
    assert!(findings(&layer).is_empty());
    assert_eq!(layer.not_used().map(|entry| entry.what.as_str()).collect::<Vec<_>>(), ["is larger than 4 MiB"]);
}

#[test]
fn a_bad_file_at_the_first_start_stops_nobody() {
    let mut layer = Layer::default();
    let template = Change::Read(Box::new(load("t.yaml", "apiVersion: v1\n{{- if x }}\n")));
    let broken = Change::Read(Box::new(load("b.yaml", "apiVersion: [")));
    let good = Change::Read(Box::new(load("g.yaml", &account("x", "v1"))));
    layer.apply([("t.yaml".into(), template), ("b.yaml".into(), broken), ("g.yaml".into(), good)]);
    assert_eq!(state(&layer), ["x=v1@g.yaml:2"]);
    let found = findings(&layer);
    assert!(
        found.len() == 1 && found[0].starts_with("error: the file cannot be parsed") && found[0].contains("(b.yaml:"),
        "{found:#?}"
    );
    assert_eq!(layer.not_used().map(|entry| entry.what.as_str()).collect::<Vec<_>>(), ["a template"]);
}

#[test]
fn of_two_claims_the_first_by_path_is_in_force() {
    let in_either_order = [["a.yaml", "b.yaml"], ["b.yaml", "a.yaml"]];
    for order in in_either_order {
        let mut layer = Layer::default();
        for file in order {
            step(&mut layer, file, Some(&account("x", &file[..1])));
        }
        assert_eq!(state(&layer), ["x=a@a.yaml:2"], "{order:?}");
        assert_eq!(
            findings(&layer),
            ["error: ServiceAccount/default/x: also stands in a.yaml:2, which is in force (b.yaml:2)"]
        );
        let applied = step(&mut layer, "a.yaml", None);
        assert_eq!((names(applied.changed), state(&layer)), (vec!["x".to_owned()], vec!["x=b@b.yaml:2".to_owned()]));
        assert!(findings(&layer).is_empty());
    }
    let mut layer = Layer::default();
    step(&mut layer, "a.yaml", Some(&(account("x", "v1") + &account("x", "v2"))));
    assert_eq!(state(&layer), ["x=v1@a.yaml:2"]);
    assert_eq!(
        findings(&layer),
        ["error: ServiceAccount/default/x: also stands in a.yaml:2, which is in force (a.yaml:6)"]
    );
}

#[test]
fn an_object_that_moves_between_files_is_the_same() {
    let mut layer = Layer::default();
    step(&mut layer, "b.yaml", Some(&account("x", "v1")));
    let before = Arc::clone(&layer.objects()[&layer.objects().keys().next().expect("an object").clone()]);
    for order in [["a.yaml", "b.yaml"], ["c.yaml", "a.yaml"]] {
        let [to, from] = order;
        let moved = Change::Read(Box::new(load(to, &account("x", "v1"))));
        let applied = layer.apply([(Arc::from(from), Change::Gone), (Arc::from(to), moved)]);
        assert_eq!((applied.changed.len(), applied.touched.len()), (0, 1));
        let now = layer.objects().values().next().expect("an object");
        assert!(Arc::ptr_eq(&before.meta, &now.meta));
        assert_eq!(&*now.origin.file, to);
    }
}
