//! The implementation of requests.

use crate::claims::{Claim, Claims};
use crate::ffi::{bar, log};
use crate::machine::{Cover, Machine};
use crate::policy::allowed;
use crate::port::Kernel;
use crate::refused::Refused;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use core::fmt::Write;
use pmem_arena_abi::{self as abi, FORCE, Figures, Found, Region, Span, state, status};
use pmem_core::{AddrRange, Attrs, Error, Plan, RegionId, Request};
use pmem_drivers::mtrr::{CHANGED, Cap, MemType, Port, Setting, Width, wish};

/// How often a change is planned again when the registers change in the meantime.
const TRIES: usize = 8;

/// The manager with its claims.
pub struct Library {
    machine: Machine,
    claims: Claims,
    port: Kernel,
    /// The setting that was read last.
    setting: Box<Setting>,
}

/// A request in the manager's terms.
struct Wanted {
    range: AddrRange,
    attrs: Attrs,
    request: Request,
}

impl Library {
    pub fn new(width: Width, spans: &[Found]) -> Result<Self, Error> {
        let machine = Machine::new(width, spans)?;
        let setting = Box::new(Setting::new(width, Cap(0)));
        Ok(Self { machine, claims: Claims::new(), port: Kernel::new(width), setting })
    }

    pub fn figures(&self) -> Figures {
        let count =
            |which: fn(&Claim) -> bool| self.claims.iter().filter(|claim| which(claim)).count() as u32;
        Figures {
            arenas: self.machine.manager.state().arenas().count() as u32,
            regions: count(Claim::is_held),
            pending: count(Claim::is_pending),
            ended: count(|claim| claim.owner.is_some() && claim.end.is_some()),
        }
    }

