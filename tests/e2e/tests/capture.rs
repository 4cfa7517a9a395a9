//! Traffic of programs that nobody wrote for the mesh is captured, both ways, and what they are told stays true.

use mizzen_e2e::{
    Mesh, check_all, header,
    manifest::{client, deployment, documents, mesh_config, service},
    outside,
};
use serde_json::json;

/// One process, since there is one user in the sandbox; it says who called.
const NGINX: &str = "
daemon off; master_process off; user root; pid nginx.pid; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi; scgi_temp_path scgi; uwsgi_temp_path uwsgi;
  server { listen 80; listen [::]:80; location / { return 200 \"nginx asked by $http_x_forwarded_client_cert\\n\"; } }
}
";

/// gRPC without generated code: bytes in, bytes out.
const GRPC_SERVER: &str = "
import grpc
from concurrent import futures
def unary(request, context):
    context.set_trailing_metadata((('who', 'grpcio'),))
    return b'unary ' + request
def stream(requests, context):
    for request in requests: yield b'stream ' + request
def refuse(request, context): context.abort(grpc.StatusCode.FAILED_PRECONDITION, 'not now')
handlers = {
    'Unary': grpc.unary_unary_rpc_method_handler(unary),
    'Stream': grpc.stream_stream_rpc_method_handler(stream),
    'Refuse': grpc.unary_unary_rpc_method_handler(refuse),
}
server = grpc.server(futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler('test.Test', handlers),))
assert server.add_insecure_port('[::]:50051')
server.start()
server.wait_for_termination()
";

const GRPC_CLIENT: &str = "
import grpc
channel = grpc.insecure_channel('grpcio:50051')
answer, call = channel.unary_unary('/test.Test/Unary').with_call(b'one', timeout=20)
print(answer.decode(), dict(call.trailing_metadata())['who'])
print([part.decode() for part in channel.stream_stream('/test.Test/Stream')(iter([b'a', b'b', b'c']), timeout=20)])
try: channel.unary_unary('/test.Test/Refuse')(b'', timeout=20)
except grpc.RpcError as error: print(error.code().name, error.details())
";

/// A mail daemon: it speaks first. Python ships one up to 3.11; elsewhere a stand-in greets as it does.
const MAIL: &str = "
try:
    import asyncore, smtpd
    class Server(smtpd.SMTPServer):
        def process_message(self, *_, **__): pass
    Server(('0.0.0.0', 2525), None)
    asyncore.loop()
except ImportError:
    import socketserver
    class Handler(socketserver.StreamRequestHandler):
        def handle(self):
            self.wfile.write(b'220 ready\\r\\n')
            data = False
            for line in self.rfile:
                if data and line != b'.\\r\\n': continue
                if line.startswith(b'QUIT'): return self.wfile.write(b'221 bye\\r\\n')
                data = line.startswith(b'DATA')
                self.wfile.write(b'354 go on\\r\\n' if data else b'250 ok\\r\\n')
    socketserver.ThreadingTCPServer(('0.0.0.0', 2525), Handler).serve_forever()
";

/// Names by UDP, by TCP, and through the C library.
const NAMES: &str = "
import random, socket, struct
def query(name, kind): return struct.pack('>HHHHHH', random.randrange(65536), 0x100, 1, 0, 0, 0) + b''.join(
    bytes([len(part)]) + part.encode() for part in name.split('.')) + b'\\0' + struct.pack('>HH', kind, 1)
def code(answer): return answer[3] & 15, struct.unpack('>H', answer[6:8])[0]
server = next(line.split()[1] for line in open('/etc/resolv.conf') if line.startswith('nameserver'))
def udp(name, kind):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(10)
    s.sendto(query(name, kind), (server, 53)); return code(s.recv(4096))
def tcp(name, kind):
    s = socket.create_connection((server, 53), 10); message = query(name, kind)
    s.sendall(struct.pack('>H', len(message)) + message); return code(s.recv(4096)[2:])
