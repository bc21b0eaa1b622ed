//! PCI function addresses.

use core::fmt;
use core::str::FromStr;

/// The address of a PCI function: segment, bus, device and function, as in `0000:3b:00.0`.
///
/// Hardware has 16 bits of segment (Linux: domain). 32 are kept, because Linux numbers the segments behind a
/// volume management device (VMD) from 0x10000.
///
/// # Examples
/// ```
/// use pmem_pci::Address;
///
/// let nic: Address = "3b:00.1".parse()?; // without a segment: segment 0
/// assert_eq!(nic.to_string(), "0000:3b:00.1");
/// assert_eq!(nic.routing_id(), 0x3b01); // the requester id of its DMA
/// assert_eq!(Address::from_routing_id(0, 0x3b01), nic);
/// assert!("3b:20.0".parse::<Address>().is_err(), "devices are 0 to 1f");
/// # Ok::<(), pmem_pci::BadAddress>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// The segment group (Linux: domain).
    pub segment: u32,
    /// The bus number.
    pub bus: u8,
    /// The device number, 0 to 31.
    pub device: u8,
    /// The function number, 0 to 7.
    pub function: u8,
}

/// The error of parsing a text that is not an [`Address`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadAddress;

impl fmt::Display for BadAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a PCI address (expected SSSS:BB:DD.F, or BB:DD.F in segment 0)")
    }
}

impl core::error::Error for BadAddress {}

impl Address {
    /// Returns the routing id: the 16 bits of bus, device and function that identify a requester (PCI Express
    /// Base 6.0, 2.2.6.2).
    #[must_use]
    pub const fn routing_id(self) -> u16 {
        (self.bus as u16) << 8 | (self.device as u16) << 3 | self.function as u16
    }

    /// Returns the function of `segment` that a routing id names.
    #[must_use]
    pub const fn from_routing_id(segment: u32, id: u16) -> Self {
        Self { segment, bus: (id >> 8) as u8, device: (id >> 3 & 0x1f) as u8, function: (id & 7) as u8 }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04x}:{:02x}:{:02x}.{:x}", self.segment, self.bus, self.device, self.function)
    }
}

impl FromStr for Address {
    type Err = BadAddress;

    fn from_str(text: &str) -> Result<Self, BadAddress> {
        parse(text).ok_or(BadAddress)
    }
}

fn parse(text: &str) -> Option<Address> {
    let (place, function) = text.split_once('.')?;
    let mut parts = place.rsplitn(3, ':');
    let (device, bus) = (parts.next()?, parts.next()?);
    let segment = match parts.next() {
        Some(segment) => hex(segment, 8)?,
        None => 0,
    };
    Some(Address {
        segment,
        bus: u8::try_from(hex(bus, 2)?).ok()?,
        device: u8::try_from(hex(device, 2)?).ok().filter(|device| *device < 32)?,
        function: u8::try_from(hex(function, 1)?).ok().filter(|function| *function < 8)?,
    })
}

fn hex(text: &str, longest: usize) -> Option<u32> {
    let plain = !text.is_empty() && text.len() <= longest && text.bytes().all(|b| b.is_ascii_hexdigit());
    if plain { u32::from_str_radix(text, 16).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;

    #[test]
    fn a_bad_address_is_told_what_is_expected() {
        let error = "00:1f".parse::<Address>().unwrap_err();
        assert!(error.to_string().contains("SSSS:BB:DD.F"), "{error}");
    }

    #[test]
    fn addresses_are_read_back() {
        for text in ["0000:3b:00.0", "10000:04:1f.7"] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), text);
        }
        assert_eq!("3b:00.1".parse::<Address>().unwrap().to_string(), "0000:3b:00.1");
        for bad in
            ["", "3b", "0000:3b:20.0", "0000:3b:00.8", "0000:3b:00", "x:y:z.0", "0:0:0:0.0", "00:00.00"]
        {
            assert_eq!(bad.parse::<Address>(), Err(BadAddress), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn every_routing_id_names_one_function(id: u16, segment: u32) {
            let address = Address::from_routing_id(segment, id);
            prop_assert_eq!(address.routing_id(), id);
            prop_assert_eq!(address.to_string().parse(), Ok(address));
        }
    }
}
