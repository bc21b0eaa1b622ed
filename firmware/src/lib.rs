//! `pmem_mtrr.h`: the MTRR planner for C.
//!
//! With the feature `prove`, a panic calls a function that exists nowhere. A program that links then proves
//! that no panic is reachable.
#![no_std]

use core::mem::{align_of, size_of};
use core::slice;
use pmem_mtrr::plan::DEPTH;
use pmem_mtrr::{
    MemType, PathNode, Piece, Planner, Problem, Refusal, Register, Registers, Requirement, Span, TypeSet,
    Variable, Width, Workspace,
};

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    #[cfg(feature = "prove")]
    {
        unsafe extern "C" {
            fn pmem_mtrr_never_panics() -> !;
        }
        // SAFETY: the function does not exist, so nothing that calls it links.
        unsafe { pmem_mtrr_never_panics() }
    }
    #[cfg(not(feature = "prove"))]
    loop {
        core::hint::spin_loop();
    }
}

const MOST: usize = 40;
const MOST_WANTS: usize = 1024;
/// AMD's TOP_MEM2 holds multiples of 8 MiB.
const TOP_MEM_BITS: u64 = 0x000f_ffff_ff80_0000;

#[repr(C)]
#[derive(Clone, Copy)]
struct CWant {
    start: u64,
    end: u64,
    allowed: u32,
    reserved: u32,
}

#[repr(C)]
#[derive(Clone, Copy)]
struct CRegister {
    base: u64,
    mask: u64,
}

/// The request; see `pmem_mtrr.h`.
#[repr(C)]
pub struct Request {
    size: u32,
    bits: u8,
    registers: u8,
    keep_free: u8,
    default_type: u8,
    fixed: u8,
    reserved: [u8; 3],
    elsewhere: u32,
    available: u32,
    wants_count: u32,
    present_count: u32,
    tom2: u64,
    wants: *const CWant,
    present: *const CRegister,
    pinned: u64,
}

/// The answer; see `pmem_mtrr.h`.
#[repr(C)]
pub struct Answer {
    default_type: u8,
    count: u8,
    needed: u8,
    reserved: u8,
    optimum: [u8; 8],
    lost: u64,
    registers: [CRegister; MOST],
}

const OK: i32 = 0;
const LOSS: i32 = 1;
const INVALID: i32 = -1;
const WORK: i32 = -2;
const IMPOSSIBLE: i32 = -3;

/// Converts a set: C has bit `1 << number` for a memory type, the planner has bit `1 << index`.
fn set(bits: u32) -> TypeSet {
    MemType::ALL
        .into_iter()
        .filter(|kind| bits & 1 << kind.bits() != 0)
        .fold(TypeSet::EMPTY, |set, kind| set.or(TypeSet::only(kind)))
}

/// The unused part of the caller's work space.
struct Work {
    at: *mut u8,
    left: usize,
}

impl Work {
    /// Takes room for `count` values, all set to `value`; `None` if there is not enough left.
    fn take<'w, T: Copy>(&mut self, count: usize, value: T) -> Option<&'w mut [T]> {
        let skip = self.at.align_offset(align_of::<T>());
        let bytes = count.checked_mul(size_of::<T>())?;
        let left = self.left.checked_sub(skip)?.checked_sub(bytes)?;
        let start = self.at.wrapping_add(skip).cast::<T>();
        for i in 0..count {
            // SAFETY: `start` is aligned, and `count` values from it lie in the caller's work space.
            unsafe { start.wrapping_add(i).write(value) };
        }
        self.at = self.at.wrapping_add(skip + bytes);
        self.left = left;
        // SAFETY: these values were just written, and nothing else refers to them, because each part of the
        // work space is handed out once.
        Some(unsafe { slice::from_raw_parts_mut(start, count) })
    }
}

const NO_WANT: Requirement = Requirement { span: Span { start: 0, end: 0 }, allowed: TypeSet::EMPTY };

fn pieces(wants: usize) -> usize {
    2 * wants + 4
}

fn halvings(bits: u8) -> usize {
    usize::from(bits).saturating_sub(12)
}

/// Returns the bytes of work space that a request needs; see `pmem_mtrr.h`.
#[unsafe(no_mangle)]
pub extern "C" fn pmem_mtrr_work(wants_count: u32, bits: u8, registers: u8, loss: i32) -> usize {
    let wants = (wants_count as usize).min(MOST_WANTS);
    let (pieces, halvings) = (pieces(wants), halvings(bits.min(52)));
    let costs = if loss == 0 { 0 } else { 14 * (halvings + 2) * (usize::from(registers).min(MOST) + 1) };
    wants * size_of::<Requirement>()
        + pieces * size_of::<Piece>()
        + (1 + halvings * (pieces + MOST)) * size_of::<u32>()
        + DEPTH * size_of::<PathNode>()
        + costs * size_of::<u64>()
        // Padding to align each array.
        + 64
}

