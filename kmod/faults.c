// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Faults that a test build can provoke: a register that one processor refuses, a library that does not answer, windows that appear late. */
#include <linux/delay.h>
#include <linux/moduleparam.h>
#include <linux/smp.h>

#include "faults.h"
#include "platform.h"

static int refuse_cpu = -1;
module_param(refuse_cpu, int, 0600);
MODULE_PARM_DESC(refuse_cpu, "the number of the processor that refuses a register (default -1: none)");

static uint refuse_msr;
module_param(refuse_msr, uint, 0600);
MODULE_PARM_DESC(refuse_msr, "the number of the register (MSR) that it refuses");

static int refuse_times;
module_param(refuse_times, int, 0600);
MODULE_PARM_DESC(refuse_times, "how many writes it refuses");

static int refuse_after;
module_param(refuse_after, int, 0600);
MODULE_PARM_DESC(refuse_after, "how many writes it accepts before that");

static int stall;
module_param(stall, int, 0600);
MODULE_PARM_DESC(stall, "1: the library does not answer, until this is 0 again");

static bool hide_windows;
module_param(hide_windows, bool, 0400);
MODULE_PARM_DESC(hide_windows, "hide the windows of PCI buses at load");

bool faults_hide_windows(void)
{
	return hide_windows;
}

int msr_write(u32 msr, u64 value)
{
	if (refuse_times > 0 && refuse_msr == msr && refuse_cpu == raw_smp_processor_id()) {
		if (refuse_after > 0) {
			refuse_after--;
		} else {
			refuse_times--;
			return -EIO;
		}
	}
	return wrmsrl_safe(msr, value);
}

void faults_stall(void)
{
	while (READ_ONCE(stall))
		msleep(20);
}
