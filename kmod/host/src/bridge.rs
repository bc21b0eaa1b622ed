//! A simulated bridge, whose window registers the module's C code writes. It records what the window forwards after
//! each write.

use std::ffi::{CStr, c_char, c_int, c_void};

/// A range of addresses, both ends inclusive. It is closed if its start is above its last.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first address.
    pub start: u64,
    /// The last address, inclusive.
    pub last: u64,
}

impl Span {
    /// The closed range.
    pub const CLOSED: Self = Self { start: 1, last: 0 };

    /// Returns whether the range contains any address.
    #[must_use]
    pub const fn is_open(self) -> bool {
        self.start <= self.last
    }

    /// Returns whether the range contains all of another. A closed range is contained in every range.
    #[must_use]
    pub const fn covers(self, inner: Self) -> bool {
        !inner.is_open() || (self.is_open() && self.start <= inner.start && inner.last <= self.last)
    }
}

/// The kind of window, with the numbers of `pmem_arena.h`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// I/O ports.
    Io = 0,
    /// Memory.
    Mem = 1,
    /// Prefetchable memory.
    Pref = 2,
}

/// C's `struct layout`.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
struct Layout {
    bytes: [u8; 7],
    words: [u32; 3],
}

/// A bridge with one window.
#[derive(Clone, Debug)]
pub struct Bridge {
    registers: [u8; 64],
    kind: Kind,
    wide: bool,
    /// What the window forwarded after each write.
    pub trace: Vec<Span>,
    /// The index of a write that the bridge ignores, from 0.
    pub ignores: Option<usize>,
}

impl Bridge {
    /// Creates a bridge that forwards `span`. A `wide` one has registers for the upper halves of addresses.
    #[must_use]
    pub fn new(kind: Kind, wide: bool, span: Span) -> Self {
        let mut new = Self { registers: [0; 64], kind, wide, trace: Vec::new(), ignores: None };
        // Bits 3:0 of base and limit tell whether there are upper halves: PCI-to-PCI Bridge Architecture 1.2,
        // 3.2.5.6 and 3.2.5.9.
        let (base, limit) = if span.is_open() { (span.start, span.last) } else { (0xffff_f000, 0) };
        let is_wide = u64::from(wide);
        match kind {
            Kind::Io => {
                new.put(0x1c, 1, base >> 8 & 0xf0 | is_wide);
                new.put(0x1d, 1, limit >> 8 & 0xf0 | is_wide);
                if wide && span.is_open() {
                    new.put(0x30, 2, base >> 16);
                    new.put(0x32, 2, limit >> 16);
                }
            }
            Kind::Mem => {
                new.put(0x20, 2, base >> 16 & 0xfff0);
                new.put(0x22, 2, limit >> 16 & 0xfff0);
            }
            Kind::Pref => {
                new.put(0x24, 2, base >> 16 & 0xfff0 | is_wide);
                new.put(0x26, 2, limit >> 16 & 0xfff0 | is_wide);
                if wide && span.is_open() {
                    new.put(0x28, 4, base >> 32);
                    new.put(0x2c, 4, limit >> 32);
                }
            }
        }
        new
    }

    fn put(&mut self, at: usize, size: usize, value: u64) {
        self.registers[at..at + size].copy_from_slice(&value.to_le_bytes()[..size]);
    }

    fn get(&self, at: usize, size: usize) -> u64 {
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self.registers[at..at + size]);
        u64::from_le_bytes(bytes)
    }

    /// Returns what the window forwards.
    #[must_use]
    pub fn forwards(&self) -> Span {
        let upper = |at, size| if self.wide { self.get(at, size) } else { 0 };
        match self.kind {
            Kind::Io => Span {
                start: (self.get(0x1c, 1) & 0xf0) << 8 | upper(0x30, 2) << 16,
                last: (self.get(0x1d, 1) & 0xf0) << 8 | upper(0x32, 2) << 16 | 0xfff,
            },
            Kind::Mem => Span {
                start: (self.get(0x20, 2) & 0xfff0) << 16,
                last: (self.get(0x22, 2) & 0xfff0) << 16 | 0xf_ffff,
            },
            Kind::Pref => Span {
                start: (self.get(0x24, 2) & 0xfff0) << 16 | upper(0x28, 4) << 32,
                last: (self.get(0x26, 2) & 0xfff0) << 16 | upper(0x2c, 4) << 32 | 0xf_ffff,
            },
        }
    }

    /// Runs the C code that makes the window forward `span`, and keep forwarding `keep` all the time. Returns 0 or
    /// a negative errno, and the reason.
    pub fn forward(&mut self, keep: Span, span: Span) -> (c_int, String) {
        let mut why = c"".as_ptr();
        // SAFETY: all structures are local; C sets `why` to one of its string constants.
        unsafe {
            let layout = layout_of(self.kind as u32, self.wide);
            let result = forward((&raw mut *self).cast(), &raw const layout, keep, span, &raw mut why);
            (result, CStr::from_ptr(why).to_string_lossy().into_owned())
        }
    }

    /// Returns whether the window's registers can express `span`.
    #[must_use]
    pub fn can_forward(&self, span: Span) -> bool {
        // SAFETY: the structure is local.
        unsafe {
            let layout = layout_of(self.kind as u32, self.wide);
            can_forward(&raw const layout, span)
        }
    }
}

unsafe extern "C" {
    fn layout_of(kind: u32, wide: bool) -> Layout;
    fn can_forward(layout: *const Layout, span: Span) -> bool;
    fn forward(
        bridge: *mut c_void,
        layout: *const Layout,
        keep: Span,
        span: Span,
        why: *mut *const c_char,
    ) -> c_int;
}

/// The C code's read of configuration space.
///
/// # Safety
/// `bridge` must point to a [`Bridge`], and `value` must be writable.
#[unsafe(no_mangle)]
unsafe extern "C" fn config_read(bridge: *const c_void, at: u32, size: u32, value: *mut u32) -> c_int {
    // SAFETY: the caller guarantees it.
    unsafe { value.write((*bridge.cast::<Bridge>()).get(at as usize, size as usize) as u32) };
    0
}

/// The C code's write to configuration space.
///
/// # Safety
/// `bridge` must point to a [`Bridge`] that nothing else borrows.
#[unsafe(no_mangle)]
unsafe extern "C" fn config_write(bridge: *mut c_void, at: u32, size: u32, value: u32) {
    // SAFETY: the caller guarantees it.
    let bridge = unsafe { &mut *bridge.cast::<Bridge>() };
    if bridge.ignores != Some(bridge.trace.len()) {
        bridge.put(at as usize, size as usize, u64::from(value));
    }
    bridge.trace.push(bridge.forwards());
}
