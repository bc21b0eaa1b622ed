//! Turns a request into a goal for the planner.

use crate::units::short;
use pmem_import::{Address, PciTree, ResourceKind, did_you_mean_function, parse_size};
use pmem_pci::buses;
use pmem_pci::linux::Event;
use pmem_pci::plan::Goal;
use pmem_pci::tree::{Avoid, Function, Index, Mobility, Resource, Slot, Space, Tree};
use std::fmt;

/// Something to be placed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PlacementGoal {
    /// A card behind a port, such as `mem64p:32G,mem32:16M`.
    Add {
        /// What the card decodes.
        card: String,
        /// The port that the card is plugged in below.
        at: Address,
    },
    /// A card on a bus, for sources that do not say where the port above the bus is.
    AddOnBus {
        /// What the card decodes.
        card: String,
        /// The segment and bus number.
        bus: (u32, u8),
    },
    /// A BAR of another size.
    Resize {
        /// The function that has the BAR.
        function: Address,
        /// The BAR's number.
        bar: u8,
        /// The size in bytes.
        size: u64,
    },
    /// A number of virtual functions.
    Vfs {
        /// The physical function.
        function: Address,
        /// The number of virtual functions.
        count: u64,
    },
    /// Every resource that has no address.
    AllFailed,
}

/// What to place, and the constraints to keep.
#[derive(Clone, Debug, Default)]
pub struct PlacementRequest {
    /// What to place.
    pub wishes: Vec<PlacementGoal>,
    /// Ranges of CPU addresses where nothing may be placed: first and last address, both inclusive.
    pub avoid: Vec<(u64, u64)>,
    /// Functions that must not be stopped.
    pub pinned: Vec<Address>,
    /// Functions that may be stopped at no cost.
    pub quiesced: Vec<Address>,
    /// Cards that may come later, for which room is kept (padding).
    pub kept: Vec<PlacementGoal>,
}

/// Why a request cannot be planned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GoalError {
    /// The request makes no sense, for instance because it names a function that does not exist.
    Usage(String),
    /// The sources do not say what the planner needs to know.
    Unknown(String),
}

impl fmt::Display for GoalError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Self::Usage(text) | Self::Unknown(text)) = self;
        f.write_str(text)
    }
}

impl std::error::Error for GoalError {}

type Result<T> = std::result::Result<T, GoalError>;

fn usage<T>(text: String) -> Result<T> {
    Err(GoalError::Usage(text))
}

impl PlacementRequest {
    /// Turns the request into a goal within a hierarchy.
    ///
    /// # Errors
    /// Returns [`GoalError::Usage`] for a function or BAR that does not exist, or a size that no BAR has. Returns
    /// [`GoalError::Unknown`] if the sources lack something that is needed, such as the size of a BAR.
    pub fn goal(&self, known: &PciTree) -> Result<Goal> {
        let mut goal = Goal { old: known.tree.clone(), tree: known.tree.clone(), ..Goal::default() };
        for (first, last) in &self.avoid {
            let span = pmem_pci::BusRange { first: *first, last: *last };
            goal.tree.avoid.push(Avoid { space: Space::Memory, span, strict: false });
        }
        for (addresses, mobility) in [(&self.pinned, Mobility::Pinned), (&self.quiesced, Mobility::Asked)] {
            for address in addresses {
                let index = find(known, *address)?;
                for tree in [&mut goal.old, &mut goal.tree] {
                    if let Some(function) = tree.functions.get_mut(index) {
                        function.mobility = mobility;
                    }
                }
            }
        }
        for wish in self.wishes.iter().chain(&self.kept) {
            match wish {
                PlacementGoal::Add { card, at } => {
                    let port = find_one(known, *at, |function| function.bridge.is_some())?;
                    add(&mut goal, card, port)
                }?,
                PlacementGoal::AddOnBus { card, bus } => {
                    let port = leading_to(known, *bus)?;
                    add(&mut goal, card, port)?;
                }
                PlacementGoal::Resize { function, bar, size } => {
                    resize(known, &mut goal, *function, *bar, *size)?;
                }
                PlacementGoal::Vfs { function, count } => {
                    virtual_functions(known, &mut goal, *function, *count)?;
                }
                PlacementGoal::AllFailed => all_failed(known, &mut goal)?,
            }
        }
        Ok(goal)
    }

    /// Drops the padding, which the kernel knows nothing about.
    #[must_use]
    pub fn without_kept(self) -> Self {
        Self { kept: Vec::new(), ..self }
    }
}

