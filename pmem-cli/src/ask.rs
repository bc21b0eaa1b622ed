//! The commands that ask a question: each reads the machine, makes a report, and writes it.

use crate::args::{Args, Form, IommuCommand, RamCommand};
use crate::source::{open, open_texts, present, read, viewer, write};
use crate::{Failure, Output, Status, file};
use pmem_core::{AddrRange, ArenaId};
use pmem_import::plug::plugs;
use pmem_import::refused::refusals;
use pmem_import::{Address, Iommu, Machine, PciIds, ResourceKind, parse_addr, parse_range};
use pmem_report::bad::BadRam;
use pmem_report::emit;
use pmem_report::iommu::{IommuRefused, IommuShow, IommuWhy};
use pmem_report::plug::PlugReport;
use pmem_report::text;
use pmem_report::{Diff, MemoryReport, Resolve, Resolved, Topo, View};
use std::io::Write;
use std::path::{Path, PathBuf};

pub(crate) fn emit(
    args: &Args,
    form: Form,
    sources: &[PathBuf],
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let machine = open(args, sources)?;
    let topo = Topo::of(&machine, &PciIds::of_system());
    let text = match form {
        Form::E820 => emit::e820(&machine),
        Form::LinuxMemmap => emit::memmap(&machine),
        Form::Dts => emit::dts(&topo, &machine),
        Form::Qemu => emit::qemu(&topo, &machine),
        Form::HwlocXml => emit::hwloc_xml(&topo),
        Form::Json => Ok(format!("{:#}\n", pmem_report::json(&topo))),
    };
    out.write_all(text.map_err(|error| Failure::Other(error.to_string()))?.as_bytes())?;
    Ok(Status::Done)
}

pub(crate) fn ram(args: &Args, command: &RamCommand, out: &mut Output<'_>) -> Result<Status, Failure> {
    match command {
        RamCommand::Show { sources } => {
            let machine = open(args, sources)?;
            present(args, &MemoryReport::of(&machine), out, text::memory)?;
            Ok(Status::Done)
        }
        RamCommand::Plug { sources } => {
            let report = PlugReport::of(&plugs(&texts(sources)?));
            write(args, &report, out, text::plug)?;
            Ok(if report.notes.is_empty() { Status::No } else { Status::Done })
        }
        RamCommand::Bad { sources } => {
            let report = BadRam::of(&texts(sources)?);
            write(args, &report, out, text::bad_ram)?;
            Ok(if report.count == 0 && report.given.is_empty() { Status::No } else { Status::Done })
        }
    }
}

pub(crate) fn iommu(args: &Args, command: &IommuCommand, out: &mut Output<'_>) -> Result<Status, Failure> {
    match command {
        IommuCommand::Show { sources } => {
            let machine = open(args, sources)?;
            present(args, &IommuShow::of(&machine), out, text::iommu_show)?;
            Ok(Status::Done)
        }
        IommuCommand::Why { words } => {
            let paths = |words: &[String]| words.iter().map(PathBuf::from).collect::<Vec<_>>();
            let (Ok(address), Some(range)) = (words[0].parse::<Address>(), words.get(1)) else {
                return why_refused(args, &paths(words), out);
            };
            let (first, last) = parse_range(range).map_err(Failure::Usage)?;
            let range =
                AddrRange::inclusive(first, last).map_err(|error| Failure::Usage(error.to_string()))?;
            let machine = open(args, &paths(&words[2..]))?;
            let report = IommuWhy::of(&machine, address, range);
            write(args, &report, out, text::iommu_why)?;
            Ok(if report.verdict == "refused" { Status::No } else { Status::Done })
        }
    }
}

/// Reads texts as one, so that line numbers continue from one to the next.
fn texts(sources: &[PathBuf]) -> Result<Vec<u8>, Failure> {
    let mut all = Vec::new();
    for source in sources {
        if all.last().is_some_and(|last| *last != b'\n') {
            all.push(b'\n');
        }
        all.extend(file::read(source)?);
    }
    Ok(all)
}

