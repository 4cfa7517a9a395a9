//! Series of TCP connections.

use super::{
    cell::Cell,
    registry::{Handle, Registry, Series},
    rows::Rows,
};
use crate::{flags::Flags, labels::Labels};

pub(crate) type TcpShard = Registry<Labels, TcpData>;

/// One combination of flags.
#[derive(Debug, Default)]
pub(crate) struct TcpRow {
    opened: Cell,
    closed: Cell,
    sent: Cell,
    received: Cell,
}

#[derive(Debug, Default)]
pub(crate) struct TcpData {
    pub(crate) rows: Rows<TcpRow>,
}

impl Series for TcpData {
    fn activity(&self) -> u64 {
        let row = |row: &TcpRow| {
            row.opened
                .get()
                .wrapping_add(row.closed.get())
                .wrapping_add(row.sent.get())
                .wrapping_add(row.received.get())
        };
        self.rows.iter().map(|(_, cells)| row(cells)).fold(0, u64::wrapping_add)
    }

    fn cost(&self) -> usize {
        self.rows.cost()
    }

    fn overflow() -> Self {
        Self { rows: Rows::starting_with(0) }
    }
}

/// Rows of several shards, summed.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct TcpTotals {
    pub(crate) opened: u64,
    pub(crate) closed: u64,
    pub(crate) sent: u64,
    pub(crate) received: u64,
}

impl TcpTotals {
    pub(crate) fn absorb(&mut self, row: &TcpRow) {
        self.opened += row.opened.get();
        self.closed += row.closed.get();
        self.sent += row.sent.get();
        self.received += row.received.get();
    }
}

/// Handle to the series of one [`Labels`] in one shard.
#[derive(Clone, Debug)]
pub struct TcpSeries(Handle<Labels, TcpData>);

impl TcpSeries {
    pub(crate) fn new(handle: Handle<Labels, TcpData>) -> Self {
        Self(handle)
    }

    /// Counts a connection when it is accepted.
    pub fn opened(&self) {
        self.with(Flags::default(), |row| row.opened.add(1));
    }

    /// Counts bytes since the last call, every 5 s while the connection lasts: `sent` to the downstream, `received`
    /// from it.
    pub fn transferred(&self, sent: u64, received: u64) {
        self.with(Flags::default(), |row| {
            row.sent.add(sent);
            row.received.add(received);
        });
    }

    /// Counts the end of a connection and why. Bytes not yet counted go through [`Self::transferred`] first.
    pub fn closed(&self, flags: Flags) {
        self.with(flags, |row| row.closed.add(1));
    }

    fn with(&self, flags: Flags, count: impl Fn(&TcpRow)) {
        let row = self.0.live().rows.find(flags.to_bits(), self.0.budget());
        if let Some(row) = row.or_else(|| self.0.overflow().rows.find(0, self.0.budget())) {
            count(row);
        }
    }
}
