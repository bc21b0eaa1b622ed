/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The library's thread and its memory.
 *
 * The library runs on a thread of its own: it has a stack to itself, and if it should panic, or not answer, what was written to the
 * registers is given back without it, the caller gets EIO, and so does everybody after it. Nothing unwinds, no lock stays held.
 */
#ifndef PMEM_ARENA_WORKER_H
#define PMEM_ARENA_WORKER_H

#include <linux/mutex.h>
#include <linux/types.h>

#include "library.h"

int worker_start(void);
/* Stops the thread. What it could not give back is given back. */
void worker_stop(void);

/* One request at a time. Not held while a device's lock is waited for, nor for longer than the library takes. */
extern struct mutex worker_lock;
/*
 * Runs a function on the thread; -EIO if it is dead, -ETIMEDOUT if it is taken for dead now: what it works on must stay then. The caller
 * holds `worker_lock`.
 */
long worker_call(long (*run)(void *arg), void *arg);
/* Whether there is memory for a request that takes some. */
bool worker_has_memory(void);
bool worker_is_dead(void);

/* Has what is left to do tried again: at once, and then less and less often until nothing is left. */
void worker_settle_soon(void);

struct memory_figures {
	u64 most_memory;
	u32 most_stack;
};
/* What requests took at most, and what there is. Waits for none. */
void worker_figures(struct pmem_figures *figures, struct memory_figures *memory);

#endif
