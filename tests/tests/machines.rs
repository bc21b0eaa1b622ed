//! Real machines: each of the corpus imports, with the facts that are known of it.

use pmem_core::{Mapping, Metric};
use pmem_import::{Machine, ResourceKind};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(dir: &Path) -> Machine {
    let machine = Machine::open(&[dir.to_owned()]).unwrap();
    assert_eq!(machine.manager.check(), Ok(()), "{}", dir.display());
    machine
}

fn corpus(name: &str) -> Option<Machine> {
    Some(read(&pmem_tests::corpus()?.join("machines").join(name)))
}

fn distances(machine: &Machine) -> BTreeSet<u32> {
    machine.distances().rows.values().flatten().copied().collect()
}

#[test]
fn every_machine_of_the_corpus_imports() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let machines: Vec<_> =
        fs::read_dir(corpus.join("machines")).unwrap().map(|e| e.unwrap().path()).collect();
    assert_eq!(machines.len(), 10);
    for dir in machines {
        let machine = read(&dir);
        let unplaced = machine.nodes.values().filter_map(|node| node.ram);
        for ram in unplaced {
            let spans = machine.state().arena(ram).unwrap().spans().count();
            assert_eq!(spans, 0, "{}: no source gives addresses of RAM, so none are invented", dir.display());
        }
        assert!(machine.findings.iter().any(|w| w.text.contains("unknown addresses")), "{}", dir.display());
    }
}

#[test]
fn opterons_are_joined_by_sixteen_links_and_every_other_pair_by_two_of_them() {
    let Some(machine) = corpus("supermicro-h8qg6-4xOpteron-8node") else { return };
    assert_eq!(distances(&machine), BTreeSet::from([10, 16, 22]));
    let near = |a: u32, b: u32| machine.distances().get(a, b) == Some(16);
    let pairs = || (0..8).flat_map(|a| (a + 1..8).map(move |b| (a, b)));
    assert_eq!(pairs().filter(|(a, b)| near(*a, *b)).count(), 16);
    for (a, b) in pairs().filter(|(a, b)| !near(*a, *b)) {
        assert!((0..8).any(|via| near(a, via) && near(via, b)), "{a} to {b}");
    }
}

#[test]
fn sysfs_distances_equal_the_slit() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    let slit = fs::read(corpus.join("acpi/Supermicro_H8_H8QG6_58E82626C3C5/slit.dat")).unwrap();
    let machine = read(&corpus.join("machines/supermicro-h8qg6-4xOpteron-8node"));
    // ACPI 6.5, 5.2.17: the number of localities after the 36 bytes of header, then the matrix.
    let count = u64::from_le_bytes(slit[36..44].try_into().unwrap());
    let matrix: Vec<u32> = slit[44..].iter().map(|d| u32::from(*d)).collect();
    let ours: Vec<u32> = machine.distances().rows.values().flatten().copied().collect();
    assert_eq!((count, ours), (8, matrix));
}

#[test]
fn altix_and_superdome_have_their_cpus_from_masks() {
    let Some(altix) = corpus("sgi-altix-ia64-64node") else { return };
    assert_eq!(altix.numa.all.len(), 64);
    assert_eq!(distances(&altix), BTreeSet::from([10, 22, 26, 30, 34]));
    assert!(altix.numa.all.iter().all(|node| node.cpus.as_ref().is_some_and(|cpus| !cpus.is_empty())));
    let Some(superdome) = corpus("hp-superdome-ia64-17node") else { return };
    assert_eq!(superdome.numa.all.len(), 17);
    assert!(BTreeSet::from([14, 17, 20]).is_subset(&distances(&superdome)), "{:?}", distances(&superdome));
}

#[test]
fn power9_has_sparse_node_ids_and_gpu_nodes_without_cpus() {
    let Some(machine) = corpus("ibm-power9-v100-gpu-nodes") else { return };
    let ids: Vec<u32> = machine.numa.all.iter().map(|node| node.id).collect();
    assert_eq!(ids, [0, 8, 250, 251, 252, 253, 254, 255]);
    let bare = machine.numa.all.iter().filter(|node| node.cpus.as_deref() == Some(&[]));
    assert_eq!(bare.map(|node| node.id).collect::<Vec<_>>(), [250, 251, 252, 253, 254, 255]);
    assert_eq!(distances(&machine), BTreeSet::from([10, 40, 80]));
    // As measured, from initiator to target: node 0 to the memory of GPU node 255.
    let (view, ram) = (machine.nodes[&0].view.unwrap(), machine.nodes[&255].ram.unwrap());
    assert_eq!(machine.state().distance(view, ram), Metric::new(80));
    assert_eq!(machine.nodes[&255].view, None, "nothing is known that would look from there");
}