/// Explains what texts say was refused.
fn why_refused(args: &Args, sources: &[PathBuf], out: &mut Output<'_>) -> Result<Status, Failure> {
    for source in sources {
        if !looks_like_source(&source.to_string_lossy()) {
            let name = source.display();
            return Err(Failure::Usage(format!(
                "{name}: expected a text, or a function and a range, such as 0000:3b:00.0 0x0+0x1000"
            )));
        }
    }
    let mut sources = open_texts(args, sources)?;
    let all: Vec<_> = sources.texts.iter().flat_map(|text| refusals(&text.bytes)).collect();
    // A text with refusals is enough, even if it says nothing else about the machine.
    let iommu = match read(&mut sources) {
        Ok(machine) => machine.iommu,
        Err(_) if !all.is_empty() => Iommu::default(),
        Err(error) => return Err(error),
    };
    let report = IommuRefused::of(&iommu, &all);
    write(args, &report, out, text::iommu_refused)?;
    Ok(if report.refusals.is_empty() { Status::No } else { Status::Done })
}

pub(crate) fn view(
    args: &Args,
    words: &[String],
    local: bool,
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let (from, sources) = split_viewers(words, 1);
    let mut machine = open(args, &sources)?;
    let from = viewer(&mut machine, from.first().map(String::as_str))?;
    let report = if local { View::local(&machine, from) } else { View::of(&machine, from) };
    present(args, &report, out, text::view)?;
    Ok(Status::Done)
}

pub(crate) fn diff(
    args: &Args,
    left: &str,
    right: &str,
    sources: &[PathBuf],
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    let mut machine = open(args, sources)?;
    let (l, r) = (viewer(&mut machine, Some(left))?, viewer(&mut machine, Some(right))?);
    let report = Diff::of(&machine, l, r);
    present(args, &report, out, |report, styles, out| text::diff(report, left, right, styles, out))?;
    Ok(match (report.differences.is_empty(), report.unknown.is_empty()) {
        (true, true) => Status::Done,
        (_, false) => Status::NotProven,
        (false, true) => Status::Failed,
    })
}

/// Whether a word is a source: standard input, a path, or an existing file. The slash of `system I/O` makes no path.
fn looks_like_source(word: &str) -> bool {
    word == "-" || word.replace("I/O", "").contains('/') || Path::new(word).exists()
}

/// Splits words into up to `most` viewers and the sources. An existing file is a source, unless its name can only mean
/// a viewer.
fn split_viewers(words: &[String], most: usize) -> (Vec<String>, Vec<PathBuf>) {
    let mut viewers = Vec::new();
    let mut sources = Vec::new();
    for word in words {
        let is_viewer = word.parse::<Address>().is_ok() || word == "cpu" || word == "system";
        let is_source = looks_like_source(word);
        if viewers.len() < most && (is_viewer || !is_source) {
            viewers.push(word.clone());
        } else {
            sources.push(PathBuf::from(word));
        }
    }
    (viewers, sources)
}

pub(crate) fn resolve(
    args: &Args,
    from: Option<&str>,
    words: &[String],
    out: &mut Output<'_>,
) -> Result<Status, Failure> {
    // A word that is no address but names a file is a source.
    let is_source = |word: &&String| Target::parse(word).is_err() && looks_like_source(word);
    let (sources, targets): (Vec<&String>, Vec<&String>) = words.iter().partition(|word| is_source(word));
    let targets = targets.into_iter().map(|word| Target::parse(word)).collect::<Result<Vec<_>, Failure>>()?;
    let targets = targets.concat();
    if targets.is_empty() {
        return Err(Failure::Usage(
            "no address: 0xfee00000, 4096, io:0x3f8, or 0000:3b:00.0:bar2".to_owned(),
        ));
    }
    let sources: Vec<PathBuf> = sources.into_iter().map(PathBuf::from).collect();
    let mut machine = open(args, &sources)?;
    let function = from.and_then(|word| word.parse::<Address>().ok());
    let from = viewer(&mut machine, from)?;
    let answers = targets
        .iter()
        .map(|target| target.answer(&machine, from, function))
        .collect::<Result<Vec<_>, _>>()?;
    let report = Resolve::new(&machine, answers);
    present(args, &report, out, text::resolve)?;
    Ok(if report.all_found() { Status::Done } else { Status::No })
}

/// What an address argument asks for.
#[derive(Clone)]
enum Target {
    Memory(u64),
    Port(u64),
    /// An address inside a CXL device (DPA).
    Device(String, u64),
    Resource(Address, ResourceKind),
}

impl Target {
    /// Parses an address argument. A range stands for its first and its last address.
    fn parse(word: &str) -> Result<Vec<Self>, Failure> {
        if word.contains("..") || word.starts_with('[') {
            return parse_range(word).map_err(Failure::Usage).map(Self::ends);
        }
        Self::one(word)
            .map(|target| vec![target])
            .or_else(|why| parse_range(word).map(Self::ends).map_err(|_| why))
    }

