//! The registers: their numbers, their raw bits, and the forms that are valid by construction.
//!
//! Intel SDM vol. 3A, section 13.11 (MTRRs), vol. 4 (numbers); AMD APM vol. 2, sections 7.7 and 7.9 (SYSCFG, TOP_MEM).

use crate::block::{Block, Span};
use crate::kind::MemType;

/// `IA32_MTRRCAP`.
pub const MTRRCAP: u32 = 0xfe;
/// `IA32_MTRR_DEF_TYPE`.
pub const DEF_TYPE: u32 = 0x2ff;
/// `IA32_SMRR_PHYSBASE`.
pub const SMRR_BASE: u32 = 0x1f2;
/// `IA32_SMRR_PHYSMASK`.
pub const SMRR_MASK: u32 = 0x1f3;
/// `IA32_PAT`.
pub const PAT: u32 = 0x277;
/// AMD's `SYSCFG`.
pub const SYSCFG: u32 = 0xc001_0010;
/// AMD's `TOP_MEM`: memory below 4 GiB ends here.
pub const TOP_MEM: u32 = 0xc001_001a;
/// AMD's `TOP_MEM2`: memory above 4 GiB ends here.
pub const TOP_MEM2: u32 = 0xc001_001d;
/// The fixed-range registers, in order of address.
pub const FIXED: [u32; 11] = [0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c, 0x26d, 0x26e, 0x26f];
/// How many variable registers the numbers leave room for: 0x200 to 0x24f.
pub const MAX_VARIABLE: usize = 40;

/// The number of `IA32_MTRR_PHYSBASEn`.
pub const fn phys_base(n: usize) -> u32 {
    0x200 + 2 * (n as u32 & 0x7f)
}

/// The number of `IA32_MTRR_PHYSMASKn`.
pub const fn phys_mask(n: usize) -> u32 {
    phys_base(n) + 1
}

/// How wide physical addresses are, in bits: 32 to 52.
///
/// CPUID 8000_0008h EAX\[7:0\], or 36 where that leaf is absent; less the key bits of TME, and less what
/// CPUID 8000_001Fh EBX\[11:6\] says that SME takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Width(u8);

impl Width {
    /// What a processor without CPUID 8000_0008h has.
    pub const DEFAULT: Self = Self(36);

    /// A width; `None` if it is not 32 to 52.
    pub const fn new(bits: u8) -> Option<Self> {
        if bits >= 32 && bits <= 52 { Some(Self(bits)) } else { None }
    }

    /// In bits.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// The first address beyond.
    pub const fn end(self) -> u64 {
        1 << (self.0 & 63)
    }

    /// The bits of an address that a variable register holds.
    pub const fn mask(self) -> u64 {
        (self.end() - 1) & !0xfff
    }
}

/// `IA32_MTRRCAP`: what the processor has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Cap(pub u64);

impl Cap {
    /// Made of its fields.
    pub const fn new(variable: u8, fixed: bool, wc: bool) -> Self {
        Self(variable as u64 | (fixed as u64) << 8 | (wc as u64) << 10)
    }

    /// How many variable registers it has, at most [`MAX_VARIABLE`].
    pub const fn variable(self) -> usize {
        let n = (self.0 & 0xff) as usize;
        if n < MAX_VARIABLE { n } else { MAX_VARIABLE }
    }

    /// Whether it has the fixed ranges.
    pub const fn fixed(self) -> bool {
        self.0 & 1 << 8 != 0
    }

    /// Whether it knows write combining.
    pub const fn wc(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    /// Whether it has the SMRR.
    pub const fn smrr(self) -> bool {
        self.0 & 1 << 11 != 0
    }
}

/// `IA32_MTRR_DEF_TYPE`, raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct DefType(pub u64);

impl DefType {
    /// Valid by construction.
    pub const fn new(kind: MemType, fixed: bool, enabled: bool) -> Self {
        Self(kind as u64 | (fixed as u64) << 10 | (enabled as u64) << 11)
    }

    /// The type of what no register matches; `None` if the number is none.
    pub const fn kind(self) -> Option<MemType> {
        MemType::from_bits((self.0 & 0xff) as u8)
    }

    /// Whether the fixed ranges count.
    pub const fn fixed(self) -> bool {
        self.0 & 1 << 10 != 0
    }

    /// Whether MTRRs count at all; if not, all memory is uncacheable.
    pub const fn enabled(self) -> bool {
        self.0 & 1 << 11 != 0
    }

    /// The reserved bits that are set: a processor refuses them.
    pub const fn reserved(self) -> u64 {
        self.0 & !0xcff
    }
}

/// A pair `IA32_MTRR_PHYSBASEn`, `IA32_MTRR_PHYSMASKn`, raw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Variable {
    /// The base register.
    pub base: u64,
    /// The mask register.
    pub mask: u64,
}

impl Variable {
    /// Not in use.
    pub const OFF: Self = Self { base: 0, mask: 0 };

    /// Valid by construction: a block of a type.
    pub const fn new(register: Register, width: Width) -> Self {
        let mask = width.mask() & !(register.block.size() - 1);
        Self { base: register.block.start() | register.kind as u64, mask: mask | 1 << 11 }
    }

