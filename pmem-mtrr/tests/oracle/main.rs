//! The planner against trying every set of registers on a few pages.

mod every;

use every::Every;
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::{
    Block, Cap, DefType, InvalidProblem, MemType, PathNode, Piece, Planner, Problem, Register, Requirement,
    Setting, Span, TypeSet, Width, Workspace,
};
use proptest::prelude::*;
use std::sync::LazyLock;

/// Four pages, and registers as wide as all of them, or not.
static FOUR: LazyLock<Every> = LazyLock::new(|| Every::new(4, true, &[], &[]));
static NARROW: LazyLock<Every> = LazyLock::new(|| Every::new(4, false, &[], &[]));

/// Pages, each of `2^order` bytes, from 0 on; what each may be.
fn wants(sets: &[TypeSet], order: u8) -> Vec<Requirement> {
    (0..)
        .zip(sets)
        .map(|(i, set)| Requirement {
            span: Span { start: i << order, end: (i + 1) << order },
            allowed: *set,
        })
        .collect()
}

fn problem(width: u8, wants: &[Requirement]) -> Problem<'_> {
    Problem { elsewhere: TypeSet::ANY, fixed: false, ..Problem::new(Width::new(width).unwrap(), wants) }
}

/// Puts an answer into registers, and asks these, not the planner, what each address is.
fn proven(problem: &Problem<'_>, default: MemType, registers: &pmem_mtrr::Registers) -> Setting {
    let mut setting = Setting::new(problem.width, Cap::new(40, true, true));
    setting.def = DefType::new(default, problem.fixed, true);
    setting.amd = problem.tom2.map(|top_mem2| pmem_mtrr::Amd {
        syscfg: pmem_mtrr::Syscfg(0x60_0000),
        top_mem: 0,
        top_mem2,
    });
    setting.programmed(default, registers).unwrap()
}

fn check(every: &Every, sets: &[TypeSet], problem: Problem<'_>, order: u8) {
    let mut room = vec![Piece::default(); 2 * problem.wants.len() + 4];
    let planner = Planner::new(problem, &mut room).unwrap();
    let mut choices = vec![0; planner.choices()];
    let optimum = planner.optimum();
    for default in MemType::ALL {
        let defaults: Vec<MemType> = (0..sets.len() as u64)
            .map(|i| {
                let over = problem.tom2.is_some_and(|end| (1 << 32..end).contains(&(i << order)));
                if over { MemType::Wb } else { default }
            })
            .collect();
        let least = every.fewest(sets, &defaults);
        assert_eq!(optimum.with(default).map(u32::from), least.map(|c| c.0), "{sets:?} {default}");
        let plan = planner.plan(
            Some(default),
            None,
            &mut Workspace { choices: &mut choices, path: &mut [PathNode::default(); DEPTH] },
        );
        let Some((count, new)) = least else {
            assert!(plan.is_err());
            continue;
        };
        let plan = plan.unwrap();
        assert_eq!(plan.registers.len() as u32, count);
        let changed = plan.registers.iter().skip(problem.pinned.len());
        assert_eq!(changed.filter(|r| !problem.present.contains(r)).count() as u32, new, "{sets:?}");
        let setting = proven(&problem, default, &plan.registers);
        setting
            .unmet(problem.wants, |span, allowed, got| panic!("{span} is {got:?}, not {allowed}: {sets:?}"));
    }
}

fn check_budget(every: &Every, sets: &[TypeSet], problem: Problem<'_>, order: u8) {
    let mut room = vec![Piece::default(); 2 * problem.wants.len() + 4];
    let planner = Planner::new(problem, &mut room).unwrap();
    for limit in problem.pinned.len()..5 {
        let mut costs = vec![0; planner.costs(limit)];
        for default in MemType::ALL {
            let least = every.least_lost(sets, default, limit as u32);
            let got = planner.within(limit, Some(default), &mut costs);
            let Some(least) = least else {
                assert!(got.is_err(), "{sets:?} {default} {limit}");
                continue;
            };
            let got = got.unwrap();
            assert_eq!(got.lost >> order, u64::from(least), "{sets:?} {default} {limit}");
            assert!(got.registers.len() <= limit);
            let mut lost = 0;
            proven(&problem, default, &got.registers).unmet(problem.wants, |span, _, _| lost += span.len());
            assert_eq!(lost, got.lost, "{sets:?} {default} {limit}");
        }
    }
}

