//! A control plane in this process, its socket, and clients as proxies are.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use std::{fs, io};

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::{Extension, Node};
use envoy_types::pb::google::protobuf::value::Kind as ValueKind;
use envoy_types::pb::google::protobuf::{Struct, Value};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Method, StatusCode};
use http_body_util::{BodyExt as _, Full};
use hyper_util::rt::TokioIo;
use mizzen_control::{Options, Running, start};
use mizzen_pki::wire::{CREATE_CERTIFICATE, IstioCertificateRequest, IstioCertificateResponse};
use mizzen_pki::{KeyAndCsr, SpiffeId, Svid, tls};
use mizzen_xds::connect::{Client, Event, Upstream};
use mizzen_xds::{Kind, Rejection, connect, grpc};
use rustls::client::WebPkiServerVerifier;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::UnixTime;
use tokio::net::{TcpStream, UnixStream};
use tonic::{Code, Status};

/// No step of these tests takes longer, unless something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// A directory of manifests and one for state, gone with their value.
pub(crate) struct Dirs(PathBuf);

impl Dirs {
    pub(crate) fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let path = std::env::temp_dir().join(format!("mizzen-control-{}-{name}", std::process::id()));
        // Left over by a run that was killed.
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(path.join("config")).expect("a directory for the test");
        let dirs = Self(path);
        for (name, text) in files {
            dirs.write(name, text);
        }
        dirs
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.0.join("config")
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }

    /// Replaces a file at once, as editors do.
    pub(crate) fn write(&self, name: &str, text: &str) {
        let temporary = self.0.join("new");
        fs::write(&temporary, text).expect("written");
        fs::rename(&temporary, self.config().join(name)).expect("renamed");
    }

    pub(crate) fn options(&self) -> Options {
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        Options {
            config: self.config(),
            state: self.0.join("state"),
            control_socket: Some(self.socket()),
            listen: any.ip(),
            xds_address: Some(any),
            plaintext_address: any,
            monitoring_address: Some(any),
            ca_dir: None,
            cert_ttl: Duration::from_hours(1),
            allow_unenforced: false,
        }
    }
}

impl Drop for Dirs {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

pub(crate) struct Plane {
    pub(crate) running: Running,
    pub(crate) dirs: Dirs,
}

impl Plane {
    pub(crate) async fn new(name: &str, files: &[(&str, &str)]) -> Self {
        let dirs = Dirs::new(name, files);
        Self { running: start(&dirs.options()).await.expect("it starts"), dirs }
    }

    pub(crate) async fn ask(&self, method: Method, uri: &str, body: &str) -> (StatusCode, Bytes) {
        let stream = UnixStream::connect(self.dirs.socket()).await.expect("the socket");
        http(TokioIo::new(stream), (method, uri, None), body).await
    }

    pub(crate) async fn json(&self, method: Method, uri: &str, body: &str) -> serde_json::Value {
        let (status, answer) = self.ask(method, uri, body).await;
        assert_eq!(status, StatusCode::OK, "{uri}: {}", String::from_utf8_lossy(&answer));
        serde_json::from_slice(&answer).expect("JSON")
    }

    pub(crate) async fn token(&self, namespace: &str, account: &str) -> String {
        let body = format!(r#"{{"namespace":"{namespace}","service_account":"{account}","pod":"p"}}"#);
        let answer = self.json(Method::POST, "/v1/token", &body).await;
        answer["token"].as_str().expect("a token").to_owned()
    }

    /// A proxy's way here: TLS, with a token or a certificate or neither.
    pub(crate) async fn way(&self, token: Option<String>, svid: Option<&Svid>) -> Way {
        let (_, roots) = self.ask(Method::GET, "/v1/root", "").await;
        let roots = mizzen_pki::svid::read_pem(std::str::from_utf8(&roots).expect("PEM")).expect("PEM");
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(roots);
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(store), tls::provider().clone());
        let certificate = svid.map(|svid| svid.certified_key.clone());
        let verifier = verifier.build().expect("roots");
        let config = tls::client_config(verifier, certificate, tls::TLS13_ONLY, &[b"h2"]).expect("TLS");
        Way { address: self.running.xds, tls: Some(Arc::new(config)), token }
    }

    pub(crate) async fn monitoring(&self, uri: &str, token: Option<&str>) -> (StatusCode, String) {
        let stream = TcpStream::connect(self.running.monitoring).await.expect("listening");
        let (status, body) = http(TokioIo::new(stream), (Method::GET, uri, token), "").await;
        (status, String::from_utf8(body.to_vec()).expect("text"))
    }
}

async fn http<I>(io: I, (method, uri, token): (Method, &str, Option<&str>), body: &str) -> (StatusCode, Bytes)
where
    I: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let (mut send, connection) = hyper::client::conn::http1::handshake(io).await.expect("HTTP");
    tokio::spawn(connection);
    let mut request = http::Request::builder().method(method).uri(uri).header("host", "localhost");
    if let Some(token) = token {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    let request = request.body(Full::new(Bytes::from(body.to_owned()))).expect("valid");
    let answer = tokio::time::timeout(PATIENCE, send.send_request(request)).await.expect("in time").expect("an answer");
    (answer.status(), answer.into_body().collect().await.expect("a body").to_bytes())
}

#[derive(Clone)]
pub(crate) struct Way {
    pub(crate) address: SocketAddr,
    pub(crate) tls: Option<Arc<ClientConfig>>,
    pub(crate) token: Option<String>,
}

impl Upstream for Way {
    fn authority(&self) -> String {
        self.address.to_string()
    }

    fn connect(&self) -> BoxFuture<'static, io::Result<TcpStream>> {
        TcpStream::connect(self.address).boxed()
    }

