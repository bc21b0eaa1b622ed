//! The shim's structures and functions, as `shim.h` and `pmem_arena.h` have them.

pub const VARIABLE: usize = 40;
pub const WHY: usize = 160;

pub const MINE: u32 = 2;

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Image {
    pub cap: u64,
    pub def: u64,
    pub fixed: [u64; 11],
    pub base: [u64; VARIABLE],
    pub mask: [u64; VARIABLE],
    pub syscfg: u64,
    pub top_mem: u64,
    pub top_mem2: u64,
}

impl Image {
    pub const BLANK: Self = Self {
        cap: 0,
        def: 0,
        fixed: [0; 11],
        base: [0; VARIABLE],
        mask: [0; VARIABLE],
        syscfg: 0,
        top_mem: 0,
        top_mem2: 0,
    };
}

#[repr(C)]
#[derive(Clone, Copy)]
pub struct Head {
    pub version: u32,
    pub size: u32,
}

#[repr(C)]
pub struct Info {
    pub head: Head,
    pub width: u32,
    pub variable: u32,
    pub cpus: u32,
    pub arenas: u32,
    pub regions: u32,
    pub most_stack: u32,
    pub most_memory: u64,
    pub cap: u64,
    pub def: u64,
    pub fixed: [u64; 11],
    pub base: [u64; VARIABLE],
    pub mask: [u64; VARIABLE],
}

#[repr(C)]
pub struct Span {
    pub head: Head,
    pub index: u32,
    pub kind: u32,
    pub start: u64,
    pub last: u64,
    pub prot: u32,
    pub props: u32,
    pub name: [u8; 32],
}

#[repr(C)]
pub struct Region {
    pub head: Head,
    pub id: u64,
    pub start: u64,
    pub last: u64,
    pub index: u32,
    pub flags: u32,
    pub usage: u32,
    pub prot: u32,
    pub props: u32,
    pub needed: u32,
    pub available: u32,
    pub reserved: u32,
    pub why: [u8; WHY],
}

/// A span of the physical address space at load.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct Found {
    pub start: u64,
    pub last: u64,
    pub kind: u32,
    pub reserved: u32,
}

unsafe extern "C" {
    pub fn pmem_shim_alloc(size: u64, align: u64) -> *mut u8;
    pub fn pmem_shim_free(at: *mut u8, size: u64);
    pub fn pmem_shim_panic(text: *const u8, len: u64) -> !;
    pub fn pmem_shim_read(image: *mut Image) -> i64;
    pub fn pmem_shim_program(from: *const Image, to: *const Image) -> i64;
    pub fn pmem_shim_log(text: *const u8, len: u64);
    pub fn pmem_shim_most_memory() -> u64;
    pub fn pmem_shim_cpus() -> u32;
    pub fn pmem_shim_most_stack() -> u32;
}
