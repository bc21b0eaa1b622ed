//! Intel's units: VT-d (Architecture Specification 4.1), with second-stage tables in legacy mode.

use super::port::{Port, Width};
use super::unit::{DomainKind, PASSED, Unit, block};
use super::wait;
use alloc::vec;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::table::{Format, Invalidate, TableMemory, VtdSecondStage};
use pmem_iommu::vtd::registers::{self, Capability, ExtendedCapability};
use pmem_iommu::vtd::{self, Context, Descriptor, Granularity, Kind, Root, Status};

const GLOBAL_STATUS: (u64, Width) = (registers::STATUS, Width::Four);
/// The number of descriptors in the queue, which is one page.
const DESCRIPTORS: u64 = 256;
/// The largest number of spans to invalidate one by one. For more, invalidate the whole domain.
const FEW: usize = 8;

/// A VT-d unit behind a port.
pub struct Vtd<P> {
    port: P,
    capability: Capability,
    extended: ExtendedCapability,
    format: VtdSecondStage,
    /// The largest number of levels that it walks.
    most_levels: u8,
    queued: bool,
    /// The pages that a started unit uses.
    pages: Option<Pages>,
    /// The context table of each bus; `None` for a bus without one.
    contexts: Vec<Option<u64>>,
}

/// What a running unit has in memory.
#[derive(Clone, Copy)]
struct Pages {
    root: u64,
    queue: u64,
    /// The page whose first word the unit writes when it has completed what was queued.
    done: u64,
    tail: u64,
    asked: u32,
}

impl<P: Port> Vtd<P> {
    /// Creates the unit behind `port`. Its registers are only read.
    ///
    /// # Errors
    /// Returns a [`Fault`] if nothing responds, or if the unit lacks what this driver needs: tables of 3 to 5
    /// levels, and coherent walks unless the port writes through.
    pub fn new(mut port: P) -> Result<Self, Fault> {
        let version = port.read(registers::VERSION, Width::Four)?;
        if version == 0 || version == 0xffff_ffff {
            return Err(Fault::new("no unit answers"));
        }
        let capability = Capability(port.read(registers::CAPABILITY, Width::Eight)?);
        let extended = ExtendedCapability(port.read(registers::EXTENDED_CAPABILITY, Width::Eight)?);
        if !extended.is_coherent() && !port.writes_through() {
            return Err(Fault::new(
                "the unit does not snoop processor caches: use a port whose memory is mapped uncached",
            ));
        }
        // Use the fewest levels that cover all addresses that the unit takes, or else the most that it walks.
        let width = |levels: u8| 12 + 9 * u32::from(levels);
        let mut walked = (3..=5u8).filter(|levels| capability.walks(*levels));
        let least = walked.clone().find(|levels| width(*levels) >= capability.width());
        let most_levels =
            walked.next_back().ok_or(Fault::new("the unit walks no tables of 3 to 5 levels"))?;
        let levels = least.unwrap_or(most_levels);
        let format = VtdSecondStage::new(levels, 52, capability.large_pages())
            .ok_or(Fault::new("the unit's tables are of no known form"))?;
        let unit = Self {
            port,
            capability,
            extended,
            format,
            most_levels,
            queued: true,
            pages: None,
            contexts: vec![None; 256],
        };
        if extended.has_queue() { Ok(unit) } else { unit.by_registers() }
    }

    /// Makes invalidations use registers, even if the unit has a queue.
    ///
    /// # Errors
    /// Returns a [`Fault`] if the unit has version 6 or later, which only has the queue (6.5.1).
    pub fn by_registers(mut self) -> Result<Self, Fault> {
        if self.port.read(registers::VERSION, Width::Four)? >> 4 & 0xf >= 6 {
            return Err(Fault::new("units from version 6 on have no registers to invalidate by"));
        }
        Ok(Self { queued: false, ..self })
    }

    /// Returns the port.
    pub fn into_port(self) -> P {
        self.port
    }

    fn status(&mut self) -> Result<u32, Fault> {
        let (offset, width) = GLOBAL_STATUS;
        Ok(self.port.read(offset, width)? as u32)
    }

    /// Sets or clears one bit of the command register, keeps the others, and waits until that is done (11.4.4).
    fn command(&mut self, bit: u32, set: bool, late: &'static str) -> Result<(), Fault> {
        let lasting = self.status()? & registers::LASTING & !bit;
        let value = if set { lasting | bit } else { lasting };
        self.port.write(registers::COMMAND, Width::Four, value.into())?;
        let is_done = |status: u64| (status as u32 & bit != 0) == set;
        wait::register(&mut self.port, GLOBAL_STATUS, is_done, late).map(|_| ())
    }

