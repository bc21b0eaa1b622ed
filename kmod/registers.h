/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* The registers of one processor. Pure: on the host it compiles against host/platform.h. */
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
/* DEF_TYPE's E, and each mask register's V. */
#define REGISTER_ON (1ull << 11)

/* What the processors have, the same on all; set once at load. */
struct shape {
	u32 variable; /* registers */
	u32 width; /* of physical addresses, in bits */
	bool is_amd;
};
extern struct shape shape;

/* Reads what this processor holds. 0, or the number of a register that cannot be read. */
u32 registers_read(struct pmem_image *image);

/* Writes what differs; MTRRs are off meanwhile. 0, or the number of the first register that was refused. */
u32 registers_write(const struct pmem_image *now, const struct pmem_image *to);

/* Whether this processor's registers have another effect than `wanted`; which is the first, and what is in it. */
bool registers_differ(const struct pmem_image *here, const struct pmem_image *wanted, struct pmem_difference *difference);

/*
 * Which registers were written, by which value, and what each held before that: enough to give all of it back without the library.
 * What somebody else writes later is theirs, and stays.
 */
struct written {
	u64 variable; /* one bit a pair */
	u32 fixed; /* one bit a register */
	bool def;
	struct pmem_image former, value;
	struct pmem_image load; /* what was there at load */
};

/* Takes note of a change that all processors took. */
void written_note(struct written *written, const struct pmem_image *from, const struct pmem_image *to);

/* What to write so that each register that still holds what was written gets what it held before. Whether anything is to be written. */
bool written_back(const struct written *written, const struct pmem_image *now, struct pmem_image *to);

#endif
