//! What is printed can be read again.

use super::{Path, Step, steps};

#[test]
fn printed_and_read_again() {
    let names = ["spec", "x-user", "app.kubernetes.io/name", "", "a\"b", "a\\b", "a\"]b", "ä\n", "0"];
    for name in names {
        let spec = Path::ROOT.field("spec");
        let http = spec.field("http");
        let rule = http.index(3);
        let leaf = rule.field(name);
        let printed = leaf.to_string();
        let read: Vec<Step<'_>> = steps(&printed).collect();
        let expected =
            [Step::Field("spec".into()), Step::Field("http".into()), Step::Index(3), Step::Field(name.into())];
        assert_eq!(read, expected, "{printed}");
    }
    assert_eq!(Path::ROOT.field("a.b").field("c").to_string(), "[\"a.b\"].c");
    assert_eq!(steps("a[x].b").collect::<Vec<_>>(), [Step::Field("a".into())]);
    assert_eq!(steps("").count(), 0);
    assert_eq!(steps("[\"open").count(), 0);
}
