/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* What each request asks of the library, of the processors and of devices. */
#ifndef PMEM_ARENA_REQUESTS_H
#define PMEM_ARENA_REQUESTS_H

#include "library.h"

union argument {
	struct pmem_arena_head head;
	struct pmem_arena_info info;
	struct pmem_arena_span span;
	struct pmem_arena_region region;
	struct pmem_arena_text text;
	struct pmem_arena_windows windows;
};

struct command {
	unsigned int number;
	u32 op;
	bool writes; /* needs a descriptor that can write */
};

/* Does what a command asks for, for an open file. */
long requests_carry_out(u64 session, const struct command *command, union argument *arg);
/* Undoes a claim whose number could not be given to its holder. */
void requests_undo(u64 session, struct pmem_arena_region *region);
/* Gives back what an open file holds. */
void requests_close(u64 session);

#endif
