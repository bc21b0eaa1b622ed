//! Scenes in real kernels: failed hot-plugs and their remedies, windows cut under live cards, damage and its
//! repair.

use super::Judge;
use super::predictor::{Event, card_of, check};
use super::session::{Card, Mode, Session};
use super::state::{Function, State, differences, parse};
use crate::kmod::test::Ready;
use crate::run::Result;
use serde_json::Value;

const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
/// The pattern at the beginning of a card's memory.
const PATTERN: &str = "0x1234ABCD";

/// A root port at a device number of bus 0.
fn root_port(id: &str, device: u8, more: &str) -> Vec<String> {
    let port =
        format!("pcie-root-port,id={id},chassis={device},slot={device},bus=pcie.0,addr={device:#x}{more}");
    vec!["-device".to_owned(), port]
}

/// A switch below a port: its upstream port `u`, and its downstream ports `d1`, `d2` and so on.
fn switch(below: &str, ports: u8) -> Vec<String> {
    let mut out = vec!["-device".to_owned(), format!("x3130-upstream,id=u,bus={below}")];
    for n in 1..=ports {
        out.push("-device".to_owned());
        out.push(format!(
            "xio3130-downstream,id=d{n},bus=u,chassis={},slot={},addr={:#x}",
            20 + n,
            20 + n,
            n - 1
        ));
    }
    out
}

fn state(session: &mut Session) -> Result<State> {
    Ok(parse(&session.ok("state")?))
}

/// Returns what the doctor finds, given the kernel's log; its scripts go to /fix.
fn doctor(session: &mut Session, judge: &Judge) -> Result<Value> {
    session.ok("dmesg > /tmp/log; rm -rf /fix")?;
    let report = session.pmem("pci doctor / /tmp/log --write /fix")?.1;
    judge.note(&session.ok("cat /fix/report.txt")?);
    Ok(report)
}

fn remedies(report: &Value) -> Vec<&Value> {
    let ailments = report["ailments"].as_array().into_iter().flatten();
    ailments.map(|ailment| &ailment["remedy"]).filter(|remedy| !remedy.is_null()).collect()
}

/// Runs one of the doctor's scripts, and prints its output if it fails.
fn script(session: &mut Session, judge: &mut Judge, what: &str, name: &str) -> Result {
    let (status, said) = session.run(&format!("sh /fix/{name}"))?;
    judge.is(what, "", if status == 0 { "" } else { said.trim() });
    session.ok("quiet")?;
    Ok(())
}

fn start(range: Option<(u64, u64)>) -> String {
    range.map_or("nowhere".to_owned(), |(start, _)| format!("{start:#x}"))
}

/// Fills the memory of a card with the pattern, and returns its address.
fn fill(session: &mut Session, state: &State, card: &str) -> Result<String> {
    let at = start(state.get(card).and_then(|f| f.at("2")));
    session.ok(&format!("poke {at} {PATTERN}"))?;
    Ok(at)
}

/// Checks that the memory still holds the pattern.
fn lives(session: &mut Session, judge: &mut Judge, what: &str, at: &str) -> Result {
    let has = session.run(&format!("peek {at}"))?.1;
    judge.is(what, PATTERN, has.trim());
    Ok(())
}

