//! Programs the IOMMU of an emulated machine with the library's own driver, and tries it with a device that
//! does DMA.
//!
//! It runs under a kernel that leaves the unit alone and allows mapping physical memory. Each check prints
//! IOMMU-PASS or IOMMU-FAIL.

mod edu;
mod judge;
mod machine;
mod map;
mod trial;

use edu::{Edu, Function};
use judge::Judge;
use machine::{HALF, KEPT, Machine, Shared};
use pmem_core::{Scope, Subscription};
use pmem_drivers::iommu::{Amd, DomainKind, Found, Iommu, Mapped, Port as _, Requests, Unit, Vtd, Width};
use pmem_iommu::RequesterId;
use pmem_iommu::acpi::{Dmar, Ivrs};
use pmem_iommu::amd::DeviceEntry;
use pmem_iommu::amd::registers::DEVICE_TABLE;
use pmem_iommu::table::{Access, Format, PageTable, Pool, TableMemory};
use std::fs;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, AtomicU64};
use std::time::Duration;
use trial::{Refusals, Trial};

type Port = Mapped<&'static [AtomicU32], &'static [AtomicU64]>;

const MEMORY: &str = "/dev/mem";
const TABLES: &str = "/sys/firmware/acpi/tables";
/// The width of device addresses in the trials, in bits: all units support it.
const WIDTH: u32 = 39;

/// The status register of a function, and its bit for a request that it ended with a target abort.
const STATUS: u64 = 0x06;
const SIGNALED_ABORT: u16 = 1 << 11;

/// Opens a unit's registers and memory for its tables. Each poll waits a millisecond, for up to a second.
fn port(base: u64, bytes: usize) -> Result<Port, String> {
    let registers = map::registers(Path::new(MEMORY), base, bytes)?;
    let words = map::memory(Path::new(MEMORY), KEPT, HALF as usize)?;
    let wait = |looks: u32| {
        if looks > 50 {
            std::thread::sleep(Duration::from_millis(1));
        }
        looks < 1000
    };
    Ok(Mapped::new(registers, Pool::new(words, KEPT), wait).uncached())
}

fn acpi(name: &str) -> Option<Vec<u8>> {
    fs::read(Path::new(TABLES).join(name)).ok()
}

/// Tries a unit.
fn play<U: Unit + 'static>(
    unit: U,
    judge: &mut Judge,
    refusals: &mut dyn FnMut(&mut U) -> Result<Refusals, String>,
) -> Result<U, String> {
    let edus = Edu::all()?;
    judge.note(&format!("{} bits, {} devices", unit.format().width(), edus.len()));
    let words = map::memory(Path::new(MEMORY), KEPT + HALF, HALF as usize)?;
    let mut machine = Machine::new(words, &edus).map_err(|error| error.to_string())?;
    let driver = Iommu::new(unit, machine.binding.clone());
    let driver = machine.pmem.register(Box::new(driver), Subscription::new([Scope::Everything]));
    let driver = driver.map_err(|error| error.to_string())?;
    let mut trial = Trial { machine, edus: &edus, driver, refusals, width: WIDTH };
    trial.run(judge)?;
    let driver = trial.machine.pmem.deregister(driver).map_err(|error| error.to_string())?;
    let driver: Box<dyn std::any::Any> = driver;
    let driver = driver.downcast::<Iommu<U, Shared>>().map_err(|_| "another driver".to_owned())?;
    // With the unit off, everything passes.
    let unit = driver.stop().map_err(|fault| fault.to_string())?;
    judge.is(
        "stopped it lets pass",
        trial.copies(KEPT + HALF, KEPT + HALF + 0x40_0000, KEPT + HALF + 0x40_0000, 1)?,
        true,
    );
    Ok(unit)
}

/// Checks what a second driver finds in a running unit.
fn found(judge: &mut Judge, found: Option<Found>, id: RequesterId) {
    let requests = found.and_then(|found| found.requesters.iter().find(|(has, _)| *has == id).copied());
    judge.is(
        "a unit that runs is read",
        matches!(requests, Some((_, Requests::Passed | Requests::Translated { .. }))),
        true,
    );
}

fn intel(table: &[u8]) -> Result<bool, String> {
    let dmar = Dmar::decode(table).map_err(|error| error.to_string())?;
    let unit = dmar.units().next().ok_or("DMAR names no unit")?;
    let (base, mut clean) = (unit.base, true);
    for (name, queued) in [("vt-d, queue", true), ("vt-d, registers", false)] {
        let mut judge = Judge::new(name);
        let unit = Vtd::new(port(base, 0x1000)?).map_err(|fault| fault.to_string())?;
        let unit = if queued { unit } else { unit.by_registers().map_err(|fault| fault.to_string())? };
        let mut refusals = |unit: &mut Vtd<Port>| {
            let faults = unit.events().map_err(|fault| fault.to_string())?;
            let told = faults.into_iter().map(|fault| (fault.source, fault.address, fault.read)).collect();
            Ok(Refusals { told, is_mute: false })
        };
        if let Err(why) = play(unit, &mut judge, &mut refusals) {
            judge.fails(&why);
        }
        clean &= judge.is_clean();
    }
    // The second one only reads.
    let mut judge = Judge::new("vt-d, found");
    let mut unit = Vtd::new(port(base, 0x1000)?).map_err(|fault| fault.to_string())?;
    let id = Edu::all()?.first().map(|edu| edu.id).ok_or("no device")?;
    unit.start().map_err(|fault| fault.to_string())?;
    unit.seat(id, DomainKind::Domain { number: 1, root: KEPT }).map_err(|fault| fault.to_string())?;
    let mut second = port(base, 0x1000)?;
    found(&mut judge, Found::vtd(&mut second).map_err(|fault| fault.to_string())?, id);
    let refused = Vtd::new(second).and_then(|mut unit| unit.start());
    judge.is("and not taken", refused.is_err(), true);
    unit.stop().map_err(|fault| fault.to_string())?;
    Ok(clean && judge.is_clean())
}

