//! Many connections: what an idle one costs, and how they are spread over the workers.

mod common;

use std::{
    collections::BTreeMap,
    io::{Read, Write},
    net::TcpStream,
};

use common::{
    Mesh, ask, connect, eventually,
    peer::{self, Client},
};

const CONNECTIONS: usize = 1000;
/// Of a client's connection that has been served and is kept alive.
const KIB_PER_CLIENT_MAX: f64 = 24.0;
/// Of such a connection and a pooled one to the server, made by as many requests at once. hyper holds two buffers of 8 KiB on
/// either side (a page of each is resident), and a queue block of 32 requests for each upstream connection; the allocator
/// keeps some of what the requests used. A ratchet, to be lowered.
const KIB_PER_PAIR_MAX: f64 = 48.0;

#[test]
fn a_thousand_idle_connections() {
    for (name, at_once, budget) in
        [("clients", false, KIB_PER_CLIENT_MAX), ("clients and as many servers' connections", true, KIB_PER_PAIR_MAX)]
    {
        let mesh = Mesh::start(2);
        drop(burst(&mesh, 20));
        let before = mesh.proxy.memory_kib("VmRSS");
        let clients = if at_once { burst(&mesh, CONNECTIONS) } else { one_by_one(&mesh) };
        let per_connection = || (mesh.proxy.memory_kib("VmRSS") as f64 - before as f64) / CONNECTIONS as f64;
        eventually("the budget", || per_connection() <= budget);
        println!("{:.1} KiB per idle connection: {name}", per_connection());
        assert!(!at_once || idle_upstreams(&mesh) >= CONNECTIONS);
        drop(clients);
    }
}

fn one_by_one(mesh: &Mesh) -> Vec<TcpStream> {
    let mut clients: Vec<TcpStream> = (0..CONNECTIONS).map(|_| connect(mesh.port)).collect();
    for client in &mut clients {
        let answer = ask(client, b"GET /h1/hello HTTP/1.1\r\nhost: a\r\n\r\n");
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    clients
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
