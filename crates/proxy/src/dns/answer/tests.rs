//! Questions and what the name table says.

use std::net::IpAddr;

use hickory_proto::{
    op::{Message, Query, ResponseCode},
    rr::{Name, RecordType},
};
use mizzen_snapshot::view::Names;

use super::{Outcome, answer};

fn names() -> Names {
    let mut names = Names::default();
    let ips = |list: &[&str]| list.iter().map(|ip| ip.parse().expect("an address")).collect::<Vec<IpAddr>>().into();
    names.addresses.insert("reviews.default.svc.cluster.local".into(), ips(&["10.96.0.7"]));
    names.addresses.insert("reviews".into(), ips(&["10.96.0.7"]));
    names.addresses.insert("both.example".into(), ips(&["10.96.0.8", "fd00::8", "10.96.0.9"]));
    names.wildcards.insert("wild.example".into(), ips(&["10.96.0.10"]));
    names
}

fn ask(name: &str, kind: RecordType, names: Option<&Names>) -> Option<(ResponseCode, Vec<String>)> {
    let mut query = Message::query();
    query.add_query(Query::query(Name::from_ascii(name).expect("a name"), kind));
    match answer(&query, names, &["default.svc.cluster.local".into()], 0) {
        Outcome::Forward => None,
        Outcome::Reply(reply) => {
            let answers = reply.answers.iter().map(|a| a.data.to_string()).collect();
            Some((reply.metadata.response_code, answers))
        }
    }
}

#[test]
fn names_of_the_mesh() {
    let ok = |answers: &[&str]| Some((ResponseCode::NoError, answers.iter().map(ToString::to_string).collect()));
    let cases = [
        ("reviews.default.svc.cluster.local.", RecordType::A, ok(&["10.96.0.7"])),
        ("REVIEWS.Default.svc.cluster.local.", RecordType::A, ok(&["10.96.0.7"])),
        ("reviews.default.svc.cluster.local.", RecordType::AAAA, ok(&[])),
        ("both.example.", RecordType::AAAA, ok(&["fd00::8"])),
        ("both.example.", RecordType::A, ok(&["10.96.0.8", "10.96.0.9"])),
        ("both.example.default.svc.cluster.local.", RecordType::AAAA, ok(&["both.example.", "fd00::8"])),
        ("a.b.wild.example.", RecordType::A, ok(&["10.96.0.10"])),
        ("wild.example.", RecordType::A, None),
        ("example.org.", RecordType::A, None),
        ("reviews.default.svc.cluster.local.", RecordType::TXT, None),
    ];
    for (name, kind, want) in cases {
        assert_eq!(ask(name, kind, Some(&names())), want, "{name} {kind}");
    }
}

#[test]
fn before_the_first_table_nothing_is_denied_or_leaked() {
    assert_eq!(ask("reviews.", RecordType::A, None), Some((ResponseCode::ServFail, vec![])));
}
