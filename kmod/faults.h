/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Faults that a build for tests can make (PMEM_FAULTS); the module that people load has none of it. */
#ifndef PMEM_ARENA_FAULTS_H
#define PMEM_ARENA_FAULTS_H

#include <linux/types.h>

#ifdef PMEM_FAULTS
/* The library does not answer, for as long as the parameter `stall` is not 0. */
void faults_stall(void);
/* Whether the windows of buses are not seen at load, as if they came up later. */
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
