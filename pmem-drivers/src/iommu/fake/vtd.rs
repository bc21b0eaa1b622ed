//! A VT-d unit as its specification describes it, with bits by number.

use super::super::port::Width;
use super::cache::{Cache, Chance, Page};
use super::chip::{Chip, Pages};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_iommu::RequesterId;

/// The number of fault records.
const RECORDS: usize = 2;
const RECORDS_AT: u64 = 0x200;
const INVALIDATION_AT: u64 = 0x100;

/// A VT-d unit.
#[derive(Debug, Default)]
pub struct VtdChip {
    levels: u32,
    width: u32,
    caches_absent: bool,
    has_queue: bool,
    large: u64,
    buffers: bool,
    status: u32,
    root: u64,
    latched: u64,
    queue: u64,
    head: u64,
    tail: u64,
    address: u64,
    faults: u32,
    records: Vec<[u64; 2]>,
    stalls: bool,
    /// The registers that report what contexts and translations were invalidated.
    invalidated: [u64; 2],
    contexts: BTreeMap<u16, [u64; 2]>,
    cache: Cache,
    chance: Chance,
}

impl VtdChip {
    /// Creates a unit that walks tables of exactly `levels` levels, 3 to 5; see [`Self::width`] for more depths. With
    /// `caches_absent`, it also caches that addresses are unmapped. `has_queue` tells whether it has an invalidation queue.
    #[must_use]
    pub fn new(levels: u8, caches_absent: bool, has_queue: bool) -> Self {
        let levels = levels.into();
        Self { levels, width: 12 + 9 * levels, caches_absent, has_queue, large: 3, ..Self::default() }
    }

    /// Removes the support for large pages.
    #[must_use]
    pub fn small_pages(self) -> Self {
        Self { large: 0, ..self }
    }

    /// Limits input addresses to `width` bits, fewer than the tables have. All table depths that cover this width
    /// are supported.
    #[must_use]
    pub fn width(self, width: u32) -> Self {
        Self { width, ..self }
    }

    /// Makes the unit see writes to memory only after its buffers are flushed.
    #[must_use]
    pub fn buffered(self) -> Self {
        Self { buffers: true, ..self }
    }

    fn capability(&self) -> u64 {
        2 | u64::from(self.buffers) << 4
            | u64::from(self.caches_absent) << 7
            | (3..=self.levels)
                .filter(|levels| 12 + 9 * levels >= self.width || *levels == self.levels)
                .fold(0, |all, levels| all | 1 << (8 + levels - 2))
            | u64::from(self.width - 1) << 16
            | (RECORDS_AT / 16) << 24
            | self.large << 34
            | 1 << 39
            | (RECORDS as u64 - 1) << 40
            | 18 << 48
    }

    fn extended(&self) -> u64 {
        1 | u64::from(self.has_queue) << 1 | 1 << 6 | (INVALIDATION_AT / 16) << 8
    }

    fn fault(&mut self, id: RequesterId, at: u64, write: bool, reason: u64) {
        match self.records.iter_mut().find(|record| record[1] >> 63 == 0) {
            Some(record) => {
                let read = u64::from(!write) << 62;
                *record = [at & !0xfff, 1 << 63 | read | reason << 32 | u64::from(id.0)];
                self.faults |= 2;
            }
            None => self.faults |= 1,
        }
    }

    fn context(&mut self, memory: &Pages, id: RequesterId) -> Result<[u64; 2], u64> {
        if self.chance.strikes() {
            self.contexts.remove(&id.0);
        }
        if let Some(context) = self.contexts.get(&id.0) {
            return if context[0] & 1 == 0 { Err(2) } else { Ok(*context) };
        }
        let root = memory.word(self.latched + 16 * u64::from(id.bus()));
        if root & 1 == 0 {
            if self.caches_absent || self.buffers {
                self.contexts.insert(id.0, [0, 0]);
            }
            return Err(1);
        }
        let at = (root & !0xfff) + 16 * u64::from(id.devfn());
        let context = [memory.word(at), memory.word(at + 8)];
        if context[0] & 1 == 1 || self.caches_absent || self.buffers {
            self.contexts.insert(id.0, context);
        }
        if context[0] & 1 == 0 { Err(2) } else { Ok(context) }
    }