    /// Changes the model, and with it the registers. Tries again if the registers change in the meantime.
    fn change<T>(&mut self, verbs: impl Fn(&mut Plan<'_>) -> Result<T, Error>) -> Result<T, Error> {
        let mut left = TRIES;
        loop {
            left -= 1;
            match self.machine.manager.transaction(&verbs) {
                Err(Error::Failed { fault, .. }) if fault.reason == CHANGED && left > 0 => {}
                done => return done,
            }
        }
    }

    pub fn span(&self, span: &mut Span) -> Result<(), Refused> {
        let arenas = self.machine.manager.state().arenas();
        let mut all = arenas
            .flat_map(|(_, info, arena)| arena.spans().map(move |(range, primed)| (info, range, primed)));
        let Some((info, range, primed)) = all.nth(span.index as usize) else {
            return Err(Refused::new(status::NONE, "no such span"));
        };
        span.name = [0; 32];
        for (to, from) in span.name.iter_mut().take(31).zip(info.name.bytes()) {
            *to = from;
        }
        span.r#type = u32::from(info.kind.bits());
        (span.start, span.last) = (range.start(), range.last());
        span.prot = u32::from(primed.attrs.prot().bits());
        span.props = u32::from(primed.attrs.props().bits());
        Ok(())
    }

    pub fn region(&self, out: &mut Region, session: u64) -> Result<(), Refused> {
        let claim = self
            .claims
            .get(out.index as usize)
            .ok_or_else(|| Refused::new(status::NONE, "no such region"))?;
        claim.show(out, session);
        Ok(())
    }

    /// Checks a request before anything changes.
    fn wanted(&self, claim: &abi::Claim) -> Result<Wanted, Refused> {
        let (start, last) = (claim.region.start, claim.region.last);
        let range =
            AddrRange::inclusive(start, last).ok().filter(|_| start & 0xfff == 0 && last & 0xfff == 0xfff);
        let range =
            range.ok_or_else(|| Refused::new(status::WRONG, "the range does not consist of whole pages"))?;
        let attrs = allowed(claim, range)?;
        let request = Request::exactly(range).usage(attrs.usage()).prot(attrs.prot()).props(attrs.props());
        let mut others = self.claims.iter().filter(|other| other.is_held());
        if let Some(other) = others.find(|other| other.range.start() <= last && start <= other.range.last()) {
            let (owner, holder) = (other.owner.unwrap_or(0), other.holder);
            let why = format!("{} is held by process {holder} (file {owner})", other.range);
            return Err(Refused::new(status::BUSY, &why));
        }
        Ok(Wanted { range, attrs, request })
    }

    /// Returns regions in the range that nobody holds any more. A new claim takes them over.
    fn left_over(&self, range: AddrRange) -> alloc::vec::Vec<RegionId> {
        self.claims
            .pending(|other| other.range.start() <= range.last() && range.start() <= other.range.last())
    }

    pub fn claim(&mut self, claim: &mut abi::Claim) -> Result<(), Refused> {
        self.claims.has_room()?;
        let Wanted { range, attrs, request } = self.wanted(claim)?;
        let cover = self.uncovered(claim);
        let take_in = cover.as_ref().map(|cover| self.machine.take_in(cover));
        let left_over = self.left_over(range);
        let pci = self.machine.pci;
        let (link, region) = self.change(|plan| {
            let link = take_in.as_ref().map(|take_in| take_in(plan)).transpose()?;
            left_over.iter().try_for_each(|region| plan.decref(*region))?;
            Ok((link, plan.alloc(pci, &request)?))
        })?;
        if let Some(link) = link {
            self.machine.taken_in(link);
        }
        self.claims.given_back(&left_over);
        claim.region.id = region.to_raw();
        self.claims.push(Claim {
            id: region.to_raw(),
            owner: Some(claim.session),
            holder: claim.holder,
            range,
            attrs,
            region: Some(region),
            device: claim.device,
            is_forced: claim.region.flags & FORCE != 0,
            end: None,
        });
        say(range, attrs);
        Ok(())
    }

    pub fn plan(&mut self, claim: &mut abi::Claim) -> Result<(), Refused> {
        let Wanted { range, request, .. } = self.wanted(claim)?;
        let cover = self.uncovered(claim);
        let take_in = cover.as_ref().map(|cover| self.machine.take_in(cover));
        let left_over = self.left_over(range);
        let pci = self.machine.pci;
        self.machine.manager.rehearse(|plan| {
            take_in.as_ref().map(|take_in| take_in(plan)).transpose()?;
            left_over.iter().try_for_each(|region| plan.decref(*region))?;
            plan.alloc(pci, &request)
        })?;
        self.read()?;
        claim.region.available = self.setting.variable().len() as u32;
        Ok(())
    }

    fn uncovered(&self, claim: &abi::Claim) -> Option<Cover> {
        self.machine.uncovered(AddrRange::inclusive(claim.window_start, claim.window_last).ok()?)
    }

    /// Fills in the location of a claim that has not ended.
    pub fn find(&mut self, claim: &mut abi::Claim) -> Result<(), Refused> {
        let mine = self.claims.mine(claim.region.id, claim.session)?;
        if mine.end.is_some() {
            let why = format!("{} has ended{}", mine.range, mine.words().trim_start_matches(", ended"));
            return Err(Refused::new(status::ENDED, &why));
        }
        (claim.region.start, claim.region.last) = (mine.range.start(), mine.range.last());
        Ok(())
    }

    pub fn set(&mut self, claim: &mut abi::Claim) -> Result<(), Refused> {
        self.find(claim)?;
        let mine = self.claims.mine(claim.region.id, claim.session)?;
        let (range, region) = (mine.range, mine.region);
        if mine.device != claim.device {
            return Err(Refused::new(status::ENDED, "the BAR has moved"));
        }
        let attrs = allowed(claim, range)?;
        let Some(region) = region else { return Err(Refused::new(status::NONE, "no such region")) };
        self.change(|plan| plan.set(region, attrs))?;
        let mine = self.claims.mine(claim.region.id, claim.session)?;
        mine.attrs = attrs;
        mine.is_forced |= claim.region.flags & FORCE != 0;
        say(range, attrs);
        Ok(())
    }

    pub fn release(&mut self, claim: &mut abi::Claim) -> Result<(), Refused> {
        let mine = self.claims.mine(claim.region.id, claim.session)?;
        let (range, region) = (mine.range, mine.region);
        mine.owner = None;
        self.claims.tell(claim.session);
        self.claims.given_back(&[]);
        let Some(region) = region else { return Ok(()) };
        self.give_back(&[region]);
        if self.claims.iter().any(|claim| claim.region == Some(region)) {
            let why = format!("{range} is released, but its registers cannot be changed yet");
            return Err(Refused::new(status::PENDING, &why));
        }
        Ok(())
    }

    /// Gives all claims of a file back at once.
    pub fn close(&mut self, session: u64) {
        self.claims.close(session);
        self.claims.given_back(&[]);
        self.settle();
    }

    /// Gives registers back, in one change if possible, or else one region at a time.
    fn give_back(&mut self, regions: &[RegionId]) {
        if regions.is_empty() {
            return;
        }
        if self.change(|plan| regions.iter().try_for_each(|region| plan.decref(*region))).is_ok() {
            return self.claims.given_back(regions);
        }
        for region in regions {
            match self.change(|plan| plan.decref(*region)) {
                Ok(()) => self.claims.given_back(&[*region]),
                Err(error) => {
                    log(&format!("a claim was released, but its registers cannot be changed yet: {error}"))
                }
            }
        }
    }

    /// Retries what could not be given back yet. Returns how many are left.
    pub fn settle(&mut self) -> usize {
        let regions = self.claims.pending(|_| true);
        self.give_back(&regions);
        self.claims.pending(|_| true).len()
    }

    /// Ends the claims over a function's BARs, except forced ones unless `all`. Returns how many claims stay.
    pub fn end(&mut self, device: u64, why: u32, all: bool) -> usize {
        let is_its = |claim: &Claim| claim.device >> 8 == device >> 8;
        let ended = self.claims.end(|claim| (is_its(claim) && (all || !claim.is_forced)).then_some(why));
        if ended > 0 {
            log(&format!("claims ended with their device: {ended}"));
            self.settle();
        }
        self.claims.iter().filter(|claim| claim.is_held() && is_its(claim)).count()
    }

    /// Ends claims whose BAR has moved.
    pub fn look(&mut self) {
        let ended = self.claims.end(|claim| {
            let found = bar(claim.device, claim.range.start(), claim.range.last());
            (found != 0).then_some(found)
        });
        if ended > 0 {
            log(&format!("claims ended because their BARs have moved: {ended}"));
        }
    }

    /// Gives everything back. Returns how many claims could not be given back.
    pub fn stop(&mut self) -> usize {
        self.claims.end(|_| Some(state::PENDING));
        self.settle()
    }

    fn read(&mut self) -> Result<(), Refused> {
        let Self { port, setting, .. } = self;
        port.read(setting).map_err(|fault| Refused::new(status::DIFFERS, fault.reason))
    }

    pub fn dump(&mut self) -> Result<String, Refused> {
        self.read()?;
        let mut out = String::new();
        let default = self.setting.default_kind().map_or("?", MemType::name);
        // Writing to a string cannot fail.
        let _ = writeln!(out, "default {default}, {} variable registers", self.setting.variable().len());
        for (span, what) in self.setting.map() {
            let _ = writeln!(
                out,
                "{:#x}..{:#x} {}",
                span.start,
                span.end,
                what.kind().map_or("undefined", MemType::name)
            );
        }
        for claim in self.claims.iter() {
            let _ = write!(out, "region {} {}", claim.range, claim.attrs);
            if let Some(owner) = claim.owner {
                let _ = write!(out, " of file {owner}, process {}", claim.holder);
            }
            let _ = writeln!(out, "{}", claim.words());
        }
        Ok(out)
    }
}

/// Logs the memory type of a range.
fn say(range: AddrRange, attrs: Attrs) {
    log(&format!("{range} is {}", wish(attrs).map_or("as it was", MemType::name)));
}
