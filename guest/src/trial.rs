//! What a unit must do, checked with a device that does DMA.

use crate::edu::Edu;
use crate::judge::Judge;
use crate::machine::{Machine, Shared};
use pmem_core::{
    ArenaId, Change, Concern, Constraints, Driver, DriverId, Error, Fault, Mismatch, Prot, RegionId, Request,
    Scope, State, Step, Subscription, Veto,
};
use pmem_drivers::iommu::{Domain, Iommu, Unit, leave, pass};
use pmem_iommu::RequesterId;

const PAGE: u64 = 4096;
/// The size of one transfer, in bytes. The device refuses to transfer its whole buffer.
const CHUNK: u64 = 2048;
/// Each trial uses fresh device addresses, so that no cached translation interferes: low ones, and this one
/// above 4 GiB.
const HIGH: u64 = 0x1_4000_0000;

/// What a unit reports about requests that it refused.
#[derive(Debug, Default)]
pub struct Refusals {
    /// The requester, the address, and whether it is a read.
    pub told: Vec<(RequesterId, u64, bool)>,
    /// Whether the unit does not report refusals at all.
    pub is_mute: bool,
}

/// A unit under trial, and the devices behind it.
pub struct Trial<'t, U: Unit> {
    /// The machine and its model.
    pub machine: Machine,
    /// The devices.
    pub edus: &'t [Edu],
    /// The driver of the unit.
    pub driver: DriverId,
    /// Reads what was refused since the last time.
    pub refusals: &'t mut dyn FnMut(&mut U) -> Result<Refusals, String>,
    /// The width of device addresses, in bits.
    pub width: u32,
}

fn text(error: Error) -> String {
    error.to_string()
}

impl<U: Unit + 'static> Trial<'_, U> {
    /// Allocates memory with a pattern at its start, and returns the region and its address.
    fn buffer(&mut self, len: u64, seed: u64) -> Result<(RegionId, u64), String> {
        let request = Request::new(len).align(if len >= 2 << 20 { 2 << 20 } else { PAGE });
        let region = self.machine.pmem.alloc(self.machine.ram, &request).map_err(text)?;
        let at = self.machine.pmem.range(region).map_err(text)?.start();
        self.machine.fill(at, len.min(2 * PAGE), seed);
        Ok((region, at))
    }

    fn map(&mut self, domain: ArenaId, region: RegionId, at: u64) -> Result<RegionId, String> {
        self.machine.pmem.map_at(domain, region, Constraints::at(at)).map_err(text)
    }

    fn edu(&self) -> Result<&Edu, String> {
        self.edus.first().ok_or_else(|| "no device".to_owned())
    }

    /// Lets the device copy from one device address to another; returns whether the pattern arrived at `place`
    /// in memory.
    pub fn copies(&self, from: u64, to: u64, place: u64, seed: u64) -> Result<bool, String> {
        let edu = self.edu()?;
        edu.read(from, CHUNK)?;
        edu.write(to, CHUNK)?;
        Ok(self.machine.has(place, CHUNK, seed))
    }

    /// Runs all trials.
    pub fn run(&mut self, judge: &mut Judge) -> Result<(), String> {
        let domain = self.machine.domain(self.width).map_err(text)?;
        self.machine.join(0, domain).map_err(text)?;
        self.moves_data(judge, domain)?;
        self.tells(judge)?;
        self.protects(judge, domain)?;
        self.forgets(judge, domain)?;
        self.relocates(judge, domain)?;
        self.splits(judge, domain)?;
        self.reverts(judge, domain)?;
        self.changes_domain(judge, domain)?;
        self.parts(judge, domain)?;
        self.passes(judge)
    }

    fn moves_data(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        for (n, base) in [0x10_0000, HIGH].into_iter().enumerate() {
            let (source, from) = self.buffer(4 * PAGE, 1)?;
            let (target, to) = self.buffer(4 * PAGE, 2)?;
            self.map(domain.arena, source, base)?;
            self.map(domain.arena, target, base + 0x8_0000)?;
            let name = ["low", "high"].get(n).copied().unwrap_or_default();
            judge.is(&format!("{name}: data moves inside"), self.copies(base, base + 0x8_0000, to, 1)?, true);
            judge.is(&format!("{name}: the source is as it was"), self.machine.has(from, PAGE, 1), true);
            // Beyond the end nothing may move, neither in nor out.
            self.machine.fill(to, 4 * PAGE, 3);
            self.edu()?.write(base + 0x8_0000 + 4 * PAGE, CHUNK)?;
            self.edu()?.write(base - PAGE, CHUNK)?;
            judge.is(&format!("{name}: outside nothing moves"), self.machine.has(to, 4 * PAGE, 3), true);
        }
        Ok(())
    }

    /// Checks what the unit reports about accesses that it refuses.
    fn tells(&mut self, judge: &mut Judge) -> Result<(), String> {
        for (at, read) in [(0x3210_0000u64, true), (0x3220_0000, false)] {
            self.ask()?;
            let edu = self.edu()?;
            if read {
                edu.read(at, CHUNK)?;
            } else {
                edu.write(at, CHUNK)?;
            }
            let (id, told) = (edu.id, self.ask()?);
            let what = if read { "a read" } else { "a write" };
            if told.is_mute && told.told.is_empty() {
                judge.note(&format!("{what} that is refused is not told by this unit"));
            } else {
                let told = told.told.first().copied();
                judge.is(&format!("{what} that is refused is told"), told, Some((id, at, read)));
            }
        }
        Ok(())
    }