    fn walk(&mut self, memory: &Pages, domain: u16, (first, levels): (u64, u32), at: u64) -> Option<Page> {
        // Start at the lowest cached table. Its entries are read again.
        let known = (1..levels).find_map(|level| {
            let bits = 12 + 9 * level;
            self.cache.tables.get(&(domain, bits, at >> bits)).map(|met| (level, *met))
        });
        let (mut level, (mut table, mut may)) = known.unwrap_or((levels, (first, 3)));
        loop {
            let low = 12 + 9 * (level - 1);
            let entry = memory.word(table + 8 * (at >> low & 511));
            if entry & 3 == 0 {
                return None;
            }
            may &= entry & 3;
            if level == 1 || entry & 1 << 7 != 0 {
                let inside = (1u64 << low) - 1;
                let target = entry & 0xf_ffff_ffff_f000 & !inside | at & inside & !0xfff;
                return Some((target, may & 1 != 0, may & 2 != 0));
            }
            table = entry & 0xf_ffff_ffff_f000;
            level -= 1;
            self.cache.tables.insert((domain, low, at >> low), (table, may));
        }
    }

    fn serve(&mut self, memory: &mut Pages) {
        while self.status & 1 << 26 != 0
            && !self.stalls
            && self.head != self.tail
            && self.faults & 1 << 4 == 0
        {
            let at = (self.queue & !0xfff) + self.head;
            let [low, high] = [memory.word(at), memory.word(at + 8)];
            let domain = (low >> 16) as u16;
            match (low & 15, low >> 4 & 3) {
                (1, 1 | 2) => self.contexts.clear(),
                (1, 3) => drop(self.contexts.remove(&((low >> 32) as u16))),
                (2, 1) => self.cache.forget_all(),
                (2, 2) => self.cache.forget_domain(domain),
                (2, 3) => self.forget_pages(domain, high),
                (5, _) if low & 1 << 5 != 0 => {
                    let word = memory.word(high & !7);
                    memory.set_word(high & !7, word & !0xffff_ffff | low >> 32);
                }
                _ => self.faults |= 1 << 4,
            }
            self.head = (self.head + 16) % 4096;
        }
    }

    fn forget_pages(&mut self, domain: u16, address: u64) {
        let shift = 12 + (address & 0x3f) as u32;
        let tables = address & 1 << 6 == 0;
        self.cache.forget_span(domain, address >> shift << shift, shift, tables);
    }

    fn command(&mut self, value: u32) {
        let lasting = 1 << 31 | 1 << 26 | 1 << 25;
        if self.stalls {
            return;
        }
        self.status = self.status & !lasting | value & lasting;
        if value & 1 << 30 != 0 {
            self.latched = self.root & !0xfff;
            self.status |= 1 << 30;
        }
        if value & 1 << 26 == 0 {
            self.head = 0;
        }
        if value & 1 << 27 != 0 && self.buffers {
            self.contexts.retain(|_, context| context[0] & 1 == 1);
            self.cache.pages.retain(|_, page| page.is_some());
        }
    }
}

impl Chip for VtdChip {
    fn read(&mut self, offset: u64, width: Width) -> u64 {
        let record = |at: u64| self.records.get((at / 16) as usize).copied().unwrap_or_default();
        let whole = match offset & !7 {
            0x00 => 0x10,
            0x08 => self.capability(),
            0x10 => self.extended(),
            0x18 => u64::from(self.status) << 32,
            0x20 => self.root,
            0x28 => self.invalidated[0],
            0x30 => u64::from(self.faults) << 32,
            0x80 => self.head,
            0x88 => self.tail,
            0x90 => self.queue,
            at if at == INVALIDATION_AT + 8 => self.invalidated[1],
            at if at >= RECORDS_AT && at % 16 == 0 => record(at - RECORDS_AT)[0],
            at if at >= RECORDS_AT => record(at - RECORDS_AT)[1],
            _ => 0,
        };
        match width {
            Width::Eight => whole,
            Width::Four => whole >> (8 * (offset & 4)) & 0xffff_ffff,
        }
    }

