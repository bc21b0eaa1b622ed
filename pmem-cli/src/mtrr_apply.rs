//! `pmem mtrr apply` and `pmem mtrr show --kernel`, which use the kernel module.

use crate::args::Args;
use crate::mtrr_need::instead;
use crate::{Failure, Output, SCHEMA, Status};
use pmem_arena::{DEVICE, Device, FORCE, MINE, Refused, Region, state, status};
use pmem_core::{ArenaType, Props, Prot, Usage};
use pmem_mtrr::MemType;
use pmem_report::mtrr::parse_want;
use serde_json::json;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

fn open() -> Result<Device, Failure> {
    Device::open().map_err(|error| {
        Failure::Other(format!("{DEVICE}: {error} (is the module pmem_arena loaded? see kmod/README.md)"))
    })
}

/// Makes the claim for a range and type.
fn claim(text: &str, force: bool) -> Result<Region, Failure> {
    let want = parse_want(text)?;
    let mut kinds = want.allowed.iter();
    let (Some(kind), None) = (kinds.next(), kinds.next()) else {
        return Err(Failure::Usage(format!("--want {text}: one type is to be programmed")));
    };
    let (props, prot) = match kind {
        MemType::Uc => (Props::UNCACHED, Prot::RW),
        MemType::Wc => (Props::WCOMB, Prot::RW),
        MemType::Wt => (Props::WTHRU, Prot::RW),
        MemType::Wb => (Props::WBACK, Prot::RW),
        MemType::Wp => (Props::WBACK, Prot::READ),
    };
    let number = |bits: u8| u32::from(bits);
    let usage = number(Usage::FRAMEBUF.bits());
    let last = want.span.end - 1;
    let mut region = Region::new(want.span.start, last, usage, number(prot.bits()), number(props.bits()));
    region.flags = if force { FORCE } else { 0 };
    Ok(region)
}

/// Tells what makes a claim unnecessary; `None` if nothing does.
fn need(claim: &Region) -> Option<String> {
    let is_wc = claim.props == u32::from(Props::WCOMB.bits());
    is_wc.then(|| instead(Path::new("/"), &(claim.start..=claim.last)))?
}

/// Explains why a claim was refused, and what helps.
fn words(region: &Region, refused: &Refused) -> String {
    let helps = match region.status {
        status::FULL => "ask for a larger block, aligned to its size, or free registers",
        status::NOT_ALLOWED => "--force claims it all the same",
        status::BUSY if region.why().starts_with("driver") => "unbind it, or --force",
        status::BUSY => "`pmem mtrr show --kernel` lists who holds what",
        status::CHANGED | status::PENDING => "try again",
        status::DIFFERS => "dmesg has every register that was refused",
        _ => return refused.to_string(),
    };
    format!("{refused}; {helps}")
}

pub(crate) fn run(
    args: &Args,
    wants: &[String],
    yes: bool,
    force: bool,
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let claims = wants.iter().map(|text| claim(text, force)).collect::<Result<Vec<_>, _>>()?;
    let instead: Vec<Option<String>> = claims.iter().map(need).collect();
    if !args.json {
        for (text, said) in wants.iter().zip(&instead) {
            if let Some(said) = said {
                writeln!(out, "{text}: {said} (docs/mtrr.md)")?;
            }
        }
        out.flush()?;
    }
    let device = open()?;
    let mut done = Vec::new();
    let mut refused = false;
    for ((text, mut region), instead) in wants.iter().zip(claims).zip(instead) {
        let result = if yes { device.alloc(&mut region) } else { device.plan(&mut region) };
        let word = match &result {
            Ok(()) if yes => "held".to_owned(),
            Ok(()) => "would be granted, by itself".to_owned(),
            Err(error) => words(&region, error),
        };
        refused |= result.is_err();
        if !args.json {
            writeln!(out, "{text}: {word}")?;
        }
        done.push(json!({
            "want": text, "granted": result.is_ok(), "why": word,
            "needed": region.needed, "available": region.available, "instead": instead,
        }));
        if refused {
            break;
        }
    }
    if args.json {
        writeln!(out, "{:#}", json!({ "schema": SCHEMA, "applied": yes, "claims": done }))?;
    }
    if refused {
        // Earlier claims are released when the device is closed.
        return Ok(Status::No);
    }
    if yes {
        if !args.json {
            writeln!(out, "Held until this ends.")?;
        }
        out.flush()?;
        return hold(&device, out);
    }
    if !args.json {
        writeln!(out, "Nothing was changed. Add --yes to claim.")?;
    }
    Ok(Status::Done)
}

