//! Turning table errors into a driver's refusals.

use pmem_core::{AddrRange, Fault, Veto};
use pmem_iommu::table::{Short, TableError};

fn reason(error: &TableError) -> &'static str {
    match error {
        TableError::Reversed { .. } => "it ends before it begins",
        TableError::Unaligned { .. } => "it does not consist of whole pages",
        TableError::TooWide { .. } => "it is beyond the addresses that the unit translates",
        TableError::Access => "the unit cannot permit exactly this access",
        TableError::Taken { .. } => "the unit has something mapped there",
        TableError::Absent { .. } => "the unit has nothing mapped there",
        TableError::Whole { .. } => {
            "the unit has one large page there, which it does not split while it is used"
        }
        TableError::Malformed { .. } => "a table entry is invalid",
        TableError::Unreadable { .. } => "a table is in memory that cannot be read",
        TableError::Short(_) => "there is no memory for tables",
    }
}

pub(super) fn veto(error: &TableError, range: AddrRange) -> Veto {
    let veto = Veto::new(reason(error)).at(range);
    match error {
        TableError::Short(Short { wanted, left }) => veto.needs(*wanted as u64, *left as u64),
        _ => veto,
    }
}

pub(super) fn fault(error: &TableError, range: AddrRange) -> Fault {
    Fault::new(reason(error)).at(range)
}

/// Turns a fault into a refusal.
pub(super) fn refused(fault: Fault) -> Veto {
    Veto { range: fault.range, ..Veto::new(fault.reason) }
}
