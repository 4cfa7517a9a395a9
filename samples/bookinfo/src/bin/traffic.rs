//! `traffic`: a steady stream of visitors. Tries until the first page arrives whole, then asks for `RATE` (30) pages a
//! second of `URL` (`http://productpage:9080/productpage`) over kept connections, and prints a line for each one that
//! is not whole.

use std::{cell::Cell, error::Error, io, rc::Rc, time::Duration};

use hyper::HeaderMap;
use mizzen_bookinfo::{Client, run, variable};
use tokio::{
    signal::unix::{SignalKind, signal},
    time::{MissedTickBehavior, interval, sleep},
};

/// How long a page may take.
const DEADLINE: Duration = Duration::from_secs(15);
/// Pages that are waited for at one time; when the shop is slower than that, visitors are turned away, and that is
/// said.
const WAITING_MAX: usize = 256;
const RETRY: Duration = Duration::from_millis(200);
/// How often the reason is repeated while there is no first page.
const TRIES_PER_LINE: u32 = 25;

fn main() -> io::Result<()> {
    run(async {
        let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        tokio::select! {
            () = visit() => {}
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        Ok(())
    })
}

async fn visit() {
    let url: Rc<str> = variable("URL", "http://productpage:9080/productpage").into();
    let rate = variable("RATE", "30").parse().ok().filter(|rate| (0.01..=10_000.0).contains(rate)).unwrap_or(30.0);
    let client = Client::default();
    for tries in 0.. {
        match page(&client, &url).await {
            Ok(()) => break,
            Err(why) if tries % TRIES_PER_LINE == 0 => println!("traffic: waiting for {url}: {why}"),
            Err(_) => {}
        }
        sleep(RETRY).await;
    }
    println!("traffic: {rate} pages/s from {url}");

    let waiting = Rc::new(Cell::new(0));
    let mut ticks = interval(Duration::from_secs_f64(1.0 / rate));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    loop {
        ticks.tick().await;
        if waiting.get() >= WAITING_MAX {
            println!("traffic: GET {url}: {WAITING_MAX} pages are still awaited, one visitor turned away");
            continue;
        }
        waiting.set(waiting.get() + 1);
        let (client, url, waiting) = (client.clone(), url.clone(), waiting.clone());
        tokio::task::spawn_local(async move {
            if let Err(why) = page(&client, &url).await {
                println!("traffic: GET {url}: {why}");
            }
            waiting.set(waiting.get() - 1);
        });
    }
}

/// One page; the error says what is wrong with it.
async fn page(client: &Client, url: &str) -> Result<(), String> {
    let answer = client.fetch(url, &HeaderMap::new(), DEADLINE).await.map_err(|error| chain(&error))?;
    if !answer.status.is_success() {
        return Err(answer.status.to_string());
    }
    let page = String::from_utf8_lossy(&answer.body);
    match page.find("Error fetching") {
        Some(at) => Err(page[at..].chars().take_while(|c| *c != '<').collect()),
        None => Ok(()),
    }
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
