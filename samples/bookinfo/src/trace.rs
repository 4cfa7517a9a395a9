//! The headers that a service hands on to the services it calls.
//!
//! Tracing works only if the application does this
//! (<https://istio.io/latest/docs/tasks/observability/distributed-tracing/overview/>); `end-user`, `cookie` and
//! `authorization` travel with them because routing rules and policies of the examples look at them.

use hyper::{HeaderMap, header::HeaderName};

const FORWARDED: [&str; 15] = [
    "x-request-id",
    "x-b3-traceid",
    "x-b3-spanid",
    "x-b3-parentspanid",
    "x-b3-sampled",
    "x-b3-flags",
    "b3",
    "traceparent",
    "tracestate",
    "x-ot-span-context",
    "end-user",
    "user-agent",
    "cookie",
    "authorization",
    "jwt",
];

/// Those of `incoming` that go along with every call made for it.
pub fn forwarded(incoming: &HeaderMap) -> HeaderMap {
    let mut outgoing = HeaderMap::new();
    for name in FORWARDED.map(HeaderName::from_static) {
        for value in incoming.get_all(&name) {
            outgoing.append(name.clone(), value.clone());
        }
    }
    outgoing
}
