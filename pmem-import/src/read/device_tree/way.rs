//! Translation of bus addresses to CPU addresses.

/// A translated range: its start on the bus, its start one level up, and its length in bytes.
#[derive(Clone, Copy)]
pub(super) struct Translation {
    pub(super) inner: u64,
    pub(super) outer: u64,
    pub(super) bytes: u64,
}

/// The translations from a bus up to the CPUs, innermost bus last.
#[derive(Clone, Default)]
pub(super) struct Way {
    /// `ranges` of each bus, which CPU accesses take; `None` for a bus without the property, which CPUs
    /// cannot reach.
    pub(super) down: Vec<Option<Vec<Translation>>>,
    /// `dma-ranges` of each bus, which device accesses take. A bus without the property passes addresses on
    /// unchanged (Linux, `of_translate_one`).
    pub(super) up: Vec<Vec<Translation>>,
}

/// Translates an address one level up. An empty list passes it on unchanged.
fn outward(bus: &[Translation], at: u64, bytes: u64) -> Option<u64> {
    if bus.is_empty() {
        return Some(at);
    }
    let inside = |one: &&Translation| at >= one.inner && at - one.inner <= one.bytes.saturating_sub(bytes);
    let one = bus.iter().find(inside)?;
    (at - one.inner).checked_add(one.outer)
}

impl Way {
    /// Returns the CPU address of a bus address, as CPU accesses take it.
    pub(super) fn to_cpu(&self, at: u64, bytes: u64) -> Option<u64> {
        self.down.iter().rev().try_fold(at, |at, bus| outward(bus.as_ref()?, at, bytes))
    }

    /// Returns the CPU address of a bus address, as device accesses take it.
    pub(super) fn device_to_cpu(&self, at: u64, bytes: u64) -> Option<u64> {
        self.up.iter().rev().try_fold(at, |at, bus| outward(bus, at, bytes))
    }
}
