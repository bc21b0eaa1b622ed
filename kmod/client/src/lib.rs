//! What a program asks of the kernel module `pmem_arena`, through `/dev/pmem_arena` (see `kmod/pmem_arena.h`).
//!
//! What is claimed through a [`Device`] is given back when it is dropped, or when the process ends.

use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;

/// Where the device is.
pub const DEVICE: &str = "/dev/pmem_arena";
/// The version of the interface.
pub const VERSION: u32 = 1;
/// Claims over a BAR even if a driver is bound to its device.
pub const FORCE: u32 = 1;
/// This file holds the region.
pub const MINE: u32 = 2;

/// The version and size that every structure begins with.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Head {
    /// [`VERSION`].
    pub version: u32,
    /// Of the structure, in bytes.
    pub size: u32,
}

/// All processors' registers, and the manager's figures.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Info {
    head: Head,
    /// How wide physical addresses are, in bits.
    pub width: u32,
    /// How many variable registers there are.
    pub variable: u32,
    /// How many processors.
    pub cpus: u32,
    /// How many arenas.
    pub arenas: u32,
    /// How many claims.
    pub regions: u32,
    /// The most stack that any request took, in bytes.
    pub most_stack: u32,
    /// The most memory that any request took, in bytes.
    pub most_memory: u64,
    /// `IA32_MTRRCAP`.
    pub cap: u64,
    /// `IA32_MTRR_DEF_TYPE`.
    pub def: u64,
    /// The fixed ranges.
    pub fixed: [u64; 11],
    /// `IA32_MTRR_PHYSBASEn`.
    pub base: [u64; 40],
    /// `IA32_MTRR_PHYSMASKn`.
    pub mask: [u64; 40],
}

/// A span of an arena.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Span {
    head: Head,
    index: u32,
    /// The arena's type, with the proposal's numbers.
    pub kind: u32,
    /// The first address.
    pub start: u64,
    /// The last address.
    pub last: u64,
    /// With the proposal's numbers.
    pub prot: u32,
    /// With the proposal's numbers.
    pub props: u32,
    name: [u8; 32],
}

impl Span {
    /// The arena's name.
    pub fn name(&self) -> String {
        text(&self.name)
    }
}

/// A region: what it is, or what it is to be.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Region {
    head: Head,
    /// What the module calls it.
    pub id: u64,
    /// The first address.
    pub start: u64,
    /// The last address.
    pub last: u64,
    index: u32,
    /// [`FORCE`], [`MINE`].
    pub flags: u32,
    /// With the proposal's numbers.
    pub usage: u32,
    /// With the proposal's numbers.
    pub prot: u32,
    /// With the proposal's numbers.
    pub props: u32,
    /// Registers that it takes in all, where that is why it is refused.
    pub needed: u32,
    /// Registers that there are.
    pub available: u32,
    reserved: u32,
    why: [u8; 160],
}

impl Region {
    /// A claim for addresses, both ends in, with the proposal's numbers.
    pub const fn new(start: u64, last: u64, usage: u32, prot: u32, props: u32) -> Self {
        let head = Head { version: VERSION, size: size_of::<Self>() as u32 };
        Self {
            head,
            id: 0,
            start,
            last,
            index: 0,
            flags: 0,
            usage,
            prot,
            props,
            needed: 0,
            available: 0,
            reserved: 0,
            why: [0; 160],
        }
    }

    /// Why it was refused, in words.
    pub fn why(&self) -> String {
        text(&self.why)
    }
}

fn text(bytes: &[u8]) -> String {
    let len = bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..len]).into_owned()
}

#[repr(C)]
struct Text {
    head: Head,
    buffer: u64,
    len: u64,
}

const fn code<T>(number: u8) -> Opcode {
    opcode::read_write::<T>(b'P', number)
}

/// An error of the module, with its words where it has any.
#[derive(Debug)]
pub struct Refused {
    /// The errno.
    pub error: io::Error,
    /// What the module says.
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.why.is_empty() { self.error.fmt(f) } else { write!(f, "{}: {}", self.why, self.error) }
    }
}

impl std::error::Error for Refused {}

