/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The ioctl interface of /dev/pmem_arena.
 *
 * Every structure begins with the version and its own size; a call with another version or size is refused with EINVAL, so
 * that neither side reads what the other does not have. CAP_SYS_RAWIO is needed to open the device.
 */
#ifndef PMEM_ARENA_H
#define PMEM_ARENA_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define PMEM_ARENA_VERSION 1
#define PMEM_ARENA_VARIABLE 40
#define PMEM_ARENA_WHY 160

struct pmem_arena_head {
	__u32 version;
	__u32 size;
};

/* All processors' registers, which agree, and the manager's figures. */
struct pmem_arena_info {
	struct pmem_arena_head head;
	__u32 width; /* of physical addresses, in bits */
	__u32 variable; /* registers */
	__u32 cpus;
	__u32 arenas;
	__u32 regions;
	__u32 most_stack; /* that any request took, in bytes */
	__u64 most_memory; /* that any request took, in bytes */
	__u64 cap;
	__u64 def;
	__u64 fixed[11];
	__u64 base[PMEM_ARENA_VARIABLE];
	__u64 mask[PMEM_ARENA_VARIABLE];
};

/* One arena, or one primed span of it. ENOENT past the last. */
struct pmem_arena_span {
	struct pmem_arena_head head;
	__u32 index; /* in: which span, of all arenas' */
	__u32 type; /* as in the proposal's enum pmem_type */
	__u64 start;
	__u64 last;
	__u32 prot;
	__u32 props;
	char name[32];
};

/* A region: what it is, or what it is to be. */
struct pmem_arena_region {
	struct pmem_arena_head head;
	__u64 id;
	__u64 start;
	__u64 last;
	__u32 index; /* in, for PMEM_ARENA_REGION: which */
	__u32 flags; /* PMEM_ARENA_FORCE; out: PMEM_ARENA_MINE */
	__u32 usage; /* as in the proposal's enum pmem_use, prot and props likewise */
	__u32 prot;
	__u32 props;
	__u32 needed; /* out: registers that it takes in all; 0 if that is not known */
	__u32 available; /* out: registers that there are */
	__u32 reserved; /* 0 */
	char why[PMEM_ARENA_WHY]; /* out: what was refused, in words */
};

#define PMEM_ARENA_FORCE 1u /* even over a BAR whose driver is bound */
#define PMEM_ARENA_MINE 2u /* this file holds it */

/* A text for people. */
struct pmem_arena_text {
	struct pmem_arena_head head;
	__u64 buffer; /* user address */
	__u64 len; /* in: of the buffer, at most 65536; out: of the text */
};

#define PMEM_ARENA_INFO _IOWR('P', 0xa0, struct pmem_arena_info)
#define PMEM_ARENA_SPAN _IOWR('P', 0xa1, struct pmem_arena_span)
#define PMEM_ARENA_REGION _IOWR('P', 0xa2, struct pmem_arena_region)
#define PMEM_ARENA_ALLOC _IOWR('P', 0xa3, struct pmem_arena_region)
#define PMEM_ARENA_SET _IOWR('P', 0xa4, struct pmem_arena_region)
#define PMEM_ARENA_RELEASE _IOWR('P', 0xa5, struct pmem_arena_region)
#define PMEM_ARENA_PLAN _IOWR('P', 0xa6, struct pmem_arena_region)
#define PMEM_ARENA_DUMP _IOWR('P', 0xa7, struct pmem_arena_text)

#endif
