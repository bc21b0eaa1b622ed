//! The driver for address regions.

use super::REGISTERS;
use super::change::{ChangeError, change};
use super::map::{LAST, Map};
use super::order::Step;
use super::port::Port;
use super::register::{Attributes, Register, Target, Value};
use alloc::collections::BTreeMap;
use alloc::vec::Vec;
use pmem_core::{
    AddrRange, ArenaId, Change, Concern, Driver, Fault, Mismatch, Props, Prot, State, Step as Undone, Veto,
    ViewTarget,
};

/// The arenas of a model that correspond to the processor and its targets.
#[derive(Clone, Debug, Default)]
pub struct Targets {
    /// The arena of the processor's memory addresses. It is a view, which the registers produce.
    pub memory: ArenaId,
    /// The arena of the processor's I/O ports; `None` if the model has none.
    pub ports: Option<ArenaId>,
    /// The target behind each arena that the view leads to.
    pub arenas: BTreeMap<ArenaId, Target>,
    /// The size of SDRAM in bytes. SDRAM is at 0 without any register.
    pub sdram: u32,
}

/// Programs the registers to follow what the processor sees in a model. The view's routes decide the targets. The
/// protection of regions, and `UNCACHED`, decide which accesses are forbidden.
///
/// Register it for the views of the memory and port arenas. If the registers match the model, the driver takes over
/// without a write; otherwise the registration is refused. Registers do not reach beyond 1 GiB, where everything is
/// the PCI bus: the model may have nothing else there.
///
/// # Examples
///
/// Write-protect a kernel's text. The registers here are simulated (feature `fake`):
///
/// ```
/// # use std::collections::BTreeMap;
/// # use pmem_core::{AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Prot, Request, Scope};
/// # use pmem_core::Subscription;
/// use pmem_drivers::par::{FakeMmcr, Par, Target, Targets};
///
/// let mut pmem = Manager::new();
/// let cpu = pmem.create_arena("cpu", ArenaType::VIEW)?;
/// let ram = pmem.create_arena("ram", ArenaType::RAM)?;
/// let all = AddrRange::new(0, 16 << 20)?;
/// pmem.prime(ram, all, Attrs::ram())?;
/// pmem.connect(cpu, ram, Mapping::window(all, 0)?, Metric::new(1))?;
/// let text = pmem.alloc(ram, &Request::exactly(AddrRange::new(0x10_0000, 0x30_0000)?))?;
///
/// let mmcr = FakeMmcr::default();
/// let arenas = BTreeMap::from([(ram, Target::Sdram)]);
/// let par = Par::new(mmcr.clone(), Targets { memory: cpu, ports: None, arenas, sdram: 16 << 20 });
/// pmem.register(Box::new(par), Subscription::new([Scope::View(cpu)]))?;
///
/// pmem.set(text, Attrs::ram().with_prot(Prot::READ | Prot::EXEC))?;
/// assert_eq!(mmcr.writes(), 1);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Par<P> {
    port: P,
    targets: Targets,
    held: [u32; REGISTERS],
    staged: Vec<Step>,
    written: usize,
}

impl<P: Port> Par<P> {
    /// Creates a driver for the registers behind `port`. It reads them when you register it.
    pub const fn new(port: P, targets: Targets) -> Self {
        Self { port, targets, held: [0; REGISTERS], staged: Vec::new(), written: 0 }
    }

    /// Returns what the registers hold, as far as the driver knows.
    pub fn registers(&self) -> [Option<Register>; REGISTERS] {
        self.held.map(Register::decode)
    }

    fn read(&mut self) -> Result<[u32; REGISTERS], Fault> {
        let mut bits = [0; REGISTERS];
        for (number, bits) in bits.iter_mut().enumerate() {
            *bits = self.port.read(number)?;
        }
        Ok(bits)
    }

    /// Returns the map that a state asks for.
    fn wanted(&self, state: &State) -> Result<Map, Veto> {
        let mut map = Map::new(self.targets.sdram);
        for view in [Some(self.targets.memory), self.targets.ports].into_iter().flatten() {
            for piece in state.view(view) {
                let ViewTarget::Local { arena, attrs, .. } = piece.what else { continue };
                let Some(target) = self.targets.arenas.get(&arena).copied() else { continue };
                let mut range = piece.seen;
                if target == Target::Pci {
                    match AddrRange::inclusive(range.start(), range.last().min(LAST.into())) {
                        Ok(reached) => range = reached,
                        Err(_) => continue,
                    }
                }
                let word = |addr: u64| u32::try_from(addr).ok();
                let (Some(first), Some(last)) = (word(range.start()), word(range.last())) else {
                    return Err(Veto::new("registers reach no more than 1 GiB").at(range));
                };
                let value = Value::memory(target, attributes(attrs));
                map.set(first, last, value).map_err(|error| {
                    Veto::new(match error {
                        super::MapError::Pages(..) => "it does not consist of whole 4 KiB pages",
                        _ => "registers reach no more than 1 GiB",
                    })
                    .at(range)
                })?;
            }
        }
        Ok(map)
    }

