//! The lab against the kernel: real namespaces, real processes. Runs as whoever runs the tests, root or not; both matter,
//! since they reach the same cage by different means.
//!
//! `MIZZEN_LAB_LAUNCHER` names another copy of the launcher, for a user who cannot read the build directory.

mod broker;
mod cage;
mod capture;
mod death;
mod fixture;
mod nodes;
mod processes;
