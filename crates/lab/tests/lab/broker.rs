//! The egress broker, on the host and from inside a sandbox.

use std::{
    io::{Read as _, Write as _},
    net::{IpAddr, Ipv4Addr, TcpListener, TcpStream, UdpSocket},
    os::fd::OwnedFd,
};

use mizzen_lab::{Broker, BrokerOptions, Role, SpawnSpec};
use mizzen_net::fdpass;
use socket2::{Domain, Socket, Type};

use crate::fixture::{PYTHON, Sandbox};

struct Proxy(OwnedFd);

impl Proxy {
    fn ask(&self, request: &str) {
        fdpass::send(&self.0, request.as_bytes(), &[]).expect("send");
    }

    fn answer(&self) -> (String, Option<OwnedFd>) {
        let mut buffer = [0; 4096];
        let mut packet = fdpass::recv(&self.0, &mut buffer).expect("recv");
        (String::from_utf8_lossy(&buffer[..packet.len]).into_owned(), packet.fds.pop())
    }
}

fn broker(host_access: bool) -> (Broker, Proxy) {
    let broker = Broker::start(BrokerOptions { host_access }).expect("start");
    let proxy = Proxy(broker.attach().expect("attach"));
    (broker, proxy)
}

/// An address of this machine that is not loopback, if it has one: what the kernel would send from. Nothing is sent.
fn own_address() -> Option<IpAddr> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0)).ok()?;
    socket.connect(("198.51.100.1", 9)).ok()?;
    socket.local_addr().ok().map(|address| address.ip()).filter(|address| !address.is_loopback())
}

fn exchange(fd: OwnedFd, listener: &TcpListener) {
    let mut ours = TcpStream::from(fd);
    ours.set_nonblocking(false).expect("blocking");
    let (mut theirs, _) = listener.accept().expect("accept");
    theirs.write_all(b"hello").expect("write");
    drop(theirs);
    let mut text = String::new();
    ours.read_to_string(&mut text).expect("read");
    assert_eq!(text, "hello");
}

#[test]
fn loopback_is_refused_and_the_outside_connected() {
    let (_broker, proxy) = broker(false);
    let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0)).expect("bind");
    let port = listener.local_addr().expect("bound").port();
    for (id, host) in ["127.0.0.1", "10.244.255.254", "0.0.0.0", "[::1]", "[::ffff:127.0.0.1]"].into_iter().enumerate()
    {
        proxy.ask(&format!(r#"{{"id":{id},"connect":"{host}:{port}"}}"#));
        let (answer, fd) = proxy.answer();
        assert_eq!(
            (answer.as_str(), fd.is_none()),
            (format!(r#"{{"id":{id},"ok":false,"error":"EACCES"}}"#).as_str(), true)
        );
    }
    if let Some(address) = own_address() {
        proxy.ask(&format!(r#"{{"id":9,"connect":"{address}:{port}"}}"#));
        let (answer, fd) = proxy.answer();
        assert_eq!(answer, r#"{"id":9,"ok":true}"#);
        exchange(fd.expect("a socket"), &listener);
    }
}

#[test]
fn host_access_leads_to_loopback_and_errors_have_names() {
    let (_broker, proxy) = broker(true);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let port = listener.local_addr().expect("bound").port();
    proxy.ask(&format!(r#"{{"id":1,"connect":"10.244.255.254:{port}"}}"#));
    let (answer, fd) = proxy.answer();
    assert_eq!(answer, r#"{"id":1,"ok":true}"#);
    exchange(fd.expect("a socket"), &listener);
    // Bound and not listening: refused, and no parallel test can take the port.
    let closed = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    closed.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind");
    let port = closed.local_addr().ok().and_then(|address| address.as_socket()).expect("bound").port();
    let cases = [
        (format!(r#"{{"id":2,"connect":"10.244.255.254:{port}"}}"#), r#"{"id":2,"ok":false,"error":"ECONNREFUSED"}"#),
        (r#"{"id":3,"connect":"example.com:80"}"#.into(), r#"{"id":3,"ok":false,"error":"EINVAL"}"#),
        (r#"{"id":4,"udp":"ntp"}"#.into(), r#"{"id":4,"ok":false,"error":"EINVAL"}"#),
        (r#"{"id":5}"#.into(), r#"{"id":5,"ok":false,"error":"EINVAL"}"#),
        ("nonsense".into(), r#"{"id":0,"ok":false,"error":"EINVAL"}"#),
        (format!(r#"{{"id":6,"connect":"{}"}}"#, "1".repeat(8000)), r#"{"id":0,"ok":false,"error":"EINVAL"}"#),
    ];
    for (request, expected) in cases {
        proxy.ask(&request);
        assert_eq!(proxy.answer().0, expected, "{request}");
    }
}

#[test]
fn a_slow_connect_delays_nobody() {
    let (broker, slow) = broker(true);
    let other = Proxy(broker.attach().expect("attach"));
    // Nobody accepts here, and the kernel lets one connection wait: further ones are not answered.
    let full = Socket::new(Domain::IPV4, Type::STREAM, None).expect("socket");
    full.bind(&std::net::SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).expect("bind");
    full.listen(0).expect("listen");
    let address = full.local_addr().expect("bound").as_socket().expect("IPv4");
    let _waiting = TcpStream::connect(address).expect("the one that waits");
    for id in 1..=20 {
        slow.ask(&format!(r#"{{"id":{id},"connect":"10.244.255.254:{}"}}"#, address.port()));
    }
    for proxy in [&slow, &other] {
        proxy.ask(r#"{"id":99,"udp":"dns"}"#);
        let (answer, fd) = proxy.answer();
        assert!(answer.starts_with(r#"{"id":99,"ok":true,"servers":[""#) && answer.contains(":53\""), "{answer}");
        UdpSocket::from(fd.expect("a socket")).local_addr().expect("a UDP socket");
    }
    // A proxy that goes away takes its connects along; the others are served on.
    drop(slow);
    other.ask(r#"{"id":100,"udp":"dns"}"#);
    assert!(other.answer().0.contains(r#""id":100,"ok":true"#));
}

#[test]
fn a_proxy_in_the_sandbox_reaches_the_host_through_its_descriptor() {
    let sandbox = Sandbox::start_with(|options| options.host_access = true);
    sandbox.node(0, "a");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("bind");
    let program = "
import socket, sys
broker = socket.socket(fileno=7)
broker.send(b'{\"id\":1,\"connect\":\"10.244.255.254:%s\"}' % sys.argv[1].encode())
answer, fds, _, _ = socket.recv_fds(broker, 4096, 1)
s = socket.socket(fileno=fds[0]); s.setblocking(True)
print(answer.decode(), s.recv(100).decode())
";
    let port = listener.local_addr().expect("bound").port().to_string();
    let mut spec = SpawnSpec::new(Some("a"), Role::Proxy, PYTHON).args(["-c", program, &port]);
    spec.fds = vec![(sandbox.lab.broker_socket().expect("attach"), 7)];
    let mut proxy = sandbox.spawn(spec);
    let (mut theirs, _) = listener.accept().expect("accept");
    theirs.write_all(b"from the host").expect("write");
    assert_eq!(proxy.line(), "{\"id\":1,\"ok\":true} from the host\n");
}
