//! `forwards.c` on the host.

use pmem_arena_host::bridge::{Bridge, Kind, Span};
use proptest::prelude::*;

const EBUSY: i32 = -16;
const EIO: i32 = -5;

fn span(start: u64, last: u64) -> Span {
    Span { start, last }
}

/// Any window that such registers can hold, or none.
fn window(kind: Kind, wide: bool) -> impl Strategy<Value = Span> {
    let (step, bits) = match (kind, wide) {
        (Kind::Io, false) => (0x1000, 4),
        (Kind::Io, true) => (0x1000, 20),
        (Kind::Pref, true) => (0x10_0000, 28),
        _ => (0x10_0000, 12),
    };
    let some = (0..1_u64 << bits, 0..1_u64 << bits, 0..bits).prop_map(
        move |(start, length, shift): (u64, u64, i32)| {
            let last = (start + (length >> shift)).min((1 << bits) - 1);
            span(start * step, last * step + step - 1)
        },
    );
    prop_oneof![1 => Just(Span::CLOSED), 6 => some]
}

fn case() -> impl Strategy<Value = (Kind, bool, Span, Span, u64, u64)> {
    prop_oneof![
        Just((Kind::Io, false)),
        Just((Kind::Io, true)),
        Just((Kind::Mem, false)),
        Just((Kind::Pref, false)),
        Just((Kind::Pref, true))
    ]
    .prop_flat_map(|(kind, wide)| {
        (Just(kind), Just(wide), window(kind, wide), window(kind, wide), any::<u64>(), any::<u64>())
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, max_global_rejects: 1_000_000, ..ProptestConfig::default() })]

    /// On the way nothing is forwarded that is not before or after: what nobody is behind closes, it does not reach over neighbours.
    #[test]
    fn an_unused_window_reaches_nothing_else_on_the_way((kind, wide, from, to, ..) in case()) {
        let mut bridge = Bridge::new(kind, wide, from);
        let (result, why) = bridge.forward(Span::CLOSED, to);
        prop_assert_eq!(result, 0, "{}", why);
        prop_assert!(bridge.forwards() == to || !(bridge.forwards().is_open() || to.is_open()), "{:x?}", bridge);
        for now in &bridge.trace {
            prop_assert!(from.covers(*now) || to.covers(*now), "{:x?} to {:x?}: {:x?} on the way", from, to, now);
        }
    }

    /// What is behind a window is reached all the time, and nothing else than lies between the old and the new ends.
    #[test]
    fn what_is_behind_a_window_is_reached_all_the_time((kind, wide, from, to, a, b) in case()) {
        prop_assume!(from.is_open() && to.is_open());
        let (a, b) = (to.start + a % (to.last - to.start + 1), to.start + b % (to.last - to.start + 1));
        let behind = span(a.min(b), a.max(b));
        // Of what is behind it, what is reached so far.
        let keep = span(behind.start.max(from.start), behind.last.min(from.last));
        prop_assume!(keep.is_open());
        let mut bridge = Bridge::new(kind, wide, from);
        let (result, _) = bridge.forward(behind, to);
        let hull = span(from.start.min(to.start), from.last.max(to.last));
        for now in &bridge.trace {
            prop_assert!(now.covers(keep) && hull.covers(*now), "{:x?} to {:x?}: {:x?} on the way", from, to, now);
        }
        if result == EBUSY {
            // No single write takes both halves of an address.
            prop_assert!(bridge.trace.is_empty() && wide);
            prop_assert!(from.start != to.start || from.last != to.last);
        } else {
            prop_assert_eq!(result, 0);
            prop_assert_eq!(bridge.forwards(), to);
        }
    }

    /// A write that is not taken is noticed.
    #[test]
    fn a_write_that_is_not_taken_is_an_error((kind, wide, from, to, which, _) in case()) {
        let mut trial = Bridge::new(kind, wide, from);
        prop_assume!(trial.forward(Span::CLOSED, to).0 == 0 && !trial.trace.is_empty());
        let mut bridge = Bridge::new(kind, wide, from);
        let ignored = which as usize % trial.trace.len();
        bridge.ignores = Some(ignored);
        let (result, why) = bridge.forward(Span::CLOSED, to);
        prop_assert_eq!((result, why.as_str()), (EIO, "the bridge did not accept a register value"));
        prop_assert_eq!(bridge.trace.len(), ignored + 1, "nothing more is written");
    }

    #[test]
    fn what_registers_can_hold_they_can((kind, wide, span, ..) in case()) {
        prop_assert!(Bridge::new(kind, wide, Span::CLOSED).can_forward(span));
    }
}

#[test]
fn what_registers_cannot_hold_they_cannot() {
    let cases = [
        (Kind::Io, false, span(0x1800, 0x1fff)),
        (Kind::Io, false, span(0x1000, 0x1ffe)),
        (Kind::Io, false, span(0x1_0000, 0x1_0fff)),
        (Kind::Mem, false, span(0xe008_0000, 0xe00f_ffff)),
        (Kind::Mem, false, span(0xfff0_0000, 0x1_000f_ffff)),
        (Kind::Pref, false, span(0x1_0000_0000, 0x1_000f_ffff)),
    ];
    for (kind, wide, span) in cases {
        assert!(!Bridge::new(kind, wide, Span::CLOSED).can_forward(span), "{kind:?} {span:x?}");
    }
}

#[test]
fn both_ends_across_4g_at_once_are_refused_over_what_is_behind() {
    let mut bridge = Bridge::new(Kind::Pref, true, span(0xf000_0000, 0x1_0fff_ffff));
    let keep = span(0xf000_0000, 0xffff_ffff);
    let (result, why) = bridge.forward(keep, span(0xe000_0000, 0xffff_ffff));
    assert!(result == EBUSY && why.starts_with("this would cut off"), "{result} {why}");
    assert!(bridge.trace.is_empty(), "nothing is written");
}
