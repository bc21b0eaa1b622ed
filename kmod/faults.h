/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Faults that a test build (PMEM_FAULTS) can provoke. Other builds contain none of this. */
#ifndef PMEM_ARENA_FAULTS_H
#define PMEM_ARENA_FAULTS_H

#include <linux/types.h>

#ifdef PMEM_FAULTS
/* Keeps the library from answering, for as long as the parameter `stall` is not 0. */
void faults_stall(void);
/* Returns whether to hide the windows of PCI buses at load, as if they appeared later. */
bool faults_hide_windows(void);
#else
static inline void faults_stall(void)
{
}

static inline bool faults_hide_windows(void)
{
	return false;
}
#endif

#endif
