//! Waiting for a unit, with a limit.

use super::port::{Port, Width};
use pmem_core::Fault;
use pmem_iommu::table::TableMemory;

/// Polls a register until `is_done` accepts its value, and returns that. Fails with the reason `late` if the port
/// gives up.
pub(super) fn register<P: Port>(
    port: &mut P,
    (offset, width): (u64, Width),
    is_done: impl Fn(u64) -> bool,
    late: &'static str,
) -> Result<u64, Fault> {
    for looks in 0.. {
        let value = port.read(offset, width)?;
        if is_done(value) {
            return Ok(value);
        }
        if !port.wait(looks) {
            break;
        }
    }
    Err(Fault::new(late))
}

/// Polls the first word of a page until the unit has written `value` there. `check` can end the wait early with an
/// error. Fails with the reason `late` if the port gives up.
pub(super) fn word<P: Port>(
    port: &mut P,
    page: u64,
    value: u64,
    mut check: impl FnMut(&mut P) -> Result<(), Fault>,
    late: &'static str,
) -> Result<(), Fault> {
    for looks in 0.. {
        if port.memory().read(page, 0) == Some(value) {
            return Ok(());
        }
        check(port)?;
        if !port.wait(looks) {
            break;
        }
    }
    Err(Fault::new(late))
}