/// Root ports with ACPI hot-plug: a card without room, fixed through sysfs; a chosen place; a proof that there
/// is none; lockdown.
pub fn ports(ready: &Ready, judge: &mut Judge) -> Result {
    let mut devices = [root_port("p1", 4, ""), root_port("p2", 5, ""), root_port("p3", 6, "")].concat();
    devices.extend(Card::Memory(16 * MIB).arguments("live", "p2"));
    let mut session = Session::boot(ready, "ports", Mode::Acpi, &devices)?;
    let before = state(&mut session)?;
    let (port, live) = ("0000:00:04.0", card_of(&before, "0000:00:05.0")?);
    let card = card_of(&before, port)?;
    let at = fill(&mut session, &before, &live)?;

    // (a) Linux finds no room, and sysfs alone fixes it.
    let big = Card::Memory(GIB);
    session.plug("c1", big, "p1", &card)?;
    let failed = state(&mut session)?;
    judge.is("a: Linux finds no room for it", "nowhere", &start(failed[&card].at("2")));
    let report = doctor(&mut session, judge)?;
    judge.is("a: the doctor can mend it", "can-be-fixed", report["verdict"].as_str().unwrap_or(""));
    let by: Vec<&str> = remedies(&report).iter().filter_map(|remedy| remedy["by"].as_str()).collect();
    judge.is("a: by sysfs alone", "linux", by.first().unwrap_or(&""));
    script(&mut session, judge, "a: its script ends well", "fix.sh")?;
    let mended = state(&mut session)?;
    let placements = remedies(&report).first().map(|remedy| remedy["placements"].clone()).unwrap_or_default();
    let foretold = placements.as_array().into_iter().flatten().find(|p| p["bar"] == "2");
    let foretold = foretold.and_then(|p| p["start"].as_str()).unwrap_or("?").to_owned();
    judge.is("a: the BAR is where it was foretold", &foretold, &start(mended[&card].at("2")));
    judge.none("a: nothing else moved", &differences(&before, &mended, &[&card, port]));
    lives(&mut session, judge, "a: the neighbour has its memory", &at)?;

    // (b) The module opens the window at a chosen address.
    session.ok("insmod /pmem_arena.ko force=1")?;
    session.ok(&format!("echo 1 > /sys/bus/pci/devices/{card}/remove"))?;
    let (first, last) = mended[port].at("pref").unwrap_or_default();
    let change = |to: &str| format!("pci windows {port}:pref={first:#x}-{last:#x},{to}");
    let (status, _) = session.run(&format!("pmem {}", change("0x700000000-0x73fffffff")))?;
    judge.is("b: the module opens the window elsewhere", "0", &status.to_string());
    let (status, said) = session.run(&format!("pmem {}", change("closed")))?;
    judge.is(
        "b: and refuses a plan that is no longer true",
        "1 true",
        &format!("{status} {}", said.contains("now has a different range")),
    );
    session.ok("echo 1 > /sys/class/pci_bus/0000:01/rescan && quiet")?;
    let chosen = state(&mut session)?;
    judge.is("b: the BAR is at the chosen address", "0x700000000", &start(chosen[&card].at("2")));
    judge.is("b: the registers say so", "0x700000000", &start(chosen[port].registers("pref")));
    session.ok("echo 1 > /sys/bus/pci/rescan && quiet")?;
    let later = state(&mut session)?;
    judge.is("b: and a rescan of everything leaves it there", "0x700000000", &start(later[&card].at("2")));
    judge.none("b: nothing else moved", &differences(&before, &later, &[&card, port]));
    let (status, said) = session
        .run(&format!("pmem pci windows {port}:pref=0x700000000-0x73fffffff,0x700000000-0x71fffffff"))?;
    judge.is(
        "b: a window is not cut below what is in it",
        "1 true",
        &format!("{status} {}", said.contains("excludes something in the window")),
    );

    // (d) A proof that there is no place.
    let arguments = format!("pci plan --add mem64p:16G --at 0000:00:06.0 --pin {card}");
    let (status, report) = session.pmem(&arguments)?;
    judge.is("d: no", "3 no", &format!("{status} {}", report["verdict"].as_str().unwrap_or("")));
    let slots = report["why"][0]["slots"].clone();
    let slot = format!(
        "{}-{} {}",
        slots[0]["start"].as_str().unwrap_or(""),
        slots[0]["end"].as_str().unwrap_or(""),
        slots[0]["blockers"][0].as_str().unwrap_or("")
    );
    judge.is("d: with the one place, and who sits there", &format!("0x400000000-0x7ffffffff {card}"), &slot);
    judge.is("d: and that is all", "1", &slots.as_array().map_or(0, Vec::len).to_string());
    judge.none("d: nothing is touched", &differences(&later, &state(&mut session)?, &[]));

    // (f) Lockdown: only sysfs is left.
    session.unplug("c1", big, &card)?;
    let third = card_of(&before, "0000:00:06.0")?;
    session.plug("c3", big, "p3", &third)?;
    session.ok("echo integrity > /sys/kernel/security/lockdown")?;
    let report = doctor(&mut session, judge)?;
    let offered: Vec<&str> = remedies(&report).iter().filter_map(|remedy| remedy["by"].as_str()).collect();
    judge.is(
        "f: a locked-down kernel is offered sysfs alone",
        "true",
        &(!offered.is_empty() && offered.iter().all(|by| *by == "linux")).to_string(),
    );
    script(&mut session, judge, "f: which still works", "fix.sh")?;
    let has = state(&mut session)?[&third].at("2");
    judge.is("f: the card has its place", "true", &has.is_some().to_string());
    let (status, said) =
        session.run(&format!("pmem pci windows {port}:pref=closed,0x700000000-0x73fffffff"))?;
    judge.is("f: the module refuses", "1 true", &format!("{status} {}", said.contains("not permitted")));
    // Lockdown forbids reading memory, so only the map is compared.
    let has = state(&mut session)?;
    judge.none("f: nothing else moved", &differences(&before, &has, &[&card, port, &third, "0000:00:06.0"]));
    Ok(())
}

