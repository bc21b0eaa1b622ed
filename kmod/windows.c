// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/*
 * The windows of PCI bridges, in the kernel's resource tree and in the bridges' registers.
 *
 * The kernel does not export its own functions that write the registers. So the tree is changed by the functions for resources, which
 * refuse a window that overlaps a neighbour, leaves its parent or excludes a child. Then the registers are written, as PCI-to-PCI Bridge
 * Architecture 1.2, 3.2.5 defines them. A window with something behind it is never closed on the way.
 */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/pci.h>
#include <linux/pm_runtime.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "forwards.h"
#include "windows.h"

#define MOST_WINDOWS 256

/* A requested change of one window. */
struct window {
	struct pci_dev *bridge;
	struct resource *resource;
	u32 kind;
	struct span old, new;
};

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

/* Translates the CPU's addresses to bus addresses. */
static struct span on_bus(const struct window *window, struct span span)
{
	struct resource resource = { .start = span.start, .end = span.last, .flags = flags_of(window) };
	struct pci_bus_region region;

	if (!is_open(span))
		return span;
	pcibios_resource_to_bus(window->bridge->bus, &region, &resource);
	return (struct span){ region.start, region.end };
}

/* Returns the range that must be forwarded all the time: everything that the kernel has behind the window. */
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

static struct layout registers_of(const struct window *window)
{
	u16 type = 0;

	if (window->kind != PMEM_ARENA_WINDOW_IO)
		return layout_of(window->kind, window->bridge->pref_64_window);
	pci_read_config_word(window->bridge, PCI_IO_BASE, &type);
	return layout_of(window->kind, (type & PCI_IO_RANGE_TYPE_MASK) == PCI_IO_RANGE_TYPE_32);
}

/* Makes a window's registers forward a span. */
static int set_registers(const struct window *window, struct span span, const char **why)
{
	struct layout registers = registers_of(window);

	return forward(window->bridge, &registers, on_bus(window, behind(window)), on_bus(window, span), why);
}

/* --- The kernel's resource tree --- */

/* Returns the window in the tree; closed if it is not there. */
static struct span mapped(const struct resource *resource)
{
	if (!resource->parent)
		return (struct span){ 1, 0 };
	return (struct span){ resource->start, resource->end };
}

/* Moves a window that contains nothing. If `span` is closed, the window leaves the tree. */
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

/* Changes a window in the tree. If that is refused, the window stays as it was. */
static int map(const struct window *window, struct span from, struct span to)
{
	int error;

	if (is_same(from, to))
		return 0;
	/* This works with something in the window; moving it does not. */
	if (is_open(from) && is_open(to) && !adjust_resource(window->resource, to.start, to.last - to.start + 1))
		return 0;
	error = place(window, to);
	if (error && !window->resource->child)
		WARN_ON(place(window, from));
	return error;
}

/* --- Requests --- */

/* Changes a window in the tree and then in its registers. If the registers refuse, restores both. */
static int change(const struct window *window, struct span from, struct span to, const char **why)
{
	const char *ignored;
	int error = map(window, from, to);

	*why = "the new range overlaps a neighbour, leaves the window above, or excludes something in the window";
	if (error)
		return -EBUSY;
	error = set_registers(window, to, why);
	if (!error)
		return 0;
	if (map(window, to, from) || set_registers(window, from, &ignored))
		pr_err("%s: a window could not be restored\n", pci_name(window->bridge));
	return error;
}

/* Stores which window is refused and why, and returns the errno. */
static long refuse(struct pmem_arena_windows *windows, u32 index, u32 status, long error, const char *name, const char *why)
{
	windows->failed = index;
	windows->status = status;
	snprintf(windows->why, sizeof(windows->why), "%s: %s", name, why);
	return error;
}

/* Looks up a window and wakes its bridge. Returns NULL, or why it cannot be changed. The caller calls put() either way. */
static const char *find(const struct pmem_arena_window *asked, struct window *window)
{
	struct pci_dev *bridge;
	u32 id = 0;

	bridge = pci_get_domain_bus_and_slot(asked->domain, asked->function >> 8 & 0xff, asked->function & 0xff);
	*window = (struct window){ bridge, NULL, asked->kind, { asked->old_start, asked->old_last }, { asked->new_start, asked->new_last } };
	if (!bridge)
		return "there is no such function";
	if (bridge->hdr_type != PCI_HEADER_TYPE_BRIDGE || !bridge->subordinate)
		return "it is not a PCI bridge with a bus below it";
	if (asked->kind == PMEM_ARENA_WINDOW_IO && !bridge->io_window)
		return "it has no I/O window";
	if (asked->kind == PMEM_ARENA_WINDOW_PREF && !bridge->pref_window)
		return "it has no prefetchable window";
	window->resource = &bridge->resource[PCI_BRIDGE_IO_WINDOW + asked->kind];
	pm_runtime_get_sync(&bridge->dev);
	if (pci_read_config_dword(bridge, PCI_VENDOR_ID, &id) || id == ~0u)
		return "it does not answer";
	return NULL;
}

/* Returns whether the window's registers can hold the new range. */
static bool is_held(const struct window *window)
{
	struct layout registers = registers_of(window);

	return can_forward(&registers, on_bus(window, window->new));
}

static void put(struct window *window)
{
	if (window->resource)
		pm_runtime_put(&window->bridge->dev);
	pci_dev_put(window->bridge);
}

/* Looks up all windows and compares them with the tree, then changes them in order. If one is refused, undoes the changes before it. */
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
		if (!is_held(&all[i]))
			return refuse(windows, i, PMEM_ARENA_WRONG, -EINVAL, name,
				      "the new range is not in whole granules of the window, or too high for its registers");
		/* If an earlier change is of the same window, this one starts from what that leaves. Without one, `k` wraps. */
		for (k = i; k-- > 0;)
			if (all[k].resource == all[i].resource)
				break;
		if (!is_same(all[i].old, k < i ? all[k].new : mapped(all[i].resource)))
			return refuse(windows, i, PMEM_ARENA_CHANGED, -EAGAIN, name,
				      "the kernel's resource tree now has a different range");
	}
	for (i = 0; i < windows->count; i++) {
		error = change(&all[i], all[i].old, all[i].new, &why);
		if (!error)
			continue;
		refuse(windows, i, error == -EIO ? PMEM_ARENA_DIFFERS : PMEM_ARENA_BUSY, error, pci_name(all[i].bridge), why);
		while (i-- > 0)
			if (change(&all[i], all[i].new, all[i].old, &ignored))
				pr_err("%s: a window could not be restored\n", pci_name(all[i].bridge));
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
