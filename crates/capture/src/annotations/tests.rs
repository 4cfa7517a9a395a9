//! Annotation values in, what is captured or which entries are wrong out.

use std::collections::BTreeMap;

use super::{AnnotationError, PREFIX, from_annotations};
use crate::{Ports, Ranges, Sidecar};

fn read(pairs: &[(&str, &str)]) -> Result<Sidecar, Vec<AnnotationError>> {
    let map: BTreeMap<_, _> =
        pairs.iter().map(|(name, value)| (format!("{PREFIX}{name}"), (*value).to_owned())).collect();
    from_annotations(&map)
}

#[test]
fn values_are_read_as_istio_reads_them() {
    let default = Sidecar::default;
    let ranges = |list: &[&str]| list.iter().map(|range| range.parse().expect("a range")).collect::<Vec<_>>();
    let cases: [(&[(&str, &str)], Sidecar); 8] = [
        (&[], default()),
        (&[("includeInboundPorts", "*"), ("includeOutboundIPRanges", " * ")], default()),
        (&[("includeInboundPorts", "")], Sidecar { inbound: Ports::Only(vec![]), ..default() }),
        (&[("includeInboundPorts", "80, 443,")], Sidecar { inbound: Ports::Only(vec![80, 443]), ..default() }),
        (&[("excludeInboundPorts", "9000")], Sidecar { inbound_excluded: vec![9000], ..default() }),
        (&[("includeOutboundIPRanges", "")], Sidecar { outbound: Ranges::Only(vec![]), ..default() }),
        (
            &[("excludeOutboundIPRanges", "10.1.0.0/16,1.2.3.4,fd00::/8")],
            Sidecar { outbound_excluded: ranges(&["10.1.0.0/16", "1.2.3.4/32", "fd00::/8"]), ..default() },
        ),
        (
            &[("includeOutboundPorts", "5432"), ("excludeOutboundPorts", "22,53")],
            Sidecar { outbound_ports: vec![5432], outbound_ports_excluded: vec![22, 53], ..default() },
        ),
    ];
    for (annotations, expected) in cases {
        assert_eq!(read(annotations), Ok(expected), "{annotations:?}");
    }
}

#[test]
fn everything_wrong_is_named_at_once() {
    let errors = read(&[
        ("includeInboundPorts", "http"),
        ("excludeOutboundPorts", "0,70000,80"),
        ("excludeOutboundIPRanges", "10.0.0.0/33"),
    ])
    .expect_err("wrong values");
    let entries: Vec<_> = errors.iter().map(|error| error.entry.as_str()).collect();
    assert_eq!(entries, ["http", "10.0.0.0/33", "0", "70000"]);
    insta::assert_snapshot!(
        errors[0],
        @r#"annotation traffic.sidecar.istio.io/includeInboundPorts: "http" is not a port from 1 to 65535, for example "8080,9000""#
    );
}
