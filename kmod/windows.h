/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The windows of PCI bridges, in the kernel's map and in their registers. */
#ifndef PMEM_ARENA_WINDOWS_H
#define PMEM_ARENA_WINDOWS_H

#include "library.h"

/* Changes windows, one after the other, all or none. */
long windows_change(struct pmem_arena_windows *windows);

#endif
