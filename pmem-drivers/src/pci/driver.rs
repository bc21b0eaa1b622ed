//! The driver for PCI hierarchies.

use super::binding::Layout;
use super::port::Port;
use super::registers::{GONE, answers, mask, read};
use alloc::vec::Vec;
use pmem_core::{AddrRange, Change, Concern, Driver, Fault, Mismatch, State, Step as Undone, Veto};
use pmem_pci::BusRange;
use pmem_pci::check::check;
use pmem_pci::steps::{Stages, Step, bystanders, stages};
use pmem_pci::tree::{Function, Tree};

/// Programs the base address registers, bridge windows and bus numbers of a hierarchy to follow a model.
///
/// Register it for everything, or for the arenas and interconnects of the hierarchy. Registering reads the
/// registers and writes nothing; it is refused if they differ from the model. The driver reads each write back. If a
/// function ignores a write or no longer responds, that is a fault, and everything is put back.
///
/// # Examples
///
/// Move the BAR of a NIC. The configuration space here is simulated (feature `fake`):
///
/// ```
/// # use std::sync::{Arc, Mutex};
/// # use pmem_core::{Manager, Scope, Subscription};
/// # use pmem_pci::tree::{Aperture, Function, Resource, Root, Slot, Space, Tree};
/// # use pmem_pci::{Address, BusRange};
/// use pmem_drivers::pci::{FakeFunction, FakeSpace, Pci, model, transact};
///
/// # let span = BusRange { first: 0xe000_0000, last: 0xefff_ffff };
/// # let aperture = Aperture { space: Space::Memory, span, cpu: span.first };
/// # let address = Address { segment: 0, bus: 0, device: 3, function: 0 };
/// # let mut nic = Function::new(address, None, 0);
/// # let (slot, size, at) = (Slot::Bar(0), 16 << 20, Some(0xe000_0000));
/// # nic.resources.push(Resource {
/// #     slot, space: Space::Memory, prefetchable: false, top: 0xffff_ffff, size, align: size, at,
/// #     fixed: false, optional: false,
/// # });
/// # let roots = vec![Root { segment: 0, buses: (0, 255), apertures: vec![aperture] }];
/// # let tree = Tree { roots, functions: vec![nic], ..Tree::default() };
/// // `tree` has a NIC at 00:03.0, whose BAR 0 is 16 MiB at 0xe0000000.
/// let mut registers = [0; 64];
/// registers[0x13] = 0xe0;
/// let space = FakeSpace::default();
/// space.plug(address, FakeFunction::new(&registers).writable(4, 2, 7).writable(0x10, 4, 0xff00_0000));
///
/// let mut manager = Manager::new();
/// let binding = manager.transaction(|plan| model(plan, &tree))?;
/// let binding = Arc::new(Mutex::new(binding));
/// let driver = Pci::new(space.clone(), binding.clone());
/// manager.register(Box::new(driver), Subscription::new([Scope::Everything]))?;
///
/// let mut to = tree.clone();
/// to.functions[0].resources[0].at = Some(0xe800_0000);
/// transact(&mut manager, &binding, &to)?;
/// assert_eq!(space.holds(address, 0x10, 4), 0xe800_0000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub struct Pci<P, L> {
    port: P,
    layout: L,
    /// What the registers hold, as far as the driver knows.
    held: Tree,
    staged: Option<Staged>,
}

/// A change that is planned.
struct Staged {
    to: Tree,
    stages: Stages,
    /// The writes made, each with the value that it replaced. Its capacity for all writes is reserved beforehand.
    written: Vec<Step>,
    /// The number of writes that the withdraw stage made.
    withdrawn: usize,
}

impl<P: Port, L: Layout> Pci<P, L> {
    /// Creates a driver for the hierarchy behind `port`. It reads the registers when you register it.
    pub fn new(port: P, layout: L) -> Self {
        Self { port, layout, held: Tree::default(), staged: None }
    }

    /// Returns the port.
    pub const fn port(&self) -> &P {
        &self.port
    }

