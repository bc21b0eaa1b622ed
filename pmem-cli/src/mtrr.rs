//! `pmem mtrr`: memory types.

use crate::args::{Args, MtrrCommand, MtrrSource, PlanOptions, UnmappedArg};
use crate::source::{open_with_mtrr, present};
use crate::{Failure, Output, Status, mtrr_apply};
use pmem_import::parse_addr;
use pmem_mtrr::MemType;
use pmem_report::mtrr::{MtrrError, MtrrState, Options, Overrides, Plan, Show, Unmapped, parse_want};
use pmem_report::{Read, text};

impl From<MtrrError> for Failure {
    fn from(error: MtrrError) -> Self {
        match error {
            MtrrError::Usage(text) => Self::Usage(text),
            MtrrError::Other(text) => Self::Other(text),
        }
    }
}

pub(crate) fn run(args: &Args, command: &MtrrCommand, out: &mut Output<'_>) -> Result<Status, Failure> {
    match command {
        MtrrCommand::Show { kernel: true, source } if *source == MtrrSource::default() => {
            mtrr_apply::show(args, out)
        }
        MtrrCommand::Show { kernel: true, .. } => Err(Failure::Usage(
            "--kernel asks the kernel module of this machine: nothing else goes with it".to_owned(),
        )),
        MtrrCommand::Show { source, .. } => show(args, source, out),
        MtrrCommand::Apply { wants, yes, force } => mtrr_apply::run(args, wants, *yes, *force, out),
        MtrrCommand::Plan { source, options } => plan(args, source, options, out),
    }
}

fn kind(option: &str, name: &str) -> Result<MemType, Failure> {
    MemType::from_name(name)
        .ok_or_else(|| Failure::Usage(format!("{option} {name}: no memory type: UC, WC, WT, WP or WB")))
}

/// Reads what the sources say about memory types, and what was read of each.
fn read(args: &Args, source: &MtrrSource) -> Result<(MtrrState, Vec<Read>), Failure> {
    let overrides = Overrides {
        bits: source.bits,
        registers: source.registers,
        default: source.present_default.as_deref().map(|name| kind("--present-default", name)).transpose()?,
        tom2: source.tom2.as_deref().map(parse_addr).transpose().map_err(Failure::Usage)?,
    };
    let (machine, facts) = open_with_mtrr(args, &source.files)?;
    // `key: value` lines are written for pmem, so a mistake in them is an error rather than something to skip.
    for heard in &machine.heard {
        if let Some(odd) = heard.odd.iter().find(|odd| odd.record == "key") {
            return Err(Failure::Other(format!("{}:{}: {}", heard.source, odd.line, odd.why)));
        }
    }
    let read: Vec<Read> = machine.heard.iter().map(Read::from).collect();
    let live = source.files.is_empty() && args.root.is_empty();
    let given = MtrrState::new(facts, overrides).map_err(|error| match error {
        MtrrError::Other(_) if live => Failure::Other(
            "this machine shows no MTRRs and no memory map: no /proc/mtrr, no /dev/cpu/*/msr".to_owned(),
        ),
        MtrrError::Other(text) => {
            // What was read explains why there is nothing.
            let read: Vec<&str> = read.iter().map(|read| read.summary.as_str()).collect();
            Failure::Other(format!("{text} ({})", read.join("; ")))
        }
        error => error.into(),
    })?;
    Ok((given, read))
}

fn show(args: &Args, source: &MtrrSource, out: &mut Output<'_>) -> Result<Status, Failure> {
    let (given, read) = read(args, source)?;
    present(args, &Show::of(&given, read)?, out, text::mtrr_show)?;
    Ok(Status::Done)
}

fn plan(
    args: &Args,
    source: &MtrrSource,
    options: &PlanOptions,
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let options = Options {
        wants: options.wants.iter().map(|text| parse_want(text)).collect::<Result<Vec<_>, _>>()?,
        keep_free: options.keep_free,
        default: options.default.as_deref().map(|name| kind("--default", name)).transpose()?,
        unmapped: match options.unmapped {
            UnmappedArg::Uc => Unmapped::Uc,
            UnmappedArg::Windows => Unmapped::Windows,
            UnmappedArg::Any => Unmapped::Any,
        },
        pins: options.pins.clone(),
    };
    let (given, read) = read(args, source)?;
    let report = Plan::of(given, &options, read)?;
    present(args, &report, out, text::mtrr_plan)?;
    Ok(if report.fits() { Status::Done } else { Status::No })
}
