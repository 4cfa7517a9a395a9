//! Order, repetition, overflow and the packed form of flags.

use super::{Flag, Flags};

#[test]
fn prints_in_the_order_of_setting() {
    let cases: &[(&[Flag], &str)] = &[
        (&[], "-"),
        (&[Flag::NoRoute], "NR"),
        (&[Flag::RetryLimitExceeded, Flag::UpstreamConnectFailure], "URX,UF"),
        (&[Flag::UpstreamConnectFailure, Flag::RetryLimitExceeded], "UF,URX"),
        (&[Flag::UpstreamTimeout, Flag::UpstreamTimeout], "UT"),
    ];
    for (set, printed) in cases {
        let flags: Flags = set.iter().copied().collect();
        assert_eq!(flags.to_string(), *printed);
        assert_eq!(Flags::from_bits(flags.to_bits()), flags, "{printed}");
        assert_eq!(flags.is_empty(), set.is_empty());
        assert!(set.iter().all(|flag| flags.contains(*flag)));
    }
}

#[test]
fn a_sixth_flag_is_ignored() {
    let flags: Flags = Flag::ALL.iter().copied().collect();
    assert_eq!(flags.iter().count(), Flags::MAX);
    assert!(!flags.contains(Flag::LocalReset));
    assert_eq!(Flags::from_bits(flags.to_bits()), flags);
}

#[test]
fn short_names_are_distinct() {
    for (place, flag) in Flag::ALL.iter().enumerate() {
        assert!(Flag::ALL[..place].iter().all(|other| other.short() != flag.short()), "{}", flag.short());
    }
}