    fn work_out(&self, from: &Tree, to: &Tree) -> Result<Stages, Veto> {
        if let Some(wrong) = check(to).first() {
            let veto = Veto::new(match wrong.other {
                Some(_) => {
                    "this placement breaks the bus's rules: it overlaps something, or lies outside its window"
                }
                None => "no register can hold this placement",
            });
            return Err(range(wrong.side.span).map_or(veto, |range| veto.at(range)));
        }
        let stuck = |_| {
            Veto::new("a window cannot change without stopping a device behind it that must keep running")
        };
        // Windows whose registers pass through wrong values need what is behind them to stop decoding meanwhile.
        let stopped = bystanders(from, to).map_err(stuck)?;
        stages(from, to, &stopped).map_err(stuck)
    }
}

fn range(span: BusRange) -> Option<AddrRange> {
    AddrRange::inclusive(span.first, span.last).ok()
}

fn refuse(fault: Fault) -> Veto {
    Veto { range: fault.range, ..Veto::new(fault.reason) }
}

/// Writes steps, reads each back, and records the values that they replace.
fn write(
    port: &mut dyn Port,
    functions: &[Function],
    steps: &[Step],
    written: &mut Vec<Step>,
) -> Result<(), Fault> {
    for step in steps {
        let Some(function) = functions.get(step.function) else { continue };
        let (address, Step { offset, width, .. }) = (function.address, *step);
        let bits = mask(function, offset, width);
        let ones = u32::MAX >> (32 - 8 * u32::from(width.clamp(1, 4)));
        let before = port.read(address, offset, width)?;
        if before == ones && !answers(port, address)? {
            return Err(GONE);
        }
        // Keep the bits of the command register that do not control decoding.
        let value = if offset == 0x04 { before & !bits | step.value & bits } else { step.value };
        written.push(Step { value, before: Some(before), ..*step });
        port.write(address, offset, width, value)?;
        let has = port.read(address, offset, width)?;
        if (has ^ value) & bits != 0 {
            return Err(if has == ones && !answers(port, address)? {
                GONE
            } else {
                Fault::new("a register did not accept the value written to it")
            });
        }
    }
    Ok(())
}

/// Undoes writes, the last first, until `down_to` remain. A register that refuses does not stop the others. A
/// function that no longer responds needs nothing put back.
fn put_back(
    port: &mut dyn Port,
    functions: &[Function],
    written: &mut Vec<Step>,
    down_to: usize,
) -> Result<(), Fault> {
    let mut worst = Ok(());
    while written.len() > down_to {
        let Some(step) = written.pop() else { break };
        let (Some(function), Some(before)) = (functions.get(step.function), step.before) else { continue };
        let put = put_one(port, function, step, before);
        worst = worst.and(put);
    }
    worst
}

fn put_one(port: &mut dyn Port, function: &Function, step: Step, before: u32) -> Result<(), Fault> {
    let address = function.address;
    if !answers(port, address)? {
        return Ok(());
    }
    port.write(address, step.offset, step.width, before)?;
    let has = port.read(address, step.offset, step.width)?;
    if (has ^ before) & mask(function, step.offset, step.width) != 0 {
        return Err(Fault::new("a register could not be put back"));
    }
    Ok(())
}

impl<P: Port + 'static, L: Layout + 'static> Driver for Pci<P, L> {
    fn name(&self) -> &str {
        "pci"
    }

    fn attach(&mut self, state: &State) -> Result<(), Veto> {
        let wanted = self.layout.hierarchy(state);
        self.held = read(&mut self.port, &wanted).map_err(refuse)?;
        match difference(&wanted, &self.held) {
            Some(Mismatch { range, .. }) => {
                let veto = Veto::new(
                    "the registers differ from the model, and attaching writes nothing: build the model from what the registers hold",
                );
                Err(range.map_or(veto, |range| veto.at(range)))
            }
            None => Ok(()),
        }
    }

    fn prepare(&mut self, change: &Change<'_>) -> Result<Concern, Veto> {
        self.staged = None;
        let wanted = self.layout.hierarchy(change.after());
        // Read the hardware again: functions may have been plugged in or pulled out since.
        let from = read(&mut self.port, &wanted).map_err(refuse)?;
        let mut to = wanted;
        for (to, from) in to.functions.iter_mut().zip(&from.functions) {
            (to.command, to.absent) = (from.command, from.absent);
        }
        if difference(&to, &from).is_none() {
            self.held = from;
            return Ok(Concern::Indifferent);
        }
        let stages = self.work_out(&from, &to)?;
        let count = stages.withdraw.len() + stages.install.len();
        self.held = from;
        self.staged = Some(Staged { to, stages, written: Vec::with_capacity(count), withdrawn: 0 });
        Ok(Concern::Concerned)
    }

