// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The windows of PCI bridges, in the kernel's map and in their registers.
 *
 * The kernel's own functions that write them are not exported. So the map is changed by those for resources, which refuse whatever
 * overlaps a neighbour, lies outside its parent or leaves a child out; then the registers are written as PCI-to-PCI Bridge
 * Architecture 1.2, 3.2.5 has them. A window with something behind it is never closed on the way.
 */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "windows.h"

#define MOST_WINDOWS 256

struct span {
	u64 start, last; /* closed if it starts above its last */
};

static bool is_open(struct span span)
{
	return span.start <= span.last;
}

static bool covers(struct span outer, struct span inner)
{
	return is_open(outer) && outer.start <= inner.start && inner.last <= outer.last;
}

struct window {
	struct pci_dev *bridge;
	struct resource *resource;
	u32 kind;
	struct span old, new;
};

/* --- Registers --- */

/* Where a window's registers are, and how they are read: base and limit together, and where it has them the upper halves of each. */
struct layout {
	u8 pair, size; /* of the pair, in bytes */
	u8 upper[2], upper_size;
	u8 base_shift, upper_shift;
	u32 base, limit; /* the bits of the pair that are addresses */
	u32 below; /* the bits of an address that are in no register */
};

struct values {
	u32 pair, upper[2];
};

static struct layout layout_of(const struct window *window)
{
	struct layout io = { PCI_IO_BASE, 2, { 0, 0 }, 2, 8, 16, 0xf0, 0xf000, 0xfff };
	struct layout memory = { PCI_MEMORY_BASE, 4, { 0, 0 }, 4, 16, 32, 0xfff0, 0xfff00000, 0xfffff };
	u16 type = 0;

	switch (window->kind) {
	case PMEM_ARENA_WINDOW_IO:
		pci_read_config_word(window->bridge, PCI_IO_BASE, &type);
		if ((type & PCI_IO_RANGE_TYPE_MASK) == PCI_IO_RANGE_TYPE_32) {
			io.upper[0] = PCI_IO_BASE_UPPER16;
			io.upper[1] = PCI_IO_LIMIT_UPPER16;
		}
		return io;
	case PMEM_ARENA_WINDOW_PREF:
		memory.pair = PCI_PREF_MEMORY_BASE;
		if (window->bridge->pref_64_window) {
			memory.upper[0] = PCI_PREF_BASE_UPPER32;
			memory.upper[1] = PCI_PREF_LIMIT_UPPER32;
		}
		return memory;
	default:
		return memory;
	}
}

static int read_register(struct pci_dev *dev, int at, int size, u32 *value)
{
	u16 word = 0;
	int error;

	if (size == 4)
		return pci_read_config_dword(dev, at, value) ? -EIO : 0;
	error = pci_read_config_word(dev, at, &word);
	*value = word;
	return error ? -EIO : 0;
}

/* Writes one of the three, and reads it back: what a bridge does not take, or what nobody answers, is an error. */
static int write_register(const struct window *window, const struct layout *layout, int which, u32 value)
{
	int at = which ? layout->upper[which - 1] : layout->pair, size = which ? layout->upper_size : layout->size;
	u32 bits = which ? ~0u : layout->base | layout->limit, has = 0;

	if (size == 4)
		pci_write_config_dword(window->bridge, at, value);
	else
		pci_write_config_word(window->bridge, at, value);
	if (read_register(window->bridge, at, size, &has) || ((has ^ value) & bits & (size == 4 ? ~0u : 0xffff)))
		return -EIO;
	return 0;
}

static int read_values(const struct window *window, const struct layout *layout, struct values *values)
{
	int i;

	*values = (struct values){};
	if (read_register(window->bridge, layout->pair, layout->size, &values->pair))
		return -EIO;
	for (i = 0; i < 2; i++)
		if (layout->upper[i] && read_register(window->bridge, layout->upper[i], layout->upper_size, &values->upper[i]))
			return -EIO;
	return 0;
}

