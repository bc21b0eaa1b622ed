/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/*
 * The fewest MTRRs for what memory is to be: an exact planner for firmware. It takes no memory but what it is given, and never
 * panics.
 *
 * Types are the registers' numbers: UC 0, WC 1, WT 4, WP 5, WB 6. Sets of types are bits 1 << number.
 */
#ifndef PMEM_MTRR_H
#define PMEM_MTRR_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PMEM_MTRR_UC 0
#define PMEM_MTRR_WC 1
#define PMEM_MTRR_WT 4
#define PMEM_MTRR_WP 5
#define PMEM_MTRR_WB 6
#define PMEM_MTRR_SET(type) (1u << (type))
#define PMEM_MTRR_ANY 0x73u /* all five */
#define PMEM_MTRR_BEST 0xffu /* as a default type: the best one */
#define PMEM_MTRR_NONE 0xffu /* as an optimum: not possible */
#define PMEM_MTRR_MOST 40

/* Addresses [start, end), whole 4 KiB pages, and the set of types that they may be. */
struct pmem_mtrr_want {
	uint64_t start;
	uint64_t end;
	uint32_t allowed;
	uint32_t reserved; /* 0 */
};

/* IA32_MTRR_PHYSBASEn and IA32_MTRR_PHYSMASKn. */
struct pmem_mtrr_register {
	uint64_t base;
	uint64_t mask;
};

struct pmem_mtrr_request {
	uint32_t size; /* of this structure */
	uint8_t bits; /* of physical addresses: 32 to 52 */
	uint8_t registers; /* that there are */
	uint8_t keep_free; /* of them */
	uint8_t default_type; /* or PMEM_MTRR_BEST */
	uint8_t fixed; /* not 0: the fixed ranges decide below 1 MiB */
	uint8_t reserved[3]; /* 0 */
	uint32_t elsewhere; /* what addresses may be that no want is about */
	uint32_t available; /* the types that the processor has */
	uint32_t wants_count;
	uint32_t present_count;
	uint64_t tom2; /* the default is WB from 4 GiB to this (AMD); 0 without */
	const struct pmem_mtrr_want *wants; /* in order of address, apart */
	const struct pmem_mtrr_register *present; /* preferred to others as long as that costs none */
	uint64_t pinned; /* bit n: present[n] stays whatever is wanted */
};

struct pmem_mtrr_answer {
	uint8_t default_type;
	uint8_t count; /* of registers */
	uint8_t needed; /* to lose nothing */
	uint8_t reserved;
	uint8_t optimum[8]; /* the fewest with default UC, WC, WT, WP, WB, in that order: no setting does with fewer */
	uint64_t lost; /* bytes of a type that they may not be, but that is safe for them */
	struct pmem_mtrr_register registers[PMEM_MTRR_MOST]; /* ready to be written */
};

enum {
	PMEM_MTRR_OK = 0, /* everything is as wanted */
	PMEM_MTRR_LOSS = 1, /* the registers do not suffice: this is the least loss */
	PMEM_MTRR_INVALID = -1, /* the request makes no sense */
	PMEM_MTRR_WORK = -2, /* the work space is too small */
	PMEM_MTRR_IMPOSSIBLE = -3, /* something would be cached that must not be */
};

/* How many bytes of work space a request with so many wants needs; with `loss` not 0, also to find the least loss. */
size_t pmem_mtrr_work(uint32_t wants_count, uint8_t bits, uint8_t registers, int loss);

/* Plans. `work` is aligned to 8 bytes. */
int pmem_mtrr_plan(const struct pmem_mtrr_request *request, void *work, size_t work_size,
		   struct pmem_mtrr_answer *answer);

#ifdef __cplusplus
}
#endif

#endif
