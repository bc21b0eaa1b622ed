//! If you plug memory into a running machine, as a VMM or a DIMM driver: blocks go online and offline,
//! callbacks may object, and pages migrate out of the way.

use pmem_uvm::{
    Answer, Event, FrameRange, HotplugError, MemoryAction, NotifierKey, PageOwner, PageRequest, Plug,
    SharedUvm, Strategy, Uvm, Zone,
};
use std::error::Error;
use std::fmt::Write;
use std::sync::{Arc, Mutex};

/// 128 MiB in pages of 4 KiB, as on x86.
const BLOCK: u64 = 1 << 15;

/// Runs the example, and returns its output.
pub fn run() -> Result<String, Box<dyn Error>> {
    let mut out = String::new();
    let mut uvm = Uvm::default();
    uvm.plug(&Plug::new(FrameRange::new(0, 2 * BLOCK)?))?;
    let memory = SharedUvm::new(uvm, BLOCK)?;

    // A callback objects to block 4 going away while it is busy.
    let told = Arc::new(Mutex::new(Vec::new()));
    let (log, busy) = (told.clone(), Arc::new(Mutex::new(false)));
    let holds = busy.clone();
    let callback = move |_: &mut Uvm, event: &Event| {
        log.lock().expect("no panic").push(event.to_string());
        let going = event.action() == MemoryAction::GoingOffline as u32;
        if going && *holds.lock().expect("no panic") { Answer::Bad } else { Answer::Ok }
    };
    memory.hotplug(|_, hotplug| hotplug.register_memory(NotifierKey(1), 0, Box::new(callback)))??;
    let said = |out: &mut String| {
        told.lock().expect("no panic").drain(..).for_each(|line| *out += &format!("  {line}\n"));
    };

    // A DIMM of two blocks arrives on node 1.
    let dimm = FrameRange::new(4 * BLOCK, 2 * BLOCK)?;
    memory.hotplug(|uvm, hotplug| {
        hotplug.add(uvm, &Plug::new(dimm).node(1).free_list(1))?;
        hotplug.online(uvm, dimm, Zone::Movable)
    })??;
    writeln!(out, "plugged {dimm}: {} pages", memory.uvmexp().npages)?;
    said(&mut out);

    // A process on node 1 gets pages there. Its processor hands them out without a lock.
    let mut processor = memory.processor(1, 64)?;
    let owner = PageOwner::Anon { key: 42, offset: 0 };
    let page = processor.pagealloc(&PageRequest::new().strategy(Strategy::Numa).owner(owner))?;
    writeln!(out, "page {page:#x} is on node 1")?;

    // It cannot go while somebody objects.
    *busy.lock().expect("no panic") = true;
    let refused = memory.hotplug(|uvm, hotplug| hotplug.offline_and_remove(uvm, dimm, &mut |_, _| Ok(())))?;
    match refused {
        Err(HotplugError::Refused { errno, .. }) => writeln!(out, "refused with error {errno}")?,
        other => writeln!(out, "{other:?}")?,
    }
    said(&mut out);
    *busy.lock().expect("no panic") = false;

    // Then its pages migrate, and it goes.
    let mut moved = Vec::new();
    memory.hotplug(|uvm, hotplug| {
        hotplug.offline_and_remove(uvm, dimm, &mut |from, to| {
            moved.push((from, to));
            Ok(())
        })
    })??;
    for (from, to) in moved {
        let owner = memory.with(|uvm| uvm.page(to).map(|page| page.info().owner))?;
        writeln!(out, "page {from:#x} moved to {to:#x}, of {:?}", owner.ok_or("no page")?)?;
    }
    said(&mut out);
    writeln!(out, "{} pages are left", memory.uvmexp().physmem)?;
    Ok(out)
}

fn main() -> Result<(), Box<dyn Error>> {
    print!("{}", run()?);
    Ok(())
}
