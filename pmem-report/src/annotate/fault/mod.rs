//! Explains IOMMU faults: which device really made the request, what the address is, what was missing, and what the
//! record does not tell.

mod known;
mod place;
mod together;
mod who;

pub(crate) use known::ASKED;
pub use known::FaultNote;
pub(super) use known::Known;

use super::note::{Note, explain};
use crate::outcome::Outcome;
use crate::resolve::Resolved;
use pmem_import::Address;
use pmem_import::fault::{Fault, FaultRecord, Requester, reason_of_text};
use pmem_iommu::RequesterId;
use pmem_iommu::amd::event::AddressOf;
use pmem_iommu::amd::{Code, DeviceEntry, Flags, InterruptControl, Mode};
use pmem_iommu::smmu::v3;
use pmem_iommu::vtd::Reason;
use pmem_iommu::vtd::fault::ReasonKind;

impl Known<'_> {
    /// Explains all faults in order. Also looks up their addresses as physical ones, where that may be what is meant.
    pub(super) fn notes(&self) -> (Vec<FaultNote>, Vec<Note>) {
        let mut notes: Vec<FaultNote> = self.faults.iter().map(|fault| self.note(fault)).collect();
        together::fold(&mut notes);
        together::add(self, &mut notes);
        (notes, self.faults.iter().filter_map(|fault| self.place(fault)).collect())
    }

    /// Looks up a fault's address as if it were physical, seen from the requester. Returns `None` if the address is not
    /// the device's, or if the reason has nothing to do with the address.
    fn place(&self, fault: &Fault) -> Option<Note> {
        let (who, address) = match &fault.record {
            FaultRecord::Vtd { who, address, reason, says, .. } => {
                let reason = reason_of_text(says).or(*reason);
                let about = reason.map_or(ReasonKind::Unknown, Reason::about);
                let is_table = reason.is_some_and(Reason::is_scalable);
                (!is_table && !matches!(about, ReasonKind::Bus | ReasonKind::Requester))
                    .then_some((*who, (*address)?))?
            }
            FaultRecord::Amd { code: Code(2), who, address, flags, .. }
                if !flags.is_some_and(Flags::is_interrupt) =>
            {
                (*who, place::without_sign((*address)?))
            }
            _ => return None,
        };
        if place::hyper_transport(address).is_some() {
            return None;
        }
        let bus = who.and_then(|who| self.bus_of(who.address));
        let answer = Resolved::new(self.map, bus.unwrap_or(self.map.system), address);
        let what = explain(&answer);
        let says = who.map_or(Vec::new(), |who| self.who(who, fault.xen));
        let asked: Vec<String> = says.into_iter().filter(|says| says.starts_with(ASKED)).collect();
        let text = [vec![what], asked, vec![IF_TRANSLATED.to_owned()]].concat().join("; ");
        let requester = who.map(|who| who.address.to_string());
        Some(Note { line: fault.last_line, number: hex(address), text, requester, answer })
    }

    /// Explains one fault.
    fn note(&self, fault: &Fault) -> FaultNote {
        let mut note = FaultNote {
            line: fault.line,
            last_line: fault.last_line,
            unit: String::new(),
            requester: None,
            access: None,
            address: None,
            reason: None,
            says: Vec::new(),
        };
        match &fault.record {
            FaultRecord::Vtd { who, read, address, reason, says } => {
                note.unit = "VT-d".to_owned();
                note.access = read.map(access);
                note.address = address.map(hex);
                self.asked_by(&mut note, *who, fault.xen);
                let reason = self.reason(&mut note, *reason, says);
                self.vtd(&mut note, *who, *address, reason);
            }
            FaultRecord::Interrupt { who, index, reason, says } => {
                note.unit = "VT-d".to_owned();
                note.access = Some("interrupt".to_owned());
                self.asked_by(&mut note, *who, fault.xen);
                self.reason(&mut note, *reason, says);
                let index = index
                    .map_or(String::new(), |index| format!(": entry {index:#x} of the table of interrupts"));
                note.says.push(format!("an interrupt{index}; no memory is meant, and there is no address"));
            }
            FaultRecord::Status(status) => {
                note.unit = "VT-d".to_owned();
                let waits = match status.first() {
                    Some(first) => format!("record {first} is the first that waits"),
                    None => format!("no record waits; the index is {}", status.index()),
                };
                let lost = if status.overflowed() { "; records were lost, for all were taken" } else { "" };
                let (error, answer, time) = status.queue();
                let queue =
                    if error || answer || time { "; the queue of invalidations has an error" } else { "" };
                note.says.push(format!("{waits}{lost}{queue}"));
            }
            FaultRecord::Walk { frame, entries } => self.walk(&mut note, *frame, entries),
            FaultRecord::InvalidationTimeout => {
                note.unit = "VT-d".to_owned();
                note.says.push(
                    "a device did not answer when it was to forget translations (ATS); which one, the id here does not tell".to_owned(),
                );
            }
            FaultRecord::Amd { code, who, domain, address, flags } => {
                note.unit = "AMD-Vi".to_owned();
                note.reason = flags.map(|flags| format!("{:#06x}", flags.0));
                self.asked_by(&mut note, *who, fault.xen);
                self.amd(&mut note, *code, (*who, *domain), *address, *flags);
            }
            FaultRecord::DeviceEntry(entry) => {
                note.unit = "AMD-Vi".to_owned();
                note.says.extend(device_entry(*entry));
            }
            FaultRecord::CompletionTimeout => {
                note.unit = "AMD-Vi".to_owned();
                note.says.push(
                    "the unit did not finish a command in time: it has no address and no requester, so that there is nothing to look up".to_owned(),
                );
            }
            FaultRecord::SmmuV3 { event, client } => {
                note.unit = "SMMU".to_owned();
                self.smmu(&mut note, *event, *client);
            }
            FaultRecord::SmmuV2 { fault, address, has_stream } => {
                note.unit = "SMMU".to_owned();
                note.access = Some(access(!fault.is_write()));
                note.address = Some(hex(*address));
                note.reason = Some(hex(fault.status.into()));
                note.says.push(format!("a {} of {address:#x}: {}", access(!fault.is_write()), fault.text()));
                if fault.is_one_of_many() {
                    note.says.push("more faults came before this one was looked at".to_owned());
                }
                note.says.push(format!("context bank {}", fault.bank()));
                if *has_stream {
                    note.says.push(self.stream(fault.stream_id().into()));
                }
                note.says.extend(place::interrupt_of_arm(*address, fault.is_write()));
            }
            FaultRecord::TooFar { device, address, size, mask, limit, bounced } => {
                note.unit = "kernel".to_owned();
                note.requester = Some(device.clone());
                note.address = Some(hex(*address));
                note.says.extend(place::too_far(*address, *size, *mask, *limit, *bounced));
            }
            FaultRecord::Suppressed(count) => {
                note.unit = "kernel".to_owned();
                note.says.push(format!("{count} lines were not printed, which is no number of faults"));
            }
        }
        note
    }

    /// Adds what is known about the requester.
    fn asked_by(&self, note: &mut FaultNote, who: Option<Requester>, xen: bool) {
        let Some(who) = who else { return };
        note.requester = Some(who.address.to_string());
        note.says.extend(self.who(who, xen));
    }

    /// Returns the fault reason. If the printed number and the printed words disagree, the words win.
    fn reason(&self, note: &mut FaultNote, reason: Option<Reason>, says: &str) -> Option<Reason> {
        let by_words = reason_of_text(says);
        let meant = match (reason, by_words) {
            (Some(reason), Some(words)) if reason != words => {
                note.says.push(format!(
                    "its words are those of reason {:#04x}, and its number {:#04x} is another's ({}): the words count",
                    words.0,
                    reason.0,
                    reason.text()
                ));
                Some(words)
            }
            (reason, words) => reason.or(words),
        };
        note.reason = meant.map(|reason| format!("{:#04x}", reason.0));
        if let Some(reason) = meant {
            note.says.push(format!("reason {reason}"));
        }
        meant
    }

    /// Explains a VT-d fault by what its reason is about: the bus, the requester, the address or a table.
    fn vtd(
        &self,
        note: &mut FaultNote,
        who: Option<Requester>,
        address: Option<u64>,
        reason: Option<Reason>,
    ) {
        let about = reason.map_or(ReasonKind::Unknown, Reason::about);
        match about {
            ReasonKind::Bus => {
                let bus = who.map_or(String::new(), |who| format!(" {:02x}", who.address.bus));
                note.says.push(format!("bus{bus} is not in the unit's tables yet: this says nothing about the address"));
            }
            ReasonKind::Requester => note.says.push(
                "the unit has no entry for this requester id: an alias, a hidden function, or a device that is changing domains, which passes once its driver has one; this says nothing about the address".to_owned(),
            ),
            ReasonKind::Address if reason.is_some_and(|reason| reason.is_scalable()) => {
                note.says.push("the table is that of a process, or of the device's own requests (scalable mode): the address is one of the device's, and no place in memory".to_owned());
            }
            ReasonKind::Address => note.says.push("the reason does not tell whether the page is unmapped or only this access is forbidden".to_owned()),
            ReasonKind::Table if reason == Some(Reason(0xc)) => {
                let large = address.filter(|address| address & 0x1f_ffff == 0).map_or("", |_| "; it is a multiple of 2 MiB, so that one large page may map it, which the unit takes for wrong (intel_iommu=sp_off tells)");
                note.says.push(format!("an entry on the way is wrong, and not the address{large}"));
            }
            ReasonKind::Table => note.says.push("a table on the way is wrong, and not the address".to_owned()),
            ReasonKind::Width | ReasonKind::Interrupt | ReasonKind::Request | ReasonKind::Unknown => {}
        }
        let Some(address) = address else { return };
        note.says.push("the last three digits are not recorded: they are 0 always".to_owned());
        note.says.extend(self.device_address(address, about, true));
        if !matches!(about, ReasonKind::Bus | ReasonKind::Requester) || self.is_reserved(address) {
            note.says.extend(self.physical(who, address));
        }
        if let Some(text) = who.and_then(|who| self.at_boot(who.address, address)) {
            note.says.push(text);
        }
    }

    /// Recognises integrated graphics that firmware left running: it still reads its framebuffer while translation is
    /// switched on.
    fn at_boot(&self, who: Address, address: u64) -> Option<String> {
        let is_integrated = (who.bus, who.device, who.function) == (0, 2, 0);
        (is_integrated && (1 << 28..1 << 32).contains(&address)).then(|| {
            "00:02.0 is where Intel's graphics are: in the first seconds it reads the picture that firmware left (stolen memory below 4 GiB), and this ends by itself; later it does not belong here".to_owned()
        })
    }

    /// Explains a dump of a page table walk.
    fn walk(&self, note: &mut FaultNote, frame: u64, entries: &[(u8, u64, u64)]) {
        note.unit = "VT-d".to_owned();
        note.address = frame.checked_mul(4096).map(hex);
        // Level n of the page table uses nine address bits, starting at bit 12 + 9 (n - 1).
        let fits = entries.iter().all(|(level, index, _)| {
            let shift = 9 * u32::from(level.saturating_sub(1));
            frame.checked_shr(shift).unwrap_or(0) & 0x1ff == *index
        });
        match entries.last() {
            Some((level, index, 0)) => note.says.push(format!("the way ends at level {level}: entry {index:#x} holds nothing, so that nothing is mapped there")),
            Some((level, index, entry)) => note.says.push(format!("the last entry seen is {index:#x} of level {level}: {entry:#x}")),
            None => {}
        }
        if !fits {
            note.says
                .push("the indices are not those of the page: the lines may be of another fault".to_owned());
        }
    }

    /// Explains an event of an AMD IOMMU. Whether its address is the device's depends on the event's code.
    fn amd(
        &self,
        note: &mut FaultNote,
        code: Code,
        (who, domain): (Option<Requester>, Option<u32>),
        address: Option<u64>,
        flags: Option<Flags>,
    ) {
        let domain = domain.map_or(String::new(), |domain| format!(", domain {domain:#x}"));
        let flags = flags.unwrap_or_default();
        match code.0 {
            2 => {
                note.access = Some(if flags.is_interrupt() { "interrupt".to_owned() } else { access(!flags.is_write()) });
                note.says.push(format!("{}{domain}", page_fault(flags)));
            }
            8 => {
                note.says.push(format!("{}{domain}", invalid_request(flags.kind())));
            }
            1 => {
                let reserved = if flags.was_reserved() { ": a reserved bit is set in it" } else { "" };
                note.says.push(format!("the requester's entry of the device table is wrong{reserved}; the address is innocent"));
            }
            7 => note.says.push(
                "the device did not answer in time when it was to forget translations: its ATS is broken, or it sleeps (D3); pci=noats, or a quirk for this device, does without".to_owned(),
            ),
            _ => note.says.push(format!("{}{domain}", code.name())),
        }
        let Some(address) = address else { return };
        note.address = Some(hex(address));
        match code.address() {
            AddressOf::Unit => {
                let text = "its address is not the device's: it is where the unit's own command or table lies in memory";
                note.says.push(text.to_owned());
            }
            AddressOf::Innocent | AddressOf::None => {}
            AddressOf::Device => {
                let wide = place::without_sign(address);
                if wide != address {
                    note.says.push(format!("the address is extended by its sign: it is {wide:#x}"));
                }
                let is_interrupt = code.0 == 8 && flags.kind() == 5 || flags.is_interrupt();
                if let Some(who) = who.filter(|_| is_interrupt) {
                    note.says.extend(who::of_amd(who.address));
                }
                let link = place::hyper_transport(wide);
                if link.is_none() && !is_interrupt {
                    note.says.extend(self.device_address(wide, ReasonKind::Address, false));
                }
                note.says.extend(link);
                note.says.extend(self.physical(who, wide));
            }
        }
    }

    /// Explains an event of an SMMUv3.
    fn smmu(&self, note: &mut FaultNote, event: v3::Event, client: Option<Address>) {
        note.reason = Some(format!("{:#04x}", event.id()));
        note.says.push(format!("{}: {}", event.name(), event.text()));
        note.says.push(self.stream(event.stream()));
        if let Some(client) = client {
            note.requester = Some(client.to_string());
            note.says.push(format!("{client} is one device of that stream, the first that the kernel knows: no proof that it asked"));
        }
        if !event.has_address() {
            note.says.push("the event has no address: the words behind it are no place in memory".to_owned());
            return;
        }
        note.access = Some(access(event.is_read()));
        note.address = Some(hex(event.address()));
        let stage = if event.is_stage_2() { "second" } else { "first" };
        let privileged = if event.is_privileged() { "privileged " } else { "" };
        note.says.push(format!(
            "a {privileged}{} of {:#x}, refused by the {stage} stage",
            access(event.is_read()),
            event.address()
        ));
        note.says.extend(place::interrupt_of_arm(event.address(), !event.is_read()));
    }

    /// Names the requesters that may share an SMMU stream.
    fn stream(&self, stream: u32) -> String {
        let maps = self.machine.iommu.streams.iter().map(|said| said.value);
        let mut ids: Vec<u16> =
            maps.flat_map(|map| v3::requesters(stream, map.first, map.count, map.stream, map.mask)).collect();
        ids.sort_unstable();
        ids.dedup();
        if !ids.is_empty() {
            let shown: Vec<String> = ids.iter().take(4).map(|id| RequesterId(*id).to_string()).collect();
            let more = if ids.len() > 4 { format!(" and {} more", ids.len() - 4) } else { String::new() };
            return format!(
                "stream {stream:#x}: {}{more} lead to it by the iommu-map, so that who of them asked is not to be told",
                shown.join(", ")
            );
        }
        match u16::try_from(stream) {
            Ok(id) => format!(
                "stream {stream:#x}, which is {} if streams are requester ids; the device tree's iommu-map or the IORT says, and several devices may share one",
                Address::from_routing_id(0, id)
            ),
            Err(_) => format!("stream {stream:#x}: whose it is the device tree's iommu-map or the IORT says"),
        }
    }

    /// Returns the memory arena of the bus that a function is on.
    fn bus_of(&self, address: Address) -> Option<pmem_core::ArenaId> {
        let function = self.map.function(address)?;
        let below = function.parent.and_then(|parent| self.map.bridges.get(&parent)).copied();
        let id = below.unwrap_or((address.segment, address.bus));
        self.map.buses.get(&id).map(|bus| bus.memory)
    }

    /// Tells what the address would be as a physical one, if that is worth saying.
    fn physical(&self, who: Option<Requester>, address: u64) -> Option<String> {
        let spans = self.map.memory.values().flat_map(|memory| &memory.spans);
        if let Some(last) = spans.map(|span| span.last()).max().filter(|last| address > *last) {
            let end = last.saturating_add(1);
            let size = crate::size(end);
            return Some(format!("memory ends at {end:#x} ({size}): as a place in memory nothing is there"));
        }
        let bus = who.and_then(|who| self.bus_of(who.address));
        let answer = Resolved::new(self.map, bus.unwrap_or(self.map.system), address);
        let is_there = matches!(answer.result, Outcome::Accept | Outcome::Architecture);
        let unsaid = is_there && answer.what.eq_ignore_ascii_case("reserved") && !self.is_reserved(address);
        unsaid.then(|| "reserved memory, of which no range that firmware has devices share is known: firmware may use it so all the same".to_owned())
    }
}

