//! Both shells over a socket: update, NACK, on demand, and a server that goes away and comes back.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use envoy_types::pb::envoy::config::core::v3::Node;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use mizzen_xds::client::Update;
use mizzen_xds::connect::{Client, Event, Upstream};
use mizzen_xds::{DELTA_PATH, Generation, Kind, Rejection, Resource, Version, grpc, serve, server};
use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tonic::Status;

/// No step of these tests takes longer, unless something is broken.
const PATIENCE: Duration = Duration::from_secs(20);

struct Plain(SocketAddr);

impl Upstream for Plain {
    fn authority(&self) -> String {
        self.0.to_string()
    }

    fn connect(&self) -> BoxFuture<'static, io::Result<TcpStream>> {
        TcpStream::connect(self.0).boxed()
    }

    fn tls(&self) -> Option<(Arc<ClientConfig>, ServerName<'static>)> {
        None
    }

    fn bearer(&self) -> Option<String> {
        Some("secret".to_owned())
    }
}

type Events = mpsc::UnboundedSender<serve::Event>;

/// Serves streams until the returned sender is dropped or says so.
fn start(listener: TcpListener, feed: watch::Receiver<Arc<Generation>>, events: Events, refuse: bool) -> Server {
    let tasks = Arc::new(Mutex::new(tokio::task::JoinSet::new()));
    let own = tasks.clone();
    let accepting = tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            let (feed, events) = (feed.clone(), events.clone());
            let service = service_fn(move |request: http::Request<hyper::body::Incoming>| {
                let (feed, events) = (feed.clone(), events.clone());
                async move {
                    assert_eq!(request.uri().path(), DELTA_PATH);
                    assert_eq!(grpc::bearer(request.headers()), Some("secret"));
                    if refuse {
                        return Ok::<_, io::Error>(grpc::refusal(&Status::permission_denied("not you")));
                    }
                    let (opening, response) = serve::accept(request);
                    tokio::spawn(async move {
                        let Some(stream) = opening.first().await else { return };
                        assert_eq!(stream.node().id, "node");
                        stream.run(feed, server::Limits::default(), |event| drop(events.send(event))).await;
                    });
                    Ok(response)
                }
            });
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(socket), service);
            own.lock().expect("no panics").spawn(connection.map(drop));
        }
    });
    Server { accepting, tasks }
}

struct Server {
    accepting: tokio::task::JoinHandle<()>,
    tasks: Arc<Mutex<tokio::task::JoinSet<()>>>,
}

impl Server {
    fn stop(self) {
        self.accepting.abort();
        self.tasks.lock().expect("no panics").abort_all();
    }
}

fn edit(feed: &watch::Sender<Arc<Generation>>, kind: Kind, name: &str, version: u64) {
    feed.send_modify(|generation| {
        let body = Bytes::from(format!("{name} {version}").repeat(40_000));
        let resource = Resource { name: Arc::from(name), version: Version(version), body };
        let mut next = generation.next(generation.number + 1);
        next.put(next.set(kind).edited([resource], []));
        *generation = Arc::new(next);
    });
}

async fn update(client: &mut Client) -> Update {
    loop {
        let event = tokio::time::timeout(PATIENCE, client.next()).await.expect("in time");
        if let Event::Update(update) = event.expect("the client runs") {
            return update;
        }
    }
}

async fn wait_for(events: &mut mpsc::UnboundedReceiver<serve::Event>, wanted: impl Fn(&serve::Event) -> bool) {
    let waiting = async {
        while let Some(event) = events.recv().await {
            if wanted(&event) {
                return;
            }
        }
        panic!("the server is gone");
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
}

fn names(update: &Update) -> Vec<&str> {
    update.added.iter().map(|added| &*added.name).collect()
}

#[tokio::test]
async fn updates_nacks_and_reconnection() {
    let (feed, generations) = watch::channel(Arc::new(Generation::empty(1)));
    edit(&feed, Kind::Cluster, "c", 1);
    edit(&feed, Kind::VirtualHost, "80/a", 1);
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (events, mut seen) = mpsc::unbounded_channel();
    let server = start(listener, generations.clone(), events.clone(), false);
    let node = Node { id: "node".to_owned(), ..Default::default() };
    let subscriptions = [(Kind::Cluster, "*"), (Kind::VirtualHost, "80/x")];
    let mut client = Client::start(Arc::new(Plain(address)), node, &subscriptions, fastrand::Rng::with_seed(1));

    let first = update(&mut client).await;
    assert_eq!((first.kind, names(&first), first.complete), (Kind::Cluster, vec!["c"], true));
    assert_eq!(first.added[0].body.len(), 3 * 40_000);
    client.applied(first.ticket, Vec::new()).await;
    let absent = update(&mut client).await;
    assert_eq!(absent.removed.iter().map(|name| &**name).collect::<Vec<_>>(), ["80/x"]);
    client.applied(absent.ticket, Vec::new()).await;
    wait_for(&mut seen, |event| matches!(event, serve::Event::Applied(3))).await;

    client.handle().subscribe(Kind::VirtualHost, vec!["80/a".to_owned()]).await;
    let asked = update(&mut client).await;
    assert_eq!(names(&asked), ["80/a"]);
    client.applied(asked.ticket, Vec::new()).await;

    edit(&feed, Kind::Cluster, "c", 2);
    let bad = update(&mut client).await;
    let rejection = Rejection { name: "c".to_owned(), message: "bad".to_owned() };
    client.applied(bad.ticket, vec![rejection.clone()]).await;
    wait_for(&mut seen, |event| matches!(event, serve::Event::Refused(nack) if nack.resources == [rejection.clone()]))
        .await;

    server.stop();
    let event = tokio::time::timeout(PATIENCE, client.next()).await.expect("in time");
    assert!(matches!(event, Some(Event::Disconnected { .. })), "{event:?}");
    edit(&feed, Kind::Cluster, "d", 1);
    let listener = TcpListener::bind(address).await.expect("the same address");
    let server = start(listener, generations, events, false);
    let again = update(&mut client).await;
    // The refused one is tried again on a new stream; what is in force, and on demand, is not sent again.
    assert_eq!(names(&again), ["c", "d"]);
    client.applied(again.ticket, Vec::new()).await;
    let absent = update(&mut client).await;
    assert_eq!((absent.added.len(), absent.removed.len()), (0, 1));
    client.applied(absent.ticket, Vec::new()).await;
    wait_for(&mut seen, |event| matches!(event, serve::Event::Applied(5))).await;
    server.stop();
}

#[tokio::test]
async fn refusals_are_told() {
    let (_feed, generations) = watch::channel(Arc::new(Generation::empty(1)));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let (events, _seen) = mpsc::unbounded_channel();
    let server = start(listener, generations, events, true);
    let rng = fastrand::Rng::with_seed(1);
    let mut client = Client::start(Arc::new(Plain(address)), Node::default(), &[(Kind::Cluster, "*")], rng);
    let event = tokio::time::timeout(PATIENCE, client.next()).await.expect("in time");
    let Some(Event::Disconnected { status, retry_in }) = event else { panic!("{event:?}") };
    assert_eq!((status.code(), status.message()), (tonic::Code::PermissionDenied, "not you"));
    assert!((Duration::from_millis(50)..=Duration::from_millis(100)).contains(&retry_in));
    server.stop();
}
