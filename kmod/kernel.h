/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Differences between kernels. Kbuild defines HAS_... for what it finds by compiling, and in the list of exported symbols. */
#ifndef PMEM_ARENA_KERNEL_H
#define PMEM_ARENA_KERNEL_H

#include <linux/stop_machine.h>

#include "registers.h"

/*
 * Updates the kernel's own copy of the registers, which the kernel writes to a processor that comes online. Does nothing in a kernel that
 * does not export the copy.
 */
void kernel_told(const struct pmem_image *to);

/*
 * Calls `run` with interrupts off on a processor and, where the kernel can stop a core, on the siblings that share its core, on all of them
 * at once. Call it on `cpu`, with the hot-plug lock held.
 */
void kernel_stop_core(unsigned int cpu, cpu_stop_fn_t run, void *arg);
/* Returns on how many processors kernel_stop_core() calls `run`. */
int kernel_core_size(unsigned int cpu);

/* Registers functions to call with one processor online and interrupts off, late before sleep and early after it. */
void kernel_on_sleep(int (*suspend)(void), void (*resume)(void));
void kernel_off_sleep(void);

#endif
