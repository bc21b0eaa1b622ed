// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* The library's thread, and the work that is left to do. */
#define pr_fmt(fmt) "pmem_arena: " fmt

#include <linux/completion.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/sched/task.h>
#include <linux/sched/task_stack.h>
#include <linux/workqueue.h>

#include "faults.h"
#include "files.h"
#include "memory.h"
#include "processors.h"
#include "worker.h"

/* How many seconds a request may take before the library counts as dead: thousands of times longer than any request takes. */
static unsigned int patience = 60;
module_param(patience, uint, 0600);
MODULE_PARM_DESC(patience, "seconds that a request may take before the library counts as dead (default 60)");

DEFINE_MUTEX(worker_lock);
static struct task_struct *worker;
static bool dead;

static struct {
	long (*run)(void *arg);
	void *arg;
	long result;
	struct completion begin, end;
} work;

static DEFINE_SPINLOCK(state_lock); /* guards what follows */
static bool busy; /* the thread has a request */
static bool lost; /* it was declared dead while busy: until it comes back, the module and what it works on must stay */
static bool panicked; /* it will never come back */
static struct pmem_figures shown; /* the figures after the last request */

bool worker_is_dead(void)
{
	return READ_ONCE(dead);
}

/* --- The stack: filled with a pattern first, so that its use can be measured --- */

#define UNUSED_STACK 0x5a5a5a5a5a5a5a5aul

static void paint_stack(void)
{
	unsigned long here, *at = end_of_stack(current) + 1;

	/* Leave room for the frame of this function. */
	while (at < &here - 64)
		*at++ = UNUSED_STACK;
}

static u32 most_stack(void)
{
	unsigned long *at = end_of_stack(worker) + 1;

	while (*at == UNUSED_STACK)
		at++;
	return THREAD_SIZE - ((char *)at - (char *)end_of_stack(worker));
}

void worker_figures(struct pmem_figures *figures, struct memory_figures *memory)
{
	spin_lock(&state_lock);
	*figures = shown;
	spin_unlock(&state_lock);
	memory->most_memory = memory_most();
	memory->most_stack = most_stack();
}

/* --- The thread --- */

static void wait_to_be_stopped(void)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
		__set_current_state(TASK_RUNNING);
	}
}

/* The thread is done with its request, or never will be. If it was lost, the module no longer has to stay for it. */
static void come_back(const struct pmem_figures *figures)
{
	bool was_lost;

	spin_lock(&state_lock);
	shown = *figures;
	was_lost = lost;
	busy = lost = false;
	spin_unlock(&state_lock);
	if (was_lost)
		module_put(THIS_MODULE);
}

static void run_one(void)
{
	struct pmem_figures figures = { 0 };

	faults_stall();
	/* If it was declared dead before it began, nobody waits for the result any more. */
	if (!worker_is_dead()) {
		work.result = work.run(work.arg);
		pmem_arena_figures(&figures);
	}
	come_back(&figures);
}

static int worker_main(void *unused)
{
	paint_stack();
	for (;;) {
		/* Interruptible, so that the idle thread does not count as hung. Kernel threads ignore signals. */
		while (wait_for_completion_interruptible(&work.begin))
			;
		if (!work.run)
			break;
		run_one();
		complete(&work.end);
	}
	complete(&work.end);
	wait_to_be_stopped();
	return 0;
}

/* Declares the library dead: no more requests are taken, and what was written is given back. */
static void die(void)
{
	WRITE_ONCE(dead, true);
	if (processors_give_back())
		worker_settle_soon();
	files_tell_all();
}

/* The panic handler. It does not return, so the thread waits here until it is stopped. */
void pmem_kernel_panic(const char *text, __u64 len)
{
	static const struct pmem_figures none;

	pr_crit("panic at %.*s: the module takes no more requests, and restores the registers\n", (int)len, text);
	die();
	panicked = true;
	come_back(&none);
	work.result = -EIO;
	complete(&work.end);
	wait_to_be_stopped();
	kthread_complete_and_exit(NULL, 0);
}

