//! Transparent capture: the packet-filter program that sends a workload's connections through its proxy.
//!
//! In: which ports and addresses are captured ([`Capture`], by hand or from Istio's annotations). Out: text for
//! `nft -f -` that replaces the table `inet mizzen` in one transaction ([`Capture::program`]), and the text that removes
//! exactly that table ([`REMOVE`]). The crate runs nothing and reads nothing.
//!
//! ```text
//!             app ──connect──► output ──┬─ loopback, excluded ───────────────► as dialled
//!                                       ├─ port 53 ──► 15053 (proxy, DNS)
//!                                       └─ TCP ──────► 15001 (proxy, outbound) ──mark 1337──► network
//!                                                                                   │ own address
//!  network ──► prerouting ── TCP, not excluded ──► 15006 (proxy, inbound) ◄─────────┘
//!                                                    └──mark 1338, or from 127.0.0.6──► app
//! ```
//!
//! What it promises:
//! - **Fail closed.** The table is loaded before the namespace gets its address. Until the proxy listens, and whenever it
//!   is down, a captured connection is refused (it is redirected to a closed port), never let through.
//! - **Only the proxy escapes.** The marks need `CAP_NET_ADMIN`, which no workload has.
//! - **Both address families** are captured by the same rules.
//!
//! What is *not* captured, as with Istio's sidecar: UDP other than DNS, ICMP and every other protocol; what a workload
//! sends to its own addresses without a service in between; excluded ports and ranges; inbound, the proxy's own service
//! ports ([`PROXY_PORTS`]). DNS to a loopback address stays with whatever listens there.
//!
//! Rules and names follow Istio's interception (`istio-iptables` and its annotations); where Istio tells the proxy by user
//! id, Mizzen tells it by socket mark, because in a user namespace with a single id both run under the same one.

mod annotations;
mod program;

pub use annotations::{AnnotationError, from_annotations};
pub use program::{Capture, PROXY_PORTS, Ports, REMOVE, Ranges, Sidecar, port};
