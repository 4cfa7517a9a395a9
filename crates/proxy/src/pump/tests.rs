//! Bytes both ways over in-memory streams.

use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex, split};

use super::{Broken, Counts, both_ways};

#[tokio::test]
async fn a_side_that_closes_lets_the_other_go_on() {
    let (client, near_client) = duplex(1024);
    let (mut upstream, near_upstream) = duplex(1024);
    let (mut client_reads, mut client_writes) = split(client);
    let counts = Counts::default();
    let asking = async move {
        client_writes.write_all(b"question").await.expect("sent");
        client_writes.shutdown().await.expect("half-closed");
    };
    let answering = async move {
        let mut heard = Vec::new();
        upstream.read_to_end(&mut heard).await.expect("the question, then its end");
        assert_eq!(heard, b"question");
        upstream.write_all(&vec![7; 100_000]).await.expect("a long answer");
    };
    let mut answer = Vec::new();
    let (ended, (), (), read) = tokio::join!(
        both_ways(near_client, near_upstream, None, &counts),
        asking,
        answering,
        client_reads.read_to_end(&mut answer),
    );
    ended.expect("both sides closed");
    assert_eq!(read.expect("the whole answer"), 100_000);
    assert!(answer.iter().all(|byte| *byte == 7));
    assert_eq!((counts.up.get(), counts.down.get()), (8, 100_000));
}

#[tokio::test(start_paused = true)]
async fn silence_in_both_directions_ends_it() {
    let (_client, near_client) = duplex(64);
    let (_upstream, near_upstream) = duplex(64);
    let ended = both_ways(near_client, near_upstream, Some(Duration::from_mins(1)), &Counts::default()).await;
    assert!(matches!(ended, Err(Broken::Idle)));
}

#[tokio::test]
async fn a_reset_is_no_end() {
    let (client, near_client) = duplex(64);
    let (mut upstream, near_upstream) = duplex(64);
    drop(client);
    let counts = Counts::default();
    let (ended, sent) = tokio::join!(both_ways(near_client, near_upstream, None, &counts), async move {
        upstream.write_all(b"nobody hears this").await
    });
    sent.expect("the pump takes it");
    assert!(matches!(ended, Err(Broken::Client(_))), "{ended:?}");
}