/* What is forwarded with such values. */
static struct span decoded(const struct layout *layout, const struct values *values)
{
	return (struct span){
		(u64)(values->pair & layout->base) << layout->base_shift | (u64)values->upper[0] << layout->upper_shift,
		(u64)(values->pair & layout->limit) | (u64)values->upper[1] << layout->upper_shift | layout->below,
	};
}

/* The values for a span; the bits of the pair that are no addresses stay. */
static struct values encoded(const struct layout *layout, struct span span, u32 pair)
{
	struct values values = { pair & ~(layout->base | layout->limit) };

	if (!is_open(span)) {
		values.pair |= layout->base;
		return values;
	}
	values.pair |= (span.start >> layout->base_shift & layout->base) | (span.last & layout->limit);
	values.upper[0] = span.start >> layout->upper_shift;
	values.upper[1] = span.last >> layout->upper_shift;
	return values;
}

/* Where the CPU's addresses are on the bus. */
static struct span on_bus(const struct window *window, struct span span)
{
	struct resource resource = { .start = span.start, .end = span.last, .flags = window->resource->flags };
	struct pci_bus_region region;

	if (!is_open(span))
		return span;
	pcibios_resource_to_bus(window->bridge->bus, &region, &resource);
	return (struct span){ region.start, region.end };
}

/* What must be forwarded all the time: whatever the kernel has behind the window. */
static struct span behind(const struct window *window)
{
	struct resource *child = window->resource->child;
	struct span span = { 1, 0 };

	for (; child; child = child->sibling) {
		span.start = is_open(span) ? min_t(u64, span.start, child->start) : child->start;
		span.last = is_open(span) ? max_t(u64, span.last, child->end) : child->end;
	}
	return span;
}

/* The orders in which three registers can be written; the last two are the upper halves. */
static const u8 orders[6][3] = { { 0, 1, 2 }, { 1, 2, 0 }, { 2, 1, 0 }, { 1, 0, 2 }, { 2, 0, 1 }, { 0, 2, 1 } };

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

/* Whether all that is forwarded on the way lies within a bound, and covers what is behind. */
static bool is_safe(const struct layout *layout, const u8 *order, struct values now, const struct values *to, struct span bound,
		    struct span keep)
{
	int i;

	for (i = 0; i < 3; i++) {
		struct span span;

		set_value(&now, order[i], value_of(to, order[i]));
		span = decoded(layout, &now);
		if (is_open(span) ? !covers(bound, span) || (is_open(keep) && !covers(span, keep)) : is_open(keep))
			return false;
	}
	return true;
}

static int write_in_order(const struct window *window, const struct layout *layout, const u8 *order, struct values now,
			  const struct values *to)
{
	int i, error;

	for (i = 0; i < 3; i++) {
		if (value_of(&now, order[i]) == value_of(to, order[i]))
			continue;
		error = write_register(window, layout, order[i], value_of(to, order[i]));
		if (error)
			return error;
	}
	return 0;
}

/* Has a window forward a span; on the way it reaches nothing beyond what it forwards before and after. */
static int forward(const struct window *window, struct span span, const char **why)
{
	struct span keep = on_bus(window, behind(window)), bound, has;
	struct layout layout = layout_of(window);
	struct values now, to, closed;
	int i, error;

	*why = "the bridge does not answer";
	if (read_values(window, &layout, &now))
		return -EIO;
	span = on_bus(window, span);
	to = encoded(&layout, span, now.pair);
	has = decoded(&layout, &now);
	bound = is_open(has) && is_open(span) ? (struct span){ min(has.start, span.start), max(has.last, span.last) } :
		is_open(has)		      ? has :
						span;
	*why = "the bridge does not take it";
	/* What forwards nothing that is used may be closed on the way. */
	if (!is_open(keep) || !covers(has, keep)) {
		closed = encoded(&layout, (struct span){ 1, 0 }, now.pair);
		error = write_register(window, &layout, 0, closed.pair);
		now.pair = closed.pair;
		return error ?: write_in_order(window, &layout, orders[1], now, &to);
	}
	for (i = 0; i < ARRAY_SIZE(orders); i++)
		if (is_safe(&layout, orders[i], now, &to, bound, keep))
			return write_in_order(window, &layout, orders[i], now, &to);
	*why = "not without a pause for what is behind it: both halves of an address change";
	return -EBUSY;
}

