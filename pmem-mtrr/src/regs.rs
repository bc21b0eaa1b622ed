//! The registers: their numbers, their raw bits, and the decoded forms that are valid by construction.
//!
//! Intel SDM vol. 3A, section 13.11 (MTRRs), vol. 4 (numbers); AMD APM vol. 2, sections 7.7 and 7.9 (SYSCFG, TOP_MEM).

use crate::block::{Block, Span};
use crate::kind::MemType;

/// `IA32_MTRRCAP`: which MTRRs the processor has.
pub const MTRRCAP: u32 = 0xfe;
/// `IA32_MTRR_DEF_TYPE`: the default type and the switches.
pub const DEF_TYPE: u32 = 0x2ff;
/// `IA32_SMRR_PHYSBASE`: the base of the system management range.
pub const SMRR_BASE: u32 = 0x1f2;
/// `IA32_SMRR_PHYSMASK`: the mask of the system management range.
pub const SMRR_MASK: u32 = 0x1f3;
/// `IA32_PAT`: the page attribute table.
pub const PAT: u32 = 0x277;
/// AMD's `SYSCFG`: the system configuration.
pub const SYSCFG: u32 = 0xc001_0010;
/// AMD's `TOP_MEM`: where memory below 4 GiB ends.
pub const TOP_MEM: u32 = 0xc001_001a;
/// AMD's `TOP_MEM2`: where memory above 4 GiB ends.
pub const TOP_MEM2: u32 = 0xc001_001d;
/// The fixed-range registers, in order of address.
pub const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
/// The most variable registers that their numbers, 0x200 to 0x24f, leave room for.
pub const MAX_VARIABLE: usize = 40;

/// Returns the number of `IA32_MTRR_PHYSBASEn`.
#[must_use]
pub const fn phys_base(n: usize) -> u32 {
    0x200 + 2 * (n as u32 & 0x7f)
}

/// Returns the number of `IA32_MTRR_PHYSMASKn`.
#[must_use]
pub const fn phys_mask(n: usize) -> u32 {
    phys_base(n) + 1
}

/// The width of physical addresses in bits, 32 to 52.
///
/// CPUID 8000_0008h EAX\[7:0\], or 36 where that leaf is absent; less the key bits of TME, and less what
/// CPUID 8000_001Fh EBX\[11:6\] says that SME takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Width(u8);

impl Width {
    /// The width of a processor without CPUID 8000_0008h: 36 bits.
    pub const DEFAULT: Self = Self(36);

    /// Creates a width; `None` unless `bits` is 32 to 52.
    #[must_use]
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 32 && bits <= 52 { Some(Self(bits)) } else { None }
    }

    /// Returns the width in bits.
    #[must_use]
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Returns the address after the last one.
    #[must_use]
    pub const fn end(self) -> u64 {
        1 << (self.0 & 63)
    }

    /// Returns the address bits that a variable register holds: those from bit 12 up.
    #[must_use]
    pub const fn mask(self) -> u64 {
        (self.end() - 1) & !0xfff
    }
}

/// `IA32_MTRRCAP`, raw: which MTRRs the processor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cap(pub u64);

impl Cap {
    /// Creates the register from its fields: the number of variable registers, fixed ranges, and write-combining.
    #[must_use]
    pub const fn new(variable: u8, fixed: bool, wc: bool) -> Self {
        Self(variable as u64 | (fixed as u64) << 8 | (wc as u64) << 10)
    }

    /// Returns the number of variable registers, at most [`MAX_VARIABLE`].
    #[must_use]
    pub const fn variable(self) -> usize {
        let n = (self.0 & 0xff) as usize;
        if n < MAX_VARIABLE { n } else { MAX_VARIABLE }
    }

    /// Returns whether the processor has the fixed ranges.
    #[must_use]
    pub const fn fixed(self) -> bool {
        self.0 & 1 << 8 != 0
    }