    /// Makes sure that the unit sees what was written to memory (6.8).
    fn flush(&mut self) -> Result<(), Fault> {
        if !self.capability.needs_flush() {
            return Ok(());
        }
        let lasting = self.status()? & registers::LASTING;
        self.port.write(registers::COMMAND, Width::Four, (lasting | registers::FLUSH_WRITES).into())?;
        let is_done = |status: u64| status as u32 & registers::FLUSH_WRITES == 0;
        wait::register(&mut self.port, GLOBAL_STATUS, is_done, "the unit did not flush its buffers in time")
            .map(|_| ())
    }

    /// Invalidates by a register, whose bits `done` report the scope afterwards: 0 if the unit rejected the
    /// command.
    fn by_register(&mut self, offset: u64, command: u64, done: u64, late: &'static str) -> Result<(), Fault> {
        let register = (offset, Width::Eight);
        let idle = |value: u64| value & registers::BUSY == 0;
        wait::register(&mut self.port, register, idle, "an invalidation before this one is not done")?;
        self.port.write(offset, Width::Eight, command)?;
        match wait::register(&mut self.port, register, idle, late)? & done {
            0 => Err(Fault::new("the unit refused to invalidate")),
            _ => Ok(()),
        }
    }

    fn contexts_by_register(&mut self) -> Result<(), Fault> {
        let late = "the unit did not invalidate contexts in time";
        let command = registers::context_command();
        self.by_register(registers::CONTEXT_COMMAND, command, registers::CONTEXTS_DONE, late)
    }

    fn translations_by_register(&mut self, command: u64) -> Result<(), Fault> {
        let at = self.extended.invalidation() + 8;
        let late = "the unit did not invalidate translations in time";
        self.by_register(at, command, registers::TRANSLATIONS_DONE, late)
    }

    /// Queues descriptors, and waits until they are completed.
    fn queue(&mut self, descriptors: impl IntoIterator<Item = Descriptor>) -> Result<(), Fault> {
        let Some(mut pages) = self.pages else { return Err(Fault::new("the unit was not started")) };
        pages.asked = pages.asked.wrapping_add(1).max(1);
        let wait = Descriptor::Wait { address: pages.done, value: pages.asked };
        for descriptor in descriptors.into_iter().chain([wait]) {
            let [low, high] = descriptor.encode();
            self.port.memory_mut().write(pages.queue, pages.tail * 2, low);
            self.port.memory_mut().write(pages.queue, pages.tail * 2 + 1, high);
            pages.tail = (pages.tail + 1) % DESCRIPTORS;
        }
        self.pages = Some(pages);
        self.port.write(registers::QUEUE_TAIL, Width::Eight, pages.tail * 16)?;
        let refused = |port: &mut P| {
            let status = Status(port.read(registers::FAULT_STATUS, Width::Four)? as u32);
            let (descriptor, answer, time) = status.queue();
            match (descriptor, answer || time) {
                (true, _) => Err(Fault::new("the unit refused a descriptor of its queue")),
                (_, true) => Err(Fault::new("a device did not answer an invalidation")),
                _ => Ok(()),
            }
        };
        let late = "the unit did not complete its queue in time";
        wait::word(&mut self.port, pages.done, pages.asked.into(), refused, late)
    }

    /// Returns whether to invalidate spans page by page. For many or large spans, the whole domain is invalidated
    /// instead.
    fn by_pages(&self, what: &[Invalidate]) -> bool {
        let most = self.capability.most_pages() + 12;
        what.len() <= FEW
            && self.capability.invalidates_pages()
            && what.iter().all(|one| block(one).1 <= most)
    }

    /// Invalidates all contexts, and then the translations of a domain, or all if `domain` is `None`.
    fn forget_contexts(&mut self, domain: Option<u16>) -> Result<(), Fault> {
        self.flush()?;
        if !self.queued {
            self.contexts_by_register()?;
            return self.translations_by_register(registers::translation_command(domain));
        }
        let contexts = Descriptor::Context { of: Granularity::Global, domain: 0, source: RequesterId(0) };
        let translations = Descriptor::Translations {
            of: if domain.is_some() { Granularity::Domain } else { Granularity::Global },
            domain: domain.unwrap_or_default(),
            address: 0,
            order: 0,
            leaves_alone: false,
        };
        // Contexts first: translations can be refilled through cached contexts (6.5.2.2).
        self.queue([contexts])?;
        self.queue([translations])
    }

    fn contexts_of(&self, bus: u8) -> Option<u64> {
        self.contexts.get(usize::from(bus)).copied().flatten()
    }

    fn words(&self, at: u64) -> [u64; 2] {
        let (table, index) = (at & !0xfff, (at & 0xfff) / 8);
        let word = |index| self.port.memory().read(table, index).unwrap_or_default();
        [word(index), word(index + 1)]
    }

