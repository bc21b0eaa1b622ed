//! Write combining for a frame buffer with the fewest registers: first with the planner alone, as firmware
//! would use it, then with the driver on a model of the machine, with fake processors.

use pmem_core::{
    AddrRange, ArenaType, Attrs, Manager, Mapping, Metric, Props, Prot, Request, Scope, Subscription, Usage,
};
use pmem_drivers::mtrr::plan::DEPTH;
use pmem_drivers::mtrr::{
    Block, Cap, DefType, FakeCpus, MemType, Mtrr, PathNode, Piece, Planner, Policy, Problem, Register,
    Requirement, Setting, Span, TypeSet, Variable, Width, Workspace,
};
use std::error::Error;
use std::fmt::Write;

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}

const GIB: u64 = 1 << 30;

/// What the firmware of a PC with 3 GiB left behind: memory is write-back, everything else uncacheable.
fn firmware() -> Option<Setting> {
    let width = Width::new(36)?;
    let mut setting = Setting::new(width, Cap::new(8, true, true));
    setting.def = DefType::new(MemType::Uc, true, true);
    let blocks = [Block::new(0, 31)?, Block::new(2 * GIB, 30)?];
    for (slot, block) in setting.variable_mut().iter_mut().zip(blocks) {
        *slot = Variable::new(Register { block, kind: MemType::Wb }, width);
    }
    Some(setting)
}

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let firmware = firmware().ok_or("no such machine")?;

    // The planner: which types each range may have, and nothing about how. What lies above 4 GiB does not
    // matter.
    let want = |start, end, kind: MemType| Requirement { span: Span { start, end }, allowed: kind.into() };
    let wants = [
        want(0, 3 * GIB, MemType::Wb),
        want(3 * GIB, 0xe000_0000, MemType::Uc),
        want(0xe000_0000, 0xe100_0000, MemType::Wc),
        want(0xe100_0000, 4 * GIB, MemType::Uc),
    ];
    let problem = Problem { elsewhere: TypeSet::ANY, ..Problem::new(firmware.width, &wants) };
    let mut pieces = [Piece::default(); 12];
    let planner = Planner::new(problem, &mut pieces)?;
    let mut choices = vec![0; planner.choices()];
    let mut room = Workspace { choices: &mut choices, path: &mut [PathNode::default(); DEPTH] };
    let plan = planner.plan(None, None, &mut room).map_err(|refusal| format!("{refusal:?}"))?;
    let each: Vec<String> = MemType::ALL
        .iter()
        .map(|kind| format!("{kind} {}", plan.optimum.with(*kind).map_or("-".to_owned(), |n| n.to_string())))
        .collect();
    writeln!(
        out,
        "{} registers, default {}; the fewest with default {}",
        plan.registers.len(),
        plan.default,
        each.join(", ")
    )?;

    // The driver: the same machine as a model, with four processors.
    let mut pmem = Manager::new();
    let system = pmem.create_arena("system bus", ArenaType::VIEW)?;
    let ram = pmem.create_arena("RAM", ArenaType::RAM)?;
    let pci = pmem.create_arena("PCI", ArenaType::PCI)?;
    let (low, hole) = (AddrRange::new(0, 3 * GIB)?, AddrRange::new(3 * GIB, 4 * GIB)?);
    let device = Attrs::new(Usage::DEVREGS, Prot::RW, Props::UNCACHED | Props::PREFETCH)?;
    for (arena, range, attrs) in [(ram, low, Attrs::ram()), (pci, hole, device)] {
        pmem.prime(arena, range, attrs)?;
        pmem.connect(system, arena, Mapping::window(range, range.start())?, Metric::new(1))?;
    }
    let cpus = FakeCpus::new(4, firmware);
    let driver = Mtrr::new(cpus.clone(), system, Policy { keep_free: 1, ..Policy::default() });
    pmem.register(Box::new(driver), Subscription::new([Scope::View(system)]))?;
    writeln!(out, "taken over with {} writes", cpus.trace().len())?;

    let buffer = |range| {
        Request::exactly(range).usage(Usage::FRAMEBUF).prot(Prot::RW).props(Props::WCOMB | Props::PREFETCH)
    };
    let region = pmem.alloc(pci, &buffer(AddrRange::new(0xe000_0000, 0xe100_0000)?))?;
    for written in cpus.trace().iter().filter(|written| written.cpu == 0) {
        writeln!(out, "CPU 0: wrmsr {:#x} {:#x}", written.write.msr, written.write.value)?;
    }
    // Odd pages take a register each: more than there are.
    let refused = (0..8u64).find_map(|i| {
        let start = 0xf000_0000 + i * 0x2000;
        let page = AddrRange::new(start, start + 0x1000).ok()?;
        pmem.alloc(pci, &buffer(page)).err()
    });
    writeln!(out, "{}", refused.map_or("all granted".to_owned(), |error| error.to_string()))?;
    pmem.decref(region)?;
    let setting = cpus.settings().first().copied().ok_or("no processor")?;
    writeln!(out, "released: {:?} at 0xe0000000", setting.at(0xe000_0000))?;
    Ok(out)
}
