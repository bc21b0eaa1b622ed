//! Nonsensical calls: wrong sizes, versions, numbers, pointers and ranges.

use crate::random::Random;
use pmem_arena::{Device, Info, Region, Span};
use pmem_arena_abi::Windows;

/// The size of `struct pmem_arena_text`.
const TEXT: u32 = 32;

pub fn run(device: &Device, count: u64) -> Result<String, String> {
    let mut random = Random::new(0x1234_5678_9abc_def1);
    let sizes = [size_of::<Info>(), size_of::<Span>(), size_of::<Region>(), size_of::<Windows>()];
    let sizes = sizes.map(|size| size as u32);
    let (mut accepted, mut refused) = (0u64, 0u64);
    for _ in 0..count {
        let number = 0xa0 + random.below(9) as u32;
        let right = match number {
            0xa0 => sizes[0],
            0xa1 => sizes[1],
            0xa7 => TEXT,
            0xa8 => sizes[3],
            _ => sizes[2],
        };
        let size = if random.below(8) == 0 { random.below(900) as u32 } else { right };
        let command = super::errnos::command(number, size);
        let done = if random.below(16) == 0 {
            let wild = [0, 1, 0xfff, 0xffff_8880_0000_0000, usize::MAX - 7, 0xffff_ffff_8100_0000];
            device.raw_at(command, wild[random.below(wild.len() as u64) as usize])
        } else {
            let mut bytes = [0u8; 1024];
            for chunk in bytes.chunks_mut(8) {
                let value = match random.below(6) {
                    0 => random.next(),
                    1 => u64::MAX,
                    2 => random.below(64) << random.below(48),
                    3 => 0xfd00_0000 + (random.below(0x2000) << 12),
                    4 => 0xfd00_0fff + (random.below(0x2000) << 12),
                    _ => 0,
                };
                chunk.copy_from_slice(&value.to_le_bytes()[..chunk.len()]);
            }
            if random.below(8) != 0 {
                bytes[..4].copy_from_slice(&1u32.to_le_bytes());
                bytes[4..8].copy_from_slice(&size.to_le_bytes());
            }
            // Clear the reserved fields half of the time: otherwise nearly every call would be refused for them.
            if random.below(2) == 0 {
                let reserved: &[(usize, usize)] = match number {
                    0xa0 => &[(832, 856)],
                    0xa1 => &[(72, 88)],
                    0xa7 => &[(24, 32)],
                    0xa8 => &[(28, 32), (192, 208)],
                    _ => &[(36, 40), (60, 64), (76, 80)],
                };
                reserved.iter().for_each(|(from, to)| bytes[*from..*to].fill(0));
            }
            if matches!(number, 0xa7 | 0xa8) {
                // Never point into this process's memory: the kernel would be right to write there, or to take
                // whatever it holds for windows.
                let wild = [0u64, 8, u64::MAX, 0xffff_8880_0000_0000, 0xffff_ffff_8100_0000];
                bytes[8..16].copy_from_slice(&wild[random.below(5) as usize].to_le_bytes());
            }
            device.raw(command, &mut bytes)
        };
        if done.is_ok() { accepted += 1 } else { refused += 1 }
    }
    Ok(format!("fuzz {count}: accepted {accepted}, refused {refused}"))
}
