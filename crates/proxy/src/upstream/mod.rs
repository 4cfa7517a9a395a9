//! The upstream side: what outlives a generation of configuration ([`live`]), connections and their pools, name resolution.

pub(crate) mod broker;
pub(crate) mod connect;
pub(crate) mod live;
pub(crate) mod pool;
pub(crate) mod resolve;