impl PlacementRequest {
    /// Returns the event that would make the kernel do this by itself; `None` if there is none.
    #[must_use]
    pub fn event(&self, goal: &Goal) -> Option<Event> {
        match self.wishes.as_slice() {
            [PlacementGoal::Add { .. } | PlacementGoal::AddOnBus { .. }] => {
                let card = goal.old.functions.iter().find(|f| f.absent)?;
                card.parent.map(Event::Plug)
            }
            [PlacementGoal::Resize { function, .. }] => {
                let (index, slot) = *goal.place.first()?;
                let size = goal.tree.functions.get(index)?.resource(slot)?.size;
                let index = goal.old.find(*function).filter(|found| *found == index)?;
                Some(Event::Resize { function: index, slot, size })
            }
            _ => None,
        }
    }
}

fn find(known: &PciTree, address: Address) -> Result<Index> {
    find_one(known, address, |_| true)
}

/// Finds a function. If there is none at the address, suggests similar ones that would `suit`.
fn find_one(known: &PciTree, address: Address, suit: impl Fn(&Function) -> bool) -> Result<Index> {
    let index = known.tree.find(address).filter(|index| !known.nameless.contains(index));
    index.ok_or_else(|| unknown(&known.tree, address, suit))
}

/// Returns the error for an address that no function has, with similar ones of functions that would `suit`.
pub(super) fn unknown(tree: &Tree, address: Address, suit: impl Fn(&Function) -> bool) -> GoalError {
    let suiting = tree.functions.iter().filter(|function| suit(function)).map(|function| function.address);
    let near = did_you_mean_function(address, suiting);
    GoalError::Usage(format!("there is no function {address} in what was read{near}"))
}

/// Finds the bridge that leads to a bus.
fn leading_to(known: &PciTree, (segment, bus): (u32, u8)) -> Result<Index> {
    let leads = |f: &Function| {
        let buses = f.bridge.as_ref().and_then(|bridge| bridge.buses);
        f.address.segment == segment && buses.is_some_and(|(first, _)| first == bus)
    };
    let found = known.tree.functions.iter().position(leads);
    found.ok_or_else(|| {
        GoalError::Usage(format!("no bridge leads to bus {segment:04x}:{bus:02x} in what was read"))
    })
}

/// Adds an absent card to the goal, at the first free device number on the bus below a port.
fn add(goal: &mut Goal, card: &str, port: Index) -> Result<()> {
    let Some(parent) = goal.tree.functions.get(port) else { return Ok(()) };
    let at = parent.address;
    let Some((bridge, root)) = parent.bridge.clone().map(|bridge| (bridge, parent.root)) else {
        return usage(format!("{at} is no bridge: nothing can be plugged in below it"));
    };
    let Some((bus, _)) = bridge.buses.filter(|(first, _)| *first != 0) else {
        return Err(GoalError::Unknown(format!("{at} has no bus below it: bus numbers are what is short")));
    };
    // Absent cards do not occupy a device number: one may be gone again when the next arrives.
    let on_bus = goal.tree.on_bus(root, Some(port)).filter(|(_, f)| !f.absent);
    let on_bus: Vec<&Function> = on_bus.map(|(_, function)| function).collect();
    // A slot of PCI Express has only device 0 (PCI Express Base 6.0, 7.3.1). Cards with other numbers show a bus of
    // conventional PCI, where firmware plugs.
    let is_one_slot = bridge.hot_plug && on_bus.iter().all(|function| function.address.device == 0);
    if let Some(card) = on_bus.first().filter(|_| is_one_slot) {
        let card = card.address;
        return usage(format!("{card} is in the slot of {at}: it has to be unplugged first"));
    }
    let taken: Vec<u8> = on_bus.iter().map(|function| function.address.device).collect();
    let Some(device) = (0..32).find(|device| !taken.contains(device)) else {
        return usage(format!("the bus below {at} is full: it has 32 devices"));
    };
    let address = Address { segment: at.segment, bus, device, function: 0 };
    let mut function = Function::new(address, Some(port), root);
    function.absent = true;
    function.mobility = Mobility::Asked;
    function.resources = items(card)?;
    if function.resources.iter().all(|r| r.space == Space::Io) {
        // A card without memory BARs works through its I/O ports only, so they are not optional.
        function.resources.iter_mut().for_each(|r| r.optional = false);
    }
    let index = goal.tree.functions.len();
    for resource in &function.resources {
        let list = if resource.optional { &mut goal.extra } else { &mut goal.place };
        list.push((index, resource.slot));
    }
    goal.old.functions.push(function.clone());
    goal.tree.functions.push(function);
    Ok(())
}

