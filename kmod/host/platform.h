/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* What registers.c, rendezvous.c and forwards.c are made of, recorded by src/: each processor is a thread, a bridge an array. */
#ifndef PMEM_ARENA_HOST_PLATFORM_H
#define PMEM_ARENA_HOST_PLATFORM_H

#include <errno.h>
#include <linux/types.h>
#include <stdbool.h>
#include <string.h>

typedef __u8 u8;
typedef __u32 u32;
typedef __u64 u64;

typedef struct {
	int counter;
} atomic_t;

static inline void atomic_set(atomic_t *at, int value)
{
	__atomic_store_n(&at->counter, value, __ATOMIC_SEQ_CST);
}

static inline int atomic_read(const atomic_t *at)
{
	return __atomic_load_n(&at->counter, __ATOMIC_SEQ_CST);
}

static inline void atomic_inc(atomic_t *at)
{
	__atomic_add_fetch(&at->counter, 1, __ATOMIC_SEQ_CST);
}

static inline void smp_mb(void)
{
	__atomic_thread_fence(__ATOMIC_SEQ_CST);
}

void cpu_relax(void);

#define CR0_NW (1ul << 29)
#define CR0_CD (1ul << 30)
#define CR4_PGE (1ul << 7)

int msr_read(u32 msr, u64 *value);
int msr_write(u32 msr, u64 value);
unsigned long cr0_get(void);
void cr0_set(unsigned long value);
unsigned long cr4_get(void);
void cr4_set(unsigned long value);
void cr3_reload(void);
void wbinvd_here(void);

struct pci_dev;
int config_read(struct pci_dev *dev, u32 at, u32 size, u32 *value);
void config_write(struct pci_dev *dev, u32 at, u32 size, u32 value);

#endif
