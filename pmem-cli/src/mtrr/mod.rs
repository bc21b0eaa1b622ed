//! `pmem mtrr`.

mod apply;
mod demand;
mod plan;
mod show;
mod strips;

use crate::args::{Args, MtrrCommand, MtrrSource};
use crate::source::open_root;
use crate::{Failure, Status};
use pmem_import::{Entry, MtrrFacts};
use pmem_mtrr::{Cap, DefType, MemType, Setting, Width};
use std::io::Write;

pub(crate) fn run(args: &Args, command: &MtrrCommand, out: &mut dyn Write) -> Result<Status, Failure> {
    match command {
        MtrrCommand::Show { kernel: true, .. } => apply::show(args, out),
        MtrrCommand::Show { source, .. } => show::run(args, source, out),
        MtrrCommand::Apply { wants, yes, force } => apply::run(args, wants, *yes, *force, out),
        MtrrCommand::Plan { source, options } => plan::run(args, source, options, out),
    }
}

/// What the sources say, and what was taken for granted.
struct Given {
    facts: MtrrFacts,
    /// What is programmed; without it, what a processor has whose registers are all off.
    setting: Setting,
    /// Whether anything is said of what is programmed.
    programmed: bool,
    assumed: Vec<String>,
    warnings: Vec<String>,
}

fn read(args: &Args, source: &MtrrSource) -> Result<Given, Failure> {
    let mut facts = MtrrFacts::default();
    let mut warnings = Vec::new();
    if source.files.is_empty() {
        facts = MtrrFacts::read_machine(&open_root(args.root.as_deref())?, &mut warnings)?;
    }
    for file in &source.files {
        facts.add_file(file)?;
    }
    if let Some(bits) = source.bits {
        facts.width = Width::new(bits);
    }
    facts.count = source.registers.or(facts.count);
    if !facts.has_registers() && facts.memory.is_empty() && facts.wanted.is_empty() {
        return Err(Failure::Other(if source.files.is_empty() {
            "this machine shows no MTRRs: no /proc/mtrr, no /dev/cpu/*/msr".to_owned()
        } else {
            "no line is about MTRRs or a memory map".to_owned()
        }));
    }
    let mut assumed = Vec::new();
    let mut found = facts.setting(&mut assumed);
    // Registers that were read say how many there are and how wide; what is asked for counts more.
    if let (Some(setting), Some(width)) = (&mut found, source.bits.and_then(Width::new)) {
        setting.width = width;
    }
    if let (Some(setting), Some(count)) = (&mut found, source.registers) {
        setting.cap.0 = setting.cap.0 & !0xff | u64::from(count);
    }
    let setting = match found {
        Some(setting) => setting,
        None => {
            let width = facts.assumed_width(&mut assumed);
            let mut setting = Setting::new(width, Cap::new(facts.assumed_count(&mut assumed), true, true));
            assumed.push("nothing is programmed yet, and below 1 MiB the fixed ranges decide".to_owned());
            setting.def = DefType::new(MemType::Uc, true, false);
            setting
        }
    };
    let end = setting.width.end();
    let bits = setting.width.bits();
    for (n, entry) in &facts.variable {
        if *n >= setting.variable().len() {
            let count = setting.variable().len();
            return Err(Failure::Other(format!(
                "register {n} is in use, but there are only {count} registers"
            )));
        }
        if let Entry::Register(register) = entry
            && register.block.span().end > end
        {
            let block = register.block;
            return Err(Failure::Other(format!(
                "register {n}, {block}, is beyond physical addresses of {bits} bits"
            )));
        }
    }
    if let Some((span, _)) = facts.memory.iter().find(|(span, _)| span.end > end) {
        return Err(Failure::Other(format!(
            "{span} of the memory map is beyond physical addresses of {bits} bits"
        )));
    }
    let warnings = warnings.iter().map(ToString::to_string).collect();
    Ok(Given { facts, setting, programmed: found.is_some(), assumed, warnings })
}