full = 'nginx.default.svc.cluster.local'
print('udp', udp(full, 1)); print('tcp', tcp(full, 1))
print('none', udp('nobody.default.svc.cluster.local', 1)[1])
for name in ['nginx', 'nginx.default', 'nginx.default.svc', full]:
    print(name, socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0])
";

fn manifests() -> String {
    let python = "/usr/bin/python3";
    documents(&[
        &deployment("nginx", "/usr/sbin/nginx -e stderr -p . -c nginx.conf").port(80),
        &service("nginx", &[("http", 80, 80)]),
        &deployment("files", &format!("{python} -m http.server 8000")).port(8000),
        &service("files", &[("http", 80, 8000)]),
        &deployment("grpcio", &format!("{python} server.py")).port(50051),
        &service("grpcio", &[("grpc", 50051, 50051)]),
        &deployment("mail", &format!("{python} mail.py")).port(2525),
        &service("mail", &[("smtp", 25, 2525)]),
        &deployment("pods", "mizzen-peer echo --port 8080 --name pod").replicas(2).port(8080),
        &json!({"apiVersion": "v1", "kind": "Service", "metadata": {"name": "pods"}, "spec": {
            "clusterIP": "None", "selector": {"app": "pods"}, "ports": [{"name": "http", "port": 8080}],
        }}),
        &client("client"),
    ])
}

/// The identities that the server's proxy reports: both sides were passed, with certificates.
fn mtls(by: &str, from: &str) -> [String; 2] {
    let id = |account: &str| format!("spiffe://cluster.local/ns/default/sa/{account}");
    [format!("By={}", id(by)), format!("URI={}", id(from))]
}

fn curl_and_nginx(mesh: &Mesh) {
    for version in ["--http1.1", "--http2-prior-knowledge", "--http1.0"] {
        let (status, body) = mesh.curl("client", &[version, "http://nginx/"]);
        assert_eq!(status, 200, "{version}: {body}");
        for part in mtls("nginx", "client") {
            assert!(body.contains(&part), "{version}: {part} in {body}");
        }
    }
}

fn python_serves_and_asks(mesh: &Mesh) {
    let (status, body) = mesh.curl("client", &["http://files/"]);
    assert_eq!(status, 200, "{body}");
    assert!(body.contains("mesh.yaml"), "the listing of its directory: {body}");
    let script =
        "import urllib.request as r; print(r.urlopen('http://files/mesh.yaml', timeout=20).read().decode()[:20000])";
    let output = mesh.exec("client", &["/usr/bin/python3", "-c", script]);
    assert!(output.out.contains("http.server"), "{output:?}");
}

fn grpcio(mesh: &Mesh) {
    let output = mesh.exec("client", &["/usr/bin/python3", "client.py"]);
    let expected = "unary one grpcio\n['stream a', 'stream b', 'stream c']\nFAILED_PRECONDITION not now\n";
    assert_eq!(output.out, expected, "{output:?}");
}

fn a_mail_daemon_speaks_first(mesh: &Mesh) {
    let script = "printf 'Subject: hello\\r\\n\\r\\nhello\\r\\n' | curl -sv --max-time 20 smtp://mail --mail-from a@shop --mail-rcpt b@shop -T -";
    let output = mesh.exec("client", &["sh", "-c", script]);
    assert!(output.succeeded() && output.err.contains("< 220 "), "{output:?}");
}

fn a_call_to_itself_passes_both_sides(mesh: &Mesh) {
    let (status, body) = mesh.curl("nginx", &["http://nginx/"]);
    assert_eq!(status, 200, "{body}");
    for part in mtls("nginx", "nginx") {
        assert!(body.contains(&part), "{part} in {body}");
    }
    let (status, body) = mesh.curl("nginx", &["http://127.0.0.1/"]);
    assert_eq!((status, body.trim()), (200, "nginx asked by"), "loopback is its own");
}

