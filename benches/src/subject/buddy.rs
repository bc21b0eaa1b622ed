//! buddy_system_allocator: page frames in powers of two.

use super::{Hit, Live, Subject, Want};
use buddy_system_allocator::FrameAllocator;
use pmem_space::AddrRange;

const PAGE: u64 = 4096;

struct Frames(Box<FrameAllocator<33>>);

pub fn frames(all: AddrRange) -> Box<dyn Subject> {
    let mut frames = Box::new(FrameAllocator::new());
    frames.add_frame((all.start() / PAGE) as usize, (all.last() / PAGE) as usize + 1);
    Box::new(Frames(frames))
}

impl Subject for Frames {
    fn adopt(&mut self, range: AddrRange) -> Option<Live> {
        // A layout made for others has lengths that are not powers of two. Take as many ranges, wherever they
        // go.
        self.alloc(&Want { len: range.len(), align: 1, window: None })
    }

    fn alloc(&mut self, want: &Want) -> Option<Live> {
        let frame = self.0.alloc(want.len.div_ceil(PAGE) as usize)? as u64;
        Some(Live { start: frame * PAGE, len: want.len, token: 0 })
    }

    fn free(&mut self, live: &Live) {
        self.0.dealloc((live.start / PAGE) as usize, live.len.div_ceil(PAGE) as usize);
    }

    fn find(&self, _: u64) -> Option<Hit> {
        None
    }

    fn neighbours(&self, _: u64) -> Option<(u64, u64)> {
        None
    }
}