    fn ask(&mut self) -> Result<Refusals, String> {
        let driver = self.machine.pmem.driver_mut::<Iommu<U, Shared>>(self.driver).ok_or("another driver")?;
        (self.refusals)(driver.unit_mut())
    }

    fn protects(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let (region, at) = self.buffer(PAGE, 4)?;
        let (other, to) = self.buffer(PAGE, 5)?;
        self.map(domain.arena, region, 0x20_0000)?;
        self.map(domain.arena, other, 0x21_0000)?;
        let pmem = &mut self.machine.pmem;
        let read = pmem.attrs(region).map_err(text)?.with_prot(Prot::READ);
        pmem.set(region, read).map_err(text)?;
        judge.is("a page that is only read is read", self.copies(0x20_0000, 0x21_0000, to, 4)?, true);
        self.machine.fill(at, PAGE, 6);
        self.edu()?.write(0x20_0000, CHUNK)?;
        judge.is("and not written", self.machine.has(at, PAGE, 6), true);
        Ok(())
    }

    fn forgets(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let (region, at) = self.buffer(PAGE, 7)?;
        let alias = self.map(domain.arena, region, 0x30_0000)?;
        // Now the unit has the translation cached.
        self.edu()?.read(0x30_0000, CHUNK)?;
        self.edu()?.write(0x30_0000, CHUNK)?;
        let gone = self.machine.pmem.transaction(|plan| plan.decref(alias));
        gone.map_err(text)?;
        self.machine.fill(at, PAGE, 8);
        self.edu()?.write(0x30_0000, CHUNK)?;
        judge.is("what is unmapped is forgotten", self.machine.has(at, PAGE, 8), true);
        // Map the same address to another place.
        let (second, to) = self.buffer(PAGE, 9)?;
        self.map(domain.arena, second, 0x30_0000)?;
        let (source, _) = self.buffer(PAGE, 10)?;
        self.map(domain.arena, source, 0x31_0000)?;
        judge.is("and mapped anew leads there", self.copies(0x31_0000, 0x30_0000, to, 10)?, true);
        judge.is("and not where it did", self.machine.has(at, PAGE, 8), true);
        self.machine.pmem.verify(self.driver).map_err(text)
    }

    fn relocates(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let (region, from) = self.buffer(2 * PAGE, 11)?;
        self.map(domain.arena, region, 0x40_0000)?;
        let (source, _) = self.buffer(PAGE, 12)?;
        self.map(domain.arena, source, 0x41_0000)?;
        self.edu()?.read(0x40_0000, CHUNK)?;
        let to = from + 0x10_0000;
        self.machine.pmem.relocate(region, to).map_err(text)?;
        self.machine.fill(from, PAGE, 13);
        judge.is(
            "a region that moves takes its entries along",
            self.copies(0x41_0000, 0x40_0000, to, 12)?,
            true,
        );
        judge.is("and is where it was no more", self.machine.has(from, PAGE, 13), true);
        Ok(())
    }

    /// Splits a 2 MiB page while the device uses it.
    fn splits(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        const LARGE: u64 = 2 << 20;
        let (region, at) = self.buffer(LARGE, 14)?;
        self.map(domain.arena, region, 0x1000_0000)?;
        let pieces = self.pieces(domain, 0x1000_0000, LARGE)?;
        judge.note(&format!("2 MiB are {pieces} pieces"));
        let (source, _) = self.buffer(PAGE, 15)?;
        self.map(domain.arena, source, 0x42_0000)?;
        self.edu()?.read(0x42_0000, CHUNK)?;
        // The device writes in 100 ms, and the page is split before that.
        self.edu()?.begin_write(0x1000_0000 + PAGE, CHUNK);
        self.machine.pmem.resize(region, LARGE - PAGE).map_err(text)?;
        self.edu()?.finish()?;
        judge.is(
            "a large page is split under a transfer that stays",
            self.machine.has(at + PAGE, CHUNK, 15),
            true,
        );
        let last = LARGE - PAGE;
        self.machine.fill(at + last, PAGE, 16);
        self.edu()?.write(0x1000_0000 + last, CHUNK)?;
        judge.is("and what went of it is gone", self.machine.has(at + last, PAGE, 16), true);
        judge.is(
            "and there are small pages now",
            self.pieces(domain, 0x1000_0000, LARGE)? >= pieces + 510,
            true,
        );
        self.machine.pmem.verify(self.driver).map_err(text)
    }

    fn pieces(&self, domain: Domain, at: u64, len: u64) -> Result<usize, String> {
        let range = pmem_core::AddrRange::sized(at, len).map_err(|e| e.to_string())?;
        let driver = self.machine.pmem.driver::<Iommu<U, Shared>>(self.driver).ok_or("another driver")?;
        let mut pieces = 0;
        driver.mapped(domain.link, range, &mut |_| pieces += 1).map_err(|e| e.to_string())?;
        Ok(pieces)
    }