/// A window is cut while its card is live, another opens in the room, and everything is taken back.
pub fn cut(ready: &Ready, judge: &mut Judge) -> Result {
    let mut devices = [root_port("p1", 4, ""), root_port("p2", 5, ",pref64-reserve=1G")].concat();
    devices.extend(Card::Memory(16 * MIB).arguments("live", "p2"));
    let mut session = Session::boot(ready, "cut", Mode::Native, &devices)?;
    let first = state(&mut session)?;
    let (port, beside) = ("0000:00:04.0", "0000:00:05.0");
    let (card, live) = (card_of(&first, port)?, card_of(&first, beside)?);
    let at = fill(&mut session, &first, &live)?;
    session.ok("insmod /pmem_arena.ko force=1")?;
    // The port's own window goes to the top, and its neighbour's takes everything below.
    let top = "0x8ffe00000-0x8ffffffff";
    let changes = format!(
        "{port}:pref={},{top} {beside}:pref={},0x100000000-0x8ffdfffff",
        show(first.get(port)),
        show(first.get(beside))
    );
    session.ok(&format!("pmem pci windows {changes}"))?;
    lives(&mut session, judge, "c: a window grows around its live card", &at)?;
    let before = state(&mut session)?;
    judge.is(
        "c: in the registers as well",
        "Some((100000000, 8ffdfffff))",
        &format!("{:x?}", before[beside].registers("pref")),
    );
    let big = Card::Empty(8 * GIB);
    session.plug("c1", big, "p1", &card)?;
    judge.is("c: Linux finds no room", "nowhere", &start(state(&mut session)?[&card].at("2")));
    let report = doctor(&mut session, judge)?;
    let by: Vec<&str> = remedies(&report).iter().filter_map(|remedy| remedy["by"].as_str()).collect();
    judge.is("c: only the module can", "module", by.first().unwrap_or(&""));
    script(&mut session, judge, "c: its script ends well", "fix.sh")?;
    let after = state(&mut session)?;
    judge.is("c: the card has its place", "true", &after[&card].at("2").is_some().to_string());
    judge.is(
        "c: the neighbour's window is another",
        "true",
        &(after[beside].at("pref") != before[beside].at("pref")).to_string(),
    );
    judge.is(
        "c: in the registers as well",
        &format!("{:?}", after[beside].at("pref")),
        &format!("{:?}", after[beside].registers("pref")),
    );
    lives(&mut session, judge, "c: and its card has its memory", &at)?;
    judge.none("c: nothing else moved", &differences(&before, &after, &[&card, port, beside]));
    let (status, said) =
        session.run(&format!("pmem pci windows {beside}:pref={},closed", show(after.get(beside))))?;
    judge.is(
        "c: a window is not closed over a live card",
        "1 true",
        &format!("{status} {}", said.contains("excludes something in the window")),
    );
    judge.none("c: a refusal changes nothing", &differences(&after, &state(&mut session)?, &[]));
    // The second of two changes reaches into the neighbour's window, so the first is rolled back.
    let own = show(after.get(beside));
    let (first, last) = after[beside].at("pref").unwrap_or_default();
    let two = format!(
        "{beside}:pref={own},{first:#x}-{:#x} {port}:pref={},{first:#x}-{last:#x}",
        last - MIB,
        show(after.get(port))
    );
    let (status, said) = session.run(&format!("pmem pci windows {two}"))?;
    let refused = said.contains("overlaps a neighbour");
    judge.is("c: of two changes both are refused", "1 true", &format!("{status} {refused}"));
    let has = state(&mut session)?;
    judge.none("c: and neither is made", &differences(&after, &has, &[]));
    judge.is(
        "c: nor in the registers",
        &format!("{:x?}", after[beside].at("pref")),
        &format!("{:x?}", has[beside].registers("pref")),
    );

    // (e) Undo.
    script(&mut session, judge, "e: it is taken back", "undo.sh")?;
    let back = state(&mut session)?;
    judge.is("e: the neighbour's window is as it was", &show(before.get(beside)), &show(back.get(beside)));
    lives(&mut session, judge, "e: and its card has its memory", &at)
}

fn show(function: Option<&Function>) -> String {
    function
        .and_then(|f| f.at("pref"))
        .map_or("closed".to_owned(), |(start, last)| format!("{start:#x}-{last:#x}"))
}

