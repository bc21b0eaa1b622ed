//! A client of the kernel module `pmem_arena`, through `/dev/pmem_arena` (see `kmod/pmem_arena.h`).
//!
//! Claims made through a [`Device`] are given back when it is dropped, or when the process ends.

pub use pmem_arena_abi::{FORCE, Info, MINE, Region, Span, VERSION, Window, state, status, window};

use pmem_arena_abi::{Head, Text, Windows};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::ioctl::{Opcode, Updater, ioctl, opcode};
use std::fs::{File, OpenOptions};
use std::io;
use std::path::Path;
use std::time::Duration;

/// The path of the device.
pub const DEVICE: &str = "/dev/pmem_arena";
const fn code<T>(number: u8) -> Opcode {
    opcode::read_write::<T>(b'P', number)
}

/// An error from the module, with its explanation if there is one.
#[derive(Debug)]
pub struct Refused {
    /// The errno.
    pub error: io::Error,
    /// The module's explanation; empty if it gives none.
    pub why: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.why.is_empty() { self.error.fmt(f) } else { write!(f, "{}: {}", self.why, self.error) }
    }
}

impl std::error::Error for Refused {}

/// The error of a window change. No window was changed.
#[derive(Debug)]
pub struct WindowRefused {
    /// The index of the window that was refused.
    pub index: usize,
    /// The reason as a [`status`].
    pub status: u32,
    /// The error.
    pub refused: Refused,
}

/// The open device.
///
/// # Examples
///
/// Make 16 MiB of a frame buffer write-combining:
///
/// ```no_run
/// use pmem_arena::{Device, Region};
///
/// let device = Device::open()?;
/// const PMEM_T_FRAMEBUF: u32 = 0x10; // the values of pmem.h
/// const READ_WRITE: u32 = 0x3;
/// const PMEM_P_WCOMB: u32 = 0x4;
/// let mut claim = Region::new(0xe000_0000, 0xe0ff_ffff, PMEM_T_FRAMEBUF, READ_WRITE, PMEM_P_WCOMB);
/// device.alloc(&mut claim)?;
/// println!("{}", device.dump()?);
/// // Dropping `device` would give the claim back too.
/// device.release(&mut claim)?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Device(File);

impl From<File> for Device {
    fn from(file: File) -> Self {
        Self(file)
    }
}

impl Device {
    /// Opens [`DEVICE`].
    ///
    /// # Errors
    /// Fails if the device does not exist because the module is not loaded, if `CAP_SYS_RAWIO` is missing, or if
    /// the kernel is locked down.
    pub fn open() -> io::Result<Self> {
        Self::open_at(Path::new(DEVICE))
    }

    /// Opens the device read-only. Requests that change something are then refused with `EBADF`.
    ///
    /// # Errors
    /// The same as for [`Self::open`].
    pub fn open_read_only() -> io::Result<Self> {
        File::open(DEVICE).map(Self)
    }

    /// Opens the device at another path.
    ///
    /// # Errors
    /// The same as for [`Self::open`].
    pub fn open_at(path: &Path) -> io::Result<Self> {
        OpenOptions::new().read(true).write(true).open(path).map(Self)
    }

    fn call<const OPCODE: Opcode, T>(&self, arg: &mut T) -> io::Result<()> {
        // SAFETY: every opcode below is made from the structure that it is used with. That has the layout of the C
        // header, and the module writes no more than its size.
        unsafe { ioctl(&self.0, Updater::<OPCODE, T>::new(arg)) }.map_err(io::Error::from)
    }

    fn region<const OPCODE: Opcode>(&self, region: &mut Region) -> Result<(), Refused> {
        self.call::<OPCODE, Region>(region).map_err(|error| Refused { error, why: region.why().to_owned() })
    }

    /// Waits until a claim of this file ends with its device. Returns whether one did before the time was up.
    ///
    /// # Errors
    /// Fails if the module has stopped, or if the wait was interrupted.
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

