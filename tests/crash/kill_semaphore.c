/* SPDX-License-Identifier: MIT */
/*
 * Processes are killed inside ft_semaphore: at every point of a release and of an
 * acquire while others sleep, and at random points of a crowd that takes turns.
 * Nobody may sleep on while a unit is free, and no unit may come or go but the
 * one that a victim had in hand.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "victim.h"
#include "os/atomic.h"
#include "sync/semaphore.h"

#define SLEEPERS 2
#define REPEATS 10
#define STORM_KILLS (340 * effort(5))

struct stage {
	struct ft_semaphore semaphore;
	uint32_t ended;         /* sleepers that got their unit */
	uint32_t pause;         /* survivors hold still */
	uint32_t still[SLEEPERS], leave;
	uint64_t turns[SLEEPERS];
};
static struct stage *stage;

static void stage_new(uint32_t units)
{
	void *block;

	REQUIRE(ft_block_alloc(sizeof(*stage), &block) == 0);
	stage = block;
	memset(stage, 0, sizeof(*stage));
	REQUIRE(ft_semaphore_init(&stage->semaphore, units, 0, FT_SHARED) == 0);
}

static uint32_t value(void)
{
	return ft_semaphore_value(&stage->semaphore);
}

static uint32_t ended(void)
{
	return ft__load32_acquire(&stage->ended);
}

/* ---- at every point ---------------------------------------------------- */

struct sleeper {
	uint32_t tid, owner;
};

static int sleeper_run(void *unused)
{
	(void)unused;
	REQUIRE(ft_semaphore_acquire(&stage->semaphore, FT_FOREVER) == 0);
	ft__add32_seq_cst(&stage->ended, 1);
	return 0;
}

static void sleeper_start(struct sleeper *sleeper)
{
	sleeper->tid = (uint32_t)worker_start(sleeper_run, NULL, &sleeper->owner);
	wait_asleep(&sleeper->tid);
}

static void sleepers_end(struct sleeper *sleepers)
{
	for (int i = 0; i < SLEEPERS; i++) {
		REQUIRE(child_end((pid_t)sleepers[i].tid) == 0);
		settle(sleepers[i].owner);
	}
}

static uint32_t asleep_now(const struct sleeper *sleepers)
{
	uint32_t count = 0;

	for (int i = 0; i < SLEEPERS; i++)
		count += asleep(sleepers[i].tid);
	return count;
}

/* All have ended or sleep, and did so a moment ago too: nothing moves. */
static bool quiet(const struct sleeper *sleepers)
{
	for (int i = 0; i < 2; i++)
		if (ended() + asleep_now(sleepers) != SLEEPERS)
			return false;
	return true;
}

/* Lets everybody go.  None of the units may have been lost on the way. */
static void all_go(struct sleeper *sleepers)
{
	uint32_t missing = SLEEPERS - (ended() + value());

	REQUIRE(missing <= SLEEPERS);
	if (missing)
		REQUIRE(ft_semaphore_release(&stage->semaphore, missing) == 0);
	REQUIRE(COMES_TRUE(ended() == SLEEPERS));
	sleepers_end(sleepers);
	REQUIRE(value() == 0);
	REQUIRE(ft_block_free(stage) == 0);
}

static int release_n(void *n)
{
	return ft_semaphore_release(&stage->semaphore, (uint32_t)(uintptr_t)n);
}

static bool kill_releaser(long at, uint32_t n)
{
	struct victim victim = { release_n, (void *)(uintptr_t)n, at };
	struct sleeper sleepers[SLEEPERS];
	uint32_t owner;

	stage_new(0);
	for (int i = 0; i < SLEEPERS; i++)
		sleeper_start(&sleepers[i]);

	pid_t pid = victim_start(&victim, &owner);

	victim_end(pid, owner);
	bool finished = kills->finished;

	/* All units or none, and none is free while anybody sleeps. */
	REQUIRE(COMES_TRUE(quiet(sleepers) && value() == 0));
	REQUIRE(ended() == n || (!finished && ended() == 0));
	all_go(sleepers);
	return finished;
}

static int acquire_one(void *unused)
{
	(void)unused;
	return ft_semaphore_acquire(&stage->semaphore, FT_FOREVER);
}

/* The victim sleeps first, so the wake is for it; n is how many are given. */
static bool kill_acquirer(long at, uint32_t n)
{
	struct victim victim = { acquire_one, NULL, at };
	struct sleeper sleepers[SLEEPERS];
	uint32_t owner;

	stage_new(0);

	pid_t pid = victim_start(&victim, &owner);

	wait_asleep_or_dead(pid);
	for (int i = 0; i < SLEEPERS; i++)
		sleeper_start(&sleepers[i]);
	REQUIRE(ft_semaphore_release(&stage->semaphore, n) == 0);
	/* The others may have been faster, if there was more than one. */
	REQUIRE(COMES_TRUE(quiet(sleepers)));
	wait_asleep_or_dead(pid);
	kill(pid, SIGKILL);
	victim_end(pid, owner);
	/* What it did not take, others do. */
	REQUIRE(COMES_TRUE(quiet(sleepers) && value() == 0));
	REQUIRE(ended() == n || ended() + 1 == n);
	REQUIRE(ended() + 1 == n || !kills->finished);
	all_go(sleepers);
	return kills->finished;
}

