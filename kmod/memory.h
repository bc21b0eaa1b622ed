/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The library's memory.
 *
 * The library cannot handle a failed allocation. So the module sets a reserve aside at load, and uses it when the kernel's allocator has
 * nothing. Once more than half of the reserve is in use, a request that needs memory is refused with ENOMEM before it begins. Half of the
 * reserve is many times what any request takes (`most_memory`), and giving back is never refused.
 */
#ifndef PMEM_ARENA_MEMORY_H
#define PMEM_ARENA_MEMORY_H

#include <linux/types.h>

/* Sets the reserve aside. Returns 0 or -ENOMEM. */
int memory_start(void);
void memory_stop(void);
/* Begins to measure a request. */
void memory_begin(void);
/* Returns whether at least half of the reserve is free. */
bool memory_is_there(void);
/* Returns the most that any request has used since load, in bytes. */
u64 memory_most(void);
/* Ends loading, whose use of memory does not count. */
void memory_loaded(void);

#endif
