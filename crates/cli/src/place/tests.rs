//! Names of places, and whom a directory may belong to.

use std::os::unix::fs::PermissionsExt as _;

use super::*;

/// A directory of its own for one test, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("mizzen-place-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("a scratch directory can be made");
        Self(fs::canonicalize(path).expect("it was just made"))
    }

    fn homes(&self) -> Homes {
        Homes { state: self.0.join("state/mizzen"), runtime: self.0.join("run/mizzen") }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn two_directories_of_one_name_have_two_places() {
    let scratch = Scratch::new("names");
    let (one, two) = (scratch.0.join("a/shop"), scratch.0.join("b/shop"));
    for directory in [&one, &two] {
        fs::create_dir_all(directory).expect("it can be made");
    }
    let (one, two) = (Place::of(&one, &scratch.homes()), Place::of(&two, &scratch.homes()));
    let (one, two) = (one.expect("exists"), two.expect("exists"));
    assert_ne!(one.state, two.state);
    let name = one.state.file_name().expect("it has a name").to_string_lossy().into_owned();
    assert!(name.starts_with("shop-") && name.len() == "shop-".len() + 8, "{name}");
    assert_eq!(Place::of(&scratch.0.join("a/../a/shop"), &scratch.homes()).expect("exists").state, one.state);
}

#[test]
fn a_directory_that_others_can_enter_is_refused() {
    let scratch = Scratch::new("owner");
    let place = Place::of(&scratch.0, &scratch.homes()).expect("exists");
    place.create().expect("ours");
    place.create().expect("still ours");
    fs::set_permissions(&place.runtime, fs::Permissions::from_mode(0o755)).expect("ours to change");
    let error = place.create().expect_err("open to others").to_string();
    assert!(error.contains("0700"), "{error}");
}

#[test]
fn a_missing_directory_is_named() {
    let scratch = Scratch::new("missing");
    let error = Place::of(&scratch.0.join("nowhere"), &scratch.homes()).expect_err("missing");
    assert!(format!("{error:#}").contains("nowhere"));
}
