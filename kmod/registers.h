/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The MTRRs of one processor. Pure: on the host this compiles against host/platform.h. */
#ifndef PMEM_ARENA_REGISTERS_H
#define PMEM_ARENA_REGISTERS_H

#include "library.h"
#include "platform.h"

#define MSR_CAP 0xfe
#define MSR_DEF 0x2ff
#define MSR_SYSCFG 0xc0010010
#define MSR_TOM 0xc001001a
#define MSR_TOM2 0xc001001d
#define MSR_BASE(n) (0x200 + 2 * (n))
#define MSR_MASK(n) (0x201 + 2 * (n))
/* The enable bit (E) of DEF_TYPE, and the valid bit (V) of each mask register. */
#define REGISTER_ON (1ull << 11)

/* Which registers the processors have, the same on all. Set once at load. */
struct shape {
	u32 variable; /* number of variable registers */
	u32 width; /* width of physical addresses in bits */
	bool is_amd;
};
extern struct shape shape;

/* Reads this processor's registers. Returns 0, or the number of the first register that cannot be read; such registers read as 0. */
u32 registers_read(struct pmem_image *image);

/*
 * Writes the registers in which `to` differs from `now`, with MTRRs disabled meanwhile. Returns 0, or the number of the first register that
 * was refused.
 */
u32 registers_write(const struct pmem_image *now, const struct pmem_image *to);

/* Returns whether `here` differs from `wanted` in effect. If so, stores the first register in which it does, with both values. */
bool registers_differ(const struct pmem_image *here, const struct pmem_image *wanted, struct pmem_difference *difference);

/*
 * The registers that were written, the value that was written to each, and what it held before: enough to give everything back without
 * the library. A register that somebody else has written since is theirs, and stays.
 */
struct written {
	u64 variable; /* one bit for each pair of base and mask */
	u32 fixed; /* one bit for each fixed register */
	bool def; /* DEF_TYPE */
	struct pmem_image former, value; /* what each held before, and what was written to it */
	struct pmem_image load; /* all registers at load */
};

/* Records a change that all processors accepted. */
void written_note(struct written *written, const struct pmem_image *from, const struct pmem_image *to);

/*
 * Stores in `to` the registers that give everything back: each register that still holds what was written gets its former value. Returns
 * whether `to` differs from `now`.
 */
bool written_back(const struct written *written, const struct pmem_image *now, struct pmem_image *to);

#endif