    /// Another driver fails: the unit must be as before.
    fn reverts(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let (region, at) = self.buffer(PAGE, 17)?;
        let alias = self.map(domain.arena, region, 0x50_0000)?;
        let (source, _) = self.buffer(PAGE, 18)?;
        self.map(domain.arena, source, 0x51_0000)?;
        let (second, away) = self.buffer(PAGE, 19)?;
        let fails = Subscription::new([Scope::Everything]).priority(-1);
        let fails = self.machine.pmem.register(Box::new(Fails), fails).map_err(text)?;
        let done = self.machine.pmem.transaction(|plan| {
            plan.decref(alias)?;
            plan.map_at(domain.arena, second, Constraints::at(0x50_0000))
        });
        judge.is("a change that fails is an error", done.is_err(), true);
        judge.is("and is taken back", self.copies(0x51_0000, 0x50_0000, at, 18)?, true);
        judge.is("and none of it stays", self.machine.has(away, PAGE, 19), true);
        self.machine.pmem.deregister(fails).map_err(text)?;
        self.machine.pmem.verify(self.driver).map_err(text)
    }

    fn changes_domain(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let other = self.machine.domain(self.width).map_err(text)?;
        let (first, here) = self.buffer(PAGE, 20)?;
        let (second, there) = self.buffer(PAGE, 21)?;
        // One device address, two places.
        self.map(domain.arena, first, 0x60_0000)?;
        self.map(other.arena, second, 0x60_0000)?;
        let (source, _) = self.buffer(PAGE, 22)?;
        self.map(domain.arena, source, 0x61_0000)?;
        self.map(other.arena, source, 0x61_0000)?;
        judge.is("in its domain it writes there", self.copies(0x61_0000, 0x60_0000, here, 22)?, true);
        judge.is("and not in the other", self.machine.has(there, PAGE, 21), true);
        self.machine.fill(here, PAGE, 20);
        self.machine.join(0, other).map_err(text)?;
        judge.is("moved it writes in the other", self.copies(0x61_0000, 0x60_0000, there, 22)?, true);
        judge.is("and in its old one no more", self.machine.has(here, PAGE, 20), true);
        self.machine.fill(there, PAGE, 23);
        let device = self.machine.devices.first().copied().ok_or("no device")?;
        self.machine.pmem.transaction(|plan| leave(plan, device)).map_err(text)?;
        self.edu()?.write(0x60_0000, CHUNK)?;
        judge.is("of no domain it writes nowhere", self.machine.has(there, PAGE, 23), true);
        self.machine.join(0, domain).map_err(text)
    }

    /// Puts two devices into separate domains, and then into one.
    fn parts(&mut self, judge: &mut Judge, domain: Domain) -> Result<(), String> {
        let other = self.machine.domain(self.width).map_err(text)?;
        self.machine.join(1, other).map_err(text)?;
        let (region, at) = self.buffer(PAGE, 24)?;
        self.map(domain.arena, region, 0x70_0000)?;
        let second = self.edus.get(1).ok_or("no second device")?;
        second.write(0x70_0000, CHUNK)?;
        judge.is("another device does not see it", self.machine.has(at, PAGE, 24), true);
        self.machine.join(1, domain).map_err(text)?;
        second.read(0x61_0000, CHUNK)?;
        second.write(0x70_0000, CHUNK)?;
        judge.is("in the same domain it does", self.machine.has(at, CHUNK, 22), true);
        Ok(())
    }

    fn passes(&mut self, judge: &mut Judge) -> Result<(), String> {
        let (_, from) = self.buffer(PAGE, 25)?;
        let (_, to) = self.buffer(PAGE, 26)?;
        let (device, system) =
            (self.machine.devices.first().copied().ok_or("no device")?, self.machine.system);
        judge.is("nothing passes untranslated", self.copies(from, to, to, 25)?, false);
        match self.machine.pmem.transaction(|plan| pass(plan, device, system)) {
            Ok(_) => judge.is("but where the model says so", self.copies(from, to, to, 25)?, true),
            Err(error) => judge.note(&format!("no requests pass: {error}")),
        }
        self.machine.pmem.verify(self.driver).map_err(text)
    }
}

/// A driver that always fails.
struct Fails;

impl Driver for Fails {
    fn name(&self) -> &str {
        "fails"
    }

    fn attach(&mut self, _: &State) -> Result<(), Veto> {
        Ok(())
    }

    fn prepare(&mut self, _: &Change<'_>) -> Result<Concern, Veto> {
        Ok(Concern::Concerned)
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn install(&mut self) -> Result<(), Fault> {
        Err(Fault::new("it never does"))
    }

    fn revert(&mut self, _: Step) -> Result<(), Fault> {
        Ok(())
    }

    fn abort(&mut self) {}

    fn resync(&mut self, _: &State) -> Result<(), Fault> {
        Ok(())
    }

    fn verify(&mut self, _: &State) -> Result<(), Mismatch> {
        Ok(())
    }
}
