//! The rules for what may be claimed.

use crate::refused::Refused;
use alloc::format;
use pmem_arena_abi::{Claim, FORCE, Region, status};
use pmem_core::{AddrRange, Attrs, Props, Prot, Usage};
use pmem_drivers::mtrr::{MemType, wish};

/// Returns the attributes in a request, if they are safe for the registers of the claimed device.
///
/// Write-combining merges and loses writes, which device registers may not tolerate. So it is for prefetchable BARs,
/// and so are cached reads. Write-back over device memory can hang a machine.
pub fn allowed(claim: &Claim, range: AddrRange) -> Result<Attrs, Refused> {
    let attrs = attrs(&claim.region)?;
    if claim.region.flags & FORCE != 0 {
        return Ok(attrs);
    }
    let why = match wish(attrs) {
        Some(MemType::Wc | MemType::Wt) if claim.prefetchable == 0 => {
            "is not prefetchable, so its registers may not tolerate this type"
        }
        Some(MemType::Wb | MemType::Wp) => "is device memory, and write-back can hang the machine",
        _ => return Ok(attrs),
    };
    Err(Refused::new(status::NOT_ALLOWED, &format!("{range} {why}")))
}

/// Returns the attributes in a request. Unknown bits are refused.
fn attrs(region: &Region) -> Result<Attrs, Refused> {
    let wrong = || Refused::new(status::WRONG, "unknown bits in usage, protection or properties");
    let byte = |bits: u32| u8::try_from(bits).map_err(|_| wrong());
    let usage = Usage::from_bits(byte(region.usage)?).ok_or_else(wrong)?;
    let prot = Prot::from_bits(byte(region.prot)?).ok_or_else(wrong)?;
    let props = Props::from_bits(byte(region.props)?).ok_or_else(wrong)?;
    Attrs::new(usage, prot, props | Props::PREFETCH)
        .map_err(|_| Refused::new(status::WRONG, "conflicting caching modes (choose one)"))
}
