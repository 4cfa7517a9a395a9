//! A reader of the access log that does not read blocks no traffic; what is lost is counted, what is written is whole.

mod common;

use std::{io::Read, process::Stdio};

use common::{
    Plane, Proxy, eventually,
    peer::{self, Backend, Client},
    port, wire,
};

const PADDING: usize = 8000;

#[test]
fn a_reader_that_does_not_read() {
    let plane = Plane::start();
    let mut proxy = Proxy::start_with(&plane, 1, |command| {
        command.stdout(Stdio::piped());
    });
    let (server, port) = (Backend::start(false), port());
    let format = format!("%REQ(:PATH)% {}\n", "x".repeat(PADDING));
    plane.put(vec![
        wire::cluster("backend", false),
        wire::endpoints("backend", &[server.port]),
        wire::listener(port, |manager| manager.access_log = vec![wire::stdout_log(&format)]),
        wire::routes("backend", |_| {}),
    ]);
    common::connect(port);
    let dropped = || {
        let metrics = proxy.admin("/stats/prometheus");
        let line = metrics.lines().find_map(|line| line.strip_prefix("mizzen_access_log_dropped_total"));
        line.and_then(|rest| rest.trim().parse::<f64>().ok()).unwrap_or_default()
    };
    // The pipe and the queue fill; every request is answered before, meanwhile and after.
    peer::block(async {
        let mut client = Client::open(port, false).await;
        let mut requests = 0;
        while dropped() == 0.0 {
            for _ in 0..100 {
                assert_eq!(client.get("/x/hello").await.expect("an answer").status, 200);
            }
            requests += 100;
            assert!(requests < 20_000, "nothing is dropped: where do the lines go?");
        }
        println!("{requests} requests until the first line was dropped");
    });
    let mut output = proxy.stdout().expect("a pipe");
    let mut bytes = vec![0; 100 * PADDING];
    eventually("the lines", || output.read_exact(&mut bytes).is_ok());
    let text = String::from_utf8_lossy(&bytes);
    let whole: Vec<&str> = text.split('\n').collect();
    for line in &whole[..whole.len() - 1] {
        assert_eq!(line.len(), "/x/hello ".len() + PADDING, "{line:.40}");
    }
}