    fn tls(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        let name = ServerName::try_from("istiod.istio-system.svc").expect("a name");
        self.tls.clone().map(|config| (config, name))
    }

    fn bearer(&self) -> Option<String> {
        self.token.clone()
    }
}

impl Way {
    /// Asks for a certificate for `id`.
    pub(crate) async fn certificate(&self, id: &SpiffeId) -> Result<Svid, Status> {
        let request = KeyAndCsr::generate(id).expect("a request");
        let message = IstioCertificateRequest::new(request.csr, None);
        let mut connection = connect::open(self).await?;
        let authority = self.authority();
        let target = grpc::Target { authority: &authority, path: CREATE_CERTIFICATE, bearer: self.token.as_deref() };
        let answer: IstioCertificateResponse = grpc::unary(&mut connection, target, &message, 1 << 20).await?;
        Ok(Svid::assemble_for(id, request.key, &answer.cert_chain, now()).expect("usable"))
    }
}

pub(crate) fn now() -> UnixTime {
    UnixTime::since_unix_epoch(SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970"))
}

pub(crate) fn node(namespace: &str, account: &str) -> Node {
    let text = |text: &str| Value { kind: Some(ValueKind::StringValue(text.to_owned())) };
    let fields =
        [("NAMESPACE", text(namespace)), ("SERVICE_ACCOUNT", text(account)), ("INSTANCE_IPS", text("10.0.0.2"))];
    Node {
        id: format!("sidecar~10.0.0.2~p.{namespace}~{namespace}.svc.cluster.local"),
        metadata: Some(Struct { fields: fields.map(|(name, value)| (name.to_owned(), value)).into() }),
        extensions: vec![Extension { name: "mizzen.io/vhds".to_owned(), ..Default::default() }],
        ..Default::default()
    }
}

/// A proxy that applies everything, but for what it is told to refuse.
pub(crate) struct Proxy {
    client: Client,
    /// Names and bodies by kind.
    pub(crate) held: BTreeMap<(&'static str, String), Bytes>,
    pub(crate) refuse: Option<&'static str>,
    /// Resources received so far.
    pub(crate) received: usize,
}

impl Proxy {
    pub(crate) fn start(way: Way, node: Node) -> Self {
        let subscriptions = [
            (Kind::Cluster, "*"),
            (Kind::Endpoints, "*"),
            (Kind::Listener, "*"),
            (Kind::Route, "*"),
            (Kind::VirtualHost, "80/*"),
        ];
        let client = Client::start(Arc::new(way), node, &subscriptions, fastrand::Rng::with_seed(1));
        Self { client, held: BTreeMap::new(), refuse: None, received: 0 }
    }

    /// Follows until `done`.
    pub(crate) async fn until(&mut self, done: impl Fn(&Self) -> bool) {
        let following = async {
            while !done(self) {
                if let Event::Update(update) = self.client.next().await.expect("the client runs") {
                    self.apply(update).await;
                }
            }
        };
        let followed = tokio::time::timeout(PATIENCE, following).await;
        assert!(followed.is_ok(), "did not come: {:?}", self.held.keys().collect::<Vec<_>>());
    }

    /// Follows while something else goes on.
    pub(crate) async fn follow<T>(&mut self, other: impl Future<Output = T>) -> T {
        tokio::pin!(other);
        loop {
            tokio::select! {
                result = &mut other => return result,
                event = self.client.next() => if let Some(Event::Update(update)) = event {
                    self.apply(update).await;
                },
            }
        }
    }

    async fn apply(&mut self, update: mizzen_xds::client::Update) {
        let mut refused = Vec::new();
        self.received += update.added.len();
        for added in update.added {
            if self.refuse.is_some_and(|name| *added.name == *name) {
                refused.push(Rejection { name: added.name.to_string(), message: "not here".to_owned() });
            } else {
                self.held.insert((update.kind.short(), added.name.to_string()), added.body);
            }
        }
        for name in update.removed {
            self.held.remove(&(update.kind.short(), name.to_string()));
        }
        self.client.applied(update.ticket, refused).await;
    }

    /// Why the stream is not served.
    pub(crate) async fn refusal(&mut self) -> Code {
        let waiting = async {
            loop {
                match self.client.next().await.expect("the client runs") {
                    Event::Disconnected { status, .. } => return status.code(),
                    Event::Connected => {}
                    Event::Update(update) => panic!("served: {update:?}"),
                }
            }
        };
        tokio::time::timeout(PATIENCE, waiting).await.expect("in time")
    }

    pub(crate) fn has(&self, kind: &'static str, name: &str) -> bool {
        self.held.contains_key(&(kind, name.to_owned()))
    }
}

pub(crate) fn service(name: &str) -> String {
    format!(
        "apiVersion: v1\nkind: Service\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  ports:\n  - {{name: http, port: 80, targetPort: 8080}}\n---\napiVersion: discovery.k8s.io/v1\nkind: EndpointSlice\nmetadata:\n  name: {name}-1\n  namespace: shop\n  labels: {{kubernetes.io/service-name: {name}}}\naddressType: IPv4\nports:\n- {{name: http, port: 8080, protocol: TCP}}\nendpoints:\n- addresses: [10.0.1.1]\n  conditions: {{ready: true}}\n"
    )
}

pub(crate) fn route(name: &str, timeout: &str) -> String {
    format!(
        "apiVersion: networking.istio.io/v1\nkind: VirtualService\nmetadata: {{name: {name}, namespace: shop}}\nspec:\n  hosts: [{name}]\n  http:\n  - timeout: {timeout}\n    route:\n    - destination: {{host: {name}}}\n"
    )
}

pub(crate) fn exists(path: &Path) -> bool {
    path.exists()
}