/* --- The kernel's map --- */

static struct span mapped(const struct resource *resource)
{
	if (!resource->parent)
		return (struct span){ 1, 0 };
	return (struct span){ resource->start, resource->end };
}

static bool is_same(struct span a, struct span b)
{
	return is_open(a) ? a.start == b.start && a.last == b.last : !is_open(b);
}

static unsigned long flags_of(const struct window *window)
{
	switch (window->kind) {
	case PMEM_ARENA_WINDOW_IO:
		return IORESOURCE_IO;
	case PMEM_ARENA_WINDOW_MEM:
		return IORESOURCE_MEM;
	default:
		if (window->bridge->pref_64_window)
			return IORESOURCE_MEM | IORESOURCE_PREFETCH | IORESOURCE_MEM_64 | PCI_PREF_RANGE_TYPE_64;
		return IORESOURCE_MEM | IORESOURCE_PREFETCH;
	}
}

/* Puts a window that nothing is in elsewhere. */
static int place(const struct window *window, struct span span)
{
	struct resource *resource = window->resource;

	if (resource->child)
		return -EBUSY;
	if (resource->parent)
		release_resource(resource);
	resource->flags = 0;
	resource->start = 0;
	resource->end = 0;
	if (!is_open(span))
		return 0;
	resource->flags = flags_of(window);
	resource->start = span.start;
	resource->end = span.last;
	return pci_claim_resource(window->bridge, PCI_BRIDGE_IO_WINDOW + window->kind);
}

/* Changes a window in the map; what is refused leaves it as it was. */
static int map(const struct window *window, struct span from, struct span to)
{
	int error;

	if (is_same(from, to))
		return 0;
	if (is_open(from) && is_open(to) && !adjust_resource(window->resource, to.start, to.last - to.start + 1))
		return 0;
	error = place(window, to);
	if (error && !window->resource->child)
		WARN_ON(place(window, from));
	return error;
}

/* --- Requests --- */

static int change(const struct window *window, struct span from, struct span to, const char **why)
{
	const char *ignored;
	int error = map(window, from, to);

	*why = "it overlaps a neighbour, is outside the window above, or leaves out what is in it";
	if (error)
		return -EBUSY;
	error = forward(window, to, why);
	if (!error)
		return 0;
	if (map(window, to, from) || forward(window, from, &ignored))
		pr_err("%s: its window could not be put back\n", pci_name(window->bridge));
	return error;
}

static long refuse(struct pmem_arena_windows *windows, u32 index, u32 status, long error, const char *name, const char *why)
{
	windows->failed = index;
	windows->status = status;
	snprintf(windows->why, sizeof(windows->why), "%s: %s", name, why);
	return error;
}

/* Looks one up. */
static const char *find(const struct pmem_arena_window *asked, struct window *window)
{
	struct pci_dev *bridge;
	u32 id = 0;

	bridge = pci_get_domain_bus_and_slot(asked->domain, asked->function >> 8 & 0xff, asked->function & 0xff);
	*window = (struct window){ bridge, NULL, asked->kind, { asked->old_start, asked->old_last }, { asked->new_start, asked->new_last } };
	if (!bridge)
		return "there is no such function";
	if (bridge->hdr_type != PCI_HEADER_TYPE_BRIDGE || !bridge->subordinate)
		return "it is no PCI bridge with a bus below it";
	if (asked->kind == PMEM_ARENA_WINDOW_IO && !bridge->io_window)
		return "it has no window for ports";
	if (asked->kind == PMEM_ARENA_WINDOW_PREF && !bridge->pref_window)
		return "it has no prefetchable window";
	window->resource = &bridge->resource[PCI_BRIDGE_IO_WINDOW + asked->kind];
	pm_runtime_get_sync(&bridge->dev);
	if (pci_read_config_dword(bridge, PCI_VENDOR_ID, &id) || id == ~0u)
		return "it does not answer";
	return NULL;
}

