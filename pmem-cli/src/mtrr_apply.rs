//! `pmem mtrr apply`, and `pmem mtrr show --kernel`: through the kernel module.

use crate::args::Args;
use crate::{Failure, SCHEMA, Status};
use pmem_arena::{DEVICE, Device, FORCE, MINE, Region};
use pmem_core::{ArenaType, Props, Prot, Usage};
use pmem_mtrr::MemType;
use pmem_report::mtrr::parse_want;
use serde_json::json;
use std::io::Write;

fn open() -> Result<Device, Failure> {
    Device::open().map_err(|error| {
        Failure::Other(format!("{DEVICE}: {error} (is the module pmem_arena loaded? see kmod/README.md)"))
    })
}

/// A claim for a span and a type.
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

pub(crate) fn run(
    args: &Args,
    wants: &[String],
    yes: bool,
    force: bool,
    out: &mut dyn Write,
) -> Result<Status, Failure> {
    let claims = wants.iter().map(|text| claim(text, force)).collect::<Result<Vec<_>, _>>()?;
    let device = open()?;
    let mut done = Vec::new();
    let mut refused = false;
    for (text, mut region) in wants.iter().zip(claims) {
        let result = if yes { device.alloc(&mut region) } else { device.plan(&mut region) };
        let word = match &result {
            Ok(()) if yes => "held".to_owned(),
            Ok(()) => "would be granted, by itself".to_owned(),
            Err(error) => error.to_string(),
        };
        refused |= result.is_err();
        if !args.json {
            writeln!(out, "{text}: {word}")?;
        }
        done.push(json!({
            "want": text, "granted": result.is_ok(), "why": word,
            "needed": region.needed, "available": region.available,
        }));
        if refused {
            break;
        }
    }
    if args.json {
        writeln!(out, "{:#}", json!({ "schema": SCHEMA, "applied": yes, "claims": done }))?;
    }
    if refused {
        // What was granted before goes with the device.
        return Ok(Status::No);
    }
    if yes {
        if !args.json {
            writeln!(out, "Held until this ends.")?;
        }
        out.flush()?;
        loop {
            std::thread::park();
        }
    }
    if !args.json {
        writeln!(out, "Nothing was done: --yes does it.")?;
    }
    Ok(Status::Done)
}

pub(crate) fn show(args: &Args, out: &mut dyn Write) -> Result<Status, Failure> {
    let device = open()?;
    let other = |error: std::io::Error| Failure::Other(format!("{DEVICE}: {error}"));
    let (spans, regions) = (device.spans().map_err(other)?, device.regions().map_err(other)?);
    let info = device.info().map_err(other)?;
    if !args.json {
        write!(out, "{}", device.dump().map_err(other)?)?;
        for span in &spans {
            writeln!(out, "arena {} {:#x}-{:#x}", span.name(), span.start, u128::from(span.last) + 1)?;
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
        })
    };
    let value = json!({
        "schema": SCHEMA,
        "bits": info.width,
        "available": info.variable,
        "cpus": info.cpus,
        "arenas": spans.iter().map(span).collect::<Vec<_>>(),
        "regions": regions.iter().map(region).collect::<Vec<_>>(),
    });
    writeln!(out, "{value:#}")?;
    Ok(Status::Done)
}
