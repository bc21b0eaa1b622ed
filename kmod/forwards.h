/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What a bridge forwards: its windows' registers, as PCI-to-PCI Bridge Architecture 1.2, 3.2.5 has them. Pure: on the host it compiles
 * against host/platform.h.
 */
#ifndef PMEM_ARENA_FORWARDS_H
#define PMEM_ARENA_FORWARDS_H

#include "platform.h"

struct pci_dev;

struct span {
	u64 start, last; /* closed if it starts above its last */
};

static inline bool is_open(struct span span)
{
	return span.start <= span.last;
}

static inline bool is_same(struct span a, struct span b)
{
	return is_open(a) ? a.start == b.start && a.last == b.last : !is_open(b);
}

/* Where a window's registers are, and how they are read: base and limit together, and where it has them the upper halves of each. */
struct layout {
	u8 pair, size; /* of the pair, in bytes */
	u8 upper[2], upper_size;
	u8 base_shift, upper_shift;
	u32 base, limit; /* the bits of the pair that are addresses */
	u32 below; /* the bits of an address that are in no register */
};

/* Of ports, of memory, of prefetchable memory; wide if it has the upper halves. */
struct layout layout_of(u32 kind, bool wide);

/* Whether the registers can hold it: whole steps, and no higher than they reach. */
bool can_forward(const struct layout *layout, struct span span);

/*
 * Has a bridge forward a span of its bus above. What it forwards of `keep` it forwards all the time; on the way nothing is forwarded beyond what
 * is before and after. 0, -EIO if the bridge does not take it, -EBUSY if there is no such way.
 */
int forward(struct pci_dev *bridge, const struct layout *layout, struct span keep, struct span span, const char **why);

#endif