const ONE: [TypeSet; 5] = {
    let mut sets = [TypeSet::EMPTY; 5];
    let mut i = 0;
    while i < 5 {
        sets[i] = TypeSet::only(MemType::ALL[i]);
        i += 1;
    }
    sets
};

#[test]
fn every_map_of_four_pages() {
    for map in 0..5usize.pow(4) {
        let sets: Vec<_> = (0..4).map(|i| ONE[map / 5usize.pow(i) % 5]).collect();
        check(&FOUR, &sets, problem(36, &wants(&sets, 12)), 12);
    }
}

/// `cargo test --release -p pmem-mtrr --test oracle -- --ignored`
#[test]
#[ignore = "takes minutes without optimization"]
fn every_map_of_eight_pages() {
    let every = Every::new(8, true, &[], &[]);
    for map in 0..5usize.pow(8) {
        let sets: Vec<_> = (0..8).map(|i| ONE[map / 5usize.pow(i) % 5]).collect();
        let wants = wants(&sets, 12);
        let mut room = [Piece::default(); 20];
        let optimum = Planner::new(problem(36, &wants), &mut room).unwrap().optimum();
        for default in MemType::ALL {
            let least = every.fewest(&sets, &[default; 8]).map(|c| c.0);
            assert_eq!(optimum.with(default).map(u32::from), least, "{sets:?} {default}");
        }
    }
}

/// `cargo test --release -p pmem-mtrr --test oracle -- --ignored`
#[test]
#[ignore = "takes minutes without optimization"]
fn choices_on_eight_pages() {
    let every = Every::new(8, true, &[], &[]);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(15_000));
    let sets = prop::collection::vec((1u8..32).prop_map(TypeSet::from_bits), 8);
    runner
        .run(&sets, |sets| {
            check(&every, &sets, problem(36, &wants(&sets, 12)), 12);
            Ok(())
        })
        .unwrap();
}

/// `cargo test --release -p pmem-mtrr --test oracle -- --ignored`
#[test]
#[ignore = "takes minutes without optimization"]
fn budgets_on_four_pages() {
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(10_000));
    runner
        .run(&prop::collection::vec(set(), 4), |sets| {
            check_budget(&FOUR, &sets, problem(36, &wants(&sets, 12)), 12);
            Ok(())
        })
        .unwrap();
}

#[test]
fn what_is_no_whole_page_is_named() {
    let named = |start, end| {
        let wants = [Requirement { span: Span { start, end }, allowed: TypeSet::only(MemType::Wb) }];
        Planner::new(problem(36, &wants), &mut [Piece::default(); 8]).err()
    };
    assert_eq!(named(0x1000, 0x3000), None);
    for (start, end) in [(0x1001, 0x3000), (0x1000, 0x3001), (0x3000, 0x3000), (0x1000, 1 << 36 | 0x1000)] {
        assert_eq!(named(start, end), Some(InvalidProblem::Span(Span { start, end })));
    }
}

/// One register for two pages apart: whichever is there already.
#[test]
fn of_plans_that_lose_as_much_the_one_with_fewer_changes_is_made() {
    let [wb, uc] = [MemType::Wb, MemType::Uc].map(TypeSet::only);
    let sets = [wb, uc, wb, uc];
    let wants = wants(&sets, 12);
    for page in [0u64, 2] {
        let present = [Register { block: Block::new(page << 12, 12).unwrap(), kind: MemType::Wb }];
        let mut room = [Piece::default(); 16];
        let planner = Planner::new(Problem { present: &present, ..problem(36, &wants) }, &mut room).unwrap();
        let mut costs = vec![0; planner.costs(1)];
        let got = planner.within(1, Some(MemType::Uc), &mut costs).unwrap();
        assert_eq!((got.lost, got.registers.iter().collect::<Vec<_>>()), (0x1000, present.to_vec()));
    }
}

/// One piece and no border; yet no register is as wide as the space.
#[test]
fn the_whole_space_alike() {
    for bits in 1u8..32 {
        let sets = [TypeSet::from_bits(bits); 4];
        check(&NARROW, &sets, problem(33, &wants(&sets, 31)), 31);
    }
}

