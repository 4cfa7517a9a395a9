//! Real directories, looked at without events.

use std::{
    collections::BTreeSet,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use super::{Changes, Tree};
use crate::{layer::Change, temp::Temp, watcher::Watcher};

const OBJECT: &str = "apiVersion: v1\nkind: Namespace\nmetadata: {name: a}\n";

fn watcher() -> Watcher {
    Watcher::new(0, |_| {})
}

/// `+name` for what was read, `-name` for what is gone, `?name` for all else; names from the root on.
fn told(root: &Path, changes: &Changes) -> Vec<String> {
    let mut told: Vec<String> = changes
        .iter()
        .map(|(name, change)| {
            let mark = match change {
                Change::Read(_) => '+',
                Change::Gone => '-',
                Change::Aside(_) | Change::Unreadable(_) => '?',
            };
            let name = Path::new(&**name).strip_prefix(root).expect("a file below the root");
            format!("{mark}{}", name.display())
        })
        .collect();
    told.sort();
    told
}

fn write(path: PathBuf, text: &str) {
    fs::create_dir_all(path.parent().expect("a directory")).expect("a directory can be made");
    fs::write(path, text).expect("a file can be written");
}

#[test]
fn what_is_read_and_what_is_passed_over() {
    let temp = Temp::new();
    let root = temp.path();
    let read = ["a.yaml", "b.yml", "c.json", "D.YAML", ".dot.yaml", "sub/deep/e.yaml", "targets/f.yaml"];
    let passed =
        ["a.txt", "yaml", ".git/g.yaml", "node_modules/x/h.yaml", "sub/target/i.yaml", "vendor/j.yaml", "a.yaml~"];
    for name in read.iter().chain(&passed) {
        write(root.join(name), OBJECT);
    }
    fs::write(root.join("big.yaml"), vec![b' '; (4 << 20) + 1]).expect("a file can be written");
    fs::write(root.join("binary.yaml"), [0xff, 0xfe, 0]).expect("a file can be written");
    symlink("nowhere", root.join("dangling.yaml")).expect("a link can be made");
    let mut expected: Vec<String> = read.iter().map(|name| format!("+{name}")).collect();
    expected.extend(["?big.yaml".into(), "?binary.yaml".into()]);
    expected.sort();
    let mut tree = Tree::new(root);
    let mut watcher = watcher();
    assert_eq!(told(root, &tree.look_everywhere(&mut watcher)), expected);
    let again = tree.look_everywhere(&mut watcher);
    assert_eq!(told(root, &again), ["?big.yaml"], "what was not read is said again, nothing is read again");
    assert!(watcher.polled().contains(&root.join("sub/deep")) && !watcher.polled().contains(&root.join("vendor")));
}

#[test]
fn a_look_sees_what_changed() {
    let temp = Temp::new();
    let root = temp.path();
    write(root.join("a.yaml"), OBJECT);
    write(root.join("sub/b.yaml"), OBJECT);
    let mut tree = Tree::new(root);
    let mut watcher = watcher();
    tree.look_everywhere(&mut watcher);
    let mut look = |expected: &[&str]| {
        let paths: BTreeSet<PathBuf> = [root.to_owned(), root.join("sub")].into();
        assert_eq!(told(root, &tree.look_at(&paths, &mut watcher)), expected);
    };
    look(&[]);
    // The same length, within the same tick of the clock.
    write(root.join("a.yaml"), &OBJECT.replace("name: a", "name: b"));
    look(&["+a.yaml"]);
    write(root.join("new"), &OBJECT.replace("name: a", "name: c"));
    fs::rename(root.join("new"), root.join("a.yaml")).expect("rename over");
    look(&["+a.yaml"]);
    fs::rename(root.join("a.yaml"), root.join("z.yaml")).expect("rename");
    look(&["+z.yaml", "-a.yaml"]);
    write(root.join("sub/more/c.yaml"), OBJECT);
    look(&["+sub/more/c.yaml"]);
    fs::rename(root.join("sub"), root.join("sib")).expect("rename");
    look(&["+sib/b.yaml", "+sib/more/c.yaml", "-sub/b.yaml", "-sub/more/c.yaml"]);
    fs::remove_dir_all(root.join("sib")).expect("remove");
    look(&["-sib/b.yaml", "-sib/more/c.yaml"]);
}

#[test]
fn links_are_followed_once() {
    let temp = Temp::new();
    let root = temp.path();
    write(root.join("real/a.yaml"), OBJECT);
    write(root.join("..v1/b.yaml"), OBJECT);
    write(root.join("..v2/b.yaml"), &OBJECT.replace("name: a", "name: b"));
    let links = [("real", "link"), ("..", "real/up"), (".", "self"), ("..v1", "..data"), ("..data/b.yaml", "b.yaml")];
    for (target, link) in links {
        symlink(target, root.join(link)).expect("a link can be made");
    }
    let outside = Temp::new();
    write(outside.path().join("o.yaml"), OBJECT);
    symlink(outside.path(), root.join("outside")).expect("a link can be made");
    let mut tree = Tree::new(root);
    let mut watcher = watcher();
    assert_eq!(told(root, &tree.look_everywhere(&mut watcher)), ["+b.yaml", "+outside/o.yaml", "+real/a.yaml"]);
    // As Kubernetes swaps a mounted ConfigMap.
    symlink("..v2", root.join("..new")).expect("a link can be made");
    fs::rename(root.join("..new"), root.join("..data")).expect("swap");
    assert_eq!(told(root, &tree.look_at(&[root.join("..data")].into(), &mut watcher)), ["+b.yaml"]);
}

#[test]
fn a_root_that_vanishes_deletes_nothing() {
    let temp = Temp::new();
    let root = temp.path().join("root");
    write(root.join("a.yaml"), OBJECT);
    let mut tree = Tree::new(&root);
    let mut watcher = watcher();
    tree.look_everywhere(&mut watcher);
    let away = temp.path().join("away");
    fs::rename(&root, &away).expect("rename");
    assert!(tree.look_everywhere(&mut watcher).is_empty() && tree.root_error.is_some());
    write(root.join("b.yaml"), OBJECT);
    assert_eq!(told(&root, &tree.look_everywhere(&mut watcher)), ["+b.yaml", "-a.yaml"]);
    assert!(tree.root_error.is_none());
}
