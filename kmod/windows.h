/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The windows of PCI bridges, in the kernel's resource tree and in the bridges' registers. */
#ifndef PMEM_ARENA_WINDOWS_H
#define PMEM_ARENA_WINDOWS_H

#include "library.h"

/* Changes windows in order, all or none. Returns 0 or a negative errno, and stores what was refused. */
long windows_change(struct pmem_arena_windows *windows);

#endif
