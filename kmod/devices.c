// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* PCI functions, their BARs, the windows that contain these, and what happens to them. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/ioport.h>
#include <linux/notifier.h>

#include "devices.h"
#include "faults.h"
#include "worker.h"

/* --- BARs --- */

static u64 id_of(struct pci_dev *dev, int bar)
{
	return (u64)pci_domain_nr(dev->bus) << 24 | dev->bus->number << 16 | dev->devfn << 8 | bar;
}

struct pci_dev *devices_of(u64 device)
{
	return pci_get_domain_bus_and_slot(device >> 24, device >> 16 & 0xff, device >> 8 & 0xff);
}

/* Returns whether a memory BAR is in the kernel's resource tree and contains a range. */
static bool holds(struct pci_dev *dev, int bar, u64 start, u64 last)
{
	struct resource *resource = &dev->resource[bar];

	return (resource->flags & IORESOURCE_MEM) && resource->parent && resource->start <= start && resource->end >= last;
}

struct pci_dev *devices_find(u64 start, u64 last, int *bar)
{
	struct pci_dev *dev = NULL;

	for_each_pci_dev(dev)
		for (*bar = 0; *bar < PCI_STD_NUM_BARS; ++*bar)
			if (holds(dev, *bar, start, last))
				return dev;
	return NULL;
}

bool devices_describe(struct pci_dev *dev, int bar, struct pmem_claim *claim)
{
	struct resource *resource = &dev->resource[bar], *window;
	struct pci_bus *bus = dev->bus;
	int i;

	if (!holds(dev, bar, claim->region.start, claim->region.last))
		return false;
	claim->device = id_of(dev, bar);
	claim->prefetchable = !!(resource->flags & IORESOURCE_PREFETCH);
	claim->window_start = resource->start;
	claim->window_last = resource->end;
	while (bus->parent)
		bus = bus->parent;
	pci_bus_for_each_resource(bus, window, i) {
		if (!window || !(window->flags & IORESOURCE_MEM) || window->start > resource->start || window->end < resource->end)
			continue;
		/* A root bus without a known window has the whole address space, which is no window. */
		if (window == &iomem_resource)
			continue;
		claim->window_start = window->start;
		claim->window_last = window->end;
	}
	return true;
}

__u32 pmem_kernel_bar(__u64 device, __u64 start, __u64 last)
{
	struct pci_dev *dev = devices_of(device);
	u32 state = 0;

	if (!dev)
		return PMEM_ARENA_STATE_REMOVED;
	if (!holds(dev, device & 0xff, start, last))
		state = PMEM_ARENA_STATE_MOVED;
	pci_dev_put(dev);
	return state;
}

/* --- The physical address space --- */

static bool is_bus(const struct resource *at)
{
	return at->name && !strncmp(at->name, "PCI Bus", 7) && !faults_hide_windows();
}

static bool is_memory(const struct resource *at)
{
	return (at->flags & IORESOURCE_SYSTEM_RAM) == IORESOURCE_SYSTEM_RAM;
}

struct spans {
	struct pmem_span *all;
	u32 count, room;
};

static bool take(struct spans *spans, u64 start, u64 last, u32 kind)
{
	if (spans->count == spans->room)
		return false;
	spans->all[spans->count++] = (struct pmem_span){ start, last, kind, 0 };
	return true;
}

/* Returns the next resource below `top` in depth-first order, NULL after the last. `skips_children` leaves out the children of `at`. */
static struct resource *after(struct resource *at, struct resource *top, bool skips_children)
{
	if (at->child && !skips_children)
		return at->child;
	while (at != top && !at->sibling)
		at = at->parent;
	return at == top ? NULL : at->sibling;
}

/*
 * Stores the spans of one child of the root. A PCI bus or memory is one span. Anything else is reserved, except for the buses and memory
 * that it contains at any depth.
 */
static bool take_tree(struct spans *spans, struct resource *top)
{
	u32 own = is_memory(top) ? 1 : is_bus(top) ? 4 : 2;
	u64 next = top->start;
	struct resource *at;

	if (own == 2) {
		for (at = top->child; at; at = after(at, top, is_bus(at) || is_memory(at))) {
			if (!is_bus(at) && !is_memory(at))
				continue;
			if (at->start > next && !take(spans, next, at->start - 1, own))
				return false;
			if (!take(spans, at->start, at->end, is_bus(at) ? 4 : 1))
				return false;
			next = at->end + 1;
		}
		if (next > top->end || !next)
			return true;
	}
	return take(spans, next, top->end, own);
}

int devices_spans(struct pmem_span *all, u32 room)
{
	struct spans spans = { all, 0, room };
	struct resource *at;
	bool fits = true;

	/* Keep rescans out: a window that is missed here would keep its memory types, but no arena would list it. */
	pci_lock_rescan_remove();
	for (at = iomem_resource.child; at && fits; at = at->sibling)
		fits = take_tree(&spans, at);
	pci_unlock_rescan_remove();
	return fits ? spans.count : -E2BIG;
}

/* --- What happens to functions --- */

static struct {
	u64 device;
	u32 state, all;
} ending; /* guarded by `worker_lock`; static, because a thread that does not answer may still read it */

static long run_end(void *unused)
{
	return pmem_arena_end(ending.device, ending.state, ending.all);
}

/* Ends the claims over a function. Before a probe, the caller holds the device's lock; nobody takes that while holding `worker_lock`. */
static void end_claims(struct pci_dev *dev, u32 state, bool all)
{
	long stay;

	mutex_lock(&worker_lock);
	ending.device = id_of(dev, 0);
	ending.state = state;
	ending.all = all;
	stay = worker_call(run_end, NULL);
	mutex_unlock(&worker_lock);
	if (stay > 0)
		pr_warn("%s: a driver is bound; forced claims that stay: %ld\n", pci_name(dev), stay);
}

static int happens(struct notifier_block *unused, unsigned long what, void *data)
{
	struct pci_dev *dev = to_pci_dev(data);

	switch (what) {
	case BUS_NOTIFY_BIND_DRIVER:
		end_claims(dev, PMEM_ARENA_STATE_BOUND, false);
		break;
	case BUS_NOTIFY_DEL_DEVICE:
	/* Once more when nobody can find it any more: a claim may have been made in between. */
	case BUS_NOTIFY_REMOVED_DEVICE:
		end_claims(dev, PMEM_ARENA_STATE_REMOVED, true);
		break;
	case BUS_NOTIFY_ADD_DEVICE:
		/* The rescan that found it may have moved the BARs of others. */
		worker_settle_soon();
		break;
	}
	return NOTIFY_DONE;
}

static struct notifier_block notifier = { .notifier_call = happens };

int devices_follow(void)
{
	return bus_register_notifier(&pci_bus_type, &notifier);
}

void devices_leave(void)
{
	bus_unregister_notifier(&pci_bus_type, &notifier);
}