    fn work_out(&self, held: &[u32; REGISTERS], map: &Map) -> Result<Vec<Step>, Veto> {
        change(held, map).map_err(|error| match error {
            ChangeError::TooMany(error) => {
                let why = if error.is_least {
                    "the map needs more registers than there are"
                } else {
                    "no map was found that fits in the registers"
                };
                Veto::new(why).needs(error.needed as u64, error.available as u64)
            }
            ChangeError::NoOrder => Veto::new(
                "no order of register writes was found that keeps unchanged addresses intact in between",
            ),
        })
    }

    /// Writes the remaining steps and reads each back.
    fn write(&mut self) -> Result<(), Fault> {
        while let Some(Step { number, bits, .. }) = self.staged.get(self.written).copied() {
            self.written += 1;
            self.port.write(number, bits)?;
            if self.port.read(number)? != bits {
                return Err(Fault::new("a register did not accept the value written to it"));
            }
        }
        Ok(())
    }

    fn put_back(&mut self) -> Result<(), Fault> {
        let mut worst = Ok(());
        for Step { number, before, .. } in self.staged.iter().take(self.written).rev() {
            worst = worst.and(self.port.write(*number, *before));
        }
        self.staged.clear();
        self.written = 0;
        worst
    }

    fn finish(&mut self) {
        for step in self.staged.drain(..) {
            if let Some(held) = self.held.get_mut(step.number) {
                *held = step.bits;
            }
        }
        self.written = 0;
    }
}

fn attributes(attrs: pmem_core::Attrs) -> Attributes {
    let mut out = Attributes::empty();
    out.set(Attributes::NO_WRITE, !attrs.prot().contains(Prot::WRITE));
    out.set(Attributes::NO_EXECUTE, !attrs.prot().contains(Prot::EXEC));
    out.set(Attributes::NO_CACHE, attrs.props().contains(Props::UNCACHED));
    out
}

fn refused(fault: Fault) -> Veto {
    Veto { range: fault.range, ..Veto::new(fault.reason) }
}

/// Returns the first page on which two maps differ.
fn difference(wanted: &Map, has: &Map) -> Option<AddrRange> {
    let starts = |map: &Map| map.parts().map(|(range, _)| *range.start()).collect::<Vec<_>>();
    let mut places: Vec<u32> = starts(wanted).into_iter().chain(starts(has)).collect();
    places.sort_unstable();
    let at = places.into_iter().find(|at| wanted.at(*at) != has.at(*at))?;
    AddrRange::sized(at.into(), 0x1000).ok()
}

impl<P: Port + 'static> Driver for Par<P> {
    fn name(&self) -> &str {
        "par"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        let held = self.read().map_err(refused)?;
        let wanted = self.wanted(state)?;
        let has = Map::of(self.targets.sdram, &held.map(Register::decode));
        if !has.same_as(&wanted) {
            let veto = Veto::new(
                "the registers differ from the model, and attaching writes nothing: build the model from what the registers hold",
            );
            return Err(difference(&wanted, &has).map_or(veto, |range| veto.at(range)));
        }
        self.held = held;
        Ok(())
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        (self.staged, self.written) = (Vec::new(), 0);
        let wanted = self.wanted(change.after())?;
        self.staged = self.work_out(&self.held, &wanted)?;
        Ok(if self.staged.is_empty() { Concern::Indifferent } else { Concern::Concerned })
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        // Do everything in one step: a single register can remove one thing and add another.
        self.write()
    }

    fn install(&mut self) -> Result<(), Fault> {
        Ok(())
    }

    fn published(&mut self) {
        self.finish();
    }

    fn revert(&mut self, step: Undone) -> Result<(), Fault> {
        match step {
            Undone::Install => Ok(()),
            Undone::Withdraw => self.put_back(),
        }
    }

    fn abort(&mut self) {
        self.staged.clear();
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        (self.staged, self.written) = (Vec::new(), 0);
        let held = self.read()?;
        let wanted =
            self.wanted(state).map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        self.held = held;
        self.staged = self
            .work_out(&held, &wanted)
            .map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        self.write()?;
        self.finish();
        Ok(())
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let wrong = |reason, range| Mismatch { reason, range, wanted_found: None };
        let held = self.read().map_err(|fault| wrong(fault.reason, fault.range))?;
        let wanted = self.wanted(state).map_err(|veto| wrong(veto.reason, veto.range))?;
        let has = Map::of(self.targets.sdram, &held.map(Register::decode));
        if has.same_as(&wanted) {
            Ok(())
        } else {
            Err(wrong("the registers differ from the model", difference(&wanted, &has)))
        }
    }
}
