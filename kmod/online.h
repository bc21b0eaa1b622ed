/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Processors that come online, and that wake up. */
#ifndef PMEM_ARENA_ONLINE_H
#define PMEM_ARENA_ONLINE_H

int online_follow(void);
void online_leave(void);

#endif