/// The caveat for an address that was looked up as a physical one.
const IF_TRANSLATED: &str =
    "if an IOMMU translates, this is an I/O virtual address and means whatever the driver mapped";

fn hex(number: u64) -> String {
    format!("{number:#x}")
}

fn access(read: bool) -> String {
    if read { "read".to_owned() } else { "write".to_owned() }
}

/// Puts the flags of a page fault into words.
fn page_fault(flags: Flags) -> String {
    let what = if flags.is_translation() {
        "a request for a translation"
    } else if flags.is_write() {
        "a write"
    } else {
        "a read"
    };
    if flags.is_interrupt() {
        return "an interrupt that has no entry in the table of interrupts: no page, and no memory is meant"
            .to_owned();
    }
    if flags.was_reserved() {
        return format!("{what}: a reserved bit is set in an entry on the way");
    }
    match (flags.was_present(), flags.was_forbidden()) {
        (true, true) if flags.is_write() => format!(
            "{what} of a page that is mapped, and may not be written: mapped for the other direction, or used again"
        ),
        (true, true) => format!(
            "{what} of a page that is mapped, and may not be read: mapped for the other direction, or read beyond the end"
        ),
        (true, false) => format!("{what} of a page that is present"),
        (false, _) => format!("{what} of a page that is not mapped, or not any more"),
    }
}

