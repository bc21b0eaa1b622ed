/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What a bridge forwards, by the registers of its windows: PCI-to-PCI Bridge Architecture 1.2, 3.2.5. Pure: on the host this compiles
 * against host/platform.h.
 */
#ifndef PMEM_ARENA_FORWARDS_H
#define PMEM_ARENA_FORWARDS_H

#include "platform.h"

struct pci_dev;

/* A range of addresses on the bus above a bridge. */
struct span {
	u64 start, last; /* both inclusive; closed if `start` is above `last` */
};

static inline bool is_open(struct span span)
{
	return span.start <= span.last;
}

static inline bool is_same(struct span a, struct span b)
{
	return is_open(a) ? a.start == b.start && a.last == b.last : !is_open(b);
}

/*
 * Where a window's registers are, and how they encode addresses. Base and limit share one register, the pair. Some windows also have a
 * register for the upper half of each.
 */
struct layout {
	u8 pair, size; /* the offset of the pair, and its size in bytes */
	u8 upper[2], upper_size; /* the offsets for base and limit, 0 if there are none; the size in bytes */
	u8 base_shift, upper_shift; /* how far left to shift the base's bits and the upper halves to get address bits */
	u32 base, limit; /* the bits of the pair that hold address bits of the base and of the limit */
	u32 below; /* the address bits that no register holds: 0 in the base, 1 in the limit */
};

/* Returns the layout of a window. `kind` is of enum pmem_arena_window_kind. `wide` if it has the upper halves; ignored for memory. */
struct layout layout_of(u32 kind, bool wide);

/* Returns whether the registers can hold a span: it is closed, or consists of whole granules that are not too high. */
bool can_forward(const struct layout *layout, struct span span);

/*
 * Makes a window forward `span`. What it forwards of `keep` now, it forwards all the time. On the way it forwards nothing outside the
 * smallest range that contains the old and the new one. Returns 0; -EIO if the bridge does not answer or does not accept a value; -EBUSY if
 * no order of writes achieves this, so nothing was written. Stores the reason in words.
 */
int forward(struct pci_dev *bridge, const struct layout *layout, struct span keep, struct span span, const char **why);

#endif