/// Holds the claims until the command is interrupted, or until all of them have ended with their devices.
fn hold(device: &Device, out: &mut Output<'_>) -> Result<Status, Failure> {
    let other = |error: std::io::Error| Failure::Other(format!("{DEVICE}: {error}"));
    loop {
        if !device.wait(Duration::from_secs(3600)).map_err(other)? {
            continue;
        }
        let mine = device.regions().map_err(other)?.into_iter().filter(|claim| claim.flags & MINE != 0);
        let (held, ended): (Vec<Region>, Vec<Region>) = mine.partition(|claim| claim.state == state::HELD);
        for mut claim in ended {
            let range = format!("{:#x}..{:#x}", claim.start, u128::from(claim.last) + 1);
            writeln!(out, "{range}: ended, as {}", fate(claim.state))?;
            claim.flags = 0;
            // It is released already, or will be.
            drop(device.release(&mut claim));
        }
        out.flush()?;
        if held.is_empty() {
            return Ok(Status::No);
        }
    }
}

/// Tells why a claim ended.
const fn fate(what: u32) -> &'static str {
    match what {
        state::BOUND => "a driver was bound to the device",
        state::REMOVED => "the device was removed",
        state::MOVED => "its BAR has moved",
        _ => "it was given back",
    }
}

pub(crate) fn show(args: &Args, out: &mut Output<'_>) -> Result<Status, Failure> {
    let device = open()?;
    let other = |error: std::io::Error| Failure::Other(format!("{DEVICE}: {error}"));
    let (spans, regions) = (device.spans().map_err(other)?, device.regions().map_err(other)?);
    let info = device.info().map_err(other)?;
    if !args.json {
        write!(out, "{}", device.dump().map_err(other)?)?;
        if info.differ > 0 {
            let (cpu, msr, has, boot) = (info.differ_cpu, info.differ_msr, info.differ_has, info.differ_boot);
            writeln!(
                out,
                "processor {cpu} holds {has:#x} in register {msr:#x}, the boot processor {boot:#x}"
            )?;
        }
        if info.pending > 0 {
            writeln!(out, "{} claims are given back, and their registers not written yet", info.pending)?;
        }
        for span in &spans {
            writeln!(out, "arena {} {:#x}..{:#x}", span.name(), span.start, u128::from(span.last) + 1)?;
        }
        return Ok(Status::Done);
    }
    let span = |span: &pmem_arena::Span| {
        let kind = u16::try_from(span.r#type).ok().and_then(ArenaType::from_bits);
        json!({
            "arena": span.name(),
            "type": kind.map(|kind| kind.words().to_string()),
            "start": format!("{:#x}", span.start),
            "end": format!("{:#x}", u128::from(span.last) + 1),
        })
    };
    let region = |region: &Region| {
        json!({
            "start": format!("{:#x}", region.start),
            "end": format!("{:#x}", u128::from(region.last) + 1),
            "mine": region.flags & MINE != 0,
            "forced": region.flags & FORCE != 0,
            "holder": region.holder,
            "ended": (region.state != state::HELD).then(|| fate(region.state)),
        })
    };
    let value = json!({
        "schema": SCHEMA,
        "bits": info.width,
        "available": info.variable,
        "cpus": info.cpus,
        "pending": info.pending,
        "mended": info.mended,
        "differs": (info.differ > 0).then(|| json!({
            "cpus": info.differ, "cpu": info.differ_cpu, "register": format!("{:#x}", info.differ_msr),
            "has": format!("{:#x}", info.differ_has), "boot": format!("{:#x}", info.differ_boot),
        })),
        "arenas": spans.iter().map(span).collect::<Vec<_>>(),
        "regions": regions.iter().map(region).collect::<Vec<_>>(),
    });
    writeln!(out, "{value:#}")?;
    Ok(Status::Done)
}