#[test]
fn initiators_of_two_classes_are_told_apart() {
    let Some(machine) = corpus("qemu-hmat-initiators-generic-11node") else { return };
    let node = machine.numa.get(5).unwrap();
    let [Some(best), Some(best_cpu)] = &node.access else { panic!("{:?}", node.access) };
    assert_eq!((&best.initiators[..], &best_cpu.initiators[..]), (&[4][..], &[0][..]));
    assert_ne!(best.performance, best_cpu.performance);
    let d = |a: u32, b: u32| machine.distances().get(a, b).unwrap();
    let mut broken = 0;
    for a in 0..11u32 {
        for b in (0..11).filter(|b| *b != a) {
            broken += u32::from((0..11).any(|via| via != a && via != b && d(a, via) + d(via, b) < d(a, b)));
        }
    }
    assert_eq!(broken, 14, "distances are no sums of smaller ones, and are kept as they are");
}

/// Memory resources of functions behind bridges, windows of bridges included, and how many of them the system bus
/// reaches at the address that Linux gives.
fn behind_bridges(machine: &Machine) -> (usize, usize) {
    let (mut all, mut reached) = (0, 0);
    for function in machine.functions.iter().filter(|f| f.parent.is_some()) {
        let bars = machine.bars.get(&function.bdf()).map_or(&[][..], |bars| &bars[..]);
        for resource in function.resources.iter().filter(|r| !r.io) {
            all += 1;
            let region = bars.iter().find(|(kind, _)| *kind == resource.kind).map(|(_, region)| *region);
            let ends = [resource.range.start(), resource.range.last()];
            reached += usize::from(ends.iter().all(|addr| {
                let place = machine.state().resolve(machine.system, *addr).accepted();
                place.is_some_and(|p| resource.kind == ResourceKind::Window || p.region == region)
            }));
        }
    }
    (all, reached)
}

fn bridges(machine: &Machine) -> usize {
    machine.functions.iter().filter(|f| f.header.as_ref().is_some_and(|h| h.bridge().is_some())).count()
}

#[test]
fn every_memory_resource_behind_a_bridge_lies_in_its_windows() {
    let Some(machine) = corpus("dell-dcs8000z-2xSNB-2node-137pci") else { return };
    assert_eq!((machine.functions.len(), bridges(&machine)), (137, 9));
    assert_eq!(behind_bridges(&machine), (16, 16));
    let Some(machine) = corpus("dell-r910-4xNehalemEX-4node") else { return };
    assert_eq!((bridges(&machine), behind_bridges(&machine)), (14, (13, 13)));
}

#[test]
fn a_node_that_is_alone_keeps_its_place_in_a_wider_row() {
    let Some(machine) = corpus("dell-r630-node0-offline") else { return };
    assert_eq!(machine.numa.all.iter().map(|n| n.id).collect::<Vec<_>>(), [1]);
    assert_eq!(machine.distances().columns, [0, 1]);
    assert_eq!((machine.distances().get(1, 0), machine.distances().get(1, 1)), (Some(21), Some(10)));
}

#[test]
fn a_wide_pci_domain_is_one() {
    let Some(machine) = corpus("pci-domain-32bit-vm") else { return };
    assert!(machine.buses.contains_key(&(0x10000, 0)) && machine.buses.contains_key(&(0, 0)));
    assert_eq!(machine.functions.len(), 9);
}

#[test]
fn files_of_iomem_alone_import() {
    let Some(corpus) = pmem_tests::corpus() else { return };
    for name in ["hyperv-gen2-2019", "intel-q67-2014"] {
        let machine = read(&corpus.join("iomem").join(name));
        let rom = machine.state().resolve(machine.system, 0xf_fff0).accepted().unwrap();
        assert_eq!(machine.region_name(rom.region.unwrap()), "System ROM", "{name}");
    }
    let machine = read(&corpus.join("iomem/intel-q67-2014"));
    let bar = machine.state().resolve(machine.system, 0xe150_0000).accepted().unwrap();
    assert_eq!(machine.region_name(bar.region.unwrap()), "0000:00:19.0 BAR 0");
    assert_eq!(machine.arena_name(bar.arena), "pci 0000:00");
}

