//! Pickers: which endpoint gets a request, and how long a retry waits.
//!
//! Time and randomness are arguments: a random number is a uniform `u64`. The in-flight count of a host is asked of the
//! caller.
//! **Invariant:** no I/O, no clock, no rng.

pub mod pick;
mod priority;
mod random;
pub mod retry;
mod schedule;

pub use pick::{Host, Picker, Policy};
pub use retry::backoff;
