/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* PCI functions, their BARs, the windows that contain these, and what happens to them. */
#ifndef PMEM_ARENA_DEVICES_H
#define PMEM_ARENA_DEVICES_H

#include <linux/pci.h>

#include "library.h"

/* Finds the function with a memory BAR that contains a range, and stores the BAR's number. NULL if there is none. The caller puts it. */
struct pci_dev *devices_find(u64 start, u64 last, int *bar);
/* Returns the function of an id as in struct pmem_claim; NULL if it is gone. The caller puts it. */
struct pci_dev *devices_of(u64 device);
/* Fills in what the kernel knows about a BAR. Returns false if the BAR no longer contains the claim's range. */
bool devices_describe(struct pci_dev *dev, int bar, struct pmem_claim *claim);

/* Stores the spans of the physical address space, in order. Returns their number, or -E2BIG if there is not enough room. */
int devices_spans(struct pmem_span *spans, u32 room);

/* Ends claims from now on when drivers are bound and functions removed. Returns 0 or a negative errno. */
int devices_follow(void);
void devices_leave(void);

#endif