fn set() -> impl Strategy<Value = TypeSet> {
    prop_oneof![prop::sample::select(&ONE[..]), Just(TypeSet::ANY), (1u8..32).prop_map(TypeSet::from_bits),]
}

/// A register on some of four pages.
fn register(order: u8) -> impl Strategy<Value = Register> {
    (0..7u8, 0..5usize).prop_map(move |(node, kind)| on_node(order, node, kind))
}

/// A register on some of four pages, or on all of them and more.
fn wide_register(order: u8) -> impl Strategy<Value = Register> {
    (0..9u8, 0..5usize).prop_map(move |(node, kind)| on_node(order, node, kind))
}

fn on_node(order: u8, node: u8, kind: usize) -> Register {
    let (start, size) = match node {
        0..4 => (node, 0),
        4 | 5 => ((node - 4) * 2, 1),
        larger => (0, larger - 4),
    };
    Register { block: Block::new(u64::from(start) << order, order + size).unwrap(), kind: MemType::ALL[kind] }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn choices_on_four_pages(sets in prop::collection::vec(set(), 4)) {
        check(&FOUR, &sets, problem(36, &wants(&sets, 12)), 12);
    }

    #[test]
    fn present_and_pinned_registers(
        sets in prop::collection::vec(set(), 4),
        present in prop::collection::vec(register(12), 0..4),
        pinned in prop::collection::vec(wide_register(12), 0..3),
    ) {
        let every = Every::new(4, true, &present, &pinned);
        let wants = wants(&sets, 12);
        check(&every, &sets, Problem { present: &present, pinned: &pinned, ..problem(36, &wants) }, 12);
    }

    /// Pages of 2 GiB fill an address space of 33 bits: no register is as wide as that, and AMD's rule may hold for some.
    #[test]
    fn the_rule_of_top_mem_2(sets in prop::collection::vec(set(), 4), tom2 in 2u64..5) {
        let wants = wants(&sets, 31);
        let tom2 = Some(tom2 << 31).filter(|end| *end > 1 << 32);
        check(&NARROW, &sets, Problem { tom2, ..problem(33, &wants) }, 31);
    }

    #[test]
    fn fewer_registers_than_it_takes(
        sets in prop::collection::vec(set(), 4),
        pinned in prop::collection::vec(wide_register(12), 0..3),
    ) {
        let every = Every::new(4, true, &[], &pinned);
        let wants = wants(&sets, 12);
        check_budget(&every, &sets, Problem { pinned: &pinned, ..problem(36, &wants) }, 12);
    }

    /// Layouts of a real size: as many registers as counted, proven by the registers themselves.
    #[test]
    fn plans_of_wide_layouts_hold(
        cuts in prop::collection::btree_map(0u64..1 << 20, set(), 1..12),
        strict in any::<bool>(), tom2 in prop::option::of(0x10_0001u64..0x40_0000),
    ) {
        let starts: Vec<_> = cuts.keys().copied().chain([1 << 20]).collect();
        let wants: Vec<_> = starts.windows(2).zip(cuts.values())
            .map(|(w, set)| Requirement { span: Span { start: w[0] << 12, end: w[1] << 12 }, allowed: *set })
            .collect();
        let elsewhere = if strict { TypeSet::only(MemType::Uc) } else { TypeSet::ANY };
        let problem = Problem {
            elsewhere, tom2: tom2.map(|p| p << 12), ..Problem::new(Width::DEFAULT, &wants)
        };
        let mut room = [Piece::default(); 64];
        let planner = Planner::new(problem, &mut room).unwrap();
        let optimum = planner.optimum();
        let least = MemType::ALL.into_iter().filter_map(|kind| optimum.with(kind)).min();
        prop_assert_eq!(optimum.fewest(), least);
        let mut choices = vec![0; planner.choices()];
        if let Ok(plan) = planner.plan(None, None, &mut Workspace { choices: &mut choices, path: &mut [PathNode::default(); DEPTH] }) {
            prop_assert_eq!(Some(plan.registers.len()), plan.optimum.fewest().map(usize::from));
            let setting = proven(&problem, plan.default, &plan.registers);
            let mut faults = vec![];
            setting.unmet(&wants, |span, _, _| if span.end > 1 << 20 { faults.push(span) });
            prop_assert_eq!(faults, vec![]);
        }
    }
}
