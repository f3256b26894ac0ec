/* SPDX-License-Identifier: MIT */
/*
 * Parties are killed inside ft_barrier: one of three, at every point of its first
 * waits, as an ordinary party or as one that leads.  The others must get -EPIPE,
 * at once and all from the same generation; after a reset the barrier is whole.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "victim.h"
#include "os/atomic.h"
#include "sync/barrier.h"

#define SURVIVORS 2
#define ROUNDS 2 /* the victim's, then it goes away */

struct stage {
	struct ft_barrier barrier;
	uint32_t run; /* survivors wait when it has changed */
	uint32_t leave;
	uint32_t done[SURVIVORS];   /* the run that ended */
	uint32_t passed[SURVIVORS]; /* generations, in this run */
	uint32_t victim_passed;
};
static struct stage *stage;

/* Waits until it breaks.  Who leads takes its time. */
static uint32_t wait_on(bool steps, uint32_t most, uint32_t *passed)
{
	struct ft_barrier_ticket ticket;
	int rc = 0;

	while (rc >= 0 && *passed < most) {
		if (!steps) {
			rc = ft_barrier_wait(&stage->barrier, FT_FOREVER);
		} else {
			rc = ft_barrier_arrive(&stage->barrier, &ticket, FT_FOREVER);
			if (rc == 0)
				sched_yield();
			if (rc == 0 && ticket.last)
				rc = ft_barrier_release(&stage->barrier, &ticket);
			else if (rc == 0)
				rc = ft_barrier_await(&stage->barrier, &ticket, FT_FOREVER);
		}
		if (rc >= 0)
			ft__store32_release(passed, *passed + 1);
	}
	return rc >= 0 || rc == -EPIPE ? 0 : 1;
}

static int survive(void *arg)
{
	int me = (int)(intptr_t)arg;
	uint32_t run = 0;

	for (;;) {
		WAIT_FOR(ft__load32_acquire(&stage->run) != run);
		run = ft__load32_acquire(&stage->run);
		if (ft__load32_acquire(&stage->leave))
			return 0;
		REQUIRE(wait_on(run & 1, UINT32_MAX, &stage->passed[me]) == 0);
		ft__store32_release(&stage->done[me], run);
	}
}

static int attend(void *steps)
{
	REQUIRE(wait_on(steps, ROUNDS, &stage->victim_passed) == 0);
	return 0;
}

static bool noted(uint32_t owner)
{
	uint64_t entry = (uint64_t)FT__NOTE_BARRIER << 56 | ft__offset(&stage->barrier);
	struct ft__slot *slot = ft__slot_of(owner);

	for (int i = 0; i < FT__JOURNAL; i++)
		if (slot->journal[i] == entry)
			return true;
	return false;
}

static bool all_done(void)
{
	return ft__load32_acquire(&stage->done[0]) == stage->run &&
	       ft__load32_acquire(&stage->done[1]) == stage->run;
}

static bool kill_one(long at, bool steps)
{
	struct victim victim = { attend, steps ? stage : NULL, at };
	uint32_t owner, run = (stage->run | 1) + 1 + steps;

	stage->passed[0] = stage->passed[1] = stage->victim_passed = 0;
	REQUIRE(ft_barrier_reset(&stage->barrier) == 0);
	ft__store32_release(&stage->run, run);

	pid_t pid = victim_start(&victim, &owner);

	REQUIRE(child_end(pid) == (kills->finished ? 0 : 256 + SIGKILL));

	bool inside = noted(owner);

	settle(owner);
	/* Who is gone without having been inside is waited for, for ever. */
	if (!inside)
		REQUIRE(ft_barrier_abort(&stage->barrier) == 0);
	REQUIRE(COMES_TRUE(all_done()));
	REQUIRE(ft_barrier_broken(&stage->barrier) == 1);
	REQUIRE(stage->passed[0] == stage->passed[1]);
	/* It may have died with the news in hand. */
	REQUIRE(stage->passed[0] - stage->victim_passed <= (kills->finished ? 0 : 1));
	REQUIRE(ft_barrier_waiting(&stage->barrier) == 0);
	return kills->finished;
}

static void every_point(void **state)
{
	uint32_t owner[SURVIVORS];
	pid_t pid[SURVIVORS];
	long at, points = 0;
	void *block;

	(void)state;
	REQUIRE(ft_block_alloc(sizeof(*stage), &block) == 0);
	stage = block;
	memset(stage, 0, sizeof(*stage));
	REQUIRE(ft_barrier_init(&stage->barrier, SURVIVORS + 1, FT_SHARED) == 0);
	for (int i = 0; i < SURVIVORS; i++)
		pid[i] = worker_start(survive, (void *)(intptr_t)i, &owner[i]);
	/* Its way differs from run to run with who comes when. */
	while (kills->died < 1100) {
		bool steps = false;

		do {
			for (at = 1; !kill_one(at, steps); at++)
				points = at > points ? at : points;
			steps = !steps;
		} while (steps);
	}
	stage->leave = 1;
	ft__store32_release(&stage->run, stage->run + 1);
	for (int i = 0; i < SURVIVORS; i++) {
		REQUIRE(child_end(pid[i]) == 0);
		settle(owner[i]);
	}
	printf("%ld points, ", points);
	kills_report("parties");
	REQUIRE(ft_block_free(stage) == 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_point),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	kills_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
