//! What must not take memory does not.

use pmem_core::{AddrRange, ArenaType, Attrs, Direction, Manager, Mapping, Metric, Resolution, Table, Walk};

#[test]
fn resolving_takes_no_memory() {
    let mut pmem = Manager::new();
    let range = |start, end| AddrRange::new(start, end).unwrap();
    let names = ["dev", "bus", "sys", "ram", "twin", "ring"];
    let [dev, bus, sys, ram, twin, ring] =
        names.map(|name| pmem.create_arena(name, ArenaType::VIEW).unwrap());
    pmem.prime(ram, range(0, 0x10000), Attrs::ram()).unwrap();
    pmem.prime(twin, range(0, 0x1000), Attrs::ram()).unwrap();
    let table = Mapping::Table(Table::new(range(0, 0x10000), 0x1000).unwrap());
    let one = Metric::new(1);
    pmem.connect_asymmetric(dev, bus, Direction::new(table, one), Direction::closed()).unwrap();
    pmem.connect(bus, sys, Mapping::Identity, one).unwrap();
    pmem.connect(sys, ram, Mapping::Identity, one).unwrap();
    pmem.connect(sys, twin, Mapping::Identity, one).unwrap();
    let forth = Mapping::window(range(0x20000, 0x30000), 0x30000).unwrap();
    let back = Mapping::window(range(0x30000, 0x40000), 0x20000).unwrap();
    pmem.connect_asymmetric(sys, ring, Direction::new(forth, one), Direction::new(back, one)).unwrap();
    let buffer = pmem.alloc(ram, &pmem_core::Request::exactly(range(0x2000, 0x3000))).unwrap();
    pmem.map(dev, buffer).unwrap();

    let state = pmem.state().clone();
    let mut walk = Walk::new();
    let mut answers = Vec::with_capacity(8);
    let used = allocation_counter::measure(|| {
        for (arena, addr) in
            [(dev, 0x10), (dev, 0x5000), (sys, 0x10), (bus, 0x2010), (sys, 0x20000), (bus, 0xfffff)]
        {
            answers.push(match state.resolve_in(&mut walk, arena, addr) {
                Resolution::Accept { .. } => "accept",
                Resolution::Fault { .. } => "fault",
                Resolution::Ambiguous(_) => "ambiguous",
                Resolution::Loop(_) => "loop",
            });
        }
    });
    assert_eq!(answers, ["accept", "fault", "ambiguous", "accept", "loop", "fault"]);
    assert_eq!(used.count_total, 0);
}