static void every_point(const char *name, bool (*kill_one)(long, uint32_t), uint32_t n)
{
	long at;

	for (int i = 0; i < REPEATS; i++) {
		for (at = 1; !kill_one(at, n); at++)
			;
	}
	printf("%s of %u at each of %ld points, ", name, n, at - 1);
	kills_report("all told");
}

static void releasers(void **state)
{
	(void)state;
	every_point("release", kill_releaser, 1);
	every_point("release", kill_releaser, 2);
}

static void acquirers(void **state)
{
	(void)state;
	every_point("acquire", kill_acquirer, 1);
	every_point("acquire", kill_acquirer, 2);
}

/* ---- in a crowd -------------------------------------------------------- */

static int take_turns(void *arg)
{
	int me = (int)(intptr_t)arg;

	while (!ft__load32_acquire(&stage->leave)) {
		if (ft__load32_acquire(&stage->pause)) {
			ft__store32_release(&stage->still[me], 1);
			WAIT_FOR(!ft__load32_acquire(&stage->pause));
			ft__store32_release(&stage->still[me], 0);
		}
		REQUIRE(ft_semaphore_acquire(&stage->semaphore, FT_FOREVER) == 0);
		ft__store64_release(&stage->turns[me], stage->turns[me] + 1);
		/* With the unit in hand, so that others come to sleep. */
		sched_yield();
		REQUIRE(ft_semaphore_release(&stage->semaphore, 1) == 0);
	}
	return 0;
}

static int some_turns(void *unused)
{
	(void)unused;
	for (int i = 0; i < 20; i++) {
		/* Some waits are cut short. */
		ft_deadline deadline = i % 2 ? FT_FOREVER : ft_after(20000);
		int rc = ft_semaphore_acquire(&stage->semaphore, deadline);

		REQUIRE(rc == 0 || rc == -ETIMEDOUT);
		sched_yield();
		if (rc == 0)
			REQUIRE(ft_semaphore_release(&stage->semaphore, 1) == 0);
	}
	return 0;
}

static bool still(int i)
{
	return ft__load32_acquire(&stage->still[i]);
}

/* Each holds still or sleeps, and none is free: somebody died with a unit. */
static bool stuck(struct sleeper *survivors)
{
	for (int i = 0; i < 2 * SLEEPERS; i++)
		if (value() || (!still(i % SLEEPERS) && !asleep(survivors[i % SLEEPERS].tid)))
			return false;
	return true;
}

/* Holds the survivors still, which shows how many units there are. */
static void count_units(struct sleeper *survivors, uint32_t units)
{
	uint32_t given = 0;

	ft__store32_release(&stage->pause, 1);
	REQUIRE(COMES_TRUE((still(0) && still(1)) || stuck(survivors)));
	if (!still(0) || !still(1)) {
		given = 1;
		REQUIRE(ft_semaphore_release(&stage->semaphore, 1) == 0);
	}
	REQUIRE(COMES_TRUE(still(0) && still(1)));
	if (!given && value() + 1 == units)
		REQUIRE(ft_semaphore_release(&stage->semaphore, 1) == 0);
	REQUIRE(value() == units);
	ft__store32_release(&stage->pause, 0);
	REQUIRE(COMES_TRUE(!still(0) && !still(1)));
}

static void storm(uint32_t units, uint64_t seed)
{
	struct sleeper survivors[SLEEPERS];
	uint32_t owner;

	stage_new(units);
	for (int i = 0; i < SLEEPERS; i++)
		survivors[i].tid = (uint32_t)worker_start(take_turns, (void *)(intptr_t)i,
							  &survivors[i].owner);
	while (kills->died < STORM_KILLS) {
		struct victim victim = { some_turns, NULL, 1 + dice(&seed, 100) };
		uint64_t before[SLEEPERS];
		pid_t pid = victim_start(&victim, &owner);

		victim_end(pid, owner);
		count_units(survivors, units);
		for (int i = 0; i < SLEEPERS; i++)
			before[i] = ft__load64_acquire(&stage->turns[i]);
		REQUIRE(COMES_TRUE(ft__load64_acquire(&stage->turns[0]) > before[0] &&
				   ft__load64_acquire(&stage->turns[1]) > before[1]));
	}
	ft__store32_release(&stage->leave, 1);
	sleepers_end(survivors);
	REQUIRE(value() == units);
	REQUIRE(ft_block_free(stage) == 0);
	kills_report(units == 1 ? "crowd with 1 unit" : "crowd with 2 units");
}

static void crowds(void **state)
{
	(void)state;
	storm(1, 1);
	storm(2, 2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(releasers),
		cmocka_unit_test(acquirers),
		cmocka_unit_test(crowds),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	kills_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
