//! Messages of `istio.v1.auth.IstioCertificateService` (Istio's `security/v1alpha1/ca.proto`).

use std::time::Duration;

/// gRPC path of the one method.
pub const CREATE_CERTIFICATE: &str = "/istio.v1.auth.IstioCertificateService/CreateCertificate";

#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateRequest {
    /// PEM.
    #[prost(string, tag = "1")]
    pub csr: String,
    /// Seconds; zero or less is the authority's default.
    #[prost(int64, tag = "3")]
    pub validity_duration: i64,
    #[prost(message, optional, tag = "4")]
    pub metadata: Option<prost_types::Struct>,
}

impl IstioCertificateRequest {
    pub fn new(csr: String, ttl: Option<Duration>) -> Self {
        let seconds = ttl.map_or(0, |ttl| i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
        Self { csr, validity_duration: seconds, metadata: None }
    }

    /// The life asked for, if one was.
    pub fn ttl(&self) -> Option<Duration> {
        u64::try_from(self.validity_duration).ok().filter(|&seconds| seconds > 0).map(Duration::from_secs)
    }
}

#[derive(Clone, PartialEq, prost::Message)]
pub struct IstioCertificateResponse {
    /// PEM: the leaf, intermediates, and all roots as the last element.
    #[prost(string, repeated, tag = "1")]
    pub cert_chain: Vec<String>,
}
