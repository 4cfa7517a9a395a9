//! HTTP routes: from the rules of a `VirtualService`, or the one default route, to virtual hosts.
//!
//! What a data plane cannot see (source labels, source namespace, gateways, the listener's port) is decided here.

mod action;
mod configuration;
mod headers;
mod host;
mod matching;
mod retry;
mod rules;

pub(crate) use action::default_route;
pub(crate) use configuration::{Fallback, RoutesView, config_of, inline_configuration};
pub(crate) use host::{Bound, GatewayHostView, PATTERN_PORT, PatternHostView, ServiceHostView};
pub(crate) use rules::{Destinations, Source};
