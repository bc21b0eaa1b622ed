//! An AMD-Vi unit as its specification describes it, with bits by number.

use super::super::port::Width;
use super::cache::{Cache, Chance, Page};
use super::chip::{Chip, Pages};
use alloc::collections::BTreeMap;
use pmem_iommu::RequesterId;

const MAY: u64 = 3 << 61;
const ADDRESS: u64 = 0xf_ffff_ffff_f000;

/// An AMD-Vi unit.
#[derive(Debug, Default)]
pub struct AmdChip {
    caches_absent: bool,
    forgets_all: bool,
    registers: BTreeMap<u64, u64>,
    stalls: bool,
    devices: BTreeMap<u16, [u64; 4]>,
    /// Cached pages by device, as in some real units, and page number, with the domain at that time.
    pages: BTreeMap<(u16, u64), (u16, Option<Page>)>,
    /// Cached tables only.
    cache: Cache,
    chance: Chance,
    /// Whether events were lost. No event is written until the log is restarted.
    lost: bool,
    /// The number of status reads until the unit begins to fetch commands.
    begins_in: u8,
}

impl AmdChip {
    /// Creates a unit. With `caches_absent`, it also caches that addresses are unmapped, as emulated units may
    /// (NpCache). `forgets_all` tells whether it supports the command to invalidate everything.
    #[must_use]
    pub fn new(caches_absent: bool, forgets_all: bool) -> Self {
        Self { caches_absent, forgets_all, ..Self::default() }
    }

    fn register(&self, at: u64) -> u64 {
        self.registers.get(&at).copied().unwrap_or_default()
    }

    fn control(&self, bit: u32) -> bool {
        self.register(0x18) >> bit & 1 == 1
    }

    /// Writes an event, or records that one is lost if the log is full.
    fn event(&mut self, memory: &mut Pages, id: RequesterId, domain: u16, at: u64, write: bool) {
        if !self.control(2) || self.lost {
            return;
        }
        let (head, tail) = (self.register(0x2010), self.register(0x2018));
        let next = (tail + 16) % 4096;
        if next == head {
            *self.registers.entry(0x2020).or_default() |= 1;
            self.lost = true;
            return;
        }
        let low = u64::from(id.0) | u64::from(domain) << 32 | u64::from(write) << 53 | 2 << 60;
        memory.set_word((self.register(0x10) & ADDRESS) + tail + 8, at);
        memory.set_word((self.register(0x10) & ADDRESS) + tail, low);
        self.registers.insert(0x2018, next);
    }

    fn device(&mut self, memory: &Pages, id: RequesterId) -> Option<[u64; 4]> {
        if self.chance.strikes() {
            self.devices.remove(&id.0);
        }
        if let Some(entry) = self.devices.get(&id.0) {
            return Some(*entry);
        }
        let table = self.register(0);
        if u64::from(id.0) >= ((table & 0x1ff) + 1) * 128 {
            return None;
        }
        let at = (table & ADDRESS) + 32 * u64::from(id.0);
        let entry = [0, 8, 16, 24].map(|word| memory.word(at + word));
        self.devices.insert(id.0, entry);
        Some(entry)
    }

    fn walk(&mut self, memory: &Pages, domain: u16, root: u64, at: u64) -> Option<Page> {
        let levels = (root >> 9 & 7) as u32;
        if levels < 6 && at >> (12 + 9 * levels) != 0 {
            return None;
        }
        let known = (1..levels).find_map(|level| {
            let bits = 12 + 9 * level;
            self.cache.tables.get(&(domain, bits, at >> bits)).map(|met| (level, *met))
        });
        let (mut level, (mut table, mut may)) = known.unwrap_or((levels, (root & ADDRESS, root & MAY)));
        loop {
            let low = 12 + 9 * (level - 1);
            let entry = memory.word(table + 8 * (at >> low & 511));
            if entry & 1 == 0 {
                return None;
            }
            may &= entry & MAY;
            let next = (entry >> 9 & 7) as u32;
            let whole = |target: u64, bits: u32| {
                let inside = (1u64 << bits) - 1;
                let may = (may >> 61 & 1 == 1, may >> 62 & 1 == 1);
                Some((target & !inside | at & inside & !0xfff, may.0, may.1))
            };
            match next {
                0 => return whole(entry & ADDRESS, low),
                // The lowest clear bit of the address marks the size (2.2.3).
                7 => {
                    let bits = (!(entry & ADDRESS) >> 12).trailing_zeros() + 13;
                    return whole(entry & ADDRESS, bits);
                }
                next if next >= level => return None,
                next => {
                    let skipped = at & ((1 << low) - 1) & !((1u64 << (12 + 9 * next)) - 1);
                    if skipped != 0 {
                        return None;
                    }
                    table = entry & ADDRESS;
                    level = next;
                    let bits = 12 + 9 * next;
                    self.cache.tables.insert((domain, bits, at >> bits), (table, may));
                }
            }
        }
    }

