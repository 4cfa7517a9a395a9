//! Bodies pass through without being kept: 100 MB both ways, and the proxy's memory stays where it was.

mod common;

use common::{
    Mesh,
    peer::{self, Client},
};
use http::Method;

const BYTES: u64 = 100_000_000;
/// What the proxy's peak may rise by.
const GROWTH_KIB_MAX: u64 = 8 * 1024;

#[test]
fn a_hundred_megabytes_both_ways() {
    for (down, up) in [(false, false), (false, true), (true, false), (true, true)] {
        let mesh = Mesh::start(1);
        let version = if up { "h2" } else { "h1" };
        peer::block(async {
            let mut client = Client::open(mesh.port, down).await;
            // One exchange before, so that the pools and tables are there.
            client.get(&format!("/{version}/stream/1000000")).await.expect("an answer");
            let before = mesh.proxy.memory_kib("VmHWM");
            let path = format!("/{version}/echo");
            let request = client.request(Method::POST, &path).body(peer::chunks(BYTES, None)).expect("valid");
            let mut response = client.send(request).await.expect("an answer");
            let mut bytes = 0;
            while let Some(frame) = http_body_util::BodyExt::frame(response.body_mut()).await {
                bytes += frame.expect("a whole body").data_ref().map_or(0, bytes::Bytes::len) as u64;
            }
            assert_eq!(bytes, BYTES);
            let grown = mesh.proxy.memory_kib("VmHWM") - before;
            println!("downstream h2 {down}, upstream h2 {up}: peak grew by {grown} KiB");
            assert!(grown <= GROWTH_KIB_MAX, "downstream h2 {down}, upstream h2 {up}: {grown} KiB");
        });
    }
}
