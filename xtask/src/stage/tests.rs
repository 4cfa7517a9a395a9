//! Which lines of cargo's output name an executable.

use super::*;

#[test]
fn only_artifacts_with_an_executable_count() {
    let messages = concat!(
        r#"{"reason":"compiler-artifact","target":{"name":"serde"},"executable":null}"#,
        "\n",
        r#"{"reason":"compiler-artifact","target":{"name":"capture"},"executable":"/x/capture-0f1e"}"#,
        "\n",
        r#"{"reason":"build-finished","success":true}"#,
        "\nnot json\n",
    );
    assert_eq!(parse_executables(messages), [("capture".to_owned(), PathBuf::from("/x/capture-0f1e"))]);
}