static bool is_whole(const struct window *window)
{
	u64 below = window->kind == PMEM_ARENA_WINDOW_IO ? 0xfff : 0xfffff;

	return !is_open(window->new) || (!(window->new.start & below) && (window->new.last & below) == below);
}

static void put(struct window *window)
{
	if (window->resource)
		pm_runtime_put(&window->bridge->dev);
	pci_dev_put(window->bridge);
}

/* All of it: looked up and compared with the map first, then changed in order; what was changed is put back if one is refused. */
static long change_all(struct pmem_arena_windows *windows, const struct pmem_arena_window *asked, struct window *all)
{
	const char *why = NULL, *ignored;
	u32 i, k;
	long error;

	for (i = 0; i < windows->count; i++) {
		const char *name;

		why = find(&asked[i], &all[i]);
		name = all[i].bridge ? pci_name(all[i].bridge) : "?";
		if (why)
			return refuse(windows, i, PMEM_ARENA_NO_BRIDGE, -ENODEV, name, why);
		if (!is_whole(&all[i]))
			return refuse(windows, i, PMEM_ARENA_WRONG, -EINVAL, name, "no whole steps of the window");
		/* One that is changed twice is, the second time, as the first time left it. */
		for (k = i; k-- > 0;)
			if (all[k].resource == all[i].resource)
				break;
		if (!is_same(all[i].old, k < i ? all[k].new : mapped(all[i].resource)))
			return refuse(windows, i, PMEM_ARENA_CHANGED, -EAGAIN, name, "the kernel's map has another window by now");
	}
	for (i = 0; i < windows->count; i++) {
		error = change(&all[i], all[i].old, all[i].new, &why);
		if (!error)
			continue;
		refuse(windows, i, error == -EIO ? PMEM_ARENA_DIFFERS : PMEM_ARENA_BUSY, error, pci_name(all[i].bridge), why);
		while (i-- > 0)
			if (change(&all[i], all[i].new, all[i].old, &ignored))
				pr_err("%s: its window could not be put back\n", pci_name(all[i].bridge));
		return error;
	}
	return 0;
}

long windows_change(struct pmem_arena_windows *windows)
{
	struct pmem_arena_window *asked;
	struct window *all;
	long error;
	u32 i;

	if (windows->reserved || memchr_inv(windows->reserved2, 0, sizeof(windows->reserved2)) || !windows->count ||
	    windows->count > MOST_WINDOWS)
		return -EINVAL;
	if (security_locked_down(LOCKDOWN_PCI_ACCESS))
		return -EPERM;
	windows->failed = 0;
	windows->status = 0;
	memset(windows->why, 0, sizeof(windows->why));
	asked = vmemdup_user(u64_to_user_ptr(windows->windows), windows->count * sizeof(*asked));
	if (IS_ERR(asked))
		return PTR_ERR(asked);
	all = kvcalloc(windows->count, sizeof(*all), GFP_KERNEL);
	error = -ENOMEM;
	if (!all)
		goto out;
	error = -EINVAL;
	for (i = 0; i < windows->count; i++)
		if (asked[i].kind > PMEM_ARENA_WINDOW_PREF || asked[i].reserved || asked[i].function > 0xffff)
			goto out;
	pci_lock_rescan_remove();
	error = change_all(windows, asked, all);
	pci_unlock_rescan_remove();
	for (i = 0; i < windows->count; i++)
		put(&all[i]);
out:
	kvfree(all);
	kvfree(asked);
	return error;
}
