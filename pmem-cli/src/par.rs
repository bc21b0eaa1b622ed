//! `pmem par`: reads a file with the map of an Élan SC520, and plans its registers.

use crate::args::{Args, ParCommand};
use crate::source::write;
use crate::{Failure, Output, Status, file};
use pmem_drivers::par::{Attributes, Map, REGISTERS, Target, Value};
use pmem_import::{parse_range, parse_size};
use pmem_report::par::ParPlan;
use pmem_report::text;

pub(crate) fn par(args: &Args, command: &ParCommand, out: &mut Output<'_>) -> Result<Status, Failure> {
    let ParCommand::Plan { file: path } = command;
    let bytes = file::read(path)?;
    let text = String::from_utf8_lossy(&bytes);
    let (map, held) =
        wanted(&text).map_err(|(line, why)| Failure::Other(format!("{}:{line}: {why}", path.display())))?;
    let report = ParPlan::of(&map, &held);
    write(args, &report, out, text::par_plan)?;
    Ok(match (report.verdict.as_str(), report.is_least) {
        ("fits", _) => Status::Done,
        (_, true) => Status::No,
        (_, false) => Status::NotProven,
    })
}

/// Parses the file into the map and what the registers hold. Without ranges and ports, the map is what the registers
/// make of it. An error comes with its line number.
fn wanted(text: &str) -> Result<(Map, [u32; REGISTERS]), (usize, String)> {
    let (mut sdram, mut held, mut parts) = (None, [0; REGISTERS], Vec::new());
    for (line, text) in (1..).zip(text.lines()) {
        let fails = |why: String| (line, why);
        let text = text.split('#').next().unwrap_or_default();
        if let Some((number, bits)) = register(text) {
            *held.get_mut(number).ok_or_else(|| fails(format!("PAR{number}: there are {REGISTERS}")))? = bits;
            continue;
        }
        let words: Vec<&str> = text.split_whitespace().collect();
        match words[..] {
            [] => {}
            ["sdram", size] => {
                let size = parse_size(size)
                    .and_then(|size| u32::try_from(size).ok())
                    .filter(|size| *size <= 256 << 20);
                sdram =
                    Some(size.ok_or_else(|| fails("the SC520 takes at most 256 MiB of SDRAM".to_owned()))?);
            }
            ["port", at, target] => parts.push((line, port(at, target).map_err(fails)?)),
            [at, target] => parts.push((line, part(at, target, "").map_err(fails)?)),
            [at, target, attributes] => parts.push((line, part(at, target, attributes).map_err(fails)?)),
            _ => {
                let why = "expected `sdram SIZE`, `START-END TARGET [ATTRIBUTES]`, `port START-END gpioN`, or `PAR[N] BITS`";
                return Err(fails(why.to_owned()));
            }
        }
    }
    let sdram = sdram.ok_or((1, "it does not say how much SDRAM there is: `sdram 16M`".to_owned()))?;
    if parts.is_empty() {
        return Ok((Map::of(sdram, &held.map(pmem_drivers::par::Register::decode)), held));
    }
    let mut map = Map::new(sdram);
    for (line, (first, last, value)) in parts {
        map.set(first, last, value).map_err(|error| (line, error.to_string()))?;
    }
    Ok((map, held))
}

/// Parses a register as kernels print it: NetBSD's `elansc0: PAR[3] 8a3ffc00 …`, or `PAR3 0x8a3ffc00`.
fn register(text: &str) -> Option<(usize, u32)> {
    let (_, rest) = text.split_once("PAR")?;
    let mut words = rest.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty());
    let number = words.next()?.parse().ok()?;
    let bits = words.next()?;
    Some((number, u32::from_str_radix(bits.trim_start_matches("0x"), 16).ok()?))
}

/// Parses a range of ports. As in kernels' lists, the last one is included.
fn port(at: &str, target: &str) -> Result<(u32, u32, Value), String> {
    let ports = at.split_once('-').unwrap_or((at, at));
    let number = |text: &str| {
        let port = pmem_import::parse_addr(text)?;
        u32::try_from(port).map_err(|_| format!("{text}: there is no such port"))
    };
    let target = Target::named(target).filter(|target| matches!(target, Target::GpIo(_)));
    let target = target.ok_or("ports go to the general-purpose bus alone: gpio0 to gpio7")?;
    Ok((number(ports.0)?, number(ports.1)?, Value::memory(target, Attributes::empty())))
}

fn part(at: &str, target: &str, attributes: &str) -> Result<(u32, u32, Value), String> {
    let (first, last) = parse_range(at)?;
    let word =
        |addr: u64| u32::try_from(addr).map_err(|_| format!("{addr:#x}: registers reach no more than 1 GiB"));
    let target = Target::named(target).ok_or_else(|| {
        format!("{target}: no target; there are sdram, bootcs, romcs1, romcs2, pci, gpmem0 to gpmem7, gpio0 to gpio7")
    })?;
    let mut all = Attributes::empty();
    for name in attributes.split(',').filter(|name| !name.is_empty()) {
        all |= match name {
            "no-write" => Attributes::NO_WRITE,
            "no-cache" => Attributes::NO_CACHE,
            "no-execute" => Attributes::NO_EXECUTE,
            other => return Err(format!("{other}: no attribute; there are no-write, no-cache, no-execute")),
        };
    }
    Ok((word(first)?, word(last)?, Value { target, attributes: all }))
}

#[cfg(test)]
mod tests {
    use super::register;

    #[test]
    fn registers_are_read_as_kernels_print_them() {
        assert_eq!(register("elansc0: PAR[3] 8a3ffc00 tgt bootcs attr 2"), Some((3, 0x8a3f_fc00)));
        assert_eq!(register("PAR12 0xe3ffc000"), Some((12, 0xe3ff_c000)));
        assert_eq!(register("# PARs of the board"), None);
        assert_eq!(register("0x0-0xfff sdram"), None);
    }
}
