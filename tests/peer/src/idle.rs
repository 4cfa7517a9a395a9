//! Many connections that do nothing: for memory budgets, and for what a drain does to them.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::Method;
use serde_json::json;

use crate::{
    connect::{Failed, Sender, To, full, seconds},
    output,
};

/// Options of `idle`.
#[derive(clap::Args)]
pub(crate) struct Options {
    #[command(flatten)]
    to: To,
    #[arg(long, default_value_t = 100)]
    connections: usize,
    /// How long to hold them, in seconds; until SIGTERM otherwise.
    #[arg(long, value_parser = seconds)]
    hold: Option<Duration>,
    /// At the end asks once more on each that is still open.
    #[arg(long)]
    ask_again: bool,
}

/// Prints one line when all are open, one at the end; good if all stayed open (and answered again).
pub(crate) async fn run(options: Options) -> anyhow::Result<bool> {
    let mut held = Vec::with_capacity(options.connections);
    for _ in 0..options.connections {
        let mut sender = options.to.open().await?;
        let status = ask(&options.to, &mut sender).await?;
        anyhow::ensure!((200..300).contains(&status), "status {status}");
        held.push(sender);
    }
    output::line(&json!({"open": held.len()}));
    let hold = async {
        match options.hold {
            Some(hold) => tokio::time::sleep(hold).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = hold => {}
        () = output::terminated() => {}
    }
    let open = held.iter().filter(|sender| !sender.is_closed()).count();
    let mut answered = 0;
    if options.ask_again {
        for sender in &mut held {
            answered += usize::from(ask(&options.to, sender).await.is_ok_and(|status| (200..300).contains(&status)));
        }
    }
    output::line(&json!({"open": open, "closed": held.len() - open, "answered_again": answered}));
    Ok(open == held.len() && (!options.ask_again || answered == held.len()))
}

async fn ask(to: &To, sender: &mut Sender) -> anyhow::Result<u16> {
    let response = sender.send(to.request(Method::GET, full(Bytes::new()))?).await.map_err(|failed| match failed {
        Failed::Unsent(_) => anyhow::anyhow!("the connection was closed"),
        Failed::Broken(error) => error.into(),
    })?;
    let status = response.status().as_u16();
    response.into_body().collect().await?;
    Ok(status)
}
