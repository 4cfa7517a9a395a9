//! The client: one kind of call, as often as it is told.

use std::time::Duration;

use anyhow::Context as _;
use futures_util::stream;
use hyper::http::uri::PathAndQuery;
use serde_json::json;
use tokio::{sync::mpsc, time::sleep};
use tonic::{
    Code, Request, Response, Status, Streaming,
    client::Grpc,
    transport::{Channel, Endpoint},
};
use tonic_prost::ProstCodec;

use super::{BIDI, CLIENT_STREAM, Ping, Pong, SERVER_STREAM, UNARY};
use crate::{
    connect::{millis, seconds},
    output,
};

/// Which of the four.
#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum Kind {
    Unary,
    ClientStream,
    ServerStream,
    Bidi,
}

/// Options of `grpc-client`.
#[derive(clap::Args)]
pub(crate) struct ClientOptions {
    /// `http://HOST:PORT`
    #[arg(long)]
    url: String,
    #[arg(long, value_enum, default_value = "unary")]
    kind: Kind,
    /// Messages of a stream.
    #[arg(long, default_value_t = 10)]
    messages: u64,
    /// Between two messages of a stream that we send.
    #[arg(long = "interval-ms", default_value = "0", value_parser = millis)]
    interval: Duration,
    /// Calls, one behind the other on one connection.
    #[arg(long, default_value_t = 1)]
    calls: u64,
    /// Asks for this status, and expects it.
    #[arg(long, default_value_t = 0)]
    status: i32,
    /// How long all of it may take, in seconds.
    #[arg(long, default_value = "60", value_parser = seconds)]
    timeout: Duration,
}

/// What a call brought.
struct Got {
    peer: Option<String>,
    messages: u64,
    whole: bool,
}

pub(crate) async fn client(options: ClientOptions) -> anyhow::Result<bool> {
    let channel = Endpoint::from_shared(options.url.clone())?.connect().await.context("cannot connect")?;
    let (mut good, mut messages, mut peer) = (0, 0, None);
    let mut last = Status::ok("");
    let calls = async {
        for _ in 0..options.calls {
            match call(&options, channel.clone()).await {
                Ok(got) => {
                    messages += got.messages;
                    peer = got.peer;
                    good += u64::from(got.whole && options.status == 0);
                }
                Err(status) => {
                    good += u64::from(options.status != 0 && status.code() == Code::from_i32(options.status));
                    last = status;
                }
            }
        }
    };
    let in_time = tokio::time::timeout(options.timeout, calls).await.is_ok();
    output::line(&json!({
        "calls": options.calls,
        "good": good,
        "messages": messages,
        "peer": peer,
        "status": last.code() as i32,
        "message": last.message(),
        "in_time": in_time,
    }));
    Ok(in_time && good == options.calls)
}

async fn call(options: &ClientOptions, channel: Channel) -> Result<Got, Status> {
    let mut grpc = Grpc::new(channel);
    grpc.ready().await.map_err(|error| Status::unavailable(error.to_string()))?;
    match options.kind {
        Kind::Unary => unary(options, grpc).await,
        Kind::ClientStream => client_stream(options, grpc).await,
        Kind::ServerStream => server_stream(options, grpc).await,
        Kind::Bidi => bidi(options, grpc).await,
    }
}

async fn unary(options: &ClientOptions, mut grpc: Grpc<Channel>) -> Result<Got, Status> {
    let ping = Ping { status: options.status, ..options.ping(7) };
    let response = grpc.unary(Request::new(ping), path(UNARY), codec()).await?;
    Ok(one(&response, &Pong { text: "ping".to_owned(), number: 7, received: 1 }))
}

async fn client_stream(options: &ClientOptions, mut grpc: Grpc<Channel>) -> Result<Got, Status> {
    let (messages, interval) = (options.messages, options.interval);
    let pings: Vec<_> = (0..messages).map(|number| options.ping(number)).collect();
    let pings = stream::unfold(pings.into_iter(), move |mut pings| async move {
        let ping = pings.next()?;
        sleep(interval).await;
        Some((ping, pings))
    });
    let response = grpc.client_streaming(Request::new(pings), path(CLIENT_STREAM), codec()).await?;
    Ok(one(&response, &Pong { text: "ping".to_owned(), number: (0..messages).sum(), received: messages }))
}

async fn server_stream(options: &ClientOptions, mut grpc: Grpc<Channel>) -> Result<Got, Status> {
    let ping = Ping { status: options.status, ..options.ping(0) };
    let response = grpc.server_streaming(Request::new(ping), path(SERVER_STREAM), codec()).await?;
    let peer = peer(&response);
    let (mut pongs, mut messages) = (response.into_inner(), 0);
    while next(&mut pongs, messages).await? {
        messages += 1;
    }
    Ok(Got { peer, messages, whole: messages == options.messages })
}

async fn bidi(options: &ClientOptions, mut grpc: Grpc<Channel>) -> Result<Got, Status> {
    // Room for one: the next ping is made when the pong of the last is here.
    let (sender, receiver) = mpsc::channel(1);
    let pings = stream::unfold(receiver, |mut receiver| async move { Some((receiver.recv().await?, receiver)) });
    // A server answers the head of a stream when it likes, at the latest with its first message.
    let (_, response) =
        tokio::join!(sender.send(options.ping(0)), grpc.streaming(Request::new(pings), path(BIDI), codec()));
    let response = response?;
    let peer = peer(&response);
    let (mut pongs, mut messages) = (response.into_inner(), 0);
    while next(&mut pongs, messages).await? {
        messages += 1;
        if messages == options.messages {
            break;
        }
        sleep(options.interval).await;
        // If the stream is gone, the next pong says so.
        let _ = sender.send(options.ping(messages)).await;
    }
    drop(sender);
    let ended = pongs.message().await?.is_none();
    Ok(Got { peer, messages, whole: ended && messages == options.messages })
}

impl ClientOptions {
    /// The ping `number` of a stream; the last one asks for the status.
    fn ping(&self, number: u64) -> Ping {
        let status = if number + 1 == self.messages { self.status } else { 0 };
        Ping { text: "ping".to_owned(), number, count: self.messages, status }
    }
}

fn codec() -> ProstCodec<Ping, Pong> {
    ProstCodec::default()
}

fn one(response: &Response<Pong>, expected: &Pong) -> Got {
    Got { peer: peer(response), messages: 1, whole: response.get_ref() == expected }
}

fn peer<T>(response: &Response<T>) -> Option<String> {
    response.metadata().get("x-peer").and_then(|peer| peer.to_str().ok()).map(str::to_owned)
}

/// Whether another pong came; one out of turn is data loss.
async fn next(pongs: &mut Streaming<Pong>, due: u64) -> Result<bool, Status> {
    match pongs.message().await? {
        Some(pong) if pong.number == due => Ok(true),
        Some(pong) => Err(Status::data_loss(format!("number {} instead of {due}", pong.number))),
        None => Ok(false),
    }
}

fn path(path: &'static str) -> PathAndQuery {
    PathAndQuery::from_static(path)
}
