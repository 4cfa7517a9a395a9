//! From encoded resources to what is in force, through the public interface only.

mod broken;
mod clusters;
mod given;
mod hosts;
mod listeners;
mod names;
mod published;
mod routes;
mod walked;