/// Plans registers; see `pmem_mtrr.h`.
///
/// # Safety
/// `request`, everything it points to, and `answer` are valid. `work` points to `work_size` bytes that nobody
/// else uses meanwhile.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pmem_mtrr_plan(
    request: *const Request,
    work: *mut u8,
    work_size: usize,
    answer: *mut Answer,
) -> i32 {
    // SAFETY: the caller guarantees it; null pointers are refused.
    let (Some(request), Some(answer)) = (unsafe { request.as_ref() }, unsafe { answer.as_mut() }) else {
        return INVALID;
    };
    if request.size as usize != size_of::<Request>() || work.is_null() {
        return INVALID;
    }
    match plan(request, Work { at: work, left: work_size }, answer) {
        Ok(code) | Err(code) => code,
    }
}

fn plan(request: &Request, mut work: Work, answer: &mut Answer) -> Result<i32, i32> {
    let width = Width::new(request.bits).ok_or(INVALID)?;
    let (count, here) = (request.wants_count as usize, request.present_count as usize);
    let empty = |at: bool, count: usize| at && count > 0;
    if count > MOST_WANTS
        || here > MOST
        || usize::from(request.registers) > MOST
        || empty(request.wants.is_null(), count)
        || empty(request.present.is_null(), here)
    {
        return Err(INVALID);
    }
    let default = match request.default_type {
        0xff => None,
        number => Some(MemType::from_bits(number).ok_or(INVALID)?),
    };
    let wants = work.take(count, NO_WANT).ok_or(WORK)?;
    for (i, want) in wants.iter_mut().enumerate() {
        // SAFETY: the caller guarantees that there are `count` of them.
        let given = unsafe { request.wants.wrapping_add(i).read() };
        *want =
            Requirement { span: Span { start: given.start, end: given.end }, allowed: set(given.allowed) };
    }
    let mut registers = [None; MOST];
    let (mut present, mut pinned) = (List::new(), List::new());
    for (i, slot) in registers.iter_mut().enumerate().take(here) {
        // SAFETY: as above.
        let CRegister { base, mask } = unsafe { request.present.wrapping_add(i).read() };
        *slot = Variable { base, mask }.register(width);
        if let Some(register) = *slot {
            present.push(register);
        }
        if request.pinned >> i & 1 != 0 {
            pinned.push((*slot).ok_or(INVALID)?);
        }
    }
    let problem = Problem {
        elsewhere: set(request.elsewhere),
        tom2: Some(request.tom2)
            .filter(|end| *end > 1 << 32)
            .map(|end| (end & TOP_MEM_BITS).min(width.end())),
        fixed: request.fixed != 0,
        available: set(request.available),
        present: present.all(),
        pinned: pinned.all(),
        ..Problem::new(width, wants)
    };
    let pieces = work.take(pieces(count), Piece::default()).ok_or(WORK)?;
    let planner = Planner::new(problem, pieces).map_err(|_| INVALID)?;
    let choices = work.take(planner.choices(), 0).ok_or(WORK)?;
    let path = work.take(DEPTH, PathNode::default()).ok_or(WORK)?;
    let optimum = planner.optimum();
    answer.optimum = [0xff; 8];
    for (slot, kind) in answer.optimum.iter_mut().zip(MemType::ALL) {
        *slot = optimum.with(kind).unwrap_or(0xff);
    }
    let needed = default.map_or(optimum.fewest(), |kind| optimum.with(kind));
    answer.needed = needed.unwrap_or(0xff);
    (answer.lost, answer.reserved) = (0, 0);
    let limit = usize::from(request.registers.saturating_sub(request.keep_free));
    match planner.plan(default, None, &mut Workspace { choices, path }) {
        Ok(plan) if plan.registers.len() <= limit => {
            put(answer, plan.default, &plan.registers, width);
            return Ok(OK);
        }
        Ok(_) | Err(Refusal::TooMany(_) | Refusal::Impossible) => {}
        Err(Refusal::Bad(_)) => return Err(INVALID),
    }
    let costs = work.take(planner.costs(limit), 0).ok_or(WORK)?;
    let best = planner.within(limit, default, costs).map_err(|_| IMPOSSIBLE)?;
    answer.lost = best.lost;
    put(answer, best.default, &best.registers, width);
    Ok(LOSS)
}

/// A list of as many registers as a processor can have.
struct List {
    all: [Register; MOST],
    len: usize,
}

impl List {
    fn new() -> Self {
        let page = pmem_mtrr::Block::PAGE;
        Self { all: [Register { block: page, kind: MemType::Uc }; MOST], len: 0 }
    }

    fn push(&mut self, register: Register) {
        if let Some(slot) = self.all.get_mut(self.len) {
            *slot = register;
            self.len += 1;
        }
    }

    fn all(&self) -> &[Register] {
        self.all.get(..self.len).unwrap_or(&[])
    }
}

fn put(answer: &mut Answer, default: MemType, registers: &Registers, width: Width) {
    answer.default_type = default.bits();
    answer.count = registers.len() as u8;
    answer.registers = [CRegister { base: 0, mask: 0 }; MOST];
    for (slot, register) in answer.registers.iter_mut().zip(registers.iter()) {
        let Variable { base, mask } = Variable::new(register, width);
        *slot = CRegister { base, mask };
    }
}
