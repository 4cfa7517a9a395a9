//! Response flags: short marks that say why a request or connection ended as it did.
//!
//! The names are Envoy's (its access-log documentation, `%RESPONSE_FLAGS%`), because people search their logs for them.
//! They print in the order in which they were set, so a set keeps that order.

use std::fmt;

macro_rules! flags {
    ($($(#[$doc:meta])* $name:ident = $short:literal,)*) => {
        /// One reason, with Envoy's short name.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Flag {
            $($(#[$doc])* $name,)*
        }

        impl Flag {
            const ALL: &[Self] = &[$(Self::$name),*];

            /// The name that logs and metrics show.
            pub const fn short(self) -> &'static str {
                match self {
                    $(Self::$name => $short,)*
                }
            }
        }
    };
}

flags! {
    /// No route or no filter chain matched.
    NoRoute = "NR",
    /// The route names a cluster that does not exist.
    NoCluster = "NC",
    /// The cluster has no healthy host.
    NoHealthyUpstream = "UH",
    /// The upstream connection could not be made.
    UpstreamConnectFailure = "UF",
    /// The upstream closed its connection before the response was complete.
    UpstreamConnectionTermination = "UC",
    /// A circuit breaker refused the request.
    UpstreamOverflow = "UO",
    /// The upstream did not answer in time.
    UpstreamTimeout = "UT",
    /// The upstream reset the stream.
    UpstreamRemoteReset = "UR",
    /// The last of the allowed attempts failed too (HTTP), or of the connects (TCP).
    RetryLimitExceeded = "URX",
    /// We reset the stream.
    LocalReset = "LR",
    /// The downstream went away first.
    DownstreamConnectionTermination = "DC",
    /// The downstream reset the stream.
    DownstreamRemoteReset = "DR",
    /// The downstream broke the protocol.
    DownstreamProtocolError = "DPE",
    /// The upstream broke the protocol.
    UpstreamProtocolError = "UPE",
    /// A stream saw no data for too long.
    StreamIdleTimeout = "SI",
    /// The connection or stream reached its maximal duration.
    DurationTimeout = "DT",
    /// A fault was injected: delay.
    DelayInjected = "DI",
    /// A fault was injected: abort.
    FaultInjected = "FI",
    /// A rate limit refused the request.
    RateLimited = "RL",
    /// The rate-limit service could not be asked.
    RateLimitServiceError = "RLSE",
    /// External authorisation refused the request.
    UnauthorizedExternalService = "UAEX",
    /// The health check answered for us.
    LocalHealthCheckFailed = "LH",
    /// A header that we demand exactly was not so.
    InvalidEnvoyRequestHeaders = "IH",
    /// Load was shed.
    OverloadManager = "OM",
    /// A name could not be resolved.
    DnsResolutionFailed = "DF",
    /// A filter wants no more of this request.
    NoFilterConfigFound = "NFCF",
    /// The upstream reached its maximal stream duration.
    UpstreamMaxStreamDuration = "UMSDR",
}

/// The flags of one request, in the order they were set.
///
/// Holds at most [`Flags::MAX`]; the request path sets three at most, so a further one is ignored rather than stored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Flags([u8; Self::MAX]);

impl Flags {
    /// How many flags fit; five bytes leave room for code and protocol in a 64-bit row key.
    pub const MAX: usize = 5;

    /// A set of one.
    pub fn of(flag: Flag) -> Self {
        let mut flags = Self::default();
        flags.set(flag);
        flags
    }

    /// Adds `flag` behind those already set; a flag that is set already keeps its place.
    pub fn set(&mut self, flag: Flag) {
        let id = flag as u8 + 1;
        for slot in &mut self.0 {
            if *slot == id {
                return;
            }
            if *slot == 0 {
                *slot = id;
                return;
            }
        }
    }

    /// Whether `flag` was set.
    pub fn contains(&self, flag: Flag) -> bool {
        self.0.contains(&(flag as u8 + 1))
    }

    /// Whether none was set.
    pub fn is_empty(&self) -> bool {
        self.0[0] == 0
    }

    /// The flags, first set first.
    pub fn iter(&self) -> impl Iterator<Item = Flag> + '_ {
        self.0.iter().filter(|id| **id != 0).filter_map(|id| Flag::ALL.get(usize::from(*id) - 1).copied())
    }

    pub(crate) fn to_bits(self) -> u64 {
        self.0.iter().rev().fold(0, |bits, id| bits << 8 | u64::from(*id))
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let mut flags = Self::default();
        for (place, slot) in flags.0.iter_mut().enumerate() {
            *slot = (bits >> (8 * place)) as u8;
        }
        flags
    }
}

impl FromIterator<Flag> for Flags {
    fn from_iter<I: IntoIterator<Item = Flag>>(flags: I) -> Self {
        let mut set = Self::default();
        flags.into_iter().for_each(|flag| set.set(flag));
        set
    }
}

/// `UF,URX`, or `-` for none.
impl fmt::Display for Flags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("-");
        }
        for (place, flag) in self.iter().enumerate() {
            if place > 0 {
                f.write_str(",")?;
            }
            f.write_str(flag.short())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
