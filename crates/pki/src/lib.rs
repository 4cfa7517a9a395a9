//! Identities of workloads and the certificates that prove them.
//!
//! ```text
//!  KeyAndCsr ── CSR ──► Authority::issue(csr, authenticated identity) ── chain + roots ──► Svid ──► tls::*
//!                                     ▲                                                              │
//!                          TokenKey::verify, PeerCertificate                     verify::Verifier ◄── peer
//! ```
//!
//! Functions of bytes and `now`, but for [`store`], which keeps the authority's files. It knows nothing of HTTP:
//! [`wire`] has the messages of Istio's certificate service, whoever sends them.
//!
//! SPIFFE: <https://github.com/spiffe/spiffe/blob/main/standards/X509-SVID.md>.

pub mod authority;
pub mod id;
pub mod peer;
pub mod request;
pub mod store;
pub mod svid;
pub mod tls;
pub mod token;
pub mod verify;
pub mod wire;

pub use authority::{Authority, IssueError};
pub use id::SpiffeId;
pub use peer::PeerCertificate;
pub use request::KeyAndCsr;
pub use svid::Svid;
pub use verify::{SanRule, Verifier};