fn amd(table: &[u8]) -> Result<bool, String> {
    let ivrs = Ivrs::decode(table).map_err(|error| error.to_string())?;
    let units = ivrs.units();
    let unit = units.first().ok_or("IVRS names no unit")?;
    let mut judge = Judge::new("amd-vi");
    let own = Function::find(|_, _, class| class == 0x0806);
    let own = own.iter().find(|function| function.id == unit.id).ok_or("the unit has no function")?;
    let base = unit.base;
    let driver = Amd::new(port(base, 0x4000)?, 0).map_err(|fault| fault.to_string())?;
    // QEMU 7.2 writes no events.
    let mut refusals = |unit: &mut Amd<Port>| {
        let events = unit.events().map_err(|fault| fault.to_string())?;
        let told: Vec<_> =
            events.into_iter().map(|event| (event.source, event.address, !event.flags.is_write())).collect();
        Ok(Refusals { told, is_mute: true })
    };
    match play(driver, &mut judge, &mut refusals) {
        Ok(unit) => {
            let done = aborts(&mut judge, unit, own);
            done.unwrap_or_else(|why| judge.fails(&why));
        }
        Err(why) => judge.fails(&why),
    }
    // The second one only reads.
    let mut judge_found = Judge::new("amd-vi, found");
    let mut unit = Amd::new(port(base, 0x4000)?, 0).map_err(|fault| fault.to_string())?;
    let id = Edu::all()?.first().map(|edu| edu.id).ok_or("no device")?;
    unit.start().map_err(|fault| fault.to_string())?;
    unit.seat(id, DomainKind::Domain { number: 1, root: KEPT }).map_err(|fault| fault.to_string())?;
    let mut second = port(base, 0x4000)?;
    found(&mut judge_found, Found::amd(&mut second).map_err(|fault| fault.to_string())?, id);
    let refused = Amd::new(second, 0).and_then(|mut unit| unit.start());
    judge_found.is("and not taken", refused.is_err(), true);
    unit.stop().map_err(|fault| fault.to_string())?;
    Ok(judge.is_clean() && judge_found.is_clean())
}

/// Checks the only trace of a refusal that QEMU's unit leaves: it signals a target abort in its own status
/// register if an entry on the way forbids the access. Here that is the device's own entry.
fn aborts(judge: &mut Judge, mut unit: Amd<Port>, own: &Function) -> Result<(), String> {
    let said = |fault: pmem_core::Fault| fault.to_string();
    unit.start().map_err(said)?;
    let edus = Edu::all()?;
    let edu = edus.first().ok_or("no device")?;
    let mut table =
        PageTable::new(*unit.format(), unit.port_mut().memory_mut()).map_err(|e| e.to_string())?;
    let mapped = table.on(unit.port_mut().memory_mut()).map(0x5000, 0x5fff, KEPT + HALF, Access::BOTH);
    mapped.map_err(|e| e.to_string())?;
    for (may_write, aborts) in [(true, false), (false, true)] {
        unit.seat(edu.id, DomainKind::Refused).map_err(said)?;
        unit.seat(edu.id, DomainKind::Domain { number: 1, root: table.root() }).map_err(said)?;
        let devices = unit.port_mut().read(DEVICE_TABLE, Width::Eight).map_err(said)? & !0xfff;
        let at = DeviceEntry::at(devices, edu.id);
        let memory = unit.port_mut().memory_mut();
        let entry = memory.read(at & !0xfff, (at & 0xfff) / 8).ok_or("no entry")?;
        memory.write(at & !0xfff, (at & 0xfff) / 8, if may_write { entry } else { entry & !(1 << 62) });
        own.write(STATUS, SIGNALED_ABORT)?;
        edu.write(0x5000, 1024)?;
        let what = if may_write {
            "what is permitted ends in no abort"
        } else {
            "what is refused on the way ends in one"
        };
        judge.is(what, own.read(STATUS)? & SIGNALED_ABORT != 0, aborts);
    }
    unit.stop().map_err(said)
}

fn main() -> ExitCode {
    let done = match (acpi("DMAR"), acpi("IVRS")) {
        (Some(table), _) => intel(&table),
        (None, Some(table)) => amd(&table),
        (None, None) => Err("firmware describes no IOMMU".to_owned()),
    };
    let is_clean = done.unwrap_or_else(|why| {
        println!("IOMMU-FAIL {why}");
        false
    });
    println!("IOMMU-END");
    if is_clean { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
