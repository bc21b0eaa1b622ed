// SPDX-License-Identifier: GPL-2.0 OR MIT OR Apache-2.0
/* How processors change their registers together. */
#include "rendezvous.h"

void meeting_begin(struct meeting *meeting, const struct pmem_image *from, const struct pmem_image *to)
{
	meeting->from = from;
	meeting->to = to;
	atomic_set(&meeting->arrived, 0);
	atomic_set(&meeting->left, 0);
	atomic_set(&meeting->changed, 0);
	atomic_set(&meeting->failed, 0);
	atomic_set(&meeting->broken, 0);
}

static void wait_for_all(atomic_t *gone, int count)
{
	atomic_inc(gone);
	while (atomic_read(gone) < count)
		cpu_relax();
	smp_mb();
}

/* Brings this processor from `now` to `to` with its caches off; the first register that was refused, or 0. */
static u32 reprogram(const struct pmem_image *now, const struct pmem_image *to)
{
	unsigned long cr0 = cr0_get(), cr4;
	u32 bad;

	cr0_set((cr0 | CR0_CD) & ~CR0_NW);
	wbinvd_here();
	cr4 = cr4_get();
	if (cr4 & CR4_PGE)
		cr4_set(cr4 & ~CR4_PGE);
	cr3_reload();
	bad = registers_write(now, to);
	wbinvd_here();
	cr3_reload();
	cr0_set(cr0);
	if (cr4 & CR4_PGE)
		cr4_set(cr4);
	return bad;
}

/* The same, and looks at what came of it. */
static bool bring(struct place *place, const struct pmem_image *to, struct pmem_difference *refused)
{
	u32 bad = reprogram(&place->here, to);
	bool differs;

	refused->msr = registers_read(&place->here);
	differs = registers_differ(&place->here, to, refused);
	if (bad && !differs) {
		/* It was refused on the way, and holds what it should in the end. */
		u64 held = 0;

		msr_read(bad, &held);
		refused->msr = bad;
		refused->here = refused->there = held;
	}
	return !bad && !differs && !refused->msr;
}

void meet(struct meeting *meeting, struct place *place, u32 cpu, int count, bool is_first)
{
	struct pmem_difference back;
	bool differs;

	memset(&place->differed, 0, sizeof(place->differed));
	memset(&place->refused, 0, sizeof(place->refused));
	differs = registers_read(&place->here) != 0;
	if (meeting->from)
		differs |= registers_differ(&place->here, meeting->from, &place->differed);
	place->differed.cpu = cpu;
	if (is_first && differs)
		atomic_set(&meeting->changed, 1);
	wait_for_all(&meeting->arrived, count);
	if (atomic_read(&meeting->changed))
		return;
	if (!bring(place, meeting->to, &place->refused))
		atomic_set(&meeting->failed, 1);
	place->refused.cpu = cpu;
	wait_for_all(&meeting->left, count);
	if (!atomic_read(&meeting->failed) || !meeting->from)
		return;
	bring(place, meeting->from, &back);
	/* What was refused on the way back does not matter if it is there in the end. */
	if (registers_differ(&place->here, meeting->from, &back))
		atomic_set(&meeting->broken, 1);
}

int meeting_result(const struct meeting *meeting)
{
	if (atomic_read(&meeting->changed))
		return -EAGAIN;
	if (atomic_read(&meeting->broken))
		return -ENXIO;
	return atomic_read(&meeting->failed) ? -EIO : 0;
}