    /// Whether it counts.
    pub const fn valid(self) -> bool {
        self.mask & 1 << 11 != 0
    }

    /// Its type; `None` if the number is none.
    pub const fn kind(self) -> Option<MemType> {
        MemType::from_bits(self.raw_kind())
    }

    /// The number of its type.
    pub const fn raw_kind(self) -> u8 {
        (self.base & 0xff) as u8
    }

    /// The bits of an address that it compares.
    pub const fn compared(self, width: Width) -> u64 {
        self.mask & width.mask()
    }

    /// Whether it matches an address, if it counts.
    pub const fn matches(self, addr: u64, width: Width) -> bool {
        (addr ^ self.base) & self.compared(width) == 0
    }

    /// Whether the bits compared are not one run from the top: it then matches several ranges.
    pub const fn is_discontiguous(self, width: Width) -> bool {
        let free = !self.compared(width) & (width.end() - 1);
        free & (free + 1) != 0
    }

    /// The bits set that are reserved or above the address width, of base and mask.
    pub const fn reserved(self, width: Width) -> (u64, u64) {
        (self.base & !(width.mask() | 0xff), self.mask & !(width.mask() | 1 << 11))
    }

    /// The one block that it matches; `None` if it does not count or matches several ranges.
    pub const fn block(self, width: Width) -> Option<Block> {
        if !self.valid() || self.is_discontiguous(width) {
            return None;
        }
        let compared = self.compared(width);
        let order = if compared == 0 { width.bits() } else { compared.trailing_zeros() as u8 };
        Block::new(self.base & compared, order)
    }

    /// The block and type, where both are sound.
    pub const fn register(self, width: Width) -> Option<Register> {
        match (self.block(width), self.kind()) {
            (Some(block), Some(kind)) => Some(Register { block, kind }),
            _ => None,
        }
    }
}

/// What one variable register says: a naturally aligned block is of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Register {
    /// Which addresses.
    pub block: Block,
    /// Of which type.
    pub kind: MemType,
}

/// How many ranges the fixed registers describe.
pub const FIXED_RANGES: usize = 88;

/// The eleven fixed-range registers, one byte a range: 8 of 64 KiB, 16 of 16 KiB, 64 of 4 KiB, which fill the first MiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Fixed(pub [u64; 11]);

impl Fixed {
    /// AMD's `RdMem` and `WrMem`, in a byte beside the type: reads and writes go to memory.
    pub const MEM: u8 = 0x18;

    /// The byte of range `i`.
    pub fn byte(&self, i: usize) -> u8 {
        self.0.get(i / 8).map_or(0, |register| (register >> (8 * (i % 8))) as u8)
    }

    /// Sets the byte of range `i`.
    pub fn set_byte(&mut self, i: usize, byte: u8) {
        if let Some(register) = self.0.get_mut(i / 8) {
            let shift = 8 * (i % 8);
            *register = *register & !(0xff << shift) | u64::from(byte) << shift;
        }
    }

    /// The type of range `i`; `None` if the number is none. AMD's two bits are not part of it.
    pub fn kind(&self, i: usize) -> Option<MemType> {
        MemType::from_bits(self.byte(i) & !Self::MEM)
    }

    /// The addresses of range `i`.
    pub const fn span(i: usize) -> Span {
        let (start, len) = match i {
            0..8 => (i as u64 * 0x1_0000, 0x1_0000),
            8..24 => (0x8_0000 + (i as u64 - 8) * 0x4000, 0x4000),
            _ => (0xc_0000 + (i as u64).saturating_sub(24) * 0x1000, 0x1000),
        };
        Span { start, end: start + len }
    }

    /// The range that an address below 1 MiB is in.
    pub const fn range_of(addr: u64) -> usize {
        let i = match addr {
            0..0x8_0000 => addr >> 16,
            0x8_0000..0xc_0000 => 8 + ((addr - 0x8_0000) >> 14),
            _ => 24 + ((addr.wrapping_sub(0xc_0000)) >> 12),
        };
        if i < FIXED_RANGES as u64 { i as usize } else { FIXED_RANGES - 1 }
    }
}

/// AMD's `SYSCFG`, as far as it is about memory types.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Syscfg(pub u64);

impl Syscfg {
    /// `MtrrTom2En`: TOP_MEM2 counts.
    pub const fn tom2(self) -> bool {
        self.0 & 1 << 21 != 0
    }

    /// `Tom2ForceMemTypeWB`: what no register matches from 4 GiB to TOP_MEM2 is write back.
    pub const fn tom2_write_back(self) -> bool {
        self.0 & 1 << 22 != 0
    }
}

/// Up to as many registers as a processor can have.
#[derive(Clone, Copy, Debug)]
pub struct Registers {
    all: [Option<Register>; MAX_VARIABLE],
    len: usize,
}

impl Registers {
    pub(crate) const fn new() -> Self {
        Self { all: [None; MAX_VARIABLE], len: 0 }
    }

    /// `false` if there is no room.
    pub(crate) fn push(&mut self, register: Register) -> bool {
        let Some(slot) = self.all.get_mut(self.len) else { return false };
        *slot = Some(register);
        self.len += 1;
        true
    }

    /// How many.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether there is none.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The pinned first, then in order of address, wide before narrow.
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
