//! Positions, scalars, bounds.

use super::{Node, Scalar, Style, Value, parse};

fn one(text: &str) -> Node {
    let mut documents = parse(text).expect("the text is YAML");
    assert_eq!(documents.len(), 1, "{text}");
    let document = documents.remove(0);
    assert!(document.problems.is_empty(), "{:?}", document.problems);
    document.root
}

fn messages(text: &str) -> Vec<(Option<u32>, String)> {
    parse(text)
        .expect("the text is YAML")
        .into_iter()
        .flat_map(|document| document.problems)
        .map(|problem| (problem.line, problem.message))
        .collect()
}

#[test]
fn every_key_and_value_knows_its_line() {
    let text = "# comment\nspec:\n  http:\n    - name: a\n      match:\n      - uri: {prefix: /a}\n    -\n      name: b\n  \"x.y\": 1\n";
    let lines = one(text).line_map();
    let cases = [
        ("", 2),
        ("spec", 2),
        ("spec.http", 3),
        ("spec.http[0]", 4),
        ("spec.http[0].name", 4),
        ("spec.http[0].match", 5),
        ("spec.http[0].match[0].uri.prefix", 6),
        ("spec.http[1].name", 8),
        ("spec[\"x.y\"]", 9),
        // What is not written down is found at its nearest ancestor.
        ("spec.http[0].match[7].uri", 5),
        ("spec.tcp[0]", 2),
        ("other", 2),
    ];
    for (path, line) in cases {
        assert_eq!(lines.line_of(path), line, "{path}");
    }
}

#[test]
fn scalars_follow_the_core_schema() {
    let cases = [
        ("", Scalar::Null),
        ("~", Scalar::Null),
        ("null", Scalar::Null),
        ("true", Scalar::Bool(true)),
        ("False", Scalar::Bool(false)),
        ("yes", Scalar::Text("yes")),
        ("off", Scalar::Text("off")),
        ("n", Scalar::Text("n")),
        ("0", Scalar::Int(0)),
        ("-17", Scalar::Int(-17)),
        ("+1", Scalar::Int(1)),
        ("0x1F", Scalar::Int(31)),
        ("0o17", Scalar::Int(15)),
        ("0644", Scalar::Int(420)),
        ("089", Scalar::Int(89)),
        ("1_000", Scalar::Text("1_000")),
        ("--1", Scalar::Text("--1")),
        ("1.10", Scalar::Float(1.1)),
        ("1e3", Scalar::Float(1000.0)),
        (".5", Scalar::Float(0.5)),
        ("-.inf", Scalar::Float(f64::NEG_INFINITY)),
        ("inf", Scalar::Text("inf")),
        ("nan", Scalar::Text("nan")),
        ("infinity", Scalar::Text("infinity")),
        ("1.2.3", Scalar::Text("1.2.3")),
        ("10.0.0.1", Scalar::Text("10.0.0.1")),
        (".", Scalar::Text(".")),
        ("-", Scalar::Text("-")),
        ("2024-01-01", Scalar::Text("2024-01-01")),
        ("12:30:45", Scalar::Text("12:30:45")),
        ("0x", Scalar::Text("0x")),
    ];
    for (text, expected) in cases {
        assert_eq!(Scalar::resolve(text), expected, "{text:?}");
    }
}

#[test]
fn styles_and_tags() {
    let node = one("a: \"1\"\nb: !!str 1\nc: |\n  text\nd: 'x'\ne: 1\n");
    let style = |key: &str| match node.get(key).map(|value| &value.value) {
        Some(Value::Text { style, .. }) => Some(*style),
        _ => None,
    };
    let found = ["a", "b", "c", "d", "e"].map(style);
    let expected = [Style::Quoted, Style::Quoted, Style::Quoted, Style::Quoted, Style::Plain].map(Some);
    assert_eq!(found, expected);
    assert_eq!(node.get("c").map(|value| value.line), Some(4), "a block begins where its text does");
}

#[test]
fn duplicate_keys_are_problems_of_their_document() {
    assert_eq!(messages("a: 1\nb: 2\na: 3\n"), [(Some(3), "the key `a` stands here twice".to_owned())]);
    assert_eq!(messages("a: {x: 1, x: 2}\n").len(), 1);
    assert_eq!(messages("[a]: 1\n").len(), 1);
}

#[test]
fn merge_keys_fill_in_what_is_not_there() {
    let node = one("base: &base {a: 1, b: 2}\nuse:\n  <<: *base\n  b: 3\n  c: 4\n");
    let value = |key: &str| node.get("use").and_then(|map| map.get(key)).and_then(Node::text);
    assert_eq!([value("a"), value("b"), value("c")], [Some("1"), Some("3"), Some("4")]);
    assert_eq!(messages("a:\n  <<: 1\n").len(), 1);
}

#[test]
fn sizes_are_bounded() {
    let deep = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    assert!(parse(&deep(64)).is_ok());
    let bombs = [
        deep(65),
        deep(100_000),
        "a: &a [*a]".to_owned(),
        // Each line is nine times the one above.
        (1..10).fold("x0: &x0 [a, a, a, a, a, a, a, a, a]\n".to_owned(), |text, n| {
            let before = format!("*x{}, ", n - 1).repeat(9);
            format!("{text}x{n}: &x{n} [{before}]\n")
        }),
        // Many copies of one long text.
        format!("a: &a {}\nb: [{}]\n", "x".repeat(10_000), "*a, ".repeat(1_000)),
        // A deep value below a deep place.
        format!("a: &a {}\nb: {}*a{}\n", deep(40), "[".repeat(40), "]".repeat(40)),
        format!("[{}]", "1,".repeat(600_000)),
    ];
    for bomb in bombs {
        let start: String = bomb.chars().take(60).collect();
        assert!(parse(&bomb).is_err(), "{start}");
    }
}

#[test]
fn syntax_errors_have_a_place() {
    let cases =
        ["a: [1, 2\nb: 3\n", "a:\n  b: 1\n c: 2\n", "a: \"unclosed\n", "a: b: c\n", "- a\nb: c\n", "*unknown\n"];
    for text in cases {
        let error = parse(text).expect_err(text);
        assert!(error.line >= 1 && !error.message.is_empty(), "{text:?}: {error}");
    }
}

#[test]
fn texts_that_once_broke_a_reader() {
    for text in [
        "",
        "---\n---\n",
        "\u{feff}a: 1\n",
        "a: 1\r\nb: 2\r\n",
        "%YAML 1.2\n---\na: 1\n...\n",
        "a:\n- b\n- c\n",
        "\0",
        "{",
        "&",
        "? a\n: b\n",
    ] {
        let _ = parse(text);
    }
    assert_eq!(one("\u{feff}a: 1\r\nb: 2\r\n").get("b").map(|value| value.line), Some(2));
    assert_eq!(one("a:\n- b\n- c\n").line_map().line_of("a[1]"), 3);
}
