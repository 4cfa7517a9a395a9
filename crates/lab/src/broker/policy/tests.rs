//! Destinations and `resolv.conf` texts in, what is dialled out.

use rustix::io::Errno;

use super::{destination, name_servers};

#[test]
fn only_the_outside_is_dialled() {
    let servers = ["127.0.0.53:53".parse().expect("address")];
    let cases = [
        ("93.184.216.34:443", false, Ok("93.184.216.34:443")),
        ("[2001:db8::1]:443", false, Ok("[2001:db8::1]:443")),
        ("192.168.1.1:80", false, Ok("192.168.1.1:80")),
        ("127.0.0.1:80", true, Err(Errno::ACCESS)),
        ("127.9.9.9:80", false, Err(Errno::ACCESS)),
        ("[::1]:80", false, Err(Errno::ACCESS)),
        ("[::ffff:127.0.0.1]:80", true, Err(Errno::ACCESS)),
        ("[::ffff:93.184.216.34]:443", false, Ok("93.184.216.34:443")),
        ("0.0.0.0:80", false, Err(Errno::ACCESS)),
        ("[::]:80", false, Err(Errno::ACCESS)),
        ("169.254.169.254:80", true, Err(Errno::ACCESS)),
        ("[fe80::1]:80", false, Err(Errno::ACCESS)),
        ("224.0.0.1:80", false, Err(Errno::ACCESS)),
        ("255.255.255.255:80", false, Err(Errno::ACCESS)),
        ("10.244.255.254:8080", false, Err(Errno::ACCESS)),
        ("10.244.255.254:8080", true, Ok("127.0.0.1:8080")),
        ("10.244.1.1:80", true, Err(Errno::HOSTUNREACH)),
        ("10.96.0.1:443", false, Err(Errno::HOSTUNREACH)),
        ("[fd77:6d7a::1]:15012", false, Err(Errno::HOSTUNREACH)),
        ("127.0.0.53:53", false, Ok("127.0.0.53:53")),
        ("127.0.0.53:80", false, Err(Errno::ACCESS)),
    ];
    for (asked, host_access, expected) in cases {
        let dialled =
            destination(asked.parse().expect("address"), host_access, &servers).map(|address| address.to_string());
        assert_eq!(dialled.as_deref().map_err(|error| *error), expected, "{asked}, host access {host_access}");
    }
}

#[test]
fn name_servers_are_of_one_family() {
    let cases: [(&str, &[&str]); 5] = [
        ("search x\nnameserver 192.0.2.53\nnameserver 192.0.2.54 # second", &["192.0.2.53:53", "192.0.2.54:53"]),
        ("nameserver ::1\nnameserver 192.0.2.53", &["192.0.2.53:53"]),
        ("nameserver 2001:db8::53\n", &["[2001:db8::53]:53"]),
        ("", &["127.0.0.1:53"]),
        ("nameserver nonsense\n#nameserver 1.1.1.1", &["127.0.0.1:53"]),
    ];
    for (text, expected) in cases {
        let servers: Vec<_> = name_servers(text).iter().map(ToString::to_string).collect();
        assert_eq!(servers, expected, "{text:?}");
    }
}
