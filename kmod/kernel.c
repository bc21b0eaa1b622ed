// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* Differences between kernels. */
#include <linux/cpumask.h>
#include <linux/irqflags.h>
#include <linux/syscore_ops.h>
#include <linux/topology.h>
#include <asm/mtrr.h>

#include "kernel.h"

#ifdef HAS_MTRR_STATE
extern struct mtrr_state_type mtrr_state;

void kernel_told(const struct pmem_image *to)
{
	u32 i;

	for (i = 0; i < shape.variable && i < MTRR_MAX_VAR_RANGES; i++) {
		mtrr_state.var_ranges[i].base_lo = lower_32_bits(to->base[i]);
		mtrr_state.var_ranges[i].base_hi = upper_32_bits(to->base[i]);
		mtrr_state.var_ranges[i].mask_lo = lower_32_bits(to->mask[i]);
		mtrr_state.var_ranges[i].mask_hi = upper_32_bits(to->mask[i]);
	}
	BUILD_BUG_ON(sizeof(mtrr_state.fixed_ranges) != sizeof(to->fixed));
	memcpy(mtrr_state.fixed_ranges, to->fixed, sizeof(to->fixed));
	mtrr_state.def_type = to->def & 0xff;
	mtrr_state.enabled = (to->def & 0xc00) >> 10;
}
#else
void kernel_told(const struct pmem_image *to)
{
}
#endif

#ifdef HAS_STOP_CORE
void kernel_stop_core(unsigned int cpu, cpu_stop_fn_t run, void *arg)
{
	stop_core_cpuslocked(cpu, run, arg);
}

int kernel_core_size(unsigned int cpu)
{
	return cpumask_weight(cpu_smt_mask(cpu));
}
#else
/* Without stop_core_cpuslocked(), before kernel 5.19 or without CONFIG_SCHED_SMT: only on this processor, which is `cpu`. */
void kernel_stop_core(unsigned int cpu, cpu_stop_fn_t run, void *arg)
{
	unsigned long flags;

	local_irq_save(flags);
	run(arg);
	local_irq_restore(flags);
}

int kernel_core_size(unsigned int cpu)
{
	return 1;
}
#endif

static int (*before_sleep)(void);
static void (*after_sleep)(void);

#ifdef HAS_SYSCORE_DATA
static int suspended(void *unused)
{
	return before_sleep();
}

static void resumed(void *unused)
{
	after_sleep();
}

static const struct syscore_ops sleep_ops = { .suspend = suspended, .resume = resumed };
static struct syscore sleep = { .ops = &sleep_ops };
#define enter register_syscore
#define leave unregister_syscore
#else
static int suspended(void)
{
	return before_sleep();
}

static void resumed(void)
{
	after_sleep();
}

static struct syscore_ops sleep = { .suspend = suspended, .resume = resumed };
#define enter register_syscore_ops
#define leave unregister_syscore_ops
#endif

void kernel_on_sleep(int (*suspend)(void), void (*resume)(void))
{
	before_sleep = suspend;
	after_sleep = resume;
	enter(&sleep);
}

void kernel_off_sleep(void)
{
	leave(&sleep);
}