    fn serve(&mut self, memory: &mut Pages) {
        while self.control(12)
            && self.begins_in == 0
            && !self.stalls
            && self.register(0x2000) != self.register(0x2008)
        {
            let head = self.register(0x2000);
            let at = (self.register(8) & ADDRESS) + head;
            let [low, high] = [memory.word(at), memory.word(at + 8)];
            match low >> 60 {
                1 if low & 1 == 1 => memory.set_word(low & 0xf_ffff_ffff_fff8, high),
                1 => {}
                2 => drop(self.devices.remove(&(low as u16))),
                3 => {
                    let shift = if high & 1 == 0 { 12 } else { (!high >> 12).trailing_zeros() + 13 };
                    let first = if shift >= 64 { 0 } else { (high & !0xfff) >> shift << shift };
                    let shift = if high >> 12 == 0x7_ffff_ffff_ffff && high & 1 == 1 { 64 } else { shift };
                    let domain = (low >> 32) as u16;
                    let is_in = |page: u64| shift >= 64 || (page << 12) >> shift == first >> shift;
                    self.pages.retain(|(_, page), (of, _)| *of != domain || !is_in(*page));
                    self.cache.forget_span(domain, first, shift, high & 2 != 0);
                }
                5 => {}
                8 if self.forgets_all => {
                    self.devices.clear();
                    self.pages.clear();
                    self.cache.forget_all();
                }
                // The unit stops at an unknown command (2.5.9).
                _ => {
                    *self.registers.entry(0x18).or_default() &= !(1 << 12);
                    return;
                }
            }
            self.registers.insert(0x2000, (head + 16) % 4096);
        }
    }
}

impl Chip for AmdChip {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        let whole = match offset & !7 {
            0x30 => u64::from(self.forgets_all) << 6,
            0x2020 => {
                self.begins_in = self.begins_in.saturating_sub(1);
                let running = |bit: u32, status: u32| u64::from(self.control(bit)) << status;
                let fetches = if self.begins_in == 0 { running(12, 4) } else { 0 };
                self.register(0x2020) & 1 | running(2, 3) | fetches
            }
            at => self.register(at),
        };
        match width {
            Width::Eight => whole,
            Width::Four => whole >> (8 * (offset & 4)) & 0xffff_ffff,
        }
    }

    fn write(&mut self, memory: &mut Pages, offset: u64, _: Width, value: u64) {
        match offset {
            0x18 if self.stalls => {}
            0x18 => {
                // The log restarts if it was off and the overflow bit is cleared.
                let begins = !self.control(2) && value & 4 != 0;
                self.lost &= !(begins && self.register(0x2020) & 1 == 0);
                if !self.control(12) && value & 1 << 12 != 0 {
                    self.begins_in = 3;
                }
                self.registers.insert(0x18, value);
            }
            0x2020 => *self.registers.entry(0x2020).or_default() &= !value,
            at => drop(self.registers.insert(at, value)),
        }
        self.serve(memory);
    }

    fn access(&mut self, memory: &mut Pages, id: RequesterId, at: u64, write: bool) -> Option<u64> {
        if !self.control(0) {
            return Some(at);
        }
        let Some(entry) = self.device(memory, id) else {
            self.event(memory, id, 0, at, write);
            return None;
        };
        // An invalid entry refuses nothing.
        if entry[0] & 1 == 0 {
            return Some(at);
        }
        let domain = entry[1] as u16;
        let page = if entry[0] & 2 == 0 {
            None
        } else if entry[0] >> 9 & 7 == 0 {
            Some((at & !0xfff, entry[0] >> 61 & 1 == 1, entry[0] >> 62 & 1 == 1))
        } else if (0xfee0_0000..0xfef0_0000).contains(&at) {
            None
        } else {
            if self.chance.strikes() {
                self.pages.remove(&(id.0, at >> 12));
                self.cache.tables.retain(|(of, ..), _| *of != domain);
            }
            match self.pages.get(&(id.0, at >> 12)) {
                Some((_, page)) => *page,
                None => {
                    let page = self.walk(memory, domain, entry[0], at);
                    if page.is_some() || self.caches_absent {
                        self.pages.insert((id.0, at >> 12), (domain, page));
                    }
                    page
                }
            }
        };
        match page {
            Some((target, may_read, may_write)) if if write { may_write } else { may_read } => {
                Some(target | at & 0xfff)
            }
            _ => {
                self.event(memory, id, domain, at, write);
                None
            }
        }
    }

    fn stall(&mut self, stalls: bool) {
        self.stalls = stalls;
    }

    fn reset(&mut self) {
        *self = Self::new(self.caches_absent, self.forgets_all);
    }
}