    /// Returns whether the processor has the write-combining type.
    #[must_use]
    pub const fn wc(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    /// Returns whether the processor has the SMRR.
    #[must_use]
    pub const fn smrr(self) -> bool {
        self.0 & 1 << 11 != 0
    }
}

/// `IA32_MTRR_DEF_TYPE`, raw: the default type and the switches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DefType(pub u64);

impl DefType {
    /// Creates a valid register from its fields: the default type, fixed ranges on, and MTRRs on.
    #[must_use]
    pub const fn new(kind: MemType, fixed: bool, enabled: bool) -> Self {
        Self(kind as u64 | (fixed as u64) << 10 | (enabled as u64) << 11)
    }

    /// Returns the type of addresses that no register matches; `None` if the number is not a type.
    #[must_use]
    pub const fn kind(self) -> Option<MemType> {
        MemType::from_bits((self.0 & 0xff) as u8)
    }

    /// Returns whether the fixed ranges are on.
    #[must_use]
    pub const fn fixed(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    /// Returns whether MTRRs are on. If not, all memory is uncacheable.
    #[must_use]
    pub const fn enabled(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    /// Returns the reserved bits that are set, which a processor refuses.
    #[must_use]
    pub const fn reserved(self) -> u64 {
        self.0 & !0xcff
    }
}

/// A pair of `IA32_MTRR_PHYSBASEn` and `IA32_MTRR_PHYSMASKn`, raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variable {
    /// The base register: address and type.
    pub base: u64,
    /// The mask register: the address bits to compare, and the valid bit (11).
    pub mask: u64,
}

impl Variable {
    /// A register that is off.
    pub const OFF: Self = Self { base: 0, mask: 0 };

    /// Encodes a block and its type as a valid pair.
    #[must_use]
    pub const fn new(register: Register, width: Width) -> Self {
        let mask = width.mask() & !(register.block.size() - 1);
        Self { base: register.block.start() | register.kind as u64, mask: mask | 1 << 11 }
    }

    /// Returns whether the register is on.
    #[must_use]
    pub const fn valid(self) -> bool {
        self.mask & 1 << 11 != 0
    }

    /// Returns the type; `None` if the number is not a type.
    #[must_use]
    pub const fn kind(self) -> Option<MemType> {
        MemType::from_bits(self.raw_kind())
    }

    /// Returns the number of the type, valid or not.
    #[must_use]
    pub const fn raw_kind(self) -> u8 {
        (self.base & 0xff) as u8
    }

    /// Returns the address bits that the register compares.
    #[must_use]
    pub const fn compared(self, width: Width) -> u64 {
        self.mask & width.mask()
    }

    /// Returns whether the register matches an address when it is on.
    #[must_use]
    pub const fn matches(self, addr: u64, width: Width) -> bool {
        (addr ^ self.base) & self.compared(width) == 0
    }

    /// Returns whether the compared bits have holes, so that the register matches several ranges.
    #[must_use]
    pub const fn is_discontiguous(self, width: Width) -> bool {
        // Without holes, the bits not compared are all below the others: 2^k - 1, which has no bit in common with 2^k.
        let free = !self.compared(width) & (width.end() - 1);
        free & (free + 1) != 0
    }

    /// Returns the bits of base and mask that are set but reserved or above the address width.
    #[must_use]
    pub const fn reserved(self, width: Width) -> (u64, u64) {
        (self.base & !(width.mask() | 0xff), self.mask & !(width.mask() | 1 << 11))
    }

    /// Returns the block that the register matches; `None` if it is off or matches several ranges.
    #[must_use]
    pub const fn block(self, width: Width) -> Option<Block> {
        if !self.valid() || self.is_discontiguous(width) {
            return None;
        }
        let compared = self.compared(width);
        let order = if compared == 0 { width.bits() } else { compared.trailing_zeros() as u8 };
        Block::new(self.base & compared, order)
    }

