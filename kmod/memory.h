/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The library's memory.
 *
 * The library cannot be told that there is none. So there is a reserve, set aside at load, from which it is served when the
 * kernel has nothing left; and a request that could take more is refused with ENOMEM before it begins once half of the reserve
 * is in use. Half of it is many times what any request takes (`most_memory`), and giving back is never refused.
 */
#ifndef PMEM_ARENA_MEMORY_H
#define PMEM_ARENA_MEMORY_H

#include <linux/types.h>

int memory_start(void);
void memory_stop(void);
/* A request begins. */
void memory_begin(void);
bool memory_is_there(void);
/* The most that any request took since it was loaded. */
u64 memory_most(void);
/* Loading has ended: what that took counts for none. */
void memory_loaded(void);

#endif
