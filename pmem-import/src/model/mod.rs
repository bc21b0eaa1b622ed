//! Builds a model from settled facts.

mod memory;
mod named;
mod pci;
mod territory;
mod views;

use crate::error::ImportError;
use crate::facts::{Aperture, BusId, Finding, ResourceKind, SourceLine, Sourced, show_bus};
use crate::machine::{Bus, Inventory, Machine, MemoryArena, NodeArenas};
use crate::names::Names;
use crate::settle::Settled;
use pmem_core::{
    AddrRange, ArenaId, Attrs, Direction, Error, Holder, LinkId, Manager, Mapping, Metric, Props, Prot,
    RegionId, Request, Usage,
};
use pmem_pci::Address;
use std::collections::{BTreeMap, BTreeSet};
use territory::Territory;

/// A machine under construction.
struct Builder<'s> {
    settled: &'s Settled,
    manager: Manager,
    system: ArenaId,
    system_io: Option<ArenaId>,
    nodes: BTreeMap<u32, NodeArenas>,
    memory: BTreeMap<ArenaId, MemoryArena>,
    buses: BTreeMap<BusId, Bus>,
    bridges: BTreeMap<Address, BusId>,
    /// By bus: its root bus.
    root_of: BTreeMap<BusId, BusId>,
    labels: BTreeMap<RegionId, String>,
    link_names: BTreeMap<LinkId, String>,
    measured: BTreeSet<LinkId>,
    bars: BTreeMap<Address, Vec<(ResourceKind, RegionId)>>,
    /// By region: its function.
    holders: BTreeMap<RegionId, Address>,
    parked: BTreeMap<RegionId, String>,
    disputed: Vec<Sourced<(AddrRange, Address)>>,
    unknown_ways: BTreeSet<ArenaId>,
    unplaced: Option<String>,
    findings: Vec<Finding>,
    /// Which arena owns each CPU address, of memory and of I/O.
    ours: Territory,
    ours_io: Territory,
}

/// Builds the model of settled facts.
pub(crate) fn build(settled: Settled) -> Result<Machine, ImportError> {
    let mut manager = Manager::new();
    // The journal would only record the construction, so it stays off until the model is complete.
    manager.set_journal_limit(0);
    let system = model("system bus", manager.create_arena("system", pmem_core::ArenaType::VIEW))?;
    let mut builder = Builder {
        settled: &settled,
        manager,
        system,
        system_io: None,
        nodes: BTreeMap::new(),
        memory: BTreeMap::new(),
        buses: BTreeMap::new(),
        bridges: BTreeMap::new(),
        root_of: BTreeMap::new(),
        labels: BTreeMap::new(),
        link_names: BTreeMap::new(),
        measured: BTreeSet::new(),
        bars: BTreeMap::new(),
        holders: BTreeMap::new(),
        parked: BTreeMap::new(),
        disputed: Vec::new(),
        unknown_ways: BTreeSet::new(),
        unplaced: None,
        findings: Vec::new(),
        ours: Territory::default(),
        ours_io: Territory::default(),
    };
    // The order matters: apertures leave out what memory owns, and listed names get what functions leave free.
    builder.add_nodes()?;
    builder.add_memory()?;
    builder.add_buses()?;
    builder.add_functions();
    builder.add_named()?;
    builder.seal_offline()?;
    let spaces = builder.add_views()?;
    builder.manager.set_journal_limit(256);
    let Builder {
        manager,
        system_io,
        nodes,
        memory,
        buses,
        bridges,
        root_of,
        labels,
        link_names,
        measured,
        bars,
        holders,
        parked,
        disputed,
        unknown_ways,
        unplaced,
        findings: built,
        ..
    } = builder;
    let Settled {
        memory: listing,
        ports,
        numa,
        kinds,
        tiers,
        functions,
        roots,
        tree,
        is_x86,
        iommu,
        cxl,
        firmware,
        kernel,
        is_amd,
        hidden,
        mut findings,
        ..
    } = settled;
    findings.extend(built);
    let shifted: BTreeMap<BusId, Vec<Aperture>> = roots
        .into_iter()
        .filter(|root| root.shifted)
        .map(|root| (root.bus, root.apertures.into_iter().map(|said| said.value).collect()))
        .collect();
    let offsets = root_of.iter().filter_map(|(bus, root)| Some((*bus, shifted.get(root)?.clone()))).collect();
    Ok(Machine {
        manager,
        system,
        system_io,
        nodes,
        memory,
        numa,
        kinds,
        tiers,
        buses,
        bridges,
        root_of,
        functions: Inventory::new(functions),
        pci: tree,
        iommu,
        cxl,
        firmware,
        kernel,
        labels,
        link_names,
        measured,
        bars,
        holders,
        parked,
        disputed,
        unknown_ways,
        spaces,
        offsets,
        names: Names::new(listing, ports, is_x86, is_amd),
        net: None,
        hidden,
        unplaced,
        heard: Vec::new(),
        findings,
        joined: BTreeSet::new(),
    })
}