    /// Decodes the block and the type; `None` if the register is off, matches several ranges, or holds no valid type.
    #[must_use]
    pub const fn register(self, width: Width) -> Option<Register> {
        match (self.block(width), self.kind()) {
            (Some(block), Some(kind)) => Some(Register { block, kind }),
            _ => None,
        }
    }
}

/// A decoded variable register: a naturally aligned block, and its type.
///
/// # Examples
/// Decoding the pair that Linux lists as `base=0x0e0000000 ( 3584MB), size=  512MB, count=1: uncachable`:
///
/// ```
/// use pmem_mtrr::{MemType, Span, Variable, Width};
///
/// let raw = Variable { base: 0xe000_0000, mask: 0xf_e000_0800 };
/// let register = raw.register(Width::DEFAULT).ok_or("off, or not one block")?;
/// assert_eq!(register.kind, MemType::Uc);
/// assert_eq!(register.block.span(), Span { start: 0xe000_0000, end: 1 << 32 });
/// assert_eq!(Variable::new(register, Width::DEFAULT), raw);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register {
    /// The addresses that the register matches.
    pub block: Block,
    /// The type of these addresses.
    pub kind: MemType,
}

/// The number of ranges that the fixed registers describe.
pub const FIXED_RANGES: usize = 88;

/// The eleven fixed-range registers, one byte a range: 8 of 64 KiB, 16 of 16 KiB, and 64 of 4 KiB fill the first MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed(pub [u64; 11]);

impl Fixed {
    /// AMD's `RdMem` and `WrMem` bits, which share a byte with the type: reads and writes go to memory.
    pub const MEM: u8 = 0x18;

    /// Returns the byte of range `i`; 0 if there is no such range.
    #[must_use]
    pub fn byte(&self, i: usize) -> u8 {
        self.0.get(i / 8).map_or(0, |register| (register >> (8 * (i % 8))) as u8)
    }

    /// Sets the byte of range `i`; does nothing if there is no such range.
    pub fn set_byte(&mut self, i: usize, byte: u8) {
        if let Some(register) = self.0.get_mut(i / 8) {
            let shift = 8 * (i % 8);
            *register = *register & !(0xff << shift) | u64::from(byte) << shift;
        }
    }

    /// Returns the number that stands for the type of range `i`, without AMD's two bits.
    #[must_use]
    pub fn raw_kind(&self, i: usize) -> u8 {
        self.byte(i) & !Self::MEM
    }

    /// Returns the type of range `i`; `None` if the number is not a type.
    #[must_use]
    pub fn kind(&self, i: usize) -> Option<MemType> {
        MemType::from_bits(self.raw_kind(i))
    }

    /// Returns the addresses of range `i`, which is below [`FIXED_RANGES`].
    #[must_use]
    pub const fn span(i: usize) -> Span {
        let (start, len) = match i {
            0..8 => (i as u64 * 0x1_0000, 0x1_0000),
            8..24 => (0x8_0000 + (i as u64 - 8) * 0x4000, 0x4000),
            _ => (0xc_0000 + (i as u64).saturating_sub(24) * 0x1000, 0x1000),
        };
        Span { start, end: start + len }
    }

    /// Returns the range that an address below 1 MiB is in. Higher addresses give the last range.
    #[must_use]
    pub const fn range_of(addr: u64) -> usize {
        let i = match addr {
            0..0x8_0000 => addr >> 16,
            0x8_0000..0xc_0000 => 8 + ((addr - 0x8_0000) >> 14),
            _ => 24 + ((addr.wrapping_sub(0xc_0000)) >> 12),
        };
        if i < FIXED_RANGES as u64 { i as usize } else { FIXED_RANGES - 1 }
    }
}

/// AMD's `SYSCFG`, raw, as far as it concerns memory types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Syscfg(pub u64);

impl Syscfg {
    /// Returns `MtrrTom2En`: whether TOP_MEM2 is in effect.
    #[must_use]
    pub const fn tom2(self) -> bool {
        self.0 & 1 << 21 != 0
    }

