//! AMD's units: AMD-Vi (I/O Virtualization Technology Specification 48882, 3.08), with tables in the host format.

use super::port::{Port, Width};
use super::unit::{DomainKind, Unit, block};
use super::wait;
use alloc::vec::Vec;
use pmem_core::Fault;
use pmem_iommu::RequesterId;
use pmem_iommu::amd::registers::{self as registers, LEAST_ORDER};
use pmem_iommu::amd::{Command, DeviceEntry, Event, Mode};
use pmem_iommu::table::{AmdV1, Format, Invalidate, TableMemory};

/// The number of commands and of events, one page each.
const ENTRIES: u64 = 1 << LEAST_ORDER;
/// The largest number of spans to invalidate one by one. For more, invalidate the whole domain.
const FEW: usize = 8;
/// The levels of the domains' tables, for 48-bit addresses.
const LEVELS: u8 = 4;
/// The number of device table entries in a page.
const DEVICES: u64 = 128;
const RUNNING: u64 = registers::TRANSLATION | registers::COMMAND_BUFFER | registers::EVENT_LOG;

/// An AMD-Vi unit behind a port.
pub struct Amd<P> {
    port: P,
    format: AmdV1,
    /// The number of buses that the device table covers, from bus 0 on, with an entry for each function. Devices
    /// beyond it are refused.
    buses: u16,
    pages: Option<Pages>,
}

#[derive(Clone, Copy)]
struct Pages {
    devices: u64,
    commands: u64,
    events: u64,
    /// The page whose first word the unit writes when it has completed the commands.
    done: u64,
    tail: u64,
    asked: u64,
}

impl<P: Port> Amd<P> {
    /// Creates the unit behind `port`, for devices on buses 0 to `last_bus` (inclusive).
    ///
    /// # Errors
    /// Returns a [`Fault`] if nothing responds.
    pub fn new(mut port: P, last_bus: u8) -> Result<Self, Fault> {
        if port.read(registers::CONTROL, Width::Eight)? == u64::MAX {
            return Err(Fault::new("no unit answers"));
        }
        let format = AmdV1::new(LEVELS).ok_or(Fault::new("the unit's tables are of no known form"))?;
        Ok(Self { port, format, buses: u16::from(last_bus) + 1, pages: None })
    }

    /// Returns the port.
    pub fn into_port(self) -> P {
        self.port
    }

    fn device_pages(&self) -> u64 {
        // Contiguous pages, aligned to their total size, so a power of two.
        (u64::from(self.buses) * 256 / DEVICES).next_power_of_two()
    }

    fn started(&self) -> Result<Pages, Fault> {
        self.pages.ok_or(Fault::new("the unit was not started"))
    }

    /// Writes commands to the buffer, and waits until they are completed.
    fn order(&mut self, commands: impl IntoIterator<Item = Command>) -> Result<(), Fault> {
        let mut pages = self.started()?;
        pages.asked = pages.asked.wrapping_add(1).max(1);
        let wait = Command::Wait { address: pages.done, value: pages.asked };
        for command in commands.into_iter().chain([wait]) {
            let [low, high] = command.encode();
            self.port.memory_mut().write(pages.commands, pages.tail * 2, low);
            self.port.memory_mut().write(pages.commands, pages.tail * 2 + 1, high);
            pages.tail = (pages.tail + 1) % ENTRIES;
        }
        self.pages = Some(pages);
        self.port.write(registers::COMMAND_TAIL, Width::Eight, pages.tail * 16)?;
        let refused = |port: &mut P| match port.read(registers::STATUS, Width::Eight)? {
            status if status & registers::FETCHING == 0 => {
                Err(Fault::new("the unit fetches no commands any more"))
            }
            _ => Ok(()),
        };
        wait::word(
            &mut self.port,
            pages.done,
            pages.asked,
            refused,
            "the unit did not complete its commands in time",
        )
    }

    /// Returns where a word of a requester's entry is: its page, and its index there. `None` if the device table
    /// does not cover it.
    fn word(&self, id: RequesterId, word: u64) -> Option<(u64, u64)> {
        let at = DeviceEntry::at(self.pages?.devices, id) + 8 * word;
        (u16::from(id.bus()) < self.buses).then_some((at & !0xfff, (at & 0xfff) / 8))
    }

    fn entry(&self, id: RequesterId) -> DeviceEntry {
        DeviceEntry([0, 1, 2, 3].map(|word| {
            let read = |(table, index)| self.port.memory().read(table, index);
            self.word(id, word).and_then(read).unwrap_or_default()
        }))
    }

    fn set_word(&mut self, id: RequesterId, word: u64, value: u64) {
        if let Some((table, index)) = self.word(id, word) {
            self.port.memory_mut().write(table, index, value);
        }
    }

