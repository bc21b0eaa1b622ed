/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* All processors: reading them, and changing them together. */
#ifndef PMEM_ARENA_PROCESSORS_H
#define PMEM_ARENA_PROCESSORS_H

#include "registers.h"

/* What was found when all were read. */
struct reading {
	struct pmem_image boot; /* what all are to have: the first processor's */
	u32 online;
	u32 differ; /* how many have another effect */
	u32 mended; /* how often one was made equal */
	u64 rendezvous; /* nanoseconds that the last one took */
	struct pmem_difference first;
};

/* How often a processor was found to differ, and was made equal. */
extern atomic_t processors_mended;
/* Tells people of one that differs. */
void processors_say(const char *what, const struct pmem_difference *difference);

/* Finds out what registers there are. */
int processors_start(void);
void processors_stop(void);

/* Room for a reader: an image for each processor. The caller frees it (kvfree). */
struct pmem_image *processors_room(void);
/* Reads all; 0 or -EIO. Waits for no request, and for no other reader. */
int processors_read(struct reading *reading, struct pmem_image *seen);
/* One may differ: it is looked at soon. */
void processors_doubt(void);
/* Makes those equal that differ. Whether any is left that does. */
bool processors_mend(void);
/* Gives back all that was written, without the library. 0, or why it cannot be done now. */
int processors_give_back(void);
/* What was written is as it is to be, from now on. */
void processors_forget(void);

#endif