    /// Returns `Tom2ForceMemTypeWB`: whether addresses from 4 GiB to TOP_MEM2 that no register matches are write-back.
    #[must_use]
    pub const fn tom2_write_back(self) -> bool {
        self.0 & 1 << 22 != 0
    }
}

/// A list of up to [`MAX_VARIABLE`] registers.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    all: [Option<Register>; MAX_VARIABLE],
    len: usize,
}

impl Registers {
    pub(crate) const fn new() -> Self {
        Self { all: [None; MAX_VARIABLE], len: 0 }
    }

    /// Appends a register; returns `false` if there is no room.
    pub(crate) fn push(&mut self, register: Register) -> bool {
        let Some(slot) = self.all.get_mut(self.len) else { return false };
        *slot = Some(register);
        self.len += 1;
        true
    }

    /// Returns the number of registers.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Returns whether there is no register.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Iterates over the registers: pinned ones first; of the others, each before those inside it. [`Planner::plan`]
    /// lists those from high addresses to low, [`Planner::within`] from low to high.
    ///
    /// [`Planner::plan`]: crate::Planner::plan
    /// [`Planner::within`]: crate::Planner::within
    pub fn iter(&self) -> impl Iterator<Item = Register> + '_ {
        self.all.iter().flatten().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_ranges_fill_the_first_mebibyte() {
        let mut next = 0;
        for i in 0..FIXED_RANGES {
            let span = Fixed::span(i);
            assert_eq!(span.start, next);
            assert_eq!((Fixed::range_of(span.start), Fixed::range_of(span.end - 1)), (i, i));
            next = span.end;
        }
        assert_eq!(next, 1 << 20);
    }

    #[test]
    fn what_a_processor_has_is_bit_by_bit() {
        let has = |cap: Cap| (cap.variable(), cap.fixed(), cap.wc(), cap.smrr());
        assert_eq!(has(Cap(0x0008)), (8, false, false, false));
        assert_eq!(has(Cap(0x010a)), (10, true, false, false));
        assert_eq!(has(Cap(0x0400)), (0, false, true, false));
        assert_eq!(has(Cap(0x0801)), (1, false, false, true));
        assert_eq!(Cap(0xff).variable(), MAX_VARIABLE);
    }

    #[test]
    fn a_byte_is_set_without_touching_its_neighbours() {
        let mut fixed = Fixed([0x0606_0606_0606_0606; 11]);
        fixed.set_byte(17, 0x1e);
        assert_eq!((fixed.byte(16), fixed.byte(17), fixed.byte(18)), (6, 0x1e, 6));
        assert_eq!(fixed.kind(17), Some(MemType::Wb));
        assert_eq!(fixed.0[2], 0x0606_0606_0606_1e06);
    }

    #[test]
    fn a_register_is_read_back() {
        let width = Width::new(36).unwrap();
        let register = Register { block: Block::new(0xe000_0000, 29).unwrap(), kind: MemType::Wc };
        let raw = Variable::new(register, width);
        assert_eq!((raw.base, raw.mask), (0xe000_0001, 0xf_e000_0800));
        assert_eq!(raw.register(width), Some(register));
        assert!(!raw.is_discontiguous(width));
        assert_eq!(raw.reserved(width), (0, 0));
        assert_ne!(raw.reserved(Width::new(32).unwrap()).1, 0);
    }

    #[test]
    fn masks_with_holes_are_told() {
        let width = Width::DEFAULT;
        let holed = Variable { base: 6, mask: 0xf_f0f0_0800 };
        assert!(holed.is_discontiguous(width));
        assert_eq!(holed.block(width), None);
        assert!(holed.matches(0x0f_0000, width) && !holed.matches(0x10_0000, width));
        assert!(holed.matches(0x0100_0000, width));
    }
}
