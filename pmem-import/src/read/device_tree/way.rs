//! From a bus's addresses to those of CPUs.

/// Addresses of a bus: where they are on it, where they are above it, how many.
#[derive(Clone, Copy)]
pub(super) struct Translation {
    pub(super) inner: u64,
    pub(super) outer: u64,
    pub(super) bytes: u64,
}

/// From a bus's addresses to those of CPUs, the innermost bus last.
#[derive(Clone, Default)]
pub(super) struct Way {
    /// By `ranges`, which CPUs' accesses take; none where a bus has none.
    pub(super) down: Vec<Option<Vec<Translation>>>,
    /// By `dma-ranges`, which devices' accesses take; a bus that has none hands all on as it is (Linux, `of_translate_one`).
    pub(super) up: Vec<Vec<Translation>>,
}

/// An address one bus further out; an empty list hands all on as it is.
fn outward(bus: &[Translation], at: u64, bytes: u64) -> Option<u64> {
    if bus.is_empty() {
        return Some(at);
    }
    let inside = |one: &&Translation| at >= one.inner && at - one.inner <= one.bytes.saturating_sub(bytes);
    let one = bus.iter().find(inside)?;
    (at - one.inner).checked_add(one.outer)
}

impl Way {
    /// Where a CPU's access ends.
    pub(super) fn to_cpu(&self, at: u64, bytes: u64) -> Option<u64> {
        self.down.iter().rev().try_fold(at, |at, bus| outward(bus.as_ref()?, at, bytes))
    }

    /// Where a device's access ends.
    pub(super) fn device_to_cpu(&self, at: u64, bytes: u64) -> Option<u64> {
        self.up.iter().rev().try_fold(at, |at, bus| outward(bus, at, bytes))
    }
}