/// The open device.
#[derive(Debug)]
pub struct Device(File);

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there (the module is not loaded), or `CAP_SYS_RAWIO` is missing, or the kernel is locked down.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new(DEVICE))
    }

    /// Opens it somewhere else.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_at(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    fn call<const OPCODE: Opcode, T>(&self, arg: &mut T) -> io::Result<()> {
        // SAFETY: each opcode is used below with the structure that it is made of, whose layout is the header's; the module
        // writes no more than its size.
        unsafe { ioctl(&self.0, Updater::<OPCODE, T>::new(arg)) }.map_err(io::Error::from)
    }

    fn region<const OPCODE: Opcode>(&self, region: &mut Region) -> Result<(), Refused> {
        self.call::<OPCODE, Region>(region).map_err(|error| Refused { error, why: region.why() })
    }

    /// The registers and the figures.
    ///
    /// # Errors
    /// The processors differ.
    pub fn info(&self) -> io::Result<Info> {
        let mut info = Info {
            head: Head { version: VERSION, size: size_of::<Info>() as u32 },
            width: 0,
            variable: 0,
            cpus: 0,
            arenas: 0,
            regions: 0,
            most_stack: 0,
            most_memory: 0,
            cap: 0,
            def: 0,
            fixed: [0; 11],
            base: [0; 40],
            mask: [0; 40],
        };
        self.call::<{ code::<Info>(0xa0) }, Info>(&mut info)?;
        Ok(info)
    }

    /// The spans of all arenas.
    ///
    /// # Errors
    /// The module has stopped.
    pub fn spans(&self) -> io::Result<Vec<Span>> {
        let mut all = Vec::new();
        loop {
            let head = Head { version: VERSION, size: size_of::<Span>() as u32 };
            let mut span = Span { head, index: all.len() as u32, ..Span::default() };
            match self.call::<{ code::<Span>(0xa1) }, Span>(&mut span) {
                Ok(()) => all.push(span),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
                Err(error) => return Err(error),
            }
        }
    }

    /// Every claim, of all files.
    ///
    /// # Errors
    /// The module has stopped.
    pub fn regions(&self) -> io::Result<Vec<Region>> {
        let mut all = Vec::new();
        loop {
            let mut region = Region { index: all.len() as u32, ..Region::new(0, 0, 0, 0, 0) };
            match self.call::<{ code::<Region>(0xa2) }, Region>(&mut region) {
                Ok(()) => all.push(region),
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(all),
                Err(error) => return Err(error),
            }
        }
    }

    /// Claims addresses within a BAR.
    ///
    /// # Errors
    /// [`Refused`], with the numbers of registers in the structure.
    pub fn alloc(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa3) }>(region)
    }

    /// Changes a claim's attributes.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn set(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa4) }>(region)
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn release(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa5) }>(region)
    }

    /// Asks whether a claim would be granted, and changes nothing.
    ///
    /// # Errors
    /// [`Refused`].
    pub fn plan(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa6) }>(region)
    }

    /// What there is, as a text.
    ///
    /// # Errors
    /// The module has stopped.
    pub fn dump(&self) -> io::Result<String> {
        let mut buffer = vec![0u8; 65536];
        let head = Head { version: VERSION, size: size_of::<Text>() as u32 };
        let mut text = Text { head, buffer: buffer.as_mut_ptr() as u64, len: buffer.len() as u64 };
        self.call::<{ code::<Text>(0xa7) }, Text>(&mut text)?;
        buffer.truncate(usize::try_from(text.len).unwrap_or(0));
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    /// Sends bytes that need not make sense, with any command number: for tests of the module.
    pub fn raw(&self, command: u32, bytes: &mut [u8; 1024]) -> io::Result<()> {
        struct Raw<'b>(u32, *mut core::ffi::c_void, core::marker::PhantomData<&'b mut [u8]>);
        // SAFETY: the module writes at most the size that the number itself encodes, and it knows only numbers whose size is
        // below the buffer's.
        unsafe impl rustix::ioctl::Ioctl for Raw<'_> {
            type Output = ();
            const IS_MUTATING: bool = true;
            fn opcode(&self) -> Opcode {
                self.0
            }
            fn as_ptr(&mut self) -> *mut core::ffi::c_void {
                self.1
            }
            unsafe fn output_from_ptr(
                _: rustix::ioctl::IoctlOutput,
                _: *mut core::ffi::c_void,
            ) -> rustix::io::Result<()> {
                Ok(())
            }
        }
        let raw = Raw(command, bytes.as_mut_ptr().cast(), core::marker::PhantomData);
        // SAFETY: as above.
        unsafe { ioctl(&self.0, raw) }.map_err(io::Error::from)
    }

    /// Sends a command with an address that need not be one: for tests of the module.
    pub fn raw_at(&self, command: u32, address: usize) -> io::Result<()> {
        struct Raw(u32, usize);
        // SAFETY: the kernel checks the address before it touches it; nothing of ours is lent out.
        unsafe impl rustix::ioctl::Ioctl for Raw {
            type Output = ();
            const IS_MUTATING: bool = true;
            fn opcode(&self) -> Opcode {
                self.0
            }
            fn as_ptr(&mut self) -> *mut core::ffi::c_void {
                core::ptr::without_provenance_mut(self.1)
            }
            unsafe fn output_from_ptr(
                _: rustix::ioctl::IoctlOutput,
                _: *mut core::ffi::c_void,
            ) -> rustix::io::Result<()> {
                Ok(())
            }
        }
        // SAFETY: the addresses that the test uses are the null page and the kernel's own, which are none of this process's.
        unsafe { ioctl(&self.0, Raw(command, address)) }.map_err(io::Error::from)
    }
}
