//! What a program asks of the kernel module `pmem_arena`, through `/dev/pmem_arena` (see `kmod/pmem_arena.h`).
//!
//! What is claimed through a [`Device`] is given back when it is dropped, or when the process ends.

pub use pmem_arena_abi::{FORCE, Info, MINE, Region, Span, VERSION, Window, state, status, window};

use pmem_arena_abi::{Head, Text, Windows};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

/// Where the device is.
pub const DEVICE: &str = "/dev/pmem_arena";
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

/// Windows that were refused, and none of which was changed.
#[derive(Debug)]
pub struct WindowRefused {
    /// Which of them.
    pub index: usize,
    /// [`status`].
    pub status: u32,
    /// Why.
    pub refused: Refused,
}

/// The open device.
#[derive(Debug)]
pub struct Device(File);

impl From<File> for Device {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Device {
    /// Opens it.
    ///
    /// # Errors
    /// It is not there (the module is not loaded), or `CAP_SYS_RAWIO` is missing, or the kernel is locked down.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new(DEVICE))
    }

    /// Opens it for looking alone: what changes something is refused with `EBADF`.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_read_only() -> io::Result<Self> {
        File::open(DEVICE).map(Self)
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
        self.call::<OPCODE, Region>(region).map_err(|error| Refused { error, why: region.why().to_owned() })
    }

    /// Waits until a claim of this file has ended with its device, or the module has stopped; whether one has before the time is up.
    ///
    /// # Errors
    /// The module has stopped; the wait was interrupted.
    pub fn wait(&self, time: Duration) -> io::Result<bool> {
        let mut fds = [PollFd::new(&self.0, PollFlags::IN)];
        let (tv_sec, tv_nsec) = (time.as_secs().cast_signed(), time.subsec_nanos().into());
        poll(&mut fds, Some(&Timespec { tv_sec, tv_nsec }))?;
        let seen = fds[0].revents();
        if seen.contains(PollFlags::ERR) {
            return Err(io::Error::from_raw_os_error(5));
        }
        Ok(seen.contains(PollFlags::IN))
    }

    /// The boot processor's registers, and the figures.
    ///
    /// # Errors
    /// A register cannot be read; the module has stopped.
    pub fn info(&self) -> io::Result<Info> {
        let mut info = Info::BLANK;
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
            let mut span = Span { index: all.len() as u32, ..Span::BLANK };
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
            let mut region = Region { index: all.len() as u32, ..Region::BLANK };
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

    /// Changes windows of PCI bridges in the kernel's map and in their registers, in order, all or none. Where old and new are the same only
    /// the registers are written.
    ///
    /// # Errors
    /// [`WindowRefused`]: `EAGAIN` if one is no longer where it is said to be, `EBUSY` if it overlaps a neighbour, lies
    /// outside the window above or leaves out what is in it, `EIO` if a bridge does not take a register.
    pub fn windows(&self, windows: &[Window]) -> Result<(), WindowRefused> {
        // More than the module takes is refused by it.
        let count = u32::try_from(windows.len()).unwrap_or(u32::MAX);
        let mut arg = Windows { windows: windows.as_ptr() as u64, count, ..Windows::BLANK };
        self.call::<{ code::<Windows>(0xa8) }, Windows>(&mut arg).map_err(|error| WindowRefused {
            index: arg.failed as usize,
            status: arg.status,
            refused: Refused { error, why: arg.why().to_owned() },
        })
    }

    /// What there is, as a text.
    ///
    /// # Errors
    /// The module has stopped.
    pub fn dump(&self) -> io::Result<String> {
        let mut buffer = vec![0u8; 65536];
        let (at, len) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        let mut text = Text { head: Head::of::<Text>(), buffer: at, len, reserved: 0 };
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
