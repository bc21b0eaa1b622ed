/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* What each request asks of the library, the processors and the devices. */
#ifndef PMEM_ARENA_REQUESTS_H
#define PMEM_ARENA_REQUESTS_H

#include "library.h"

/* The structure of any ioctl. */
union argument {
	struct pmem_arena_head head;
	struct pmem_arena_info info;
	struct pmem_arena_span span;
	struct pmem_arena_region region;
	struct pmem_arena_text text;
	struct pmem_arena_windows windows;
};

/* One ioctl. */
struct command {
	unsigned int number;
	u32 op; /* PMEM_OP_..., for the ioctls that take a region */
	bool writes; /* needs a descriptor that is open for writing */
};

/* Carries out a command for an open file. Returns 0 or a negative errno. */
long requests_carry_out(u64 session, const struct command *command, union argument *arg);
/* Releases a claim whose id could not be delivered to the caller. */
void requests_undo(u64 session, struct pmem_arena_region *region);
/* Gives back everything that an open file holds. */
void requests_close(u64 session);

#endif