void pmem_kernel_log(const char *text, __u64 len)
{
	pr_info("%.*s\n", (int)len, text);
}

bool worker_has_memory(void)
{
	return memory_is_there();
}

long worker_call(long (*run)(void *arg), void *arg)
{
	lockdep_assert_held(&worker_lock);
	if (dead)
		return -EIO;
	memory_begin();
	work.run = run;
	work.arg = arg;
	spin_lock(&state_lock);
	busy = true;
	spin_unlock(&state_lock);
	reinit_completion(&work.end);
	complete(&work.begin);
	if (wait_for_completion_timeout(&work.end, max(patience, 1u) * HZ))
		return dead ? -EIO : work.result;
	pr_crit("no answer within %u s: the module takes no more requests, and restores the registers\n", patience);
	/* The thread may have finished just now. If not, the module must stay for it. */
	spin_lock(&state_lock);
	lost = busy;
	if (lost)
		__module_get(THIS_MODULE);
	spin_unlock(&state_lock);
	die();
	return -ETIMEDOUT;
}

/* --- The work that is left --- */

/* The first and the longest pause between retries. */
#define SOON (HZ / 50)
#define SELDOM (10 * HZ)
/* How often BARs are checked for having moved, while there are claims. */
#define LOOK HZ

static unsigned long pause;
static bool stopping; /* the module is being unloaded: queue no more work */

static long run_settle(void *unused)
{
	return pmem_arena_settle();
}

static void settle(struct work_struct *work);
static DECLARE_DELAYED_WORK(settle_work, settle);

static void settle(struct work_struct *unused)
{
	struct pmem_figures figures = { 0 };
	struct memory_figures memory;
	bool left;

	mutex_lock(&worker_lock);
	if (dead)
		left = processors_give_back() != 0;
	else
		left = worker_call(run_settle, NULL) != 0;
	mutex_unlock(&worker_lock);
	/* Without a working library, too: equality does not depend on it. */
	left |= processors_mend();
	if (!dead)
		worker_figures(&figures, &memory);
	pause = left ? clamp(2 * pause, (unsigned long)SOON, (unsigned long)SELDOM) : 0;
	/* On a freezable queue, because the registers may hold the kernel's own values while the machine goes to sleep or wakes up. */
	if (left)
		queue_delayed_work(system_freezable_wq, &settle_work, pause);
	else if (figures.regions)
		queue_delayed_work(system_freezable_wq, &settle_work, LOOK);
}

void worker_settle_soon(void)
{
	pause = 0;
	if (!READ_ONCE(stopping))
		mod_delayed_work(system_freezable_wq, &settle_work, 1);
}

/* --- Load and unload --- */

int worker_start(void)
{
	int error = memory_start();

	if (error)
		return error;
	init_completion(&work.begin);
	init_completion(&work.end);
	worker = kthread_run(worker_main, NULL, "pmem_arena");
	if (IS_ERR(worker)) {
		memory_stop();
		return PTR_ERR(worker);
	}
	get_task_struct(worker);
	return 0;
}

static long run_stop(void *unused)
{
	return pmem_arena_stop();
}

void worker_stop(void)
{
	int tries;

	/* The files and notifiers are gone, so nobody else begins a request. */
	WRITE_ONCE(stopping, true);
	cancel_delayed_work_sync(&settle_work);
	mutex_lock(&worker_lock);
	/*
	 * If the library gave everything back, forget the former values: it may have moved a register that others displaced, and the former
	 * values do not know the new place.
	 */
	if (!worker_call(run_stop, NULL))
		processors_forget();
	mutex_unlock(&worker_lock);
	for (tries = 0; processors_give_back() && tries < 8; tries++)
		;
	if (tries == 8)
		pr_err("the registers could not be restored: they keep what the module wrote\n");
	if (!panicked) {
		work.run = NULL;
		reinit_completion(&work.end);
		complete(&work.begin);
		wait_for_completion(&work.end);
	}
	kthread_stop(worker);
	put_task_struct(worker);
	memory_stop();
}
