/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/*
 * What registers.c, rendezvous.c and forwards.c use of the machine: real instructions and registers in the kernel, simulated ones on the
 * host.
 */
#ifndef PMEM_ARENA_PLATFORM_H
#define PMEM_ARENA_PLATFORM_H

#ifndef __KERNEL__
#include "host/platform.h"
#else

#include <linux/atomic.h>
#include <linux/errno.h>
#include <linux/pci.h>
#include <linux/string.h>
#include <linux/types.h>
#include <asm/msr.h>
#include <asm/processor.h>
#include <asm/processor-flags.h>

#define CR0_CD X86_CR0_CD
#define CR0_NW X86_CR0_NW
#define CR4_PGE X86_CR4_PGE

/* Kernel 6.16 renamed these. */
#ifdef HAS_RDMSRQ
#define rdmsrl_safe rdmsrq_safe
#define wrmsrl_safe wrmsrq_safe
#endif

static inline int msr_read(u32 msr, u64 *value)
{
	return rdmsrl_safe(msr, value);
}

#ifdef PMEM_FAULTS
int msr_write(u32 msr, u64 value);
#else
static inline int msr_write(u32 msr, u64 value)
{
	return wrmsrl_safe(msr, value);
}
#endif

/* Not the kernel's own functions: those may keep bits set, or cache what they wrote. */
static inline unsigned long cr0_get(void)
{
	unsigned long value;

	asm volatile("mov %%cr0, %0" : "=r"(value)::"memory");
	return value;
}

static inline void cr0_set(unsigned long value)
{
	asm volatile("mov %0, %%cr0" ::"r"(value) : "memory");
}

static inline unsigned long cr4_get(void)
{
	unsigned long value;

	asm volatile("mov %%cr4, %0" : "=r"(value)::"memory");
	return value;
}

static inline void cr4_set(unsigned long value)
{
	asm volatile("mov %0, %%cr4" ::"r"(value) : "memory");
}

static inline void cr3_reload(void)
{
	unsigned long value;

	asm volatile("mov %%cr3, %0; mov %0, %%cr3" : "=&r"(value)::"memory");
}

static inline void wbinvd_here(void)
{
	asm volatile("wbinvd" ::: "memory");
}

/* Reads a register of 2 or 4 bytes in configuration space. Returns 0, or an error code that is not 0. */
static inline int config_read(struct pci_dev *dev, u32 at, u32 size, u32 *value)
{
	u16 word = 0;
	int error;

	if (size == 4)
		return pci_read_config_dword(dev, at, value);
	error = pci_read_config_word(dev, at, &word);
	*value = word;
	return error;
}

static inline void config_write(struct pci_dev *dev, u32 at, u32 size, u32 value)
{
	if (size == 4)
		pci_write_config_dword(dev, at, value);
	else
		pci_write_config_word(dev, at, value);
}

#endif
#endif
