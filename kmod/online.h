/* SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0 */
/* Processors that come online or wake up. */
#ifndef PMEM_ARENA_ONLINE_H
#define PMEM_ARENA_ONLINE_H

/* Follows processors from now on. Returns 0 or a negative errno. */
int online_follow(void);
void online_leave(void);

#endif
