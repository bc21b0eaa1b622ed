/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * How processors change their registers together: Intel SDM vol. 3A, section 13.11.8; AMD APM vol. 2, section 7.7.4. Pure: on the host
 * this compiles against host/platform.h, with a thread for each processor.
 */
#ifndef PMEM_ARENA_RENDEZVOUS_H
#define PMEM_ARENA_RENDEZVOUS_H

#include "registers.h"

/* What the processors share during a change: what to do, and how it went. */
struct meeting {
	const struct pmem_image *from; /* what the first processor must hold, in effect; NULL if it may hold anything */
	const struct pmem_image *to;
	atomic_t arrived, left; /* how many processors have reached each barrier */
	atomic_t changed; /* the first processor does not hold `from`, so nothing was written */
	atomic_t failed; /* a processor did not accept `to` */
	atomic_t broken; /* a processor did not accept `from` again */
};

/* What one processor stores during a change. */
struct place {
	struct pmem_image here; /* the registers that it read last */
	struct pmem_difference differed; /* the first difference from `from` on arrival; msr 0 if there is none */
	struct pmem_difference refused; /* the first difference from `to` after writing it; msr 0 if there is none */
};

/* Prepares a change. Both images must stay valid until it is over. */
void meeting_begin(struct meeting *meeting, const struct pmem_image *from, const struct pmem_image *to);

/*
 * Takes part in a change. Call it on each of `count` processors at once, with interrupts off. It changes whatever they hold to `to`. If one
 * does not accept that, all are changed back to `from`, unless that is NULL. `is_first` marks the processor whose registers all should
 * have.
 */
void meet(struct meeting *meeting, struct place *place, u32 cpu, int count, bool is_first);

/* Returns the result after all have left: 0, or -EAGAIN, -EIO or -ENXIO like pmem_kernel_program(). */
int meeting_result(const struct meeting *meeting);

#endif
