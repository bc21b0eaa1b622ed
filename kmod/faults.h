/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Faults that a build for tests can make (PMEM_FAULTS); the module that people load has none of it. */
#ifndef PMEM_ARENA_FAULTS_H
#define PMEM_ARENA_FAULTS_H

#ifdef PMEM_FAULTS
/* The library does not answer, for as long as the parameter `stall` is not 0. */
void faults_stall(void);
#else
static inline void faults_stall(void)
{
}
#endif

#endif
