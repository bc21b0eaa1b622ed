//! Compares what `pmem pci predict` says with what the kernel does.

use super::session::{Card, Mode, Session};
use super::state::{Range, State, parse};
use crate::run::Result;
use serde_json::Value;

/// An event to predict and carry out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A card is plugged in below a port.
    Plug { id: String, card: Card, bus: String, port: String },
    /// The card is taken out.
    Unplug { id: String, card: Card, port: String },
    /// All buses are rescanned.
    Rescan,
    /// The empty bus below a port is rescanned.
    RescanBus { port: String },
    /// Everything below a port is removed from the kernel's map, and its bus rescanned. A switch appears as if
    /// it had just been plugged in.
    Anew { port: String },
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or("")
}

fn range(value: &Value) -> Option<Range> {
    let number = |value: &Value| u64::from_str_radix(text(value).trim_start_matches("0x"), 16).ok();
    Some((number(value.get("start")?)?, number(value.get("end")?)?))
}

/// Returns the address of a card below a port.
pub fn card_of(state: &State, port: &str) -> Result<String> {
    let bus = state.get(port).ok_or_else(|| format!("there is no {port}"))?.secondary();
    Ok(format!("0000:{bus:02x}:00.0"))
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

/// Applies a prediction to the state before.
fn foretold(before: &State, event: &Value) -> State {
    let mut out = before.clone();
    let mut set = |function: &str, name: &str, range: Option<Range>| {
        let function = out.entry(function.to_owned()).or_default();
        if let Some(line) = super::state::line(name) {
            if function.resources.len() <= line {
                function.resources.resize(line + 1, None);
            }
            function.resources[line] = range;
        }
    };
    // A resource that was taken out earlier and finds no place is listed under `fails`.
    for lost in list(event, "hurts").chain(list(event, "fails")) {
        let name = text(&lost["bar"]);
        set(text(&lost["function"]), name.strip_suffix(" window").unwrap_or(name), None);
    }
    for placed in list(event, "placements") {
        set(text(&placed["function"]), text(&placed["bar"]), range(placed));
    }
    for window in list(event, "windows") {
        set(text(&window["bridge"]), text(&window["kind"]), range(&window["new"]));
    }
    out
}

/// Lists where prediction and outcome differ, in the map and in the registers.
fn compare(wanted: &State, event: &Value, after: &State) -> Vec<String> {
    let mut out = Vec::new();
    for (name, has) in after {
        let had = wanted.get(name).cloned().unwrap_or_default();
        let names = ["0", "1", "2", "3", "4", "5", "rom", "io", "mem", "pref"];
        for what in names.iter().filter(|what| has.is_bridge() || !["io", "mem", "pref"].contains(what)) {
            let (foretold, came) = (had.at(what), has.at(what));
            if foretold != came {
                out.push(format!("{name} {what}: foretold {foretold:x?}, came {came:x?}"));
            }
        }
        for kind in ["mem", "pref"].iter().filter(|_| has.is_bridge()) {
            let differs = list(event, "differs")
                .find(|one| text(&one["bridge"]) == name && text(&one["kind"]) == *kind);
            let foretold = match differs {
                Some(one) => range(&one["old"]),
                None => had.at(kind),
            };
            let came = has.registers(kind);
            // A window that nobody has set up reads as zero.
            if foretold != came && !(foretold.is_none() && came == Some((0, 0xf_ffff))) {
                out.push(format!("{name} {kind} registers: foretold {foretold:x?}, came {came:x?}"));
            }
        }
    }
    out
}

/// Compares what the kernel made at boot of a machine to which firmware had given no address with the prediction of
/// a boot that keeps none.
pub fn check_boot(session: &mut Session) -> Result<Vec<String>> {
    let state = parse(&session.ok("state")?);
    // The size of a resource without a place is only in the log.
    session.ok("dmesg > /tmp/log")?;
    let (_, prediction) = session.pmem("pci predict / /tmp/log --do reassign")?;
    let event = list(&prediction, "events").next().ok_or("the boot is not foretold")?;
    Ok(compare(&foretold(&state, event), event, &state))
}

/// Predicts an event, carries it out, and compares.
pub fn check(session: &mut Session, mode: Mode, event: &Event) -> Result<Vec<String>> {
    let before = parse(&session.ok("state")?);
    let bus = |port: &str| before.get(port).map_or(0, super::state::Function::secondary);
    let deeds = match event {
        Event::Plug { card, port, .. } => {
            let plug = if mode == Mode::Acpi { "plug-acpi" } else { "plug" };
            vec![format!("{plug} {} at {port}", card.spec())]
        }
        Event::Unplug { port, .. } => vec![format!("unplug {port}")],
        Event::Rescan => vec!["rescan".to_owned()],
        Event::RescanBus { port } => vec![format!("rescan 0000:{:02x}", bus(port))],
        Event::Anew { port } => vec![format!("unplug {port}"), format!("rescan 0000:{:02x}", bus(port))],
    };
    let options: Vec<String> = deeds.iter().map(|deed| format!(" --do '{deed}'")).collect();
    // The size of a resource without a place is only in the log.
    session.ok("dmesg > /tmp/log")?;
    let (_, prediction) = session.pmem(&format!("pci predict / /tmp/log{}", options.concat()))?;
    match event {
        Event::Plug { id, card, bus, port } => session.plug(id, *card, bus, &card_of(&before, port)?)?,
        Event::Unplug { id, card, port } => session.unplug(id, *card, &card_of(&before, port)?)?,
        Event::Rescan => drop(session.ok("echo 1 > /sys/bus/pci/rescan && quiet")?),
        Event::RescanBus { port } => {
            drop(session.ok(&format!("echo 1 > /sys/class/pci_bus/0000:{:02x}/rescan && quiet", bus(port)))?);
        }
        Event::Anew { port } => {
            let remove = format!(
                "for f in /sys/bus/pci/devices/{port}/0000:*/remove; do [ ! -e $f ] || echo 1 > $f; done"
            );
            let look = format!("echo 1 > /sys/class/pci_bus/0000:{:02x}/rescan && quiet", bus(port));
            drop(session.ok(&format!("{remove}; {look}"))?);
        }
    }
    let after = parse(&session.ok("state")?);
    let mut wanted = before.clone();
    let mut last = Value::Null;
    for said in list(&prediction, "events") {
        wanted = foretold(&wanted, said);
        last = said.clone();
    }
    Ok(compare(&wanted, &last, &after))
}