/// Describes what a present function decodes, in the form that `--add` takes.
///
/// # Errors
/// Returns [`GoalError::Usage`] if there is no such function, and [`GoalError::Unknown`] if no source gives the size of
/// its BARs, or if it decodes nothing.
pub fn card(known: &PciTree, function: Address) -> Result<String> {
    let index = find(known, function)?;
    let own = known.tree.functions.get(index).map_or(&[][..], |f| &f.resources);
    if known.unmeasured.iter().any(|(other, _)| *other == index) {
        return Err(GoalError::Unknown(format!("no source gives the BAR sizes of {function}")));
    }
    let items: Vec<String> = own
        .iter()
        .filter_map(|resource| {
            let kind = match (resource.slot, resource.space, resource.is_wide(), resource.prefetchable) {
                (Slot::Rom, ..) => return Some(format!("rom:{}", short(resource.size))),
                (Slot::Vf(_), ..) => return None,
                (_, Space::Io, ..) => "io",
                (_, Space::Memory, false, false) => "mem32",
                (_, Space::Memory, false, true) => "mem32p",
                (_, Space::Memory, true, false) => "mem64",
                (_, Space::Memory, true, true) => "mem64p",
            };
            Some(format!("{}={kind}:{}", resource.slot, short(resource.size)))
        })
        .collect();
    if items.is_empty() {
        return Err(GoalError::Unknown(format!("{function} decodes nothing, by what was read")));
    }
    Ok(items.join(","))
}

/// Parses a card such as `mem64p:32G,2=mem32:16M,rom:512K`.
fn items(card: &str) -> Result<Vec<Resource>> {
    let mut out: Vec<Resource> = Vec::new();
    let mut next = 0;
    for item in card.split(',') {
        let (number, rest) = match item.split_once('=') {
            Some((number, rest)) => (Some(number), rest),
            None => (None, item),
        };
        let Some((kind, size)) = rest.split_once(':') else {
            return usage(format!("{item:?}: KIND:SIZE is wanted, such as mem64p:32G"));
        };
        let Some(size) = parse_size(size).filter(|size| size.is_power_of_two()) else {
            return usage(format!("{item:?}: {size} is no power of two"));
        };
        let (space, prefetchable, wide) = match kind {
            "mem32" => (Space::Memory, false, false),
            "mem32p" => (Space::Memory, true, false),
            "mem64" => (Space::Memory, false, true),
            "mem64p" => (Space::Memory, true, true),
            "io" => (Space::Io, false, false),
            "rom" => (Space::Memory, true, false),
            _ => return usage(format!("{item:?}: {kind} is none of mem32, mem32p, mem64, mem64p, io, rom")),
        };
        let slot = if kind == "rom" {
            Slot::Rom
        } else {
            let n = match number {
                Some(number) => number.parse::<u8>().ok(),
                None => Some(next),
            };
            let Some(n) = n.filter(|n| *n + u8::from(wide) < 6) else {
                return usage(format!("{item:?}: a function has BARs 0 to 5, and one of 64 bits takes two"));
            };
            next = n + 1 + u8::from(wide);
            Slot::Bar(n)
        };
        let takes = |resource: &Resource| match (resource.slot, slot) {
            (Slot::Bar(a), Slot::Bar(b)) => {
                let last = a + u8::from(resource.space == Space::Memory && resource.is_wide());
                (a..=last).contains(&b) || (b..=b + u8::from(wide)).contains(&a)
            }
            (a, b) => a == b,
        };
        if out.iter().any(takes) {
            return usage(format!("{item:?}: BAR {slot} is there already"));
        }
        let least = match (slot, space) {
            (Slot::Rom, _) => 0x800,
            (_, Space::Io) => 4,
            (_, Space::Memory) => 16,
        };
        if size < least || (!wide && size > 1 << 31) {
            return usage(format!("{item:?}: no register is of this size"));
        }
        let top = if wide { u64::MAX } else { 0xffff_ffff };
        let optional = kind == "rom" || kind == "io";
        let align = size;
        out.push(Resource { slot, space, prefetchable, top, size, align, at: None, fixed: false, optional });
    }
    Ok(out)
}

