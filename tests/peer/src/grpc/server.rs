//! The server, on plain hyper: one connection, one match over four paths.

use std::convert::Infallible;

use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use hyper::{
    Request as HttpRequest, Response as HttpResponse, body::Incoming, server::conn::http2, service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::net::TcpStream;
use tonic::{
    Code, Request, Response, Status, Streaming,
    body::Body,
    metadata::MetadataValue,
    server::{ClientStreamingService, Grpc, ServerStreamingService, StreamingService, UnaryService},
};
use tonic_prost::ProstCodec;

use super::{BIDI, CLIENT_STREAM, Ping, Pong, SERVER_STREAM, UNARY};
use crate::listen::Listen;

/// Options of `grpc-echo`.
#[derive(clap::Args)]
pub(crate) struct ServerOptions {
    #[command(flatten)]
    listen: Listen,
    /// Its name, told in the metadata `x-peer`.
    #[arg(long, default_value = "grpc-echo")]
    name: String,
}

pub(crate) async fn server(options: ServerOptions) -> anyhow::Result<bool> {
    let echo = Echo { name: options.name.parse()? };
    options.listen.serve(|socket, _| connection(socket, echo.clone())).await
}

async fn connection(socket: TcpStream, echo: Echo) {
    let service = service_fn(move |request| {
        let echo = echo.clone();
        async move { Ok::<_, Infallible>(answer(request, echo).await) }
    });
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder.timer(TokioTimer::new());
    let _ = builder.serve_connection(TokioIo::new(socket), service).await;
}

async fn answer(request: HttpRequest<Incoming>, echo: Echo) -> HttpResponse<Body> {
    let mut grpc = Grpc::new(ProstCodec::<Pong, Ping>::default());
    match request.uri().path() {
        UNARY => grpc.unary(echo, request).await,
        CLIENT_STREAM => grpc.client_streaming(echo, request).await,
        SERVER_STREAM => grpc.server_streaming(echo, request).await,
        BIDI => grpc.streaming(echo, request).await,
        path => Status::unimplemented(path.to_owned()).into_http(),
    }
}

#[derive(Clone)]
struct Echo {
    name: MetadataValue<tonic::metadata::Ascii>,
}

type Answer<T> = BoxFuture<'static, Result<Response<T>, Status>>;
type Pongs = BoxStream<'static, Result<Pong, Status>>;

impl Echo {
    fn reply<T: Send + 'static>(&self, message: T) -> Response<T> {
        let mut response = Response::new(message);
        response.metadata_mut().insert("x-peer", self.name.clone());
        response
    }
}

/// What a ping asks for: its pong, or its status.
fn pong(ping: Ping) -> Result<Pong, Status> {
    match ping.status {
        0 => Ok(Pong { text: ping.text, number: ping.number, received: 1 }),
        code => Err(Status::new(Code::from_i32(code), "as it was told")),
    }
}

impl UnaryService<Ping> for Echo {
    type Response = Pong;
    type Future = Answer<Pong>;

    fn call(&mut self, request: Request<Ping>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move { pong(request.into_inner()).map(|pong| echo.reply(pong)) })
    }
}

impl ClientStreamingService<Ping> for Echo {
    type Response = Pong;
    type Future = Answer<Pong>;

    fn call(&mut self, request: Request<Streaming<Ping>>) -> Self::Future {
        let echo = self.clone();
        Box::pin(async move {
            let (mut pings, mut total) = (request.into_inner(), Pong::default());
            while let Some(ping) = pings.message().await? {
                let pong = pong(ping)?;
                total = Pong {
                    text: pong.text,
                    number: total.number.wrapping_add(pong.number),
                    received: total.received + 1,
                };
            }
            Ok(echo.reply(total))
        })
    }
}

impl ServerStreamingService<Ping> for Echo {
    type Response = Pong;
    type ResponseStream = Pongs;
    type Future = Answer<Pongs>;

    fn call(&mut self, request: Request<Ping>) -> Self::Future {
        let (ping, echo) = (request.into_inner(), self.clone());
        let text = ping.text.clone();
        let pongs = stream::iter(0..ping.count).map(move |number| Ok(Pong { text: text.clone(), number, received: 1 }));
        let end = stream::iter(pong(ping).err().map(Err));
        Box::pin(async move { Ok(echo.reply(pongs.chain(end).boxed())) })
    }
}

impl StreamingService<Ping> for Echo {
    type Response = Pong;
    type ResponseStream = Pongs;
    type Future = Answer<Pongs>;

    fn call(&mut self, request: Request<Streaming<Ping>>) -> Self::Future {
        let echo = self.clone();
        let pongs = request.into_inner().map(|ping| ping.and_then(pong));
        Box::pin(async move { Ok(echo.reply(pongs.boxed())) })
    }
}
