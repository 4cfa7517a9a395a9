//! The samples of this repository load without an error, and nothing in them is left aside.

use std::{fs, path::Path};

use mizzen_api::{Severity, load};

#[test]
fn samples_are_good_examples() {
    let samples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../samples");
    let mut open = vec![samples];
    let mut objects = 0;
    while let Some(directory) = open.pop() {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "yaml") {
                let name = path.display().to_string();
                let result = load(&name, &fs::read_to_string(&path).expect("a sample can be read"));
                assert!(result.unparsable.is_none(), "{:?}", result.unparsable);
                assert!(result.rejected.is_empty(), "{:#?}", result.rejected);
                assert!(result.not_used.is_empty(), "{name}: {:?}", result.not_used);
                let findings = result.objects.iter().flat_map(|object| object.findings.iter());
                let bad: Vec<String> =
                    findings.filter(|finding| finding.severity != Severity::Info).map(ToString::to_string).collect();
                assert!(bad.is_empty(), "{bad:#?}");
                objects += result.objects.len();
            }
        }
    }
    assert!(objects > 0, "samples hold objects");
}