/// Adds a BAR of another size to the goal.
fn resize(known: &PciTree, goal: &mut Goal, address: Address, bar: u8, size: u64) -> Result<()> {
    let index = find(known, address)?;
    if !size.is_power_of_two() || size < 1 << 20 {
        return usage(format!("{address} bar{bar}: a Resizable BAR has a size of 1M, 2M, 4M, …"));
    }
    let Some(function) = goal.tree.functions.get_mut(index) else { return Ok(()) };
    let mut slot = Slot::Bar(bar);
    let is_named = |slot: Slot| !known.unnamed.contains(&(index, slot));
    if !function.resource(slot).is_some_and(|own| is_named(own.slot)) {
        // No source tells which BAR is which. Assume that the largest one, preferably of 64 bits, is the resizable one.
        let unnamed = function.resources.iter().filter(|r| !is_named(r.slot));
        if let Some(largest) = unnamed.max_by_key(|r| (r.is_wide(), r.size)).map(|r| r.slot) {
            for own in &mut function.resources {
                own.slot = match own.slot {
                    had if had == largest => slot,
                    had if had == slot => largest,
                    had => had,
                };
            }
        }
    }
    if function.resource(slot).is_none()
        && bar > 0
        && function.resource(Slot::Bar(bar - 1)).is_some_and(|r| r.is_wide() && r.space == Space::Memory)
    {
        slot = Slot::Bar(bar - 1);
    }
    let has: Vec<String> = function.resources.iter().map(|r| format!("{}", r.slot)).collect();
    let Some(resource) = function.resources.iter_mut().find(|r| r.slot == slot) else {
        return usage(format!("{address} has no BAR {bar}: what was read of it are {}", has.join(", ")));
    };
    if resource.space == Space::Io {
        return usage(format!("{address} BAR {bar} is of I/O ports, which cannot be resized"));
    }
    if size > 1 << 31 && !resource.is_wide() {
        return usage(format!("{address} BAR {bar} holds 32 bits: it cannot be of {size:#x} bytes"));
    }
    (resource.size, resource.align, resource.at, resource.fixed) = (size, size, None, false);
    function.mobility = Mobility::Asked;
    if let Some(old) = goal.old.functions.get_mut(index) {
        old.mobility = Mobility::Asked;
        // The numbers of the BARs may have been guessed above. Both trees must agree on them.
        for (old, new) in old.resources.iter_mut().zip(&function.resources) {
            old.slot = new.slot;
        }
    }
    goal.place.push((index, slot));
    // The function's other required resources without an address must be placed at the same time.
    let lost = function.resources.iter().filter(|r| r.at.is_none() && !r.optional && r.slot != slot);
    goal.place.extend(lost.map(|r| (index, r.slot)));
    Ok(())
}

/// Adds room for a number of virtual functions to the goal.
fn virtual_functions(known: &PciTree, goal: &mut Goal, address: Address, count: u64) -> Result<()> {
    let index = find(known, address)?;
    let Some(function) = goal.tree.functions.get_mut(index) else { return Ok(()) };
    let spaces: Vec<Slot> =
        function.resources.iter().map(|r| r.slot).filter(|slot| matches!(slot, Slot::Vf(_))).collect();
    if spaces.is_empty() {
        let text = format!(
            "no source shows BARs of virtual functions of {address}: if it has SR-IOV, their sizes are in the resource \
             files of sysfs, in lspci -vv as root, in a kernel log and in /proc/iomem"
        );
        return Err(GoalError::Unknown(text));
    }
    for slot in spaces {
        let Some(resource) = function.resources.iter_mut().find(|r| r.slot == slot) else { continue };
        let total = resource.size / resource.align.max(1);
        if count > total || resource.at.is_none() {
            resource.size = resource.align.saturating_mul(count.max(total));
            resource.at = None;
            goal.place.push((index, slot));
        }
    }
    Ok(())
}

/// Adds everything without an address to the goal.
fn all_failed(known: &PciTree, goal: &mut Goal) -> Result<()> {
    for (index, function) in goal.tree.functions.iter_mut().enumerate() {
        for resource in function.resources.iter().filter(|r| r.at.is_none()) {
            let list = if resource.optional { &mut goal.extra } else { &mut goal.place };
            list.push((index, resource.slot));
        }
        if function.resources.iter().any(|r| r.at.is_none() && !r.optional) && function.bridge.is_none() {
            function.mobility = Mobility::Asked;
            if let Some(old) = goal.old.functions.get_mut(index) {
                old.mobility = Mobility::Asked;
            }
        }
    }
    for (bridge, (first, last)) in &known.numberless {
        // The report names a bridge that gets no bus numbers.
        buses::give(&mut goal.tree, *bridge, last.saturating_sub(*first).saturating_add(1));
    }
    let unsized_bars = known.unknown.iter().filter(|(_, kind)| matches!(kind, ResourceKind::Bar(_)));
    if let Some((index, kind)) = unsized_bars.into_iter().next()
        && let Some(function) = known.tree.functions.get(*index)
    {
        return Err(GoalError::Unknown(format!(
            "{} {kind} has no address, and no source gives its size; add a kernel log",
            function.address
        )));
    }
    Ok(())
}
