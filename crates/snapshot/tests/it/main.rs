//! From encoded resources to what is in force, through the public interface only.

#![expect(clippy::unnecessary_wraps, reason = "the fields that these values are for are optional")]
#![expect(clippy::large_stack_arrays, reason = "tables of messages")]
#![expect(deprecated, reason = "what Envoy's API calls deprecated is read, too")]

mod broken;
mod clusters;
mod converges;
mod given;
mod hosts;
mod listeners;
mod names;
mod published;
mod routes;
mod walked;
