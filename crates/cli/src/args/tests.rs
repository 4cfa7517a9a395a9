//! What the command line means.

use super::*;

#[test]
fn publish_takes_an_address_a_port_or_both() {
    let publish = |address: Option<&str>, host_port, port| Publish {
        address: address.map(|text| text.parse().expect("an address")),
        host_port,
        port,
    };
    let cases = [
        ("9080:80", Some(publish(None, Some(9080), 80))),
        ("0.0.0.0:80", Some(publish(Some("0.0.0.0"), None, 80))),
        ("localhost:80", Some(publish(Some("127.0.0.1"), None, 80))),
        ("0.0.0.0:9080:80", Some(publish(Some("0.0.0.0"), Some(9080), 80))),
        ("[::1]:9080:80", Some(publish(Some("::1"), Some(9080), 80))),
        ("[::]:443", Some(publish(Some("::"), None, 443))),
        ("80", None),
        ("0:80", None),
        ("9080:0", None),
        ("nowhere:9080:80", None),
        ("99999:80", None),
    ];
    for (text, wanted) in cases {
        assert_eq!(text.parse::<Publish>().ok(), wanted, "{text}");
    }
}

#[test]
fn a_whole_command_line() {
    let line = ["mizzen", "up", "dir", "--for", "20s", "--report", "r.json", "--publish", "9080:80", "-v"];
    let arguments = Arguments::try_parse_from(line).expect("well-formed");
    let Command::Up(up) = arguments.command else { panic!("not `up`") };
    assert_eq!((up.run_for, up.ready_timeout), (Some(Duration::from_secs(20)), Duration::from_mins(1)));
    assert_eq!((up.publish.len(), up.verbose), (1, true));

    let arguments = Arguments::try_parse_from(["mizzen", "exec", "reviews", "--", "ls", "-l"]).expect("well-formed");
    assert!(matches!(arguments.command, Command::Exec { command, .. } if command == ["ls", "-l"]));
}

#[test]
fn an_unknown_kind_lists_the_known_ones() {
    let error = Arguments::try_parse_from(["mizzen", "get", "sidecars"]).expect_err("unknown").to_string();
    assert!(error.contains("VirtualService"), "{error}");
}