    fn set_words(&mut self, at: u64, [low, high]: [u64; 2]) {
        let (table, index) = (at & !0xfff, (at & 0xfff) / 8);
        self.port.memory_mut().write(table, index + 1, high);
        self.port.memory_mut().write(table, index, low);
    }

    fn program(&mut self, pages: Pages) -> Result<(), Fault> {
        self.port.write(registers::ROOT_TABLE, Width::Eight, pages.root)?;
        self.command(registers::SET_ROOT_TABLE, true, "the unit did not take the root table in time")?;
        self.events()?;
        // Clear errors that an earlier queue left (11.4.9).
        self.port.write(registers::FAULT_STATUS, Width::Four, 0x71)?;
        if self.queued {
            self.port.write(registers::QUEUE_TAIL, Width::Eight, 0)?;
            self.port.write(registers::QUEUE_ADDRESS, Width::Eight, pages.queue)?;
            self.command(registers::QUEUE, true, "the unit did not begin its queue in time")?;
        }
        self.forget_contexts(None)?;
        self.command(registers::TRANSLATION, true, "the unit did not begin to translate in time")
    }

    fn end_queue(&mut self) -> Result<(), Fault> {
        match self.queued {
            true => self.command(registers::QUEUE, false, "the unit did not end its queue in time"),
            false => Ok(()),
        }
    }

    fn halt(&mut self) -> Result<(), Fault> {
        self.command(registers::TRANSLATION, false, "the unit did not stop translating in time")?;
        self.end_queue()
    }

    /// Clears all context entries, each with its lower word first, which has the present bit.
    fn refuse_all(&mut self) {
        let tables: Vec<u64> = self.contexts.iter().copied().flatten().collect();
        for table in tables {
            (0..512).for_each(|index| self.port.memory_mut().write(table, index, 0));
        }
    }

    fn take_pages(&mut self) -> Result<Pages, Fault> {
        let memory = self.port.memory_mut();
        let short = |_| Fault::new("there is no memory for the unit's own tables");
        memory.set_aside(3).map_err(short)?;
        let mut take = || memory.take().ok_or(Fault::new("there is no memory for the unit's own tables"));
        Ok(Pages { root: take()?, queue: take()?, done: take()?, tail: 0, asked: 0 })
    }

    fn give_pages(&mut self) {
        let pages = self.pages.take().into_iter().flat_map(|pages| [pages.root, pages.queue, pages.done]);
        let tables = self.contexts.iter_mut().filter_map(Option::take);
        pages.chain(tables).for_each(|page| self.port.memory_mut().give(page));
    }
}

impl<P: Port> Unit for Vtd<P> {
    type Format = VtdSecondStage;
    type Port = P;
    type Event = vtd::Fault;

