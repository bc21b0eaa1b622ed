//! From what the sources say to a model.

mod memory;
mod pci;
mod ports;

use crate::error::{ImportError, Warning};
use crate::machine::{Bus, Machine, NodeArenas};
use crate::node::Nodes;
use crate::pci::{Function, ResourceKind};
use crate::resource::Resources;
use pmem_core::{
    AddrRange, ArenaId, ArenaType, Attrs, Direction, Error, Holder, LinkId, Manager, Mapping, Metric, Props,
    Prot, RegionId, Request, Usage,
};
use std::collections::BTreeMap;

/// What nobody has measured costs one, per interconnect.
pub(crate) const UNMEASURED: Metric = Metric::new(1);

/// A machine in the making.
struct Builder {
    manager: Manager,
    system: ArenaId,
    system_io: Option<ArenaId>,
    nodes: BTreeMap<u32, NodeArenas>,
    buses: BTreeMap<(u32, u8), Bus>,
    bridges: BTreeMap<crate::pci::Bdf, (u32, u8)>,
    labels: BTreeMap<RegionId, String>,
    link_names: BTreeMap<LinkId, String>,
    bars: BTreeMap<crate::pci::Bdf, Vec<(ResourceKind, RegionId)>>,
    warnings: Vec<Warning>,
}

/// Builds the model of what the sources say.
pub(crate) fn build(
    iomem: Option<Resources>,
    ioports: Option<Resources>,
    numa: Nodes,
    functions: Vec<Function>,
    roots: &[(u32, u8)],
    warnings: Vec<Warning>,
) -> Result<Machine, ImportError> {
    let mut manager = Manager::new();
    manager.set_journal_limit(0);
    let system = model("system bus", manager.create_arena("system", ArenaType::VIEW))?;
    let mut builder = Builder {
        manager,
        system,
        system_io: None,
        nodes: BTreeMap::new(),
        buses: BTreeMap::new(),
        bridges: BTreeMap::new(),
        labels: BTreeMap::new(),
        link_names: BTreeMap::new(),
        bars: BTreeMap::new(),
        warnings,
    };
    let iomem = iomem.filter(|iomem| !iomem.all.is_empty());
    builder.add_nodes(&numa, &functions)?;
    builder.add_memory(iomem.as_ref(), &numa)?;
    builder.add_buses(iomem.as_ref(), ioports.as_ref(), &functions, roots)?;
    builder.add_bars(&functions);
    if let Some(iomem) = &iomem {
        builder.add_rest(iomem, "proc/iomem")?;
    }
    if let Some(ioports) = &ioports {
        builder.add_ports(ioports)?;
    }
    builder.seal_offline(&numa)?;
    builder.manager.set_journal_limit(256);
    Ok(Machine {
        manager: builder.manager,
        system: builder.system,
        system_io: builder.system_io,
        nodes: builder.nodes,
        numa,
        buses: builder.buses,
        bridges: builder.bridges,
        functions,
        labels: builder.labels,
        link_names: builder.link_names,
        bars: builder.bars,
        net: None,
        warnings: builder.warnings,
    })
}

/// Says what was being built when the model refused.
fn model<T>(what: impl Into<String>, result: Result<T, Error>) -> Result<T, ImportError> {
    result.map_err(|error| ImportError::Model { what: what.into(), error: Box::new(error) })
}

impl Builder {
    fn warn(&mut self, source: impl Into<String>, text: impl Into<String>) {
        self.warnings.push(Warning::new(source, text));
    }

    /// Does a thing, or warns that the model refuses it, in the model's own words.
    fn attempt<T>(&mut self, source: &str, what: &str, result: Result<T, Error>) -> Option<T> {
        match result {
            Ok(done) => Some(done),
            Err(error) => {
                let text = format!("{what}: {}", self.explain(&error));
                self.warn(source, text);
                None
            }
        }
    }

    /// The error with the names that the sources give.
    fn explain(&self, error: &Error) -> String {
        let Error::Occupied { arena, range, by } = error else { return error.to_string() };
        let arena = self.manager.state().info(*arena).map_or(String::new(), |info| info.name.clone());
        let named = match by {
            Holder::Region(region, at) => self.labels.get(region).map(|label| format!("{label} at {at}")),
            Holder::Link(link, at) => {
                self.link_names.get(link).map(|name| format!("the window {at} of {name}"))
            }
            _ => None,
        };
        format!("{arena}: {range} meets {}", named.unwrap_or_else(|| by.to_string()))
    }

    /// Reserves exactly `range` for something the sources name.
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

    /// Primes what of `range` is not primed yet and not behind an interconnect.
    fn prime_rest(&mut self, arena: ArenaId, range: AddrRange, attrs: Attrs) -> Result<(), Error> {
        let mut rest = vec![range];
        if let Some(here) = self.manager.state().arena(arena) {
            let taken: Vec<AddrRange> =
                here.spans_in(range).map(|(r, _)| r).chain(here.windows_in(range).map(|(r, _)| r)).collect();
            for part in taken {
                rest = rest.into_iter().flat_map(|r| r.minus(part)).flatten().collect();
            }
        }
        rest.into_iter().try_for_each(|part| self.manager.prime(arena, part, attrs))
    }
}

/// Attributes of what the source says nothing about.
fn unknown() -> Attrs {
    Attrs::default()
}

/// Attributes, where no two caching modes are given by construction.
fn attrs(usage: Usage, prot: Prot, props: Props) -> Attrs {
    Attrs::new(usage, prot, props).unwrap_or_default()
}

/// A direction through fixed windows that keep the address.
fn same_addresses(ranges: impl IntoIterator<Item = AddrRange>, metric: Metric) -> Direction {
    let mapping = Mapping::windows(ranges.into_iter().map(|range| (range, range.start())));
    Direction::new(mapping.unwrap_or_default(), metric)
}
