// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* How a window's registers encode what it forwards, and the order in which they can be changed. */
#include <linux/pci_regs.h>

#include "forwards.h"
#include "pmem_arena.h"

/* The values of a window's registers. */
struct values {
	u32 pair, upper[2];
};

static bool covers(struct span outer, struct span inner)
{
	return is_open(outer) && outer.start <= inner.start && inner.last <= outer.last;
}

static struct span both(struct span a, struct span b)
{
	return (struct span){ a.start > b.start ? a.start : b.start, a.last < b.last ? a.last : b.last };
}

struct layout layout_of(u32 kind, bool wide)
{
	struct layout layout = { PCI_MEMORY_BASE, 4, { 0, 0 }, 4, 16, 32, 0xfff0, 0xfff00000, 0xfffff };

	switch (kind) {
	case PMEM_ARENA_WINDOW_IO:
		layout = (struct layout){ PCI_IO_BASE, 2, { 0, 0 }, 2, 8, 16, 0xf0, 0xf000, 0xfff };
		if (wide) {
			layout.upper[0] = PCI_IO_BASE_UPPER16;
			layout.upper[1] = PCI_IO_LIMIT_UPPER16;
		}
		break;
	case PMEM_ARENA_WINDOW_PREF:
		layout.pair = PCI_PREF_MEMORY_BASE;
		if (wide) {
			layout.upper[0] = PCI_PREF_BASE_UPPER32;
			layout.upper[1] = PCI_PREF_LIMIT_UPPER32;
		}
		break;
	}
	return layout;
}

/* Writes one of the three registers and reads it back. It is an error if the bridge ignores the write or does not answer. */
static int write_register(struct pci_dev *bridge, const struct layout *layout, int which, u32 value)
{
	u32 at = which ? layout->upper[which - 1] : layout->pair, size = which ? layout->upper_size : layout->size;
	u32 bits = which ? ~0u : layout->base | layout->limit, has = 0;

	config_write(bridge, at, size, value);
	if (config_read(bridge, at, size, &has) || ((has ^ value) & bits & (size == 4 ? ~0u : 0xffff)))
		return -EIO;
	return 0;
}

static int read_values(struct pci_dev *bridge, const struct layout *layout, struct values *values)
{
	int i;

	*values = (struct values){ 0, {} };
	if (config_read(bridge, layout->pair, layout->size, &values->pair))
		return -EIO;
	for (i = 0; i < 2; i++)
		if (layout->upper[i] && config_read(bridge, layout->upper[i], layout->upper_size, &values->upper[i]))
			return -EIO;
	return 0;
}

/* Returns what a window with these values forwards. */
static struct span decoded(const struct layout *layout, const struct values *values)
{
	return (struct span){
		(u64)(values->pair & layout->base) << layout->base_shift | (u64)values->upper[0] << layout->upper_shift,
		(u64)(values->pair & layout->limit) | (u64)values->upper[1] << layout->upper_shift | layout->below,
	};
}

/* Returns the values that forward a span. The bits of `pair` that hold no address bits stay. */
static struct values encoded(const struct layout *layout, struct span span, u32 pair)
{
	struct values values = { pair & ~(layout->base | layout->limit), {} };

	if (!is_open(span)) {
		values.pair |= layout->base;
		return values;
	}
	values.pair |= (span.start >> layout->base_shift & layout->base) | (span.last & layout->limit);
	values.upper[0] = layout->upper[0] ? span.start >> layout->upper_shift : 0;
	values.upper[1] = layout->upper[1] ? span.last >> layout->upper_shift : 0;
	return values;
}

bool can_forward(const struct layout *layout, struct span span)
{
	struct values values = encoded(layout, span, 0);

	return !is_open(span) || is_same(decoded(layout, &values), span);
}

static void set_value(struct values *values, int which, u32 value)
{
	if (which)
		values->upper[which - 1] = value;
	else
		values->pair = value;
}

static u32 value_of(const struct values *values, int which)
{
	return which ? values->upper[which - 1] : values->pair;
}

/* One write: the register, 0 for the pair, 1 and 2 for the upper halves of base and limit, and its new value. */
struct step {
	int which;
	u32 value;
};

/* Carries out the writes, without those that change nothing. */
static int write_steps(struct pci_dev *bridge, const struct layout *layout, struct values now, const struct step *steps, int count)
{
	int i, error;

	for (i = 0; i < count; i++) {
		if (value_of(&now, steps[i].which) == steps[i].value)
			continue;
		error = write_register(bridge, layout, steps[i].which, steps[i].value);
		if (error)
			return error;
		set_value(&now, steps[i].which, steps[i].value);
	}
	return 0;
}

/* Returns whether the window, after each of the writes, forwards all of `keep` and nothing outside `bound`. */
static bool is_safe(const struct layout *layout, struct values now, const struct step *steps, int count, struct span bound, struct span keep)
{
	int i;

	for (i = 0; i < count; i++) {
		struct span span;

		set_value(&now, steps[i].which, steps[i].value);
		span = decoded(layout, &now);
		if (is_open(span) ? !covers(bound, span) || (is_open(keep) && !covers(span, keep)) : is_open(keep))
			return false;
	}
	return true;
}

/*
 * A window behind which nothing is used is closed on the way. The upper half of the limit is 0 from before the pair closes until everything
 * else is written. Otherwise a half-written address would make it forward everything in between.
 */
static int write_closed(struct pci_dev *bridge, const struct layout *layout, struct values now, const struct values *to)
{
	struct values shut = encoded(layout, (struct span){ 1, 0 }, now.pair);
	const struct step steps[] = { { 2, 0 }, { 0, shut.pair }, { 1, to->upper[0] }, { 0, to->pair }, { 2, to->upper[1] } };

	return write_steps(bridge, layout, now, steps, 5);
}

int forward(struct pci_dev *bridge, const struct layout *layout, struct span keep, struct span span, const char **why)
{
	/* All orders in which three registers can be written. The first one that is safe after every write is used. */
	static const u8 orders[6][3] = { { 0, 1, 2 }, { 1, 2, 0 }, { 2, 1, 0 }, { 1, 0, 2 }, { 2, 0, 1 }, { 0, 2, 1 } };
	struct values now, to;
	struct span bound, has;
	int i, k;

	*why = "the bridge does not answer";
	if (read_values(bridge, layout, &now))
		return -EIO;
	to = encoded(layout, span, now.pair);
	has = decoded(layout, &now);
	*why = "the bridge did not accept a register value";
	keep = both(keep, has);
	if (!is_open(keep))
		return write_closed(bridge, layout, now, &to);
	/* What may be forwarded on the way: the smallest range that contains both. */
	bound = is_open(span) ? (struct span){ span.start < has.start ? span.start : has.start, span.last > has.last ? span.last : has.last } :
				has;
	for (i = 0; i < 6; i++) {
		struct step steps[3];

		for (k = 0; k < 3; k++)
			steps[k] = (struct step){ orders[i][k], value_of(&to, orders[i][k]) };
		if (is_safe(layout, now, steps, 3, bound, keep))
			return write_steps(bridge, layout, now, steps, 3);
	}
	*why = "this would cut off what is behind it for a moment, because both halves of an address change";
	return -EBUSY;
}
