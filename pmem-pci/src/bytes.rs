//! Little-endian reads and writes at byte offsets. Reads outside of the slice return `None`.

pub(crate) fn u16_at(bytes: &[u8], offset: usize) -> Option<u16> {
    let pair = bytes.get(offset..offset.checked_add(2)?)?;
    Some(u16::from_le_bytes(pair.try_into().ok()?))
}

pub(crate) fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    let four = bytes.get(offset..offset.checked_add(4)?)?;
    Some(u32::from_le_bytes(four.try_into().ok()?))
}

/// Copies `value` to `offset`. Does nothing if it does not fit in full.
pub(crate) fn put(bytes: &mut [u8], offset: usize, value: &[u8]) {
    if let Some(place) = offset.checked_add(value.len()).and_then(|end| bytes.get_mut(offset..end)) {
        place.copy_from_slice(value);
    }
}
