/* SPDX-License-Identifier: MIT OR Apache-2.0 */
/* Tries the planner as firmware would, and measures the stack that it takes. */
#define _XOPEN_SOURCE 700
#include "pmem_mtrr.h"
#include <stdio.h>
#include <string.h>
#include <ucontext.h>

#define GIB (1ull << 30)
#define STACK (256 * 1024)

static int failed;

static void is(const char *what, uint64_t expected, uint64_t got)
{
	if (expected == got)
		return;
	printf("FAIL %s: expected %#llx, got %#llx\n", what, (unsigned long long)expected, (unsigned long long)got);
	failed = 1;
}

static uint64_t work[32768];

static struct pmem_mtrr_request dell(const struct pmem_mtrr_want *wants, uint32_t count)
{
	struct pmem_mtrr_request request;

	memset(&request, 0, sizeof(request));
	request.size = sizeof(request);
	request.bits = 36;
	request.registers = 8;
	request.default_type = PMEM_MTRR_BEST;
	request.fixed = 1;
	request.elsewhere = PMEM_MTRR_ANY;
	request.available = PMEM_MTRR_ANY;
	request.wants = wants;
	request.wants_count = count;
	return request;
}

/* The Dell G33 of the notes: memory with a hole at its top, and a frame buffer. */
static const struct pmem_mtrr_want g33[] = {
	{ 0, 0xcf700000, PMEM_MTRR_SET(PMEM_MTRR_WB), 0 },
	{ 0xcf700000, 0xd0000000, PMEM_MTRR_SET(PMEM_MTRR_UC), 0 },
	{ 0xd0000000, 0xe0000000, PMEM_MTRR_SET(PMEM_MTRR_WC), 0 },
	{ 0xe0000000, 4 * GIB, PMEM_MTRR_SET(PMEM_MTRR_UC), 0 },
	{ 4 * GIB, 0x230000000, PMEM_MTRR_SET(PMEM_MTRR_WB), 0 },
};

static void plans(void)
{
	static struct pmem_mtrr_answer answer;
	struct pmem_mtrr_request request = dell(g33, 5);
	size_t size = pmem_mtrr_work(5, 36, 8, 1);

	is("work space", 1, size <= sizeof(work));
	is("it fits", PMEM_MTRR_OK, (uint64_t)pmem_mtrr_plan(&request, work, size, &answer));
	is("registers", 4, answer.count);
	is("default", PMEM_MTRR_WB, answer.default_type);
	is("optimum with UC", 8, answer.optimum[0]);
	is("valid", 1ull << 11, answer.registers[0].mask & 1ull << 11);
	request.registers = 3;
	is("it does not", PMEM_MTRR_LOSS, (uint64_t)pmem_mtrr_plan(&request, work, size, &answer));
	is("within three", 1, answer.count <= 3);
	is("needed", 4, answer.needed);
	is("lost", 0x700000, answer.lost);
	is("no work space", (uint64_t)PMEM_MTRR_WORK, (uint64_t)pmem_mtrr_plan(&request, work, 64, &answer));
	request.bits = 60;
	is("no such width", (uint64_t)PMEM_MTRR_INVALID, (uint64_t)pmem_mtrr_plan(&request, work, size, &answer));
	is("nothing", (uint64_t)PMEM_MTRR_INVALID, (uint64_t)pmem_mtrr_plan(NULL, work, size, &answer));
}

/* The widest address space, as many wants as there may be borders, and too few registers: the deepest that it goes. */
static void deepest(int registers)
{
	static struct pmem_mtrr_want wants[32];
	static struct pmem_mtrr_answer answer;
	struct pmem_mtrr_request request = dell(wants, 32);
	unsigned i;

	for (i = 0; i < 32; i++) {
		wants[i].start = (i + 1) * 0x123456000ull;
		wants[i].end = wants[i].start + 0x1000 * (i + 1);
		wants[i].allowed = PMEM_MTRR_SET(i & 1 ? PMEM_MTRR_WB : PMEM_MTRR_WC);
	}
	request.bits = 52;
	request.registers = (uint8_t)registers;
	is("deep", 1, pmem_mtrr_plan(&request, work, sizeof(work), &answer) >= 0);
}

/* Runs on a stack of its own, filled with a pattern, and tells how much of it is gone afterwards. */
static unsigned char stack[STACK];
static ucontext_t back, there;

static unsigned on_own_stack(int registers)
{
	unsigned i = 0;

	memset(stack, 0xa5, sizeof(stack));
	getcontext(&there);
	there.uc_stack.ss_sp = stack;
	there.uc_stack.ss_size = sizeof(stack);
	there.uc_link = &back;
	makecontext(&there, (void (*)(void))deepest, 1, registers);
	swapcontext(&back, &there);
	while (i < sizeof(stack) && stack[i] == 0xa5)
		i++;
	return (unsigned)sizeof(stack) - i;
}

int main(void)
{
	plans();
	printf("stack of a plan: at most %u bytes\n", on_own_stack(40));
	printf("stack of the least loss: at most %u bytes\n", on_own_stack(8));
	printf("work space for 32 ranges, 8 registers: %zu bytes, %zu with the least loss\n",
	       pmem_mtrr_work(32, 39, 8, 0), pmem_mtrr_work(32, 39, 8, 1));
	puts(failed ? "1 failed" : "firmware: passed");
	return failed;
}
