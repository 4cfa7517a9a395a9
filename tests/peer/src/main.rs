//! `mizzen-peer`: the clients and servers that the end-to-end tests put beside the mesh. They know nothing of it.
//!
//! In: a subcommand. Out: JSON lines on stdout; a server's first line is `{"listening":"ADDRESS"}`, a client's last one
//! its summary. The exit code of a client is 0 if everything was as it should be, else 1. SIGTERM ends servers, and
//! lets clients print their summary.

mod connect;
mod echo;
mod escape;
mod grpc;
mod idle;
mod listen;
mod load;
mod output;
mod pattern;
mod raw;
mod stats;
mod stream;
mod tcp;
mod tls;
mod websocket;
mod ws_load;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Test clients and servers.
#[derive(Parser)]
#[command(name = "mizzen-peer")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// HTTP/1.1 and h2c server that answers with what it was asked; see `echo::controls` for what a query can make it
    /// do.
    Echo(echo::Options),
    /// TCP server that sends everything back.
    TcpEcho(tcp::EchoOptions),
    /// TCP server that speaks first, then sends everything back.
    ServerFirst(tcp::ServerFirstOptions),
    /// TCP client: sends text, prints what comes back.
    TcpClient(tcp::ClientOptions),
    /// Server that reports raw bytes and answers with scripted ones.
    RawServer(raw::ServerOptions),
    /// Client that sends raw bytes and prints what comes back.
    RawClient(raw::ClientOptions),
    /// TLS client: tells what the handshake showed, and can talk then.
    TlsProbe(tls::ProbeOptions),
    /// Paced HTTP load that checks every answer.
    Load(load::Options),
    /// Paced HTTP/2 load over few long connections.
    H2Long(load::H2LongOptions),
    /// Numbered frames over long WebSocket (or `Upgrade: echo`) connections.
    WsLoad(ws_load::Options),
    /// gRPC server with all four kinds of streaming.
    GrpcEcho(grpc::ServerOptions),
    /// gRPC client for one of them.
    GrpcClient(grpc::ClientOptions),
    /// Opens many connections, asks once on each, and holds them.
    Idle(idle::Options),
    /// Sends one large body and checks that it arrived.
    StreamUpload(stream::Options),
    /// Fetches one large body and checks it.
    StreamDownload(stream::Options),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return failed(&error.into()),
    };
    match runtime.block_on(run(arguments.command)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => failed(&error),
    }
}

async fn run(command: Command) -> anyhow::Result<bool> {
    match command {
        Command::Echo(options) => echo::run(options).await,
        Command::TcpEcho(options) => tcp::echo(options).await,
        Command::ServerFirst(options) => tcp::server_first(options).await,
        Command::TcpClient(options) => tcp::client(options).await,
        Command::RawServer(options) => raw::server(options).await,
        Command::RawClient(options) => raw::client(options).await,
        Command::TlsProbe(options) => tls::probe(options).await,
        Command::Load(options) => load::run(options).await,
        Command::H2Long(options) => load::run(options.into()).await,
        Command::WsLoad(options) => ws_load::run(options).await,
        Command::GrpcEcho(options) => grpc::server(options).await,
        Command::GrpcClient(options) => grpc::client(options).await,
        Command::Idle(options) => idle::run(options).await,
        Command::StreamUpload(options) => stream::upload(options).await,
        Command::StreamDownload(options) => stream::download(options).await,
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    output::line(&serde_json::json!({"error": format!("{error:#}")}));
    ExitCode::FAILURE
}