#[test]
fn our_numa_machines_have_ram_by_node_and_measured_performance() {
    let dir = pmem_tests::captured("qemu-numa2-hmat");
    let machine = read(dir.path());
    assert_eq!(machine.findings, []);
    let bytes = |id: u32| {
        let ram = machine.state().arena(machine.nodes[&id].ram.unwrap()).unwrap();
        ram.spans().map(|(range, _)| range.len()).sum::<u64>()
    };
    // 512 MiB and 1 GiB, less what firmware keeps of the lowest megabyte and the top.
    assert!((500 << 20..=512 << 20).contains(&bytes(0)), "{}", bytes(0));
    assert!((1000 << 20..=1024 << 20).contains(&bytes(1)), "{}", bytes(1));
    let measured = |from: u32, to: u32| {
        let (view, ram) = (machine.nodes[&from].view.unwrap(), machine.nodes[&to].ram.unwrap());
        let link = machine.state().links().find(|(_, l)| l.left == view && l.right == ram).unwrap().1;
        (link.to_right.metric.get(), link.to_right.performance.read_latency)
    };
    assert_eq!(measured(0, 0), (10, Some(80)));
    assert_eq!(measured(1, 1), (10, Some(100)));
    // Linux tells the best initiators only: the way across is unknown, and stays so.
    assert_eq!(measured(0, 1), (21, None));

    let dir = pmem_tests::captured("qemu-numa4-hmat");
    let machine = read(dir.path());
    assert_eq!(machine.numa.get(3).unwrap().cpus.as_deref(), Some(&[][..]), "memory alone");
    let rows: Vec<&Vec<u32>> = machine.distances().rows.values().collect();
    assert_eq!(rows, [&[10, 16, 22, 30], &[16, 10, 24, 17], &[22, 24, 10, 31], &[30, 17, 31, 10]]);
    assert_eq!(machine.numa.get(3).unwrap().access[0].as_ref().unwrap().initiators, [1]);
}

#[test]
fn our_switches_lead_to_every_function_and_keep_what_is_reserved() {
    let dir = pmem_tests::captured("qemu-pcie-switches");
    let machine = read(dir.path());
    assert_eq!((machine.functions.len(), machine.findings.len()), (28, 0), "{:?}", machine.findings);
    let (all, reached) = behind_bridges(&machine);
    assert!(all >= 10 && reached == all, "{reached} of {all}");
    // The shared memory card: 64 MiB, prefetchable, behind the second root port.
    let place = machine.state().resolve(machine.system, 0x1_0000_0000).accepted().unwrap();
    let range = machine.manager.range(place.region.unwrap()).unwrap();
    assert_eq!((range.start(), range.len()), (0x1_0000_0000, 64 << 20));
    // A port that keeps 1 GiB for a card that is not there yet: a window, and free space behind it.
    let (link, _) = machine
        .link_names
        .iter()
        .find(|(id, name)| {
            let link = machine.state().link(**id).unwrap();
            let windows = machine.state().windows(**id, pmem_core::Way::ToRight);
            let wide = windows.iter().flatten().any(|w| w.len() == 1 << 30);
            name.contains("bridge") && matches!(link.to_right.mapping, Mapping::Windows(_)) && wide
        })
        .expect("a window of 1 GiB");
    let child = machine.state().link(*link).unwrap().right;
    let free: u64 = machine
        .state()
        .arena(child)
        .unwrap()
        .free_in(pmem_core::AddrRange::ALL)
        .map(|(gap, _)| gap.len())
        .sum();
    assert!(free >= 1 << 30);
    // DMA: from the innermost bus up through every switch to memory.
    let inner = machine
        .functions
        .iter()
        .filter(|f| f.parent.is_some())
        .max_by_key(|f| f.at.as_ref().unwrap().source.len());
    let inner = inner.unwrap();
    let bus = machine.buses[&(inner.bdf().segment, inner.bdf().bus)].memory;
    let seen = machine.state().resolve(bus, 0x20_0000).accepted().unwrap();
    assert_eq!(machine.arena_name(seen.arena), "node0 RAM");
    assert!(seen.cost.get() >= 5, "{}", seen.cost);
}

#[test]
fn our_host_bridges_hang_on_their_nodes() {
    let dir = pmem_tests::captured("qemu-pxb");
    let machine = read(dir.path());
    assert_eq!(machine.findings, []);
    let roots: Vec<(u32, u8)> =
        machine.buses.keys().copied().filter(|(_, bus)| [0, 0x40, 0x80].contains(bus)).collect();
    assert_eq!(roots, [(0, 0), (0, 0x40), (0, 0x80)]);
    // From bus 80 on node 1: its own node's memory is nearer than the other's.
    let cost = |node: u32| {
        let ram = machine.nodes[&node].ram.unwrap();
        let (range, _) = machine.state().arena(ram).unwrap().spans().last().unwrap();
        let seen =
            machine.state().resolve(machine.buses[&(0, 0x80)].memory, range.start()).accepted().unwrap();
        assert_eq!(seen.arena, ram);
        seen.cost
    };
    assert!(cost(1) < cost(0), "{} {}", cost(1), cost(0));
}
