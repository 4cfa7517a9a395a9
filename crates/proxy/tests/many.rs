//! Many connections: what an idle one costs, and how they are spread over the workers.

mod common;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use common::{Mesh, connect, eventually, peer::{self, Client}};

const CONNECTIONS: usize = 1000;
/// Both sides together: a client's connection and the pooled one to the server.
const KIB_PER_CONNECTION_MAX: f64 = 24.0;

#[test]
fn a_thousand_idle_connections() {
    let mesh = Mesh::start(2);
    burst(&mesh, 20);
    let before = mesh.proxy.memory_kib("VmRSS");
    let clients = burst(&mesh, CONNECTIONS);
    let per_connection = || (mesh.proxy.memory_kib("VmRSS") as f64 - before as f64) / CONNECTIONS as f64;
    let idle: usize = idle_upstreams(&mesh);
    println!("{:.1} KiB per connection at once, {idle} upstream connections idle", per_connection());
    assert!(idle >= CONNECTIONS * 9 / 10, "{idle} upstream connections");
    eventually("the budget", || per_connection() <= KIB_PER_CONNECTION_MAX);
    println!("{:.1} KiB per idle connection, both sides", per_connection());
    drop(clients);
}

/// Requests that are under way all at the same time, so that each has an upstream connection.
fn burst(mesh: &Mesh, connections: usize) -> Vec<TcpStream> {
    let before = mesh.http1.seen("sink").len();
    let mut clients: Vec<TcpStream> = (0..connections).map(|_| connect(mesh.port)).collect();
    for client in &mut clients {
        client.write_all(b"POST /h1/sink HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\n1").expect("sent");
    }
    eventually("the requests at the server", || mesh.http1.seen("sink").len() == before + connections);
    for client in &mut clients {
        client.write_all(b"2").expect("sent");
    }
    for client in &mut clients {
        let mut answer = [0; 1000];
        let n = client.read(&mut answer).expect("an answer");
        assert!(answer[..n].starts_with(b"HTTP/1.1 200"), "{:?}", String::from_utf8_lossy(&answer[..n]));
    }
    clients
}

fn idle_upstreams(mesh: &Mesh) -> usize {
    let clusters = mesh.proxy.admin("/clusters");
    clusters.lines().filter_map(|line| line.rsplit_once("::cx_idle::")?.1.parse::<usize>().ok()).sum()
}

/// Long HTTP/2 connections at equal rates: each worker has its half of them, and of the requests.
#[test]
fn eight_long_connections_on_two_workers() {
    let mesh = Mesh::start(2);
    eventually("the first connection gone", || mesh.proxy.connections().is_empty());
    peer::block(async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = Client::open(mesh.port, true).await;
            client.get("/h2/hello").await.expect("an answer");
            clients.push(client);
        }
        for _ in 0..100 {
            for client in &mut clients {
                assert_eq!(client.get("/h2/hello").await.expect("an answer").status, 200);
            }
        }
        let mut workers: BTreeMap<u64, (u64, u64)> = BTreeMap::new();
        for connection in mesh.proxy.connections() {
            let worker = workers.entry(connection["worker"].as_u64().expect("a number")).or_default();
            worker.0 += 1;
            worker.1 += connection["requests"].as_u64().expect("a number");
        }
        println!("worker: (connections, requests) {workers:?}");
        let connections: Vec<u64> = workers.values().map(|worker| worker.0).collect();
        assert_eq!(connections, [4, 4]);
        let (least, most) = (workers.values().map(|w| w.1).min(), workers.values().map(|w| w.1).max());
        assert!(most.expect("two") as f64 <= 1.2 * least.expect("two") as f64, "{workers:?}");
    });
}