    /// Returns the boot processor's registers, and figures of the module.
    ///
    /// # Errors
    /// Fails if a register cannot be read, or if the module has stopped.
    pub fn info(&self) -> io::Result<Info> {
        let mut info = Info::BLANK;
        self.call::<{ code::<Info>(0xa0) }, Info>(&mut info)?;
        Ok(info)
    }

    /// Returns the spans of all arenas.
    ///
    /// # Errors
    /// Fails if the module has stopped.
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

    /// Returns the claims of all files.
    ///
    /// # Errors
    /// Fails if the module has stopped.
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
    /// Returns [`Refused`]; the region's `status` tells why. With [`status::FULL`], `needed` and `available` tell how many
    /// registers are needed and exist.
    pub fn alloc(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa3) }>(region)
    }

    /// Changes the attributes of a claim.
    ///
    /// # Errors
    /// Returns [`Refused`].
    pub fn set(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa4) }>(region)
    }

    /// Gives a claim back.
    ///
    /// # Errors
    /// Returns [`Refused`].
    pub fn release(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa5) }>(region)
    }

    /// Checks whether a claim would be granted, without changing anything.
    ///
    /// # Errors
    /// Returns [`Refused`] if the claim would be refused.
    pub fn plan(&self, region: &mut Region) -> Result<(), Refused> {
        self.region::<{ code::<Region>(0xa6) }>(region)
    }

    /// Changes windows of PCI bridges, in the kernel's resource tree and in the bridges' registers, in order.
    /// Either all change or none. If a window's old and new range are equal, only its registers are written.
    ///
    /// # Errors
    /// Returns [`WindowRefused`] with `EAGAIN` if a window is no longer where `windows` says, `EBUSY` if it
    /// overlaps a neighbour, leaves the window above it or excludes something in it, `ENODEV` if there is no such bridge
    /// or window, `EINVAL` if a range is not of whole granules or there are none or more than 256, `EPERM` under
    /// lockdown, and `EIO` if a bridge does not accept a register.
    pub fn windows(&self, windows: &[Window]) -> Result<(), WindowRefused> {
        // The module refuses a count that is too large.
        let count = u32::try_from(windows.len()).unwrap_or(u32::MAX);
        let mut arg = Windows { windows: windows.as_ptr() as u64, count, ..Windows::BLANK };
        self.call::<{ code::<Windows>(0xa8) }, Windows>(&mut arg).map_err(|error| WindowRefused {
            index: arg.failed as usize,
            status: arg.status,
            refused: Refused { error, why: arg.why().to_owned() },
        })
    }

    /// Returns a text that describes memory types and claims.
    ///
    /// # Errors
    /// Fails if the module has stopped.
    pub fn dump(&self) -> io::Result<String> {
        let mut buffer = vec![0u8; 65536];
        let (at, len) = (buffer.as_mut_ptr() as u64, buffer.len() as u64);
        let mut text = Text { head: Head::of::<Text>(), buffer: at, len, reserved: 0 };
        self.call::<{ code::<Text>(0xa7) }, Text>(&mut text)?;
        buffer.truncate(usize::try_from(text.len).unwrap_or(0));
        Ok(String::from_utf8_lossy(&buffer).into_owned())
    }

    /// Sends arbitrary bytes with an arbitrary command number, to test the module.
    pub fn raw(&self, command: u32, bytes: &mut [u8; 1024]) -> io::Result<()> {
        struct Raw<'b>(u32, *mut core::ffi::c_void, core::marker::PhantomData<&'b mut [u8]>);
        // SAFETY: the module writes at most the size that the number encodes, and it only knows numbers whose size
        // is below the buffer's.
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

    /// Sends a command with an arbitrary address, to test the module.
    pub fn raw_at(&self, command: u32, address: usize) -> io::Result<()> {
        struct Raw(u32, usize);
        // SAFETY: the kernel checks the address before it uses it, and no memory of this process is lent out.
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
        // SAFETY: the tests use the null page and kernel addresses, none of which belong to this process.
        unsafe { ioctl(&self.0, Raw(command, address)) }.map_err(io::Error::from)
    }
}