    fn refuse_all(&mut self, devices: u64) {
        let DeviceEntry(refused) = DeviceEntry::refused();
        for page in 0..self.device_pages() {
            for index in 0..512 {
                let word = refused.get(index as usize % 4).copied().unwrap_or_default();
                self.port.memory_mut().write(devices + page * 4096, index, word);
            }
        }
    }

    fn program(&mut self, pages: Pages) -> Result<(), Fault> {
        let entries = u64::from(self.buses) * 256;
        let devices = registers::device_table(pages.devices, entries);
        if self.port.read(registers::DEVICE_TABLE, Width::Eight)? != devices {
            self.port.write(registers::DEVICE_TABLE, Width::Eight, devices)?;
        }
        self.port.write(registers::COMMANDS, Width::Eight, registers::buffer(pages.commands, LEAST_ORDER))?;
        self.port.write(registers::EVENTS, Width::Eight, registers::buffer(pages.events, LEAST_ORDER))?;
        for register in
            [registers::COMMAND_HEAD, registers::COMMAND_TAIL, registers::EVENT_HEAD, registers::EVENT_TAIL]
        {
            self.port.write(register, Width::Eight, 0)?;
        }
        let control = self.port.read(registers::CONTROL, Width::Eight)?;
        let control = control | RUNNING | registers::COHERENT;
        // A unit only fetches commands while it translates (3.4.5). So enable both, and then immediately invalidate
        // what it still has cached.
        self.port.write(registers::CONTROL, Width::Eight, control)?;
        let is_fetching = |status: u64| status & registers::FETCHING != 0;
        let late = "the unit did not begin to fetch commands in time";
        wait::register(&mut self.port, (registers::STATUS, Width::Eight), is_fetching, late)?;
        if self.port.read(registers::FEATURES, Width::Eight)? & registers::FORGETS_ALL != 0 {
            return self.order([Command::All]);
        }
        for bus in 0..self.buses {
            let ids = |half: u16| (0..128).map(move |n| RequesterId(bus << 8 | half << 7 | n));
            self.order(ids(0).map(Command::Device))?;
            self.order(ids(1).map(Command::Device))?;
        }
        Ok(())
    }

    /// Clears bits of the control register, and waits until the unit fetches no commands and writes no events.
    fn halt(&mut self, what: u64) -> Result<(), Fault> {
        let control = self.port.read(registers::CONTROL, Width::Eight)?;
        self.port.write(registers::CONTROL, Width::Eight, control & !what)?;
        let is_still = |status: u64| status & (registers::FETCHING | registers::LOGGING) == 0;
        let late = "the unit did not stop in time";
        wait::register(&mut self.port, (registers::STATUS, Width::Eight), is_still, late).map(|_| ())
    }

    fn take_pages(&mut self) -> Result<Pages, Fault> {
        let wanted = self.device_pages();
        let short = || Fault::new("there is no memory for the unit's own tables");
        let memory = self.port.memory_mut();
        memory.set_aside(wanted as usize + 3).map_err(|_| short())?;
        let devices = memory.take_first(wanted).ok_or_else(short)?;
        let mut take = || memory.take().ok_or_else(short);
        Ok(Pages { devices, commands: take()?, events: take()?, done: take()?, tail: 0, asked: 0 })
    }

    fn give_pages(&mut self) {
        let Some(pages) = self.pages.take() else { return };
        let devices = (0..self.device_pages()).map(|page| pages.devices + page * 4096);
        let own = [pages.commands, pages.events, pages.done];
        devices.chain(own).for_each(|page| self.port.memory_mut().give(page));
    }
}

impl<P: Port> Unit for Amd<P> {
    type Format = AmdV1;
    type Port = P;
    type Event = Event;

