//! Where a PCI function is.

use crate::number::hex;
use std::fmt;
use std::str::FromStr;

/// Domain, bus, device and function: `0000:3b:00.0`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bdf {
    /// The domain (segment); up to 32 bits, for such as VMD gives out.
    pub domain: u32,
    /// The bus.
    pub bus: u8,
    /// The device, 0 to 31.
    pub device: u8,
    /// The function, 0 to 7.
    pub function: u8,
}

impl fmt::Display for Bdf {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.domain, self.bus, self.device, self.function)
    }
}

impl FromStr for Bdf {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        parse(text).ok_or_else(|| format!("{text:?} is no PCI address (DDDD:BB:DD.F)"))
    }
}

fn parse(text: &str) -> Option<Bdf> {
    let (place, function) = text.split_once('.')?;
    let mut parts = place.rsplitn(3, ':');
    let (device, bus, domain) =
        (hex(parts.next()?)?, hex(parts.next()?)?, parts.next().map_or(Some(0), hex)?);
    Some(Bdf {
        domain: u32::try_from(domain).ok()?,
        bus: u8::try_from(bus).ok()?,
        device: u8::try_from(device).ok().filter(|d| *d < 32)?,
        function: u8::try_from(hex(function)?).ok().filter(|f| *f < 8)?,
    })
}

/// Reads the name of a root bus's folder: `pci0000:00`.
pub(super) fn parse_root(name: &str) -> Option<(u32, u8)> {
    let (domain, bus) = name.strip_prefix("pci")?.split_once(':')?;
    Some((u32::try_from(hex(domain)?).ok()?, u8::try_from(hex(bus)?).ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_back() {
        for text in ["0000:3b:00.0", "10000:04:1f.7"] {
            assert_eq!(text.parse::<Bdf>().unwrap().to_string(), text);
        }
        assert_eq!("3b:00.1".parse::<Bdf>().unwrap().to_string(), "0000:3b:00.1");
        for bad in ["", "3b", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00", "x:y:z.0", "0:0:0:0.0"] {
            assert!(bad.parse::<Bdf>().is_err(), "{bad}");
        }
    }
}
