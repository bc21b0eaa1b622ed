//! `pmem pci`.

use crate::args::{Args, PciCommand, PciWish};
use crate::source::{open, write};
use crate::{Failure, Status};
use pmem_import::{Address, Machine, parse_addr};
use pmem_pci::Budget;
use pmem_pci::linux::Rules;
use pmem_pci::plan::{Verdict, plan};
use pmem_report::pci::{Ask, GoalError, PciHierarchy, PciLint, PlacementPlan, Wish, parse_size};
use pmem_report::{Read, Warning, text};
use std::io::Write;
use std::time::{Duration, Instant};

/// How long is searched at most.
const PATIENCE: Duration = Duration::from_secs(20);
const STEPS: u64 = 50_000_000;

impl From<GoalError> for Failure {
    fn from(error: GoalError) -> Self {
        match error {
            GoalError::Usage(text) => Self::Usage(text),
            GoalError::Unknown(text) => Self::Other(text),
        }
    }
}

pub(crate) fn run(args: &Args, command: &PciCommand, out: &mut dyn Write) -> Result<Status, Failure> {
    match command {
        PciCommand::Tree { sources } => {
            let machine = open(args, sources)?;
            let (read, warnings) = said(&machine);
            write(args, &PciHierarchy::of(&machine.pci, read, warnings), out, text::pci_tree)?;
            Ok(Status::Done)
        }
        PciCommand::Lint { sources } => {
            let machine = open(args, sources)?;
            let (read, warnings) = said(&machine);
            let report = PciLint::of(&machine.pci, read, warnings);
            write(args, &report, out, text::pci_lint)?;
            Ok(if report.wrong.is_empty() { Status::Done } else { Status::Failed })
        }
        PciCommand::Plan { sources, wish, at, kernel, avoid, pin, quiesce } => {
            let ask = Ask {
                wishes: wishes(wish, at.as_deref())?,
                avoid: avoid.iter().map(|text| range(text)).collect::<Result<_, _>>()?,
                pinned: pin.iter().map(|text| address("--pin", text)).collect::<Result<_, _>>()?,
                quiesced: quiesce.iter().map(|text| address("--quiesce", text)).collect::<Result<_, _>>()?,
            };
            let machine = open(args, sources)?;
            let goal = ask.goal(&machine.pci)?;
            let begun = Instant::now();
            let stop = || begun.elapsed() > PATIENCE;
            let verdict = plan(&goal, &mut Budget::until(STEPS, &stop));
            let (read, warnings) = said(&machine);
            let mut report = PlacementPlan::of(&machine.pci, &goal, &verdict, read, warnings);
            let version = kernel.as_ref().or(machine.kernel.as_ref());
            let rules = version.and_then(|version| Rules::parse(version));
            if kernel.is_some() && rules.is_none() {
                let text = kernel.as_deref().unwrap_or_default();
                return Err(Failure::Usage(format!("--kernel {text}: no version: 6.12 is wanted")));
            }
            if let (Some(rules), Some(version), Some(event)) = (rules, version, ask.event(&goal)) {
                report = report.with_linux(&machine.pci, &goal, version, &rules, event);
            }
            write(args, &report, out, text::pci_plan)?;
            Ok(match verdict {
                Verdict::Fits(_) | Verdict::FitsWithQuiesce(_) => Status::Done,
                Verdict::No(_) => Status::No,
                Verdict::NotProven(_) => Status::NotProven,
            })
        }
    }
}

/// What was read, and what is odd.
fn said(machine: &Machine) -> (Vec<Read>, Vec<Warning>) {
    (machine.heard.iter().map(Read::from).collect(), machine.findings.iter().map(Warning::from).collect())
}

fn address(option: &str, text: &str) -> Result<Address, Failure> {
    text.parse()
        .map_err(|_| Failure::Usage(format!("{option} {text}: no PCI function: 0000:04:00.0 is wanted")))
}

/// `START-END`, the end not among them.
fn range(text: &str) -> Result<(u64, u64), Failure> {
    let wrong =
        || Failure::Usage(format!("--avoid {text}: START-END is wanted, such as 0x4000000000-0x8000000000"));
    let (start, end) = text.split_once("..").or_else(|| text.split_once('-')).ok_or_else(wrong)?;
    let (start, end) = (parse_addr(start).map_err(Failure::Usage)?, parse_addr(end).map_err(Failure::Usage)?);
    // What ends in ones is how Linux prints the last address.
    let last = if end & 0xfff == 0xfff { end } else { end.checked_sub(1).ok_or_else(wrong)? };
    if start <= last { Ok((start, last)) } else { Err(wrong()) }
}

fn wishes(wish: &PciWish, at: Option<&str>) -> Result<Vec<Wish>, Failure> {
    let mut out = Vec::new();
    if let (Some(card), Some(at)) = (&wish.add, at) {
        out.push(Wish::Add { card: card.clone(), at: address("--at", at)? });
    }
    for text in &wish.resize {
        let wrong = || Failure::Usage(format!("--resize {text}: 0000:04:00.0:bar1=32G is wanted"));
        let (what, size) = text.split_once('=').ok_or_else(wrong)?;
        let (function, bar) = what.rsplit_once(':').ok_or_else(wrong)?;
        let bar = bar.strip_prefix("bar").unwrap_or(bar).parse().ok().filter(|n| *n < 6).ok_or_else(wrong)?;
        let size = parse_size(size).ok_or_else(wrong)?;
        out.push(Wish::Resize { function: address("--resize", function)?, bar, size });
    }
    for text in &wish.vfs {
        let wrong = || Failure::Usage(format!("--vfs {text}: 0000:04:00.0=8 is wanted"));
        let (function, count) = text.split_once('=').ok_or_else(wrong)?;
        let count = count.parse().ok().filter(|n| (1..=0xffff).contains(n)).ok_or_else(wrong)?;
        out.push(Wish::Vfs { function: address("--vfs", function)?, count });
    }
    if wish.all_failed {
        out.push(Wish::AllFailed);
    }
    Ok(out)
}
