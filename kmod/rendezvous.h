/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * How processors change their registers together: Intel SDM vol. 3A, section 13.11.8; AMD APM vol. 2, section 7.7.4. Pure: on the host
 * it compiles against host/platform.h, each processor a thread.
 */
#ifndef PMEM_ARENA_RENDEZVOUS_H
#define PMEM_ARENA_RENDEZVOUS_H

#include "registers.h"

/* What is to be done, and how it went. */
struct meeting {
	const struct pmem_image *from; /* what the first processor must hold, in effect; NULL if anything will do */
	const struct pmem_image *to;
	atomic_t arrived, left;
	atomic_t changed; /* the first does not hold `from`: nothing was written */
	atomic_t failed; /* one did not take `to` */
	atomic_t broken; /* one did not take `from` again */
};

/* One processor's part. */
struct place {
	struct pmem_image here;
	struct pmem_difference differed; /* from `from`, on arrival */
	struct pmem_difference refused; /* from `to`, when it was written */
};

void meeting_begin(struct meeting *meeting, const struct pmem_image *from, const struct pmem_image *to);

/*
 * On each of `count` processors, with interrupts off, all at once. Brings whatever they hold to `to`; if one does not take it, all to
 * `from`. The first one, whose registers are what all are to have, is told so.
 */
void meet(struct meeting *meeting, struct place *place, u32 cpu, int count, bool is_first);

/* After it: 0; -EAGAIN, -EIO, -ENXIO as for pmem_kernel_program. */
int meeting_result(const struct meeting *meeting);

#endif
