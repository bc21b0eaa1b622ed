/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * The library's thread and its memory.
 *
 * The library runs on a thread of its own, so it has a stack to itself. If it panics or does not answer, the C half gives back what was
 * written to the registers without it, and this and all later requests fail with EIO. Nothing unwinds, and no lock stays held.
 */
#ifndef PMEM_ARENA_WORKER_H
#define PMEM_ARENA_WORKER_H

#include <linux/mutex.h>
#include <linux/types.h>

#include "library.h"

/* Starts the thread. Returns 0 or a negative errno. */
int worker_start(void);
/* Gives everything back, without the library if need be, and stops the thread. */
void worker_stop(void);

/* Serializes requests. Never held while waiting for a device's lock, and no longer than the library takes. */
extern struct mutex worker_lock;
/*
 * Runs a function on the thread, and returns its result. -EIO if the library is dead. -ETIMEDOUT if this call found it dead: the thread may
 * still use what it was working on, so do not free that. The caller holds `worker_lock`.
 */
long worker_call(long (*run)(void *arg), void *arg);
/* Whether there is enough memory for a request that allocates. */
bool worker_has_memory(void);
/* Whether the library has panicked or has not answered in time. It stays dead until the module is loaded again. */
bool worker_is_dead(void);

/* Retries the work that is left: at once, and then less and less often, until nothing is left. */
void worker_settle_soon(void);

struct memory_figures {
	u64 most_memory; /* the most that a request has used, in bytes */
	u32 most_stack; /* likewise */
};
/* Stores the library's figures after its last request, and the most that requests have used. Waits for no request. */
void worker_figures(struct pmem_figures *figures, struct memory_figures *memory);

#endif
