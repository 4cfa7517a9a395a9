//! From the wire to what the proxy runs: a compiled, immutable, numbered [`Snapshot`].
//!
//! [`Store`] takes xDS resources, rejects bad ones by name, keeps the last good version, and publishes only closed
//! configuration: a listener or route takes effect when what it names is there. [`walk`] puts the decisions of `rules` in
//! order; the proxy's phases and the CLI's explanation are two executions of that one walk.
//! **Invariant:** no sockets, no clock. TLS keys are not here: they rotate on their own (see the proxy's identity).

pub mod cluster;
pub mod http_manager;
pub mod listener;
pub mod route;
pub mod store;
pub mod view;
pub mod walk;
mod wire;

pub use cluster::{Cluster, ClusterKind, ClusterSpec, Endpoint, Endpoints};
pub use http_manager::HttpManager;
pub use listener::{FilterChain, Handler, Listener, TcpProxy};
pub use route::{Route, RouteAction, RouteConfig, VirtualHost};
pub use store::{Applied, Rejection, Resource, Store, Update};
pub use view::{Lookup, Snapshot};
