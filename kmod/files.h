/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* /dev/pmem_arena. */
#ifndef PMEM_ARENA_FILES_H
#define PMEM_ARENA_FILES_H

/* Creates the device. Returns 0 or a negative errno. */
int files_start(void);
void files_stop(void);
/* Wakes everyone who polls, because the library is dead. */
void files_tell_all(void);

#endif
