//! Sandboxes in which ordinary processes run as workloads of a mesh, without root, containers or a cluster.
//!
//! `mizzen up` and every end-to-end test run on this crate. It knows namespaces, addresses and processes; it knows nothing
//! of services, configuration or proxies beyond the privileges that a proxy needs.
//!
//! In: nodes ([`NodeSpec`]) and programs ([`SpawnSpec`]). Out: process exits ([`Event`]), resource use ([`Stats`]), and for
//! what has to reach the outside, sockets made in the host's network ([`Broker`]).
//!
//! ```text
//!  host                       │ user + mount + pid + network namespaces (uid mapped to itself)
//!                             │
//!  Lab ──control socket───────┼─► init (pid 1) ──── br0 10.244.0.1/16, fd77:6d7a::1/64     Role::Control runs here
//!   │   SEQPACKET, JSON, fds  │     │                │
//!   │                         │     ├─ node a ── eth0 (veth), nftables program             Role::Proxy: this network only
//!   │                         │     │   └─ cage: own pids, /proc, /run, hostname, DNS      Role::App: network and cage
//!   │                         │     └─ node b …
//!  Broker ──sockets made on the host───► a proxy's inherited descriptor
//! ```
//!
//! **Nothing stays behind.** Init is the first process of a pid namespace: when it ends, the kernel kills everything in it,
//! and namespaces, links, rules and mounts go with their last process. It ends when the control socket closes, when its
//! launcher dies (`PDEATHSIG`), or when [`Lab`] is dropped; so also when the host side is killed with SIGKILL.
//!
//! **A workload cannot leave its cage.** It has no capabilities and cannot gain any (empty bounding set, `NOROOT`
//! securebits, `no_new_privs`), which holds for root as well; it sees only the processes of its own node; the paths that
//! [`LabOptions`] names are covered in its mount namespace, and `/run` with the sockets of name services, of the session
//! bus and of service managers is replaced by an empty one of its own. The rest of the file system, `/tmp` included, is
//! the caller's, since workloads are the caller's own programs. UDP and ICMP between nodes pass; nothing but the broker
//! reaches the host's network.
//!
//! Limits: one user id exists inside, so programs that switch to another user (nginx started as root, say) must be told not
//! to; files of other users appear as `nobody`'s. Linux 5.8 or newer.

mod addr;
mod broker;
mod error;
mod files;
mod host;
mod init;
mod preflight;
mod spec;
mod state_dir;
mod wire;

pub use addr::{BRIDGE_V4, BRIDGE_V6, HOST_ALIAS, ipv6_of, workload_address};
pub use broker::{Broker, BrokerOptions};
pub use error::LabError;
pub use host::Lab;
pub use init::lab_init;
pub use preflight::{Obstacle, preflight};
pub use rustix::process::Signal;
pub use spec::{Event, Exit, LabOptions, Mount, NodeSpec, ProcessId, Role, SpawnSpec, Stats};
pub use state_dir::{StateDir, StateDirError};