/// Adds what was being built to an error of the model.
fn model<T>(what: impl Into<String>, result: Result<T, Error>) -> Result<T, ImportError> {
    result.map_err(|error| ImportError::Model { what: what.into(), error: Box::new(error) })
}

impl Builder<'_> {
    fn find(&mut self, place: &SourceLine, text: impl Into<String>) {
        self.findings.push(Finding::at(place, text));
    }

    /// Unwraps a result of the model; a refusal becomes a finding, in the model's own words.
    fn attempt<T>(&mut self, place: &SourceLine, what: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                let text = format!("{what}: {}", self.explain(&error));
                self.find(place, text);
                None
            }
        }
    }

    fn arena_name(&self, arena: ArenaId) -> String {
        self.manager.state().info(arena).map_or(String::new(), |info| info.name.clone())
    }

    /// Describes an error with the names that sources use.
    fn explain(&self, error: &Error) -> String {
        let Error::Occupied { arena, range, by } = error else { return error.to_string() };
        let named = match by {
            Holder::Region(region, at) => self.labels.get(region).map(|label| format!("{label} at {at}")),
            Holder::Link(link, at) => {
                self.link_names.get(link).map(|name| format!("the window {at} of {name}"))
            }
            _ => None,
        };
        format!("{}: {range} meets {}", self.arena_name(*arena), named.unwrap_or_else(|| by.to_string()))
    }

    /// Reserves exactly `range` for something that sources name.
    fn claim(
        &mut self,
        arena: ArenaId,
        range: AddrRange,
        attrs: Attrs,
        label: &str,
    ) -> Result<RegionId, Error> {
        let request =
            Request::exactly(range).usage(attrs.usage()).prot(attrs.prot()).props(attrs.props()).pinned();
        let region = self.manager.alloc(arena, &request)?;
        self.labels.insert(region, label.to_owned());
        Ok(region)
    }

    /// Primes the parts of `range` that are neither primed nor behind an interconnect.
    fn prime_rest(&mut self, arena: ArenaId, range: AddrRange, attrs: Attrs) -> Result<(), Error> {
        let mut taken = Vec::new();
        if let Some(here) = self.manager.state().arena(arena) {
            taken.extend(here.spans_in(range).map(|(r, _)| r));
            taken.extend(here.windows_in(range).map(|(r, _)| r));
        }
        let rest = crate::facts::without(&[range], &crate::facts::join(taken));
        rest.into_iter().try_for_each(|part| self.manager.prime(arena, part, attrs))
    }

    /// Returns a bus's name.
    fn bus_label(bus: BusId) -> String {
        format!("pci {}", show_bus(bus))
    }
}

/// Builds attributes whose caching modes cannot conflict, by construction.
fn attrs(usage: Usage, prot: Prot, props: Props) -> Attrs {
    Attrs::new(usage, prot, props).unwrap_or_default()
}

/// Builds a direction through fixed windows that keep addresses unchanged.
fn same_addresses(ranges: impl IntoIterator<Item = AddrRange>, metric: Metric) -> Direction {
    let mapping = Mapping::windows(ranges.into_iter().map(|range| (range, range.start())));
    Direction::new(mapping.unwrap_or_default(), metric)
}
