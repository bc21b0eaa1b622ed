// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* /dev/pmem_arena: its open files, who may use it, and the checks that every ioctl must pass before its request is carried out. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/poll.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "files.h"
#include "requests.h"
#include "worker.h"

/* --- Open files --- */

struct session {
	u64 id;
	u32 ended; /* how many of its claims ended with their device and are not released yet */
	wait_queue_head_t wait;
	struct list_head link;
};

static DEFINE_SPINLOCK(sessions_lock);
static LIST_HEAD(sessions);

void pmem_kernel_told(__u64 id, __u32 ended)
{
	struct session *at;

	spin_lock(&sessions_lock);
	list_for_each_entry(at, &sessions, link) {
		if (at->id != id)
			continue;
		WRITE_ONCE(at->ended, ended);
		wake_up_interruptible(&at->wait);
	}
	spin_unlock(&sessions_lock);
}

void files_tell_all(void)
{
	struct session *at;

	spin_lock(&sessions_lock);
	list_for_each_entry(at, &sessions, link)
		wake_up_interruptible(&at->wait);
	spin_unlock(&sessions_lock);
}

static __poll_t device_poll(struct file *file, struct poll_table_struct *table)
{
	struct session *session = file->private_data;

	poll_wait(file, &session->wait, table);
	if (worker_is_dead())
		return EPOLLERR | EPOLLHUP;
	return READ_ONCE(session->ended) ? EPOLLIN | EPOLLRDNORM | EPOLLPRI : 0;
}

/* --- Calls --- */

static const struct command commands[] = {
	{ PMEM_ARENA_INFO }, { PMEM_ARENA_SPAN }, { PMEM_ARENA_DUMP },
	{ PMEM_ARENA_REGION, PMEM_OP_REGION },
	{ PMEM_ARENA_PLAN, PMEM_OP_PLAN },
	{ PMEM_ARENA_ALLOC, PMEM_OP_ALLOC, true },
	{ PMEM_ARENA_SET, PMEM_OP_SET, true },
	{ PMEM_ARENA_RELEASE, PMEM_OP_RELEASE, true },
	{ PMEM_ARENA_WINDOWS, 0, true },
};

static long device_ioctl(struct file *file, unsigned int number, unsigned long user)
{
	const struct command *command = commands, *end = commands + ARRAY_SIZE(commands);
	struct session *session = file->private_data;
	void __user *at = (void __user *)user;
	size_t size = _IOC_SIZE(number);
	union argument *arg;
	long done;

	while (command < end && command->number != number)
		command++;
	if (command == end)
		return -ENOTTY;
	if (security_locked_down(LOCKDOWN_MSR))
		return -EPERM;
	if (command->writes && !(file->f_mode & FMODE_WRITE))
		return -EBADF;
	arg = kzalloc(sizeof(*arg), GFP_KERNEL);
	if (!arg)
		return -ENOMEM;
	done = -EFAULT;
	/* Write it back once before acting: a request whose result cannot be delivered must not be carried out. */
	if (copy_from_user(arg, at, size) || copy_to_user(at, arg, size))
		goto out;
	done = -EINVAL;
	if (arg->head.version != PMEM_ARENA_VERSION || arg->head.size != size)
		goto out;
	done = requests_carry_out(session->id, command, arg);
	/* Only a claim must be undone: without its id, the caller could never release it. */
	if (copy_to_user(at, arg, size) && !done) {
		done = -EFAULT;
		if (command->op == PMEM_OP_ALLOC)
			requests_undo(session->id, &arg->region);
	}
out:
	kfree(arg);
	return done;
}

static int device_open(struct inode *inode, struct file *file)
{
	static atomic64_t next = ATOMIC64_INIT(0);
	struct session *session;

	if (!capable(CAP_SYS_RAWIO) || security_locked_down(LOCKDOWN_MSR))
		return -EPERM;
	session = kzalloc(sizeof(*session), GFP_KERNEL);
	if (!session)
		return -ENOMEM;
	session->id = atomic64_inc_return(&next);
	init_waitqueue_head(&session->wait);
	spin_lock(&sessions_lock);
	list_add(&session->link, &sessions);
	spin_unlock(&sessions_lock);
	file->private_data = session;
	return 0;
}

static int device_release(struct inode *inode, struct file *file)
{
	struct session *session = file->private_data;

	requests_close(session->id);
	spin_lock(&sessions_lock);
	list_del(&session->link);
	spin_unlock(&sessions_lock);
	kfree(session);
	return 0;
}

static const struct file_operations operations = {
	.owner = THIS_MODULE,
	.open = device_open,
	.release = device_release,
	.unlocked_ioctl = device_ioctl,
	.compat_ioctl = compat_ptr_ioctl,
	.poll = device_poll,
	.llseek = noop_llseek,
};

static struct miscdevice device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "pmem_arena",
	.fops = &operations,
	.mode = 0600,
};

int files_start(void)
{
	return misc_register(&device);
}

void files_stop(void)
{
	misc_deregister(&device);
}
