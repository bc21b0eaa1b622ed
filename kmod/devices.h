/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* PCI functions, their BARs, and the windows that these are in; and what happens to them. */
#ifndef PMEM_ARENA_DEVICES_H
#define PMEM_ARENA_DEVICES_H

#include <linux/pci.h>

#include "library.h"

/* The function with a BAR that holds a range; NULL if there is none. `bar` is its number. The caller puts it. */
struct pci_dev *devices_find(u64 start, u64 last, int *bar);
/* The function that a claim is over; NULL if it is gone. The caller puts it. */
struct pci_dev *devices_of(u64 device);
/* Puts in what the kernel knows of a BAR. False if it does not hold the range any more. */
bool devices_describe(struct pci_dev *dev, int bar, struct pmem_claim *claim);

/* Takes the physical address space in: how many spans, or -E2BIG. */
int devices_spans(struct pmem_span *spans, u32 room);

/* Ends claims as drivers are bound and functions removed. */
int devices_follow(void);
void devices_leave(void);

#endif