    fn write(&mut self, memory: &mut Pages, offset: u64, _: Width, value: u64) {
        match offset {
            0x18 => self.command(value as u32),
            0x20 => self.root = value,
            0x28 if self.stalls => self.invalidated[0] = 1 << 63,
            0x28 => {
                self.contexts.clear();
                self.invalidated[0] = (value >> 61 & 3) << 59;
            }
            0x34 => self.faults &= !(value as u32),
            0x88 => {
                self.tail = value;
                self.serve(memory);
            }
            0x90 => self.queue = value,
            INVALIDATION_AT => self.address = value,
            at if at == INVALIDATION_AT + 8 => {
                if self.stalls {
                    self.invalidated[1] = 1 << 63;
                    return;
                }
                let (domain, how) = ((value >> 32) as u16, value >> 60 & 3);
                match how {
                    1 => self.cache.forget_all(),
                    2 => self.cache.forget_domain(domain),
                    3 => self.forget_pages(domain, self.address),
                    _ => {}
                }
                self.invalidated[1] = how << 57;
            }
            at if at >= RECORDS_AT && at % 16 == 12 && value & 1 << 31 != 0 => {
                if let Some(record) = self.records.get_mut(((at - RECORDS_AT) / 16) as usize) {
                    record[1] &= !(1 << 63);
                }
            }
            _ => {}
        }
    }

    fn access(&mut self, memory: &mut Pages, id: RequesterId, at: u64, write: bool) -> Option<u64> {
        if self.status & 1 << 31 == 0 {
            return Some(at);
        }
        if self.records.is_empty() {
            self.records = alloc::vec![[0, 0]; RECORDS];
        }
        // A write here is an interrupt, which is never translated.
        if (0xfee0_0000..0xfef0_0000).contains(&at) {
            return None;
        }
        let [low, high] = match self.context(memory, id) {
            Ok(context) => context,
            Err(reason) => {
                self.fault(id, at, write, reason);
                return None;
            }
        };
        let domain = (high >> 8) as u16;
        // Domain number 0 tags cached absent entries (6.1), and entries that pass requests must have the most
        // levels (9.3).
        if self.caches_absent && domain == 0 || low >> 2 & 3 == 2 && high & 7 != u64::from(self.levels - 2) {
            self.fault(id, at, write, 3);
            return None;
        }
        if low >> 2 & 3 == 2 {
            return Some(at);
        }
        if at >> self.width.min(63) != 0 {
            self.fault(id, at, write, 4);
            return None;
        }
        if self.chance.strikes() {
            self.cache.pages.remove(&(domain, at >> 12));
            self.cache.tables.retain(|(of, ..), _| *of != domain);
        }
        let page = match self.cache.pages.get(&(domain, at >> 12)) {
            Some(page) => *page,
            None => {
                let page = self.walk(memory, domain, (low & !0xfff, (high & 7) as u32 + 2), at);
                if page.is_some() || self.caches_absent || self.buffers {
                    self.cache.pages.insert((domain, at >> 12), page);
                }
                page
            }
        };
        match page {
            Some((target, may_read, may_write)) if if write { may_write } else { may_read } => {
                Some(target | at & 0xfff)
            }
            _ => {
                self.fault(id, at, write, if write { 5 } else { 6 });
                None
            }
        }
    }

    fn stall(&mut self, stalls: bool) {
        self.stalls = stalls;
        if !stalls {
            self.invalidated = [0, 0];
        }
    }

    fn reset(&mut self) {
        let Self { levels, width, caches_absent, has_queue, large, buffers, .. } = *self;
        *self = Self { levels, width, caches_absent, has_queue, large, buffers, ..Self::default() };
    }
}
