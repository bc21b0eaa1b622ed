//! Lending primed space to the floating window over it, and taking it back.

use super::Plan;
use crate::error::{Error, Holder};
use crate::id::ArenaId;
use crate::mapping::{Admits, Window};
use crate::model::{PrimedSpan, SpanState};
use pmem_space::{AddrRange, Attrs, Props};

impl Plan<'_> {
    /// Lends the primed space in `range` to a window.
    pub(super) fn lend(&mut self, arena: ArenaId, range: AddrRange) -> Result<(), Error> {
        let sealed = self.arena(arena)?.spans_in(range).find(|(_, span)| span.state == SpanState::Sealed);
        if let Some((span, _)) = sealed {
            return Err(Error::Occupied { arena, range, by: Holder::Sealed(span) });
        }
        self.set_spans(arena, range, |span| Some(PrimedSpan { state: SpanState::Lent, ..span }))
    }
}

/// Returns the span as it is when its window is gone.
pub(super) fn unlent(span: PrimedSpan) -> Option<PrimedSpan> {
    Some(PrimedSpan {
        state: if span.state == SpanState::Lent { SpanState::Open } else { span.state },
        ..span
    })
}

/// Whether a window may open over space with these defaults: nothing that is not prefetchable may pass through
/// prefetchable space.
pub(super) fn may_show(window: &Window, attrs: Attrs) -> bool {
    !attrs.props().contains(Props::PREFETCH) || window.admits() == Admits::Prefetchable
}
