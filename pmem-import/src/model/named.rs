//! Regions for everything else that listings name. Names nest in listings, but regions do not: each line gets the
//! parts of its range that no nested line covers.

use super::{Builder, attrs, model, same_addresses};
use crate::error::ImportError;
use crate::facts::{Listing, join, without};
use crate::machine::UNMEASURED;
use crate::settle::{LineKind, line_kind};
use pmem_core::{AddrRange, ArenaId, ArenaType, Attrs, Direction, Props, Prot, Usage};

/// The attributes that a range's name implies.
fn attrs_of(name: &str) -> Attrs {
    let cached = Props::WBACK;
    match name {
        "Kernel code" => attrs(Usage::TEXT, Prot::READ | Prot::EXEC, cached),
        "Kernel rodata" => attrs(Usage::DATA, Prot::READ, cached),
        "Kernel data" | "Kernel bss" | "Crash kernel" | "Kernel image" => {
            attrs(Usage::DATA, Prot::RW, cached)
        }
        _ if name.starts_with("IOAPIC") || name.starts_with("HPET") => {
            attrs(Usage::DEVREGS, Prot::RW, Props::UNCACHED)
        }
        _ => Attrs::default(),
    }
}

impl Builder<'_> {
    /// Adds every listed line that is neither memory, bus nor function.
    pub(super) fn add_named(&mut self) -> Result<(), ImportError> {
        let settled = self.settled;
        self.add_roms(&settled.memory)?;
        self.add_lines(&settled.memory, false)?;
        for (segment, range) in &settled.ecam {
            let label = format!("PCI ECAM of segment {segment:04x}");
            self.take(self.system, *range, Attrs::default(), &label, false);
        }
        if !settled.ports.lines.is_empty() {
            self.make_system_io()?;
            self.add_lines(&settled.ports, true)?;
        }
        Ok(())
    }

    /// Returns the arena of I/O ports as CPUs see them; creates it if necessary.
    pub(super) fn make_system_io(&mut self) -> Result<ArenaId, ImportError> {
        if let Some(io) = self.system_io {
            return Ok(io);
        }
        let io =
            model("system I/O", self.manager.create_arena("system I/O", ArenaType::VIEW | ArenaType::IO))?;
        self.system_io = Some(io);
        Ok(io)
    }

    /// Puts read-only memory that nothing else owns into an arena of its own.
    fn add_roms(&mut self, listing: &Listing) -> Result<(), ImportError> {
        let roms: Vec<AddrRange> = listing
            .lines
            .iter()
            .enumerate()
            .filter(|(index, _)| line_kind(listing, *index) == LineKind::Rom)
            .flat_map(|(_, line)| self.ours.parts(line.range))
            .filter(|part| part.owner.is_none())
            .map(|part| part.seen)
            .collect();
        let spans = join(roms);
        if spans.is_empty() {
            return Ok(());
        }
        let default = attrs(Usage::empty(), Prot::READ | Prot::EXEC, Props::empty());
        let arena = model("ROM", self.manager.create_arena("ROM", ArenaType::ROM))?;
        for span in &spans {
            model("ROM", self.manager.prime(arena, *span, default))?;
        }
        let down = same_addresses(spans.iter().copied(), UNMEASURED);
        let link =
            model("ROM", self.manager.connect_asymmetric(self.system, arena, down, Direction::closed()))?;
        self.link_names.insert(link, "system to ROM".to_owned());
        for span in spans {
            self.ours.give(span, arena, span.start());
        }
        Ok(())
    }

    fn add_lines(&mut self, listing: &Listing, io: bool) -> Result<(), ImportError> {
        let leaves = listing.leaves();
        // Lines inside a function's line belong to its driver.
        let mut of_function = vec![false; listing.lines.len()];
        for (index, line) in listing.lines.iter().enumerate() {
            let is_function = line.name.len() >= 12
                && line.name.parse::<pmem_pci::Address>().is_ok_and(|a| self.bars.contains_key(&a));
            of_function[index] = is_function || line.parent.is_some_and(|parent| of_function[parent]);
        }
        let viewer = if io { self.system_io.unwrap_or(self.system) } else { self.system };
        for (index, (line, own)) in listing.lines.iter().zip(leaves).enumerate() {
            let is_memory = !io && matches!(line_kind(listing, index), LineKind::Memory(_));
            if of_function[index] || is_memory || self.settled.bus_lines[usize::from(io)].contains(&index) {
                continue;
            }
            for part in own {
                self.take(viewer, part, attrs_of(&line.name), &line.name, io);
            }
        }
        Ok(())
    }

    /// Claims the free parts of a range, in whichever arena owns them.
    fn take(&mut self, viewer: ArenaId, range: AddrRange, attrs: Attrs, label: &str, io: bool) {
        let parts = if io { self.ours_io.parts(range) } else { self.ours.parts(range) };
        for part in parts {
            let (arena, local) = part.owner.unwrap_or((viewer, part.seen));
            let here = self.manager.state().arena(arena);
            let taken: Vec<AddrRange> = here.map_or(Vec::new(), |here| {
                let windows = here.windows_in(local).map(|(range, _)| range);
                here.regions_in(local).map(|(range, _)| range).chain(windows).collect()
            });
            for free in without(&[local], &join(taken)) {
                if part.owner.is_none() && self.prime_rest(arena, free, attrs).is_err() {
                    continue;
                }
                self.take_free(arena, free, attrs, label);
            }
        }
    }

    /// Claims free space span by span; sealed and lent spans stay as they are.
    fn take_free(&mut self, arena: ArenaId, range: AddrRange, wanted: Attrs, label: &str) {
        let Some(here) = self.manager.state().arena(arena) else { return };
        let spans: Vec<(AddrRange, Attrs)> = here
            .spans_in(range)
            .filter(|(_, span)| span.state == pmem_core::SpanState::Open)
            .filter_map(|(at, span)| Some((at.intersect(range)?, span.attrs)))
            .collect();
        for (at, defaults) in spans {
            // A region cannot exceed its space's attributes. What is kept counts as in use.
            let usage = if wanted.usage().is_empty() { Usage::DATA } else { wanted.usage() };
            let prot = wanted.prot() & defaults.prot();
            let prot = if wanted.prot().is_empty() { defaults.prot() } else { prot };
            let props = if wanted.props().is_empty() { defaults.props() } else { wanted.props() };
            let own = attrs(usage, prot, props);
            if self.claim(arena, at, own, label).is_err() {
                let _ = self.claim(arena, at, attrs(usage, defaults.prot(), defaults.props()), label);
            }
        }
    }
}
