//! gRPC: `mizzen.peer.Echo` with all four kinds of streaming, server and client. The messages are written by hand:
//! there are two.
//!
//! | method | request | answer |
//! |---|---|---|
//! | `Unary` | one `Ping` | its `Pong` |
//! | `ClientStream` | `Ping`s | one `Pong`: the sum of their numbers, and how many came |
//! | `ServerStream` | one `Ping` | `count` `Pong`s, numbered |
//! | `Bidi` | `Ping`s | a `Pong` for each, at once: the client sends the next only when it has it |
//!
//! A `Ping` with a `status` ends its call with that status.

mod client;
mod server;

pub(crate) use client::{ClientOptions, client};
pub(crate) use server::{ServerOptions, server};

/// What is asked.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Ping {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) count: u64,
    #[prost(int32, tag = "4")]
    pub(crate) status: i32,
}

/// What is answered.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Pong {
    #[prost(string, tag = "1")]
    pub(crate) text: String,
    #[prost(uint64, tag = "2")]
    pub(crate) number: u64,
    #[prost(uint64, tag = "3")]
    pub(crate) received: u64,
}

const UNARY: &str = "/mizzen.peer.Echo/Unary";
const CLIENT_STREAM: &str = "/mizzen.peer.Echo/ClientStream";
const SERVER_STREAM: &str = "/mizzen.peer.Echo/ServerStream";
const BIDI: &str = "/mizzen.peer.Echo/Bidi";
