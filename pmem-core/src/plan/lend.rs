//! Primed space under a floating window: lent to it, and given back.

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

/// A lent span, given back.
pub(super) fn unlent(span: PrimedSpan) -> Option<PrimedSpan> {
    Some(PrimedSpan {
        state: if span.state == SpanState::Lent { SpanState::Open } else { span.state },
        ..span
    })
}

/// Whether a window may open over space with these defaults: what is not prefetchable must not be carried through prefetchable space.
pub(super) fn may_show(window: &Window, attrs: Attrs) -> bool {
    !attrs.props().contains(Props::PREFETCH) || window.admits() == Admits::Prefetchable
}
