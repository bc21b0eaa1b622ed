//! The queries that every input must survive.

use pmem_import::{Machine, PciIds, Sources};
use pmem_report::emit;
use pmem_report::iommu::IommuShow;
use pmem_report::picture::{self, Draw, Layout};
use pmem_report::text::{self, Detail, Styles};
use pmem_report::{MemoryReport, Resolved, Topo, View};
use std::io;

/// Reads sources, and runs every query that needs nothing else.
pub fn ask(mut sources: Sources) {
    let Ok((machine, _)) = Machine::read_with_mtrr(&mut sources) else { return };
    machine.state().check().expect("the model is sound");
    for addr in [0, 0x1000, 0xa_0000, 0xfee0_0000, 0x1_0000_0000, u64::MAX] {
        let _ = Resolved::new(&machine, machine.system, addr);
    }
    let topo = Topo::of(&machine, &PciIds::default());
    text::topo(&topo, Detail::All, &Styles::default(), &mut io::sink()).expect("a sink takes everything");
    let (memory, view, iommu) =
        (MemoryReport::of(&machine), View::of(&machine, machine.system), IommuShow::of(&machine));
    for picture in [topo.picture(), memory.picture(), view.picture(), iommu.picture()].into_iter().flatten() {
        let layout = Layout::of(picture);
        picture::html(&layout, &mut io::sink()).expect("a sink takes everything");
        picture::map(&layout, 80, &mut io::sink()).expect("a sink takes everything");
    }
    let _ = (emit::e820(&machine), emit::memmap(&machine), emit::dts(&topo, &machine));
    let _ = (emit::hwloc_xml(&topo), emit::qemu(&topo, &machine));
}
