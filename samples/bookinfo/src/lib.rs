//! Bookinfo: the book shop that Istio's documentation uses as its example, as four small ordinary HTTP services and a
//! traffic source.
//!
//! Nothing here knows of a mesh. A service listens on port 9080, calls the others by name over plain HTTP, and passes
//! on the headers that tie the calls of one page together, as any traced application does.
//!
//! ```text
//!  traffic ──► productpage ──┬──► details
//!                            └──► reviews v1 | v2 | v3 ──► ratings   (v1 shows no stars, v2 black ones, v3 red ones)
//! ```
//! Environment: `PORT` (9080), `SERVICE_VERSION` (v1), `NAME_HOSTNAME` and `NAME_SERVICE_PORT` for each service called.

mod client;
mod content;
mod page;
mod server;
mod settings;
mod trace;

pub use client::{Answer, Client, FetchError};
pub use content::{Stars, details, product, products, ratings, reviews};
pub use page::{Section, escape_html, index_page, product_page};
pub use server::{Reply, Request, html, json, run, serve, text};
pub use settings::{Upstream, port, service_version, variable};
pub use trace::forwarded;
