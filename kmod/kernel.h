/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* What differs from kernel to kernel. Kbuild says by HAS_... what it found by compiling, and in the list of exported symbols. */
#ifndef PMEM_ARENA_KERNEL_H
#define PMEM_ARENA_KERNEL_H

#include <linux/stop_machine.h>

#include "registers.h"

/* Tells the kernel's own copy of the registers, which it gives to a processor that comes online; where it can be told. */
void kernel_told(const struct pmem_image *to);

/* Runs on a processor and those that share its core, all at once, with interrupts off. The caller holds the lock of hot-plug. */
void kernel_stop_core(unsigned int cpu, cpu_stop_fn_t run, void *arg);
/* How many take part. */
int kernel_core_size(unsigned int cpu);

/* Has both called with one processor online and interrupts off, last before sleep and first after it. */
void kernel_on_sleep(int (*suspend)(void), void (*resume)(void));
void kernel_off_sleep(void);

#endif