/// Puts the type of an invalid request into words (48882, 2.5.9).
fn invalid_request(kind: u8) -> String {
    match kind {
        0 => "a read in the range of interrupts",
        1 => "an address that was translated before, which the device may not send",
        2 => "an access to I/O ports that is not let through",
        3 => "an access to system management that is not let through",
        4 => "a write of interrupts that is read",
        5 => "a write to the range of interrupts, and the device table lets none of this requester through: an interrupt (of an interrupt controller that IVRS does not name, say), and no memory",
        6 => "a reserved address of interrupts",
        _ => "a request that is invalid, of a type that is not known here",
    }
    .to_owned()
}

/// Explains an entry of AMD's device table.
fn device_entry(entry: DeviceEntry) -> Vec<String> {
    let mut out = Vec::new();
    if !entry.is_valid() {
        return vec!["the entry is not valid: accesses are let through".to_owned()];
    }
    out.push(match entry.mode() {
        Some(Mode::Passed) => "the entry has no table (mode 0): accesses go through as they are (identity), which is not allowed where SNP is on".to_owned(),
        Some(Mode::Translated { table, levels }) => format!("the entry's table of {levels} levels is at {table:#x}"),
        None => "the entry says nothing of accesses".to_owned(),
    });
    let (read, write) = entry.permits();
    out.push(format!("reads {}, writes {}; domain {:#x}", permitted(read), permitted(write), entry.domain()));
    match entry.has_guest() {
        (false, false) => {}
        (guest, requests) => out.push(format!(
            "{}: reserved bits unless the unit's control register has that on",
            [(guest, "a guest's tables (GV)"), (requests, "page requests (PPR)")]
                .into_iter()
                .filter(|(is, _)| *is)
                .map(|(_, text)| text)
                .collect::<Vec<_>>()
                .join(" and ")
        )),
    }
    if let Some(control) = entry.interrupts() {
        let what = match control {
            InterruptControl::Refused => "refused",
            InterruptControl::Passed => "let through",
            InterruptControl::Remapped => "remapped",
            InterruptControl::Reserved => "set to what is reserved",
        };
        out.push(format!("interrupts are {what}"));
    }
    out
}

fn permitted(is: bool) -> &'static str {
    if is { "permitted" } else { "refused" }
}
