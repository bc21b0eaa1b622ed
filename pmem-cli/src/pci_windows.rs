//! `pmem pci windows`: changes bridge windows through the kernel module.

use crate::args::Args;
use crate::{Failure, Output, SCHEMA, Status};
use pmem_arena::{DEVICE, Device, Window, status, window};
use pmem_import::{Address, parse_range};
use serde_json::json;
use std::io::Write;

/// Parses `0xfd200000-0xfd3fffff` or `closed`.
fn range(text: &str) -> Option<Option<(u64, u64)>> {
    if text == "closed" {
        return Some(None);
    }
    parse_range(text).ok().map(Some)
}

/// Parses `0000:02:01.0:pref=0xfd200000-0xfd3fffff,closed`.
fn change(text: &str) -> Option<Window> {
    let (which, ranges) = text.split_once('=')?;
    let (address, kind) = which.rsplit_once(':')?;
    let address: Address = address.parse().ok()?;
    let kind = match kind {
        "io" => window::IO,
        "mem" => window::MEM,
        "pref" => window::PREF,
        _ => return None,
    };
    let (old, new) = ranges.split_once(',')?;
    let function = u16::from(address.bus) << 8 | u16::from(address.device) << 3 | u16::from(address.function);
    Some(Window::new(address.segment, function, kind, range(old)?, range(new)?))
}

/// Returns what helps against a refusal.
fn helps(refusal: u32) -> &'static str {
    match refusal {
        status::CHANGED => "; ask pmem pci doctor again",
        status::DIFFERS => "; what was changed was put back",
        _ => "",
    }
}

pub(crate) fn run(args: &Args, changes: &[String], out: &mut Output<'_>) -> Result<Status, Failure> {
    let wrong = |text: &String| {
        Failure::Usage(format!(
            "{text}: expected a form such as 0000:02:01.0:pref=0xfd200000..0xfd400000,closed, or io or mem in place of pref"
        ))
    };
    let windows =
        changes.iter().map(|text| change(text).ok_or_else(|| wrong(text))).collect::<Result<Vec<_>, _>>()?;
    let device = Device::open().map_err(|error| {
        Failure::Other(format!("{DEVICE}: {error} (is the module pmem_arena loaded? see kmod/README.md)"))
    })?;
    device.windows(&windows).map_err(|refusal| {
        let which = changes.get(refusal.index).map_or("?", String::as_str);
        Failure::Other(format!("{which}: {}{}", refusal.refused, helps(refusal.status)))
    })?;
    if args.json {
        writeln!(out, "{}", json!({ "schema": SCHEMA, "changed": changes }))?;
    } else {
        changes.iter().try_for_each(|text| writeln!(out, "changed {text}"))?;
    }
    Ok(Status::Done)
}