    fn name(&self) -> &'static str {
        "vt-d"
    }

    fn port(&self) -> &P {
        &self.port
    }

    fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    fn format(&self) -> &VtdSecondStage {
        &self.format
    }

    fn domains(&self) -> u32 {
        self.capability.domains()
    }

    fn passes(&self) -> bool {
        self.extended.passes_through()
    }

    fn caches_absent(&self) -> bool {
        // A unit that needs flushes may have read memory before it was written (6.8).
        self.capability.caches_absent() || self.capability.needs_flush()
    }

    fn width(&self) -> u32 {
        self.format.width().min(self.capability.width())
    }

    fn start(&mut self) -> Result<(), Fault> {
        let status = self.status()?;
        if status & (registers::TRANSLATION | registers::INTERRUPTS | registers::QUEUE) != 0 {
            return Err(Fault::new("the unit is in use: it translates, remaps interrupts, or has a queue"));
        }
        let protected = self.port.read(registers::PROTECTED_MEMORY, Width::Four)?;
        if protected != 0xffff_ffff && protected & 1 != 0 {
            return Err(Fault::new(
                "the unit's protected memory is enabled, by firmware or a boot loader: disable it first",
            ));
        }
        // Pages are still there after a start that failed and could not be undone.
        let pages = self.pages.map_or_else(|| self.take_pages(), Ok)?;
        self.pages = Some(Pages { tail: 0, ..pages });
        self.refuse_all();
        self.program(pages).inspect_err(|_| {
            if self.halt().is_ok() {
                self.give_pages();
            }
        })
    }

    fn restart(&mut self) -> Result<(), Fault> {
        let Some(pages) = self.pages else { return Err(Fault::new("the unit was not started")) };
        self.refuse_all();
        self.end_queue()?;
        self.pages = Some(Pages { tail: 0, ..pages });
        self.program(pages)
    }

    fn stop(&mut self) -> Result<(), Fault> {
        self.halt()?;
        self.give_pages();
        Ok(())
    }

    fn tables_to_seat(&self, ids: &[RequesterId]) -> usize {
        let mut buses: Vec<u8> = ids.iter().map(|id| id.bus()).collect();
        buses.sort_unstable();
        buses.dedup();
        buses.into_iter().filter(|bus| self.contexts_of(*bus).is_none()).count()
    }

    fn seat(&mut self, id: RequesterId, new: DomainKind) -> Result<(), Fault> {
        let Some(pages) = self.pages else { return Err(Fault::new("the unit was not started")) };
        let table = match (self.contexts_of(id.bus()), new) {
            (Some(table), _) => table,
            (None, DomainKind::Refused) => return Ok(()),
            (None, _) => {
                let memory = self.port.memory_mut();
                let table = memory.take().ok_or(Fault::new("there is no memory for a bus's contexts"))?;
                if let Some(contexts) = self.contexts.get_mut(usize::from(id.bus())) {
                    *contexts = Some(table);
                }
                self.set_words(Root::at(pages.root, id), Root { contexts: Some(table) }.encode());
                table
            }
        };
        let at = Context::at(table, id);
        if let Some(old) = Context::decode(self.words(at)) {
            // The lower word first: it has the present bit.
            self.port.memory_mut().write(at & !0xfff, (at & 0xfff) / 8, 0);
            self.port.memory_mut().write(at & !0xfff, (at & 0xfff) / 8 + 1, 0);
            self.forget_contexts(Some(old.domain))?;
        }
        let (kind, domain) = match new {
            DomainKind::Refused => return Ok(()),
            DomainKind::Passed => (Kind::Passed, PASSED),
            DomainKind::Domain { number, root } => {
                (Kind::Translated { table: root, levels: self.format.levels(), ats: false }, number)
            }
        };
        // An entry without tables must have the largest supported number of levels (9.3).
        let context = Context { kind, domain, silent: false };
        self.set_words(at, context.encode(self.most_levels));
        // The unit may have cached that the context was absent.
        if self.caches_absent() { self.forget_contexts(Some(domain)) } else { self.flush() }
    }

    fn seated(&self, id: RequesterId) -> DomainKind {
        let Some(table) = self.contexts_of(id.bus()) else { return DomainKind::Refused };
        match Context::decode(self.words(Context::at(table, id))) {
            Some(Context { kind: Kind::Passed, .. }) => DomainKind::Passed,
            Some(Context { kind: Kind::Translated { table, .. }, domain, .. }) => {
                DomainKind::Domain { number: domain, root: table }
            }
            Some(Context { kind: Kind::Other(_), .. }) | None => DomainKind::Refused,
        }
    }

    fn forget(&mut self, domain: u16, what: &[Invalidate]) -> Result<(), Fault> {
        self.flush()?;
        let by_pages = self.by_pages(what);
        if !self.queued && !by_pages {
            return self.translations_by_register(registers::translation_command(Some(domain)));
        }
        if !self.queued {
            return what.iter().try_for_each(|one| {
                let (at, shift) = block(one);
                let (address, command) = registers::page_command(domain, at, shift - 12, one.tables);
                self.port.write(self.extended.invalidation(), Width::Eight, address)?;
                self.translations_by_register(command)
            });
        }
        let whole = Descriptor::Translations {
            of: Granularity::Domain,
            domain,
            address: 0,
            order: 0,
            leaves_alone: false,
        };
        let pages = what.iter().filter(|_| by_pages).map(|one| {
            let (address, shift) = block(one);
            let order = (shift - 12) as u8;
            let of = Granularity::Selective;
            Descriptor::Translations { of, domain, address, order, leaves_alone: !one.tables }
        });
        self.queue((!by_pages).then_some(whole).into_iter().chain(pages))
    }

    fn events(&mut self) -> Result<Vec<vtd::Fault>, Fault> {
        let (at, count) = self.capability.faults();
        let mut faults = Vec::new();
        for record in 0..u64::from(count) {
            let at = at + 16 * record;
            let high = self.port.read(at + 8, Width::Eight)?;
            let low = self.port.read(at, Width::Eight)?;
            if let Some(fault) = vtd::Fault::decode([low, high]) {
                faults.push(fault);
                // Writing 1 to this bit clears the record (11.4.14.1). The rest of the register is read-only.
                self.port.write(at + 12, Width::Four, 1 << 31)?;
            }
        }
        // The overflow bit is cleared in the same way.
        let status = self.port.read(registers::FAULT_STATUS, Width::Four)?;
        if status & 1 != 0 {
            self.port.write(registers::FAULT_STATUS, Width::Four, 1)?;
        }
        Ok(faults)
    }

    fn is_running(&mut self) -> Result<bool, Fault> {
        let root = self.port.read(registers::ROOT_TABLE, Width::Eight)?;
        let is_own = self.pages.is_some_and(|pages| pages.root == root & !0xfff);
        Ok(is_own && self.status()? & registers::TRANSLATION != 0)
    }
}
