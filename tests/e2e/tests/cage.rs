//! What a workload, and a command beside it, cannot do: read the mesh's secrets, leave its capture, see others.
//!
//! Runs as an ordinary user and once more as root.

use std::{
    fs,
    io::Write as _,
    os::unix::net::UnixListener,
    path::{Path, PathBuf},
};

use mizzen_e2e::{
    Mesh, check_all, eventually,
    manifest::{client, deployment, documents, service},
    outside,
};

fn manifests() -> String {
    documents(&[
        &deployment("echo", "mizzen-peer echo --port 8080 --name secretive").port(8080),
        &service("echo", &[("http", 80, 8080)]),
        &client("client"),
    ])
}

/// All files and sockets below a directory.
fn below(directory: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    entries.flat_map(|path| if path.is_dir() { below(&path) } else { vec![path] }).collect()
}

fn refused(mesh: &Mesh, script: &str) {
    let output = mesh.exec("client", &["sh", "-c", script]);
    assert!(!output.succeeded(), "{script} was let through: {output:?}");
}

fn secrets_are_not_there(mesh: &Mesh) {
    let state = below(&mesh.state());
    let key = state.iter().find(|path| path.ends_with("ca-key.pem")).expect("the authority has a key");
    let text = fs::read_to_string(key).expect("whoever runs the mesh can read it");
    assert!(text.contains("PRIVATE KEY"), "it is a key");
    let sockets = below(&mesh.runtime());
    assert!(sockets.iter().any(|path| path.ends_with("mizzend.sock")), "there is a control socket: {sockets:?}");
    for path in state.iter().chain(&sockets) {
        refused(mesh, &format!("cat '{0}' || head -c1 '{0}'", path.display()));
    }
    for socket in &sockets {
        let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('{}')", socket.display());
        refused(mesh, &format!("/usr/bin/python3 -c \"{connect}\""));
    }
    // Nor through a process, a nested namespace, or what it inherited.
    let key = key.display();
    for script in [
        format!("cat /proc/[0-9]*/root{key}"),
        format!("unshare -Urm sh -c 'umount -R {}; cat {key}'", mesh.state().display()),
        "cat /proc/self/fd/[3-9]* /proc/1/fd/[3-9]* | grep -q .".to_owned(),
        "env | grep -i -e token -e private".to_owned(),
    ] {
        refused(mesh, &script);
    }
}

fn masks_are_what_refuses(mesh: &Mesh) {
    // The same kinds of access to what is not masked go through, so that a refusal above means something.
    let open = mesh.directory().parent().map(|root| root.join("open")).expect("a parent");
    fs::create_dir_all(&open).expect("a directory");
    fs::File::create(open.join("file")).and_then(|mut file| file.write_all(b"text")).expect("a file");
    let _listener = UnixListener::bind(open.join("socket")).expect("a socket");
    let connect = format!("import socket; socket.socket(socket.AF_UNIX).connect('{}/socket')", open.display());
    let script = format!("cat '{}/file' && /usr/bin/python3 -c \"{connect}\"", open.display());
    let output = mesh.exec("client", &["sh", "-c", &script]);
    assert!(output.succeeded() && output.out == "text", "{output:?}");
}

fn capture_cannot_be_left(mesh: &Mesh) {
    let output = mesh.exec("client", &["sh", "-c", "grep '^Cap\\|^NoNewPrivs' /proc/self/status"]);
    for line in output.out.lines() {
        let value = line.split_whitespace().nth(1).unwrap_or_default();
        let wanted = if line.starts_with("NoNewPrivs") { "1" } else { "0000000000000000" };
        assert_eq!(value, wanted, "{output:?}");
    }
    assert_eq!(output.out.lines().count(), 6, "five sets and a flag: {output:?}");
    for script in [
        // SO_MARK with the proxy's marks, alone and in a namespace of its own.
        "exec /usr/bin/python3 -c 'import socket; socket.socket().setsockopt(1, 36, 1337)'",
        "exec /usr/bin/python3 -c 'import socket; socket.socket().setsockopt(1, 36, 1338)'",
        "PATH=$PATH:/usr/sbin:/sbin nft list ruleset",
        "PATH=$PATH:/usr/sbin:/sbin nft flush ruleset",
        "PATH=$PATH:/usr/sbin:/sbin unshare -Ur nft flush ruleset",
        "PATH=$PATH:/usr/sbin:/sbin ip address add 10.244.7.7/16 dev eth0",
        "PATH=$PATH:/usr/sbin:/sbin ip link set eth0 down",
        "mount -t tmpfs none /mnt",
        "nsenter -t 1 -n true",
        "exec /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_PACKET, socket.SOCK_RAW)'",
        "exec /usr/bin/python3 -c 'import socket; socket.socket(socket.AF_INET, socket.SOCK_RAW, 1)'",
    ] {
        refused(mesh, script);
    }
}

fn others_are_invisible(mesh: &Mesh) {
    let output = mesh.exec("client", &["sh", "-c", "cat /proc/[0-9]*/cmdline | tr '\\0' ' '"]);
    for other in ["mizzend", "mizzen-proxy", "mizzen up", "secretive"] {
        assert!(!output.out.contains(other), "{other} is visible: {output:?}");
    }
    assert!(output.out.contains("sleep 100000"), "its own workload is: {output:?}");
    // A signal to everything it may signal leaves the proxy, the neighbours and the control plane as they were.
    mesh.exec("client", &["sh", "-c", "kill -9 -1"]);
    mesh.control_plane();
    assert_eq!(mesh.curl("echo", &["http://echo/"]).0, 200);
}

fn the_host_is_out_of_reach(mesh: &Mesh) {
    let port = outside::serve("never to be read");
    for host in ["127.0.0.1", "[::1]", "host.mizzen.internal", "10.244.255.254", "10.244.0.1"] {
        let (status, body) = mesh.curl("echo", &[&format!("http://{host}:{port}/")]);
        assert_ne!(status, 200, "{host}: {body}");
    }
    // The control plane takes nobody without a token or a certificate.
    for method in [
        "istio.v1.auth.IstioCertificateService/CreateCertificate",
        "envoy.service.discovery.v3.AggregatedDiscoveryService/DeltaAggregatedResources",
    ] {
        let empty = "printf '\\0\\0\\0\\0\\0'";
        let ask = format!(
            "{empty} | curl -sik --max-time 10 --http2 -H 'content-type: application/grpc' -H 'te: trailers' --data-binary @- https://10.244.0.1:15012/{method}"
        );
        // The refusal is followed by a reset, because the body is not read; curl prints nothing if it meets the reset first.
        let output = eventually(&format!("{method}: an answer"), || {
            Some(mesh.exec("echo", &["sh", "-c", &ask])).filter(|output| !output.out.is_empty())
        });
        assert!(output.out.contains("grpc-status: 16"), "{method}: unauthenticated: {output:?}");
    }
    let (status, _) = mesh.curl("echo", &["http://10.244.0.1:15010/"]);
    assert_ne!(status, 200, "plain xDS is on its loopback only");
}

#[test]
fn a_workload_cannot_leave_its_cage() {
    let mesh = Mesh::up(&[("mesh.yaml", &manifests())], &[]);
    check_all(
        &mesh,
        &[
            ("keys, tokens and sockets are masked", &secrets_are_not_there),
            ("what is not masked can be reached", &masks_are_what_refuses),
            ("marks, rules and links are refused", &capture_cannot_be_left),
            ("the host's loopback is out of reach", &the_host_is_out_of_reach),
            ("other processes are invisible", &others_are_invisible),
        ],
    );
}
