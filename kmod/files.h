/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* /dev/pmem_arena. */
#ifndef PMEM_ARENA_FILES_H
#define PMEM_ARENA_FILES_H

int files_start(void);
void files_stop(void);
/* The library is dead: everybody who waits is told. */
void files_tell_all(void);

#endif
