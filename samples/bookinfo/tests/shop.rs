//! The services as processes on loopback, without a mesh: pages, versions, headers passed on, and the end by SIGTERM.

use std::{
    io::{BufRead as _, BufReader, Read as _, Write as _},
    net::{TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

const DEADLINE: Duration = Duration::from_secs(20);

/// A service that ends with the test.
struct Service {
    process: Child,
    port: u16,
}

impl Service {
    fn start(binary: &str, environment: &[(&str, String)]) -> Self {
        let port = free_port();
        let mut command = Command::new(binary);
        command.env("PORT", port.to_string()).envs(environment.iter().map(|(name, value)| (name, value)));
        let process = command.stdout(Stdio::piped()).spawn().expect("the service starts");
        let mut service = Self { process, port };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < DEADLINE, "{binary} does not listen");
            assert!(service.process.try_wait().expect("a child").is_none(), "{binary} ended");
            std::thread::yield_now();
        }
        service
    }

    fn get(&self, path: &str, headers: &str) -> String {
        let mut socket = TcpStream::connect(("127.0.0.1", self.port)).expect("it listens");
        socket.set_read_timeout(Some(DEADLINE)).expect("a socket option");
        let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{headers}\r\n");
        socket.write_all(request.as_bytes()).expect("it reads");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer in UTF-8");
        answer
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a free port").port()
}

fn at(name: &str, service: &Service) -> [(&'static str, String); 2] {
    let (host, port) = match name {
        "details" => ("DETAILS_HOSTNAME", "DETAILS_SERVICE_PORT"),
        "reviews" => ("REVIEWS_HOSTNAME", "REVIEWS_SERVICE_PORT"),
        _ => ("RATINGS_HOSTNAME", "RATINGS_SERVICE_PORT"),
    };
    [(host, "127.0.0.1".to_owned()), (port, service.port.to_string())]
}

fn reviews(version: &str, ratings: &Service) -> Service {
    let mut environment = at("ratings", ratings).to_vec();
    environment.push(("SERVICE_VERSION", version.to_owned()));
    Service::start(env!("CARGO_BIN_EXE_reviews"), &environment)
}

fn shop(reviews: &Service) -> (Service, Service) {
    let details = Service::start(env!("CARGO_BIN_EXE_details"), &[]);
    let environment = [at("details", &details), at("reviews", reviews)].concat();
    let page = Service::start(env!("CARGO_BIN_EXE_productpage"), &environment);
    (page, details)
}

#[test]
fn each_version_has_its_stars() {
    let ratings = Service::start(env!("CARGO_BIN_EXE_ratings"), &[]);
    for (version, shown, absent) in
        [("v1", "Mistaken identities", "★"), ("v2", "color:black", "color:red"), ("v3", "color:red", "color:black")]
    {
        let reviews = reviews(version, &ratings);
        let (page, _details) = shop(&reviews);
        let answer = page.get("/productpage", "");
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(
            answer.contains(shown) && !answer.contains(absent) && !answer.contains("Error fetching"),
            "{version}: {answer}"
        );
        assert!(answer.contains("PublisherA") && answer.ends_with("</html>\n"), "{answer}");
        assert!(page.get("/health", "").contains("healthy"));
        assert!(page.get("/api/v1/products/0/reviews", "").contains("Reviewer2"));
        assert!(page.get("/api/v1/products/x", "").starts_with("HTTP/1.1 400"));
        assert!(page.get("/nowhere", "").starts_with("HTTP/1.1 404"));
    }
}

#[test]
fn a_service_that_is_missing_is_named_on_the_page() {
    let nobody = free_port();
    let environment = [("REVIEWS_HOSTNAME", "127.0.0.1".to_owned()), ("REVIEWS_SERVICE_PORT", nobody.to_string())];
    let page = Service::start(env!("CARGO_BIN_EXE_productpage"), &environment);
    let answer = page.get("/productpage", "");
    assert!(answer.contains("Error fetching product reviews: cannot connect to 127.0.0.1"), "{answer}");
}

#[test]
fn trace_headers_are_passed_on() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("bound").port();
    let environment = [
        ("RATINGS_HOSTNAME", "127.0.0.1".to_owned()),
        ("RATINGS_SERVICE_PORT", port.to_string()),
        ("SERVICE_VERSION", "v2".to_owned()),
    ];
    let reviews = Service::start(env!("CARGO_BIN_EXE_reviews"), &environment);
    let client = std::thread::spawn(move || {
        reviews.get(
            "/reviews/0",
            "x-request-id: r1\r\ntraceparent: t1\r\nend-user: jason\r\nx-private: no\r\ncookie: a=b\r\n",
        )
    });
    let (mut socket, _) = upstream.accept().expect("reviews connects");
    let head: Vec<_> =
        BufReader::new(&socket).lines().map(|line| line.expect("text")).take_while(|line| !line.is_empty()).collect();
    socket.write_all(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n").expect("reviews reads");
    assert_eq!(head[0], "GET /ratings/0 HTTP/1.1");
    for line in
        ["x-request-id: r1", "traceparent: t1", "end-user: jason", "cookie: a=b", &format!("host: 127.0.0.1:{port}")]
    {
        assert!(head.iter().any(|found| found == line), "{line} not in {head:?}");
    }
    assert!(!head.iter().any(|line| line.contains("x-private")));
    let answer = client.join().expect("an answer");
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.contains("Ratings service is currently unavailable"),
        "{answer}"
    );
}

#[test]
fn traffic_waits_then_visits_and_says_what_fails() {
    let port = free_port();
    let mut traffic = Command::new(env!("CARGO_BIN_EXE_traffic"))
        .env("URL", format!("http://127.0.0.1:{port}/productpage"))
        .env("RATE", "100")
        .stdout(Stdio::piped())
        .spawn()
        .expect("it starts");
    let mut lines = BufReader::new(traffic.stdout.take().expect("piped")).lines().map(|line| line.expect("text"));
    let first = lines.next().expect("a line");
    assert!(first.contains("waiting for") && first.contains("cannot connect"), "{first}");

    let listener = TcpListener::bind(("127.0.0.1", port)).expect("still free");
    let answers = [
        "200 OK\r\ncontent-length: 0",
        "200 OK\r\ncontent-length: 0",
        "503 Nope\r\ncontent-length: 0",
        "200 OK\r\ncontent-length: 16",
    ];
    for answer in answers {
        let (mut socket, _) = listener.accept().expect("a visitor");
        let read =
            BufReader::new(&socket).lines().take_while(|line| line.as_ref().is_ok_and(|line| !line.is_empty())).count();
        assert!(read > 0);
        let body = if answer.ends_with("16") { "Error fetching x" } else { "" };
        write!(socket, "HTTP/1.1 {answer}\r\nconnection: close\r\n\r\n{body}").expect("it reads");
    }
    assert!(lines.next().expect("a line").contains("100 pages/s"));
    let failures: Vec<_> = lines.by_ref().filter(|line| line.contains("GET")).take(2).collect();
    assert!(failures.iter().any(|line| line.ends_with("503 Service Unavailable")), "{failures:?}");
    assert!(failures.iter().any(|line| line.ends_with("Error fetching x")), "{failures:?}");
    traffic.kill().expect("it runs");
    traffic.wait().expect("it ends");
}

#[test]
fn sigterm_finishes_what_was_begun() {
    let upstream = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = upstream.local_addr().expect("bound").port();
    let environment = [
        ("RATINGS_HOSTNAME", "127.0.0.1".to_owned()),
        ("RATINGS_SERVICE_PORT", port.to_string()),
        ("SERVICE_VERSION", "v2".to_owned()),
    ];
    let mut reviews = Service::start(env!("CARGO_BIN_EXE_reviews"), &environment);
    let mut client = TcpStream::connect(("127.0.0.1", reviews.port)).expect("it listens");
    client.write_all(b"GET /reviews/0 HTTP/1.1\r\nhost: x\r\n\r\n").expect("it reads");
    let (mut ratings, _) = upstream.accept().expect("reviews connects");
    let pid = reviews.process.id().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs").success());
    let begun = Instant::now();
    while TcpStream::connect(("127.0.0.1", reviews.port)).is_ok() {
        assert!(begun.elapsed() < DEADLINE, "it still accepts");
        std::thread::yield_now();
    }
    let stars = "{\"ratings\":{\"Reviewer1\":5,\"Reviewer2\":4}}";
    write!(ratings, "HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{stars}", stars.len()).expect("reviews reads");
    let mut answer = String::new();
    client.read_to_string(&mut answer).expect("a whole answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK") && answer.contains("\"stars\":5"), "{answer}");
    assert!(reviews.process.wait().expect("it ends").success());
}
