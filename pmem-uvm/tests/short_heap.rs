//! A heap that is nearly full: what is plugged is refused or there, and nothing aborts.

use cap::Cap;
use pmem_uvm::{FrameRange, Hotplug, HotplugError, Plug, Settings, Uvm, UvmError, Zone};
use std::alloc::System;
use std::process::{Command, Stdio};

#[global_allocator]
static HEAP: Cap<System> = Cap::new(System, usize::MAX);

/// What is plugged into what.
const CASES: [&str; 6] = ["first", "node", "far", "joined", "seen", "blocks"];

const PLUGGED: i32 = 0;
const REFUSED: i32 = 3;

fn range(start: u64, count: u64) -> FrameRange {
    FrameRange::new(start, count).unwrap()
}

/// Plugs with so many bytes left; whether it was refused. What is refused changes nothing.
fn plug(case: &str, left: usize) -> i32 {
    let mut uvm = Uvm::new(Settings::default());
    if case != "first" {
        uvm.plug(&Plug::new(range(64, 64))).unwrap();
        uvm.plug(&Plug::new(range(1 << 12, 1 << 12))).unwrap();
    }
    let what = match case {
        "first" | "seen" => Plug::new(range(3, 4096)),
        "node" => Plug::new(range(1 << 20, 4096)).node(1),
        "far" => Plug::new(range(1 << 40, 77)).free_list(2),
        "joined" => Plug::new(range(1 << 13, 4096)).merging(),
        "blocks" => Plug::new(range(1 << 22, 1 << 13)),
        _ => panic!("{case}?"),
    };
    let what = if case == "seen" { Plug::new(range(128, 600)) } else { what };
    let seen = (case == "seen").then(|| uvm.snapshot());
    let mut hotplug = (case == "blocks").then(|| Hotplug::new(1 << 9, &uvm).unwrap());
    let before = (uvm.uvmexp(), uvm.nsegments(), uvm.nodes(), uvm.generation());
    HEAP.set_limit(HEAP.allocated() + left).unwrap();
    let done = match &mut hotplug {
        Some(hotplug) => hotplug.add(&mut uvm, &what).map(drop).map_err(|error| match error {
            HotplugError::Uvm(error) => error,
            error => panic!("{error}"),
        }),
        None => uvm.plug(&what).map(drop),
    };
    HEAP.set_limit(usize::MAX).unwrap();
    drop(seen);
    match done {
        Ok(()) => {
            assert!(hotplug.is_none_or(|mut hotplug| {
                hotplug.online(&mut uvm, range(1 << 22, 1 << 13), Zone::Normal).is_ok()
            }));
            PLUGGED
        }
        Err(UvmError::Storage { .. }) => {
            assert_eq!((uvm.uvmexp(), uvm.nsegments(), uvm.nodes(), uvm.generation()), before);
            REFUSED
        }
        Err(error) => panic!("{error}"),
    }
}

/// What the test below runs as a process of its own.
#[test]
fn one_plug() {
    if let (Ok(case), Ok(left)) = (std::env::var("CASE"), std::env::var("LEFT")) {
        std::process::exit(plug(&case, left.parse().unwrap()));
    }
}

#[test]
fn a_plug_is_refused_or_there_however_little_is_left() {
    let exe = std::env::current_exe().unwrap();
    let run = |case: &str, left: usize| {
        let mut child = Command::new(&exe);
        // The harness's own threads would allocate from what is left.
        child
            .args(["--exact", "one_plug", "--test-threads=1"])
            .env("CASE", case)
            .env("LEFT", left.to_string());
        let status = child.stdout(Stdio::null()).stderr(Stdio::null()).status().unwrap();
        let code = status.code().unwrap_or_else(|| panic!("{case} with {left} bytes left: {status}"));
        assert!([PLUGGED, REFUSED].contains(&code), "{case} with {left} bytes left: {status}");
        code == PLUGGED
    };
    for case in CASES {
        let (mut low, mut high) = (0, 1 << 22);
        assert!(!run(case, low) && run(case, high), "{case}");
        while high - low > 64 {
            let middle = (low + high) / 2;
            if run(case, middle) { high = middle } else { low = middle }
        }
        // Around where it is just enough, and where only the pages or a part of them fit.
        let near = (0..64).map(|i| (low + 16 * i).saturating_sub(512));
        let all = (0..64).map(|i| high * i / 64);
        for left in near.chain(all) {
            run(case, left);
        }
    }
}