    fn ends((first, last): (u64, u64)) -> Vec<Self> {
        let mut ends = vec![Self::Memory(first)];
        ends.extend((last != first).then_some(Self::Memory(last)));
        ends
    }

    fn one(word: &str) -> Result<Self, Failure> {
        if let Some(port) = word.strip_prefix("io:") {
            return parse_addr(port).map(Self::Port).map_err(Failure::Usage);
        }
        if let Some((device, own)) = word.split_once(':').filter(|(device, _)| {
            device.strip_prefix("mem").is_some_and(|number| number.parse::<u32>().is_ok())
        }) {
            let own = parse_addr(own).map_err(Failure::Usage)?;
            return Ok(Self::Device(device.to_owned(), own));
        }
        let Some((function, resource)) = word.rsplit_once(':').filter(|(f, _)| f.contains('.')) else {
            return parse_addr(word).map(Self::Memory).map_err(Failure::Usage);
        };
        let function: Address =
            function.parse().map_err(|error| Failure::Usage(format!("{function:?}: {error}")))?;
        let unknown = || Failure::Usage(format!("{resource:?} is neither bar0 to bar5, rom, nor vf0 to vf5"));
        let number = |prefix: &str| {
            resource.to_ascii_lowercase().strip_prefix(prefix)?.parse::<u8>().ok().filter(|n| *n < 6)
        };
        let kind = match (number("bar"), number("vf"), resource.eq_ignore_ascii_case("rom")) {
            (Some(bar), ..) => ResourceKind::Bar(bar),
            (_, Some(bar), _) => ResourceKind::VfBar(bar),
            (.., true) => ResourceKind::Rom,
            _ => return Err(unknown()),
        };
        Ok(Self::Resource(function, kind))
    }

    fn answer(
        &self,
        machine: &Machine,
        from: ArenaId,
        function: Option<Address>,
    ) -> Result<Resolved, Failure> {
        match self {
            Self::Memory(addr) => Ok(Resolved::asked_by(machine, from, function, *addr)),
            Self::Device(device, own) => {
                let at = machine
                    .cxl
                    .back(device, *own)
                    .ok_or_else(|| Failure::Other(format!("no source says where {own:#x} of {device} is")))?;
                Ok(Resolved::new(machine, from, at))
            }
            Self::Port(port) => {
                let io = io_of(machine, from)
                    .ok_or_else(|| Failure::Other("no source says anything about I/O ports".to_owned()))?;
                Ok(Resolved::new(machine, io, *port))
            }
            Self::Resource(function, kind) => resource(machine, from, *function, *kind),
        }
    }
}

/// Returns the I/O space that belongs to a view of memory.
fn io_of(machine: &Machine, from: ArenaId) -> Option<ArenaId> {
    if machine.is_io(from) {
        return Some(from);
    }
    let bus = machine.buses.values().find(|bus| bus.memory == from);
    bus.map(|bus| bus.io).or(machine.system_io)
}

/// Resolves a function's BAR: at the address where `from` sees it, otherwise at its address on its own bus. I/O BARs
/// are resolved in I/O space.
fn resource(
    machine: &Machine,
    from: ArenaId,
    function: Address,
    kind: ResourceKind,
) -> Result<Resolved, Failure> {
    if machine.function(function).is_none() {
        return Err(Failure::Usage(machine.no_function(function)));
    }
    if let Some(answer) = pmem_report::unplaced(machine, from, function, kind) {
        return Ok(answer);
    }
    let bars = machine.bars.get(&function).map_or(&[][..], |bars| &bars[..]);
    let Some((_, region)) = bars.iter().find(|(k, _)| *k == kind) else {
        return Err(Failure::Other(format!("{function} has no {kind}, or it is not assigned")));
    };
    let placement = machine.manager.placement(*region).map_err(|e| Failure::Other(e.to_string()))?;
    let range = machine.manager.range(*region).map_err(|e| Failure::Other(e.to_string()))?;
    let from =
        if machine.is_io(placement.arena) { io_of(machine, from).unwrap_or(placement.arena) } else { from };
    let seen = machine.state().reverse(placement.arena, range);
    let seen = seen.iter().find(|image| image.viewer == from).map(|image| image.seen.start());
    // A bus address means something else in another arena, so ask the bus's own arena.
    let (viewer, addr) = seen.map_or((placement.arena, range.start()), |seen| (from, seen));
    Ok(Resolved::new(machine, viewer, addr))
}
