/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* All processors: reading their registers, and changing them together. */
#ifndef PMEM_ARENA_PROCESSORS_H
#define PMEM_ARENA_PROCESSORS_H

#include "registers.h"

/* What was found when all processors were read. */
struct reading {
	struct pmem_image boot; /* the registers of the first online processor, which all should have */
	u32 online; /* number of processors online */
	u32 differ; /* how many of them differ from the first in effect */
	u32 mended; /* processors_mended */
	u64 rendezvous; /* how long the last change took, in nanoseconds */
	struct pmem_difference first; /* the first difference; msr 0 if there is none */
};

/* How often a processor was found to differ and was made equal, since load. */
extern atomic_t processors_mended;
/* Logs a register in which a processor differs. `what` introduces the other value. */
void processors_say(const char *what, const struct pmem_difference *difference);

/* Finds out which registers exist. Returns 0 or a negative errno. */
int processors_start(void);
void processors_stop(void);

/* Allocates room for one reader, an image for each processor; NULL without memory. The caller frees it with kvfree(). */
struct pmem_image *processors_room(void);
/* Reads all processors. Returns 0, or -EIO if a register cannot be read. Waits neither for requests nor for other readers. */
int processors_read(struct reading *reading, struct pmem_image *seen);
/* Says that a processor may differ: processors_mend() will soon check. */
void processors_doubt(void);
/* Makes processors equal that differ. Returns whether this must be tried again. */
bool processors_mend(void);
/* Gives back everything that was written, without the library. Returns 0, or a negative errno if that is not possible now. */
int processors_give_back(void);
/* Forgets what was written: the registers are as they should be, and nothing is left to give back. */
void processors_forget(void);

#endif
