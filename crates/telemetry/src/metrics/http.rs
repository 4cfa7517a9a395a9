//! Series of HTTP and gRPC requests.

use std::time::Duration;

use super::{
    cell::Cell,
    histogram::{Histogram, HistogramTotals},
    registry::{Handle, Registry, Series},
    rows::Rows,
};
use crate::{flags::Flags, labels::Labels};

pub(crate) type HttpShard = Registry<Labels, HttpData>;

/// What a request turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RequestProtocol {
    /// Plain HTTP.
    Http,
    /// gRPC, with the status it ended with, if it got that far.
    Grpc {
        /// `grpc-status`
        status: Option<u8>,
    },
}

/// How one request ended.
#[derive(Clone, Copy, Debug)]
pub struct HttpOutcome {
    /// What it was.
    pub protocol: RequestProtocol,
    /// The response's status; 0 if there was none.
    pub code: u16,
    /// Why it ended so.
    pub flags: Flags,
    /// From the first byte of the request to the last of the response.
    pub duration: Duration,
    /// On the wire, headers and framing included.
    pub request_bytes: u64,
    /// On the wire, headers and framing included.
    pub response_bytes: u64,
}

/// A row's key: what of an outcome becomes labels, in 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) code: u16,
    pub(crate) protocol: RequestProtocol,
    pub(crate) flags: Flags,
}

impl RowKey {
    const HTTP: u8 = 255;
    const GRPC_WITHOUT_STATUS: u8 = 254;
    const OVERFLOW: u64 = Self::HTTP as u64 * (1 << 16); // no code, no flags

    pub(crate) fn to_bits(self) -> u64 {
        let protocol = match self.protocol {
            RequestProtocol::Http => Self::HTTP,
            RequestProtocol::Grpc { status: None } => Self::GRPC_WITHOUT_STATUS,
            RequestProtocol::Grpc { status: Some(status) } => status.min(Self::GRPC_WITHOUT_STATUS - 1),
        };
        u64::from(self.code) | u64::from(protocol) << 16 | self.flags.to_bits() << 24
    }

    pub(crate) fn from_bits(bits: u64) -> Self {
        let protocol = match (bits >> 16) as u8 {
            Self::HTTP => RequestProtocol::Http,
            Self::GRPC_WITHOUT_STATUS => RequestProtocol::Grpc { status: None },
            status => RequestProtocol::Grpc { status: Some(status) },
        };
        Self { code: bits as u16, protocol, flags: Flags::from_bits(bits >> 24) }
    }
}

/// One combination of code, protocol and flags. The number of requests is the number of durations.
#[derive(Debug, Default)]
pub(crate) struct HttpRow {
    duration: Histogram,
    request_bytes: Histogram,
    response_bytes: Histogram,
}

impl HttpRow {
    fn record(&self, outcome: &HttpOutcome) {
        self.duration.record_duration(outcome.duration);
        self.request_bytes.record_bytes(outcome.request_bytes);
        self.response_bytes.record_bytes(outcome.response_bytes);
    }
}

#[derive(Debug, Default)]
pub(crate) struct HttpData {
    pub(crate) rows: Rows<HttpRow>,
    pub(crate) request_messages: Cell,
    pub(crate) response_messages: Cell,
}

impl Series for HttpData {
    fn activity(&self) -> u64 {
        let requests = self.rows.iter().map(|(_, row)| row.duration.count()).sum::<u64>();
        requests.wrapping_add(self.request_messages.get()).wrapping_add(self.response_messages.get())
    }

    fn cost(&self) -> usize {
        self.rows.cost()
    }

    fn overflow() -> Self {
        Self { rows: Rows::starting_with(RowKey::OVERFLOW), ..Self::default() }
    }
}

/// Rows of several shards, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct HttpTotals {
    pub(crate) duration: HistogramTotals,
    pub(crate) request_bytes: HistogramTotals,
    pub(crate) response_bytes: HistogramTotals,
}

impl HttpTotals {
    pub(crate) fn absorb(&mut self, row: &HttpRow) {
        self.duration.absorb(&row.duration);
        self.request_bytes.absorb(&row.request_bytes);
        self.response_bytes.absorb(&row.response_bytes);
    }
}

/// Handle to the series of one [`Labels`] in one shard.
#[derive(Clone, Debug)]
pub struct HttpSeries(Handle<Labels, HttpData>);

impl HttpSeries {
    pub(crate) fn new(handle: Handle<Labels, HttpData>) -> Self {
        Self(handle)
    }

    /// Counts a finished request. Neither hashes nor allocates when this code, protocol and these flags were seen
    /// before.
    pub fn record(&self, outcome: &HttpOutcome) {
        let key = RowKey { code: outcome.code, protocol: outcome.protocol, flags: outcome.flags };
        match self.0.live().rows.find(key.to_bits(), self.0.budget()) {
            Some(row) => row.record(outcome),
            None => self.overflow(outcome),
        }
    }

    /// Counts gRPC messages since the last call: at the end of a stream, and every 5 s while it lasts.
    pub fn messages(&self, requests: u64, responses: u64) {
        let data = self.0.live();
        data.request_messages.add(requests);
        data.response_messages.add(responses);
    }

    #[cold]
    fn overflow(&self, outcome: &HttpOutcome) {
        if let Some(row) = self.0.overflow().rows.find(RowKey::OVERFLOW, self.0.budget()) {
            row.record(outcome);
        }
    }
}