    fn name(&self) -> &'static str {
        "amd-vi"
    }

    fn port(&self) -> &P {
        &self.port
    }

    fn port_mut(&mut self) -> &mut P {
        &mut self.port
    }

    fn format(&self) -> &AmdV1 {
        &self.format
    }

    fn domains(&self) -> u32 {
        1 << 16
    }

    fn passes(&self) -> bool {
        true
    }

    fn caches_absent(&self) -> bool {
        // Real units do not (2.2.6). Emulated ones may, and report it in a capability bit that the port cannot
        // reach. So assume they do.
        true
    }

    fn start(&mut self) -> Result<(), Fault> {
        if self.port.read(registers::CONTROL, Width::Eight)? & RUNNING != 0 {
            return Err(Fault::new("the unit is in use: it translates, or fetches commands"));
        }
        // Pages are still there after a start that failed and could not be undone.
        let pages = self.pages.map_or_else(|| self.take_pages(), Ok)?;
        self.refuse_all(pages.devices);
        self.pages = Some(Pages { tail: 0, ..pages });
        self.program(pages).inspect_err(|_| {
            if self.halt(RUNNING).is_ok() {
                self.give_pages();
            }
        })
    }

    fn restart(&mut self) -> Result<(), Fault> {
        let pages = self.started()?;
        self.refuse_all(pages.devices);
        self.halt(registers::COMMAND_BUFFER | registers::EVENT_LOG)?;
        self.pages = Some(Pages { tail: 0, ..pages });
        self.program(pages)
    }

    fn stop(&mut self) -> Result<(), Fault> {
        self.halt(RUNNING)?;
        self.give_pages();
        Ok(())
    }

    fn tables_to_seat(&self, _: &[RequesterId]) -> usize {
        0
    }

    fn seat(&mut self, id: RequesterId, new: DomainKind) -> Result<(), Fault> {
        self.started()?;
        if self.word(id, 0).is_none() {
            return match new {
                DomainKind::Refused => Ok(()),
                _ => Err(Fault::new("the device is on a bus that the unit's table of devices does not have")),
            };
        }
        let DeviceEntry(refused) = DeviceEntry::refused();
        let wanted = match new {
            DomainKind::Refused => refused,
            DomainKind::Passed => DeviceEntry::new(Mode::Passed, 0).0,
            DomainKind::Domain { number, root } => {
                let levels = self.format.levels();
                DeviceEntry::new(Mode::Translated { table: root, levels }, number).0
            }
        };
        // Refuse the requester by one write, and invalidate what is cached for it, possibly per device (2.2.2.1).
        // Then write the new entry, with the word that admits requests last.
        let [low, domain, interrupts, more] = wanted;
        let has = self.entry(id);
        if has.0 != refused {
            self.set_word(id, 0, refused[0]);
            let pages = Command::Pages { domain: has.domain(), first: 0, shift: 64, tables: true };
            self.order([Command::Device(id), pages])?;
        }
        self.set_word(id, 1, domain);
        self.set_word(id, 2, interrupts);
        self.set_word(id, 3, more);
        // An earlier user of this domain number may have left translations.
        self.order([Command::Pages { domain: domain as u16, first: 0, shift: 64, tables: true }])?;
        self.set_word(id, 0, low);
        self.order([Command::Device(id)])
    }

    fn seated(&self, id: RequesterId) -> DomainKind {
        let entry = self.entry(id);
        match entry.mode().filter(|_| entry.permits() != (false, false)) {
            Some(Mode::Passed) => DomainKind::Passed,
            Some(Mode::Translated { table, .. }) => {
                DomainKind::Domain { number: entry.domain(), root: table }
            }
            None => DomainKind::Refused,
        }
    }

    fn forget(&mut self, domain: u16, what: &[Invalidate]) -> Result<(), Fault> {
        if what.len() > FEW {
            return self.order([Command::Pages { domain, first: 0, shift: 64, tables: true }]);
        }
        self.order(what.iter().map(|one| {
            let (first, shift) = block(one);
            Command::Pages { domain, first, shift, tables: one.tables }
        }))
    }

    fn events(&mut self) -> Result<Vec<Event>, Fault> {
        let pages = self.started()?;
        let mut events = Vec::new();
        let tail = self.port.read(registers::EVENT_TAIL, Width::Eight)? / 16 % ENTRIES;
        let mut head = self.port.read(registers::EVENT_HEAD, Width::Eight)? / 16 % ENTRIES;
        while head != tail {
            let word = |n: u64| self.port.memory().read(pages.events, head * 2 + n).unwrap_or_default();
            let words = [word(0), word(1)];
            events.extend(Event::decode(words));
            // Clear the entry, so that an event that has not been written yet is not mistaken for an old one
            // (2.5.1).
            self.port.memory_mut().write(pages.events, head * 2, 0);
            head = (head + 1) % ENTRIES;
        }
        self.port.write(registers::EVENT_HEAD, Width::Eight, head * 16)?;
        if self.port.read(registers::STATUS, Width::Eight)? & registers::EVENTS_LOST != 0 {
            self.resume_log()?;
        }
        Ok(events)
    }

    fn is_running(&mut self) -> Result<bool, Fault> {
        let Some(pages) = self.pages else { return Ok(false) };
        let control = self.port.read(registers::CONTROL, Width::Eight)?;
        let devices = self.port.read(registers::DEVICE_TABLE, Width::Eight)?;
        Ok(control & RUNNING == RUNNING && devices & 0xf_ffff_ffff_f000 == pages.devices)
    }
}

impl<P: Port> Amd<P> {
    /// Restarts the event log after events were lost (2.5.1).
    fn resume_log(&mut self) -> Result<(), Fault> {
        let control = self.port.read(registers::CONTROL, Width::Eight)?;
        self.port.write(registers::CONTROL, Width::Eight, control & !registers::EVENT_LOG)?;
        let is_still = |status: u64| status & registers::LOGGING == 0;
        let late = "the unit did not stop writing events in time";
        wait::register(&mut self.port, (registers::STATUS, Width::Eight), is_still, late)?;
        self.port.write(registers::STATUS, Width::Eight, registers::EVENTS_LOST)?;
        self.port.write(registers::CONTROL, Width::Eight, control)
    }
}