    fn withdraw(&mut self) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        write(&mut self.port, &staged.to.functions, &staged.stages.withdraw, &mut staged.written)?;
        staged.withdrawn = staged.written.len();
        Ok(())
    }

    fn install(&mut self) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        write(&mut self.port, &staged.to.functions, &staged.stages.install, &mut staged.written)
    }

    fn published(&mut self) {
        if let Some(staged) = self.staged.take() {
            self.held = staged.to;
        }
    }

    fn revert(&mut self, step: Undone) -> Result<(), Fault> {
        let Some(staged) = &mut self.staged else { return Ok(()) };
        let down_to = if step == Undone::Install { staged.withdrawn } else { 0 };
        let done = put_back(&mut self.port, &staged.to.functions, &mut staged.written, down_to);
        if step == Undone::Withdraw {
            self.staged = None;
        }
        done
    }

    fn abort(&mut self) {
        self.staged = None;
    }

    fn resync(&mut self, state: &State) -> Result<(), Fault> {
        self.staged = None;
        let mut to = self.layout.hierarchy(state);
        let from = read(&mut self.port, &to)?;
        for (to, from) in to.functions.iter_mut().zip(&from.functions) {
            (to.command, to.absent) = (from.command, from.absent);
        }
        let stages = self
            .work_out(&from, &to)
            .map_err(|veto| Fault { range: veto.range, ..Fault::new(veto.reason) })?;
        let mut written = Vec::with_capacity(stages.withdraw.len() + stages.install.len());
        for steps in [&stages.withdraw, &stages.install] {
            if let Err(fault) = write(&mut self.port, &to.functions, steps, &mut written) {
                put_back(&mut self.port, &to.functions, &mut written, 0)?;
                return Err(fault);
            }
        }
        self.held = to;
        Ok(())
    }

    fn verify(&mut self, state: &State) -> Result<(), Mismatch> {
        let wanted = self.layout.hierarchy(state);
        let unread = |fault: Fault| Mismatch { reason: fault.reason, range: fault.range, wanted_found: None };
        let has = read(&mut self.port, &wanted).map_err(unread)?;
        difference(&wanted, &has).map_or(Ok(()), Err)
    }
}

/// Returns the first difference between two hierarchies of the same functions. Absent functions never differ.
fn difference(wanted: &Tree, has: &Tree) -> Option<Mismatch> {
    let differ = |reason, wanted: Option<BusRange>, found: Option<BusRange>| Mismatch {
        reason,
        range: wanted.or(found).and_then(range),
        wanted_found: wanted.zip(found).map(|(wanted, found)| (wanted.first, found.first)),
    };
    for (wanted, has) in wanted.functions.iter().zip(&has.functions).filter(|(_, has)| !has.absent) {
        for (a, b) in wanted.resources.iter().zip(&has.resources) {
            // A BAR without a place in the model may hold anything, as long as it is not decoded. Virtual
            // functions' BARs are not in these registers.
            if a.at.is_some() && a.at != b.at && !matches!(a.slot, pmem_pci::tree::Slot::Vf(_)) {
                return Some(differ("a base address register differs from the model", a.span(), b.span()));
            }
        }
        let (Some(a), Some(b)) = (&wanted.bridge, &has.bridge) else { continue };
        let mut windows = a.windows.iter().zip(&b.windows);
        if let Some((a, b)) = windows.find(|(a, b)| a.span != b.span) {
            return Some(differ("a bridge's window differs from the model", a.span, b.span));
        }
        if a.buses.is_some() && a.buses != b.buses {
            let span = |buses: Option<(u8, u8)>| {
                buses.and_then(|(first, last)| BusRange::new(first.into(), last.into()))
            };
            return Some(differ("a bridge's bus numbers are not the model's", span(a.buses), span(b.buses)));
        }
    }
    None
}