/// A switch with a live card: a second failed attempt closes its windows. That is predicted, avoided, detected
/// and repaired. Also bus numbers.
pub fn hazard(ready: &Ready, judge: &mut Judge) -> Result {
    let mut devices = [root_port("p1", 4, ""), switch("p1", 3), root_port("p2", 5, "")].concat();
    devices.extend(Card::Memory(16 * MIB).arguments("live", "d1"));
    let mut session = Session::boot(ready, "hazard", Mode::Native, &devices)?;
    let before = state(&mut session)?;
    let (own, port) = ("0000:02:00.0", "0000:02:01.0");
    let (live, card) = (card_of(&before, own)?, card_of(&before, port)?);
    let at = fill(&mut session, &before, &live)?;
    let big = Card::Memory(GIB);
    let plug = || Event::Plug { id: "c1".to_owned(), card: big, bus: "d2".to_owned(), port: port.to_owned() };
    let unplug = || Event::Unplug { id: "c1".to_owned(), card: big, port: port.to_owned() };

    let spec = big.spec();
    let deeds =
        format!("pci predict --do 'plug {spec} at {port}' --do 'unplug {port}' --do 'plug {spec} at {port}'");
    let (_, said) = session.pmem(&deeds)?;
    let hurts = |event: usize| {
        said["events"][event]["hurts"]
            .as_array()
            .into_iter()
            .flatten()
            .any(|part| part["function"] == live.as_str())
    };
    judge.is(
        "g: foretold: the first attempt hurts nobody, the second the live card",
        "false true",
        &format!("{} {}", hurts(0), hurts(2)),
    );
    judge.none("g: the first attempt comes as foretold", &check(&mut session, Mode::Native, &plug())?);
    lives(&mut session, judge, "g: after it the neighbour has its memory", &at)?;
    let report = doctor(&mut session, judge)?;
    let steps = remedies(&report)
        .iter()
        .flat_map(|remedy| remedy["steps"].as_array().cloned().unwrap_or_default())
        .collect::<Vec<_>>();
    let looks = steps.iter().any(|step| step.as_str().is_some_and(|step| step.contains("/pci_bus/")));
    judge.is("g: the doctor does not have the empty bus looked through", "false", &looks.to_string());
    // Avoid it with a rescan in between.
    judge.none("g: taking it out comes as foretold", &check(&mut session, Mode::Native, &unplug())?);
    judge.none("g: so does a rescan", &check(&mut session, Mode::Native, &Event::Rescan)?);
    judge.none("g: and another attempt then", &check(&mut session, Mode::Native, &plug())?);
    lives(&mut session, judge, "g: which leaves the neighbour alone", &at)?;
    // Let it happen.
    judge.none("g: taking it out comes as foretold again", &check(&mut session, Mode::Native, &unplug())?);
    judge.none("g: the attempt that hurts comes as foretold", &check(&mut session, Mode::Native, &plug())?);
    let has = session.run(&format!("peek {at}"))?.1;
    judge.is("g: the neighbour's memory is lost", "false", &(has.trim() == PATTERN).to_string());
    session.unplug("c1", big, &card)?;
    let report = doctor(&mut session, judge)?;
    judge.is("g: the doctor finds it", "given-up", report["ailments"][0]["kind"].as_str().unwrap_or(""));
    script(&mut session, judge, "g: its script ends well", "fix.sh")?;
    lives(&mut session, judge, "g: the neighbour has its memory again", &at)?;
    let repaired = state(&mut session)?;
    for bridge in ["0000:00:04.0", "0000:01:00.0", own] {
        let (map, registers) = (repaired[bridge].at("pref"), repaired[bridge].registers("pref"));
        judge.is(
            &format!("g: the registers of {bridge} are the map's"),
            &format!("{map:x?}"),
            &format!("{registers:x?}"),
        );
    }

    // (h) Bus numbers.
    session.qmp("device_add", serde_json::json!({ "driver": "pci-bridge", "id": "b1", "bus": "d3", "chassis_nr": 99, "shpc": false }))?;
    let third = card_of(&before, "0000:02:02.0")?;
    session.run(&format!("power {} 1", third.trim_end_matches(".0")))?;
    session.ok(&format!("appears {third}"))?;
    let report = doctor(&mut session, judge)?;
    let short =
        report["ailments"].as_array().into_iter().flatten().find(|ailment| ailment["kind"] == "buses");
    judge.is(
        "h: bus numbers are short",
        third.as_str(),
        short.and_then(|a| a["function"].as_str()).unwrap_or("not said"),
    );
    Ok(())
}