fn names(mesh: &Mesh) {
    let output = mesh.exec("client", &["/usr/bin/python3", "-c", NAMES]);
    assert!(output.succeeded(), "{output:?}");
    let line = |name: &str| {
        output.out.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')).unwrap_or("no line")
    };
    assert_eq!((line("udp"), line("tcp"), line("none")), ("(0, 1)", "(0, 1)", "0"), "{output:?}");
    let address = line("nginx");
    assert!(address.starts_with("10.96."), "a service address: {output:?}");
    for name in ["nginx.default", "nginx.default.svc", "nginx.default.svc.cluster.local"] {
        assert_eq!(line(name), address, "{name}");
    }
}

fn headless_by_pod_address(mesh: &Mesh) {
    let output = mesh.exec("client", &["getent", "ahostsv4", "pods"]);
    let mut addresses: Vec<&str> = output.out.lines().filter_map(|line| line.split_whitespace().next()).collect();
    addresses.sort_unstable();
    addresses.dedup();
    assert_eq!(addresses.len(), 2, "both pods: {output:?}");
    for address in addresses {
        assert!(address.starts_with("10.244."), "{address}");
        let answer = mesh.ask("client", &[&format!("http://{address}:8080/")]);
        let certificate = header(&answer, "x-forwarded-client-cert");
        assert!(mtls("pods", "client").iter().all(|part| certificate.contains(part)), "{answer}");
        assert!(answer["local"].as_str().is_some_and(|local| local.ends_with(":8080")), "{answer}");
    }
    let answer = mesh.ask("client", &["http://pods:8080/"]);
    assert!(header(&answer, "x-forwarded-client-cert").contains("sa/client"), "{answer}");
}

fn the_outside_is_reached_unless_forbidden(mesh: &Mesh) {
    let (known, unknown) = (outside::serve("outside"), outside::serve("outside"));
    // With a service on the same port, its requests are HTTP to us; else they are bytes.
    mesh.apply("port.yaml", &service("port", &[("http", known, known)]).to_string());
    let [known, unknown] = [known, unknown].map(|port| format!("http://host.mizzen.internal:{port}/"));
    for url in [&known, &unknown] {
        assert_eq!(mesh.curl("client", &[url]), (200, "outside".to_owned()), "{url}");
    }
    mesh.apply("config.yaml", &mesh_config("outboundTrafficPolicy: {mode: REGISTRY_ONLY}").to_string());
    let (status, body) = mesh.curl("client", &[&known]);
    assert_eq!(status, 502, "{body}");
    let (status, body) = mesh.curl("client", &[&unknown]);
    assert_eq!(status, 0, "closed: {body}");
    assert_eq!(mesh.curl("client", &["http://nginx/"]).0, 200, "what is registered is reached");
    mesh.apply("config.yaml", &mesh_config("outboundTrafficPolicy: {mode: ALLOW_ANY}").to_string());
    assert_eq!(mesh.curl("client", &[&known]).0, 200);
}

#[test]
fn captured() {
    // Programs start in the directory of their YAML.
    let files = [("nginx.conf", NGINX), ("server.py", GRPC_SERVER), ("client.py", GRPC_CLIENT), ("mail.py", MAIL)];
    let manifests = manifests();
    let files: Vec<(&str, &str)> = files.into_iter().chain([("mesh.yaml", &*manifests)]).collect();
    let mesh = Mesh::up(&files, &["--host-access"]);
    check_all(
        &mesh,
        &[
            ("curl asks nginx", &curl_and_nginx),
            ("Python's http.server and urllib", &python_serves_and_asks),
            ("grpcio, all three ways to end", &grpcio),
            ("a mail daemon that speaks first", &a_mail_daemon_speaks_first),
            ("a self-call through the service address", &a_call_to_itself_passes_both_sides),
            ("names over UDP, TCP and the C library", &names),
            ("a headless service by pod address", &headless_by_pod_address),
            ("the outside: passthrough, and 502 under REGISTRY_ONLY", &the_outside_is_reached_unless_forbidden),
        ],
    );
}
