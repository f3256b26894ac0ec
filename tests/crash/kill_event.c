/* SPDX-License-Identifier: MIT */
/*
 * Processes are killed at every point of setting, clearing and waiting for an
 * event that two others wait for.  Whoever came before a set is released by it,
 * even if the setter died before it could wake anybody.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "kill_tools.h"

#include <cmocka.h>

#include "sync/event.h"

#define KILLS (700 * (int)effort(5)) /* for each way to kill */
#define POINTS 12 /* that a victim passes, about */
#define TIME (18000 * MS * effort(5))

struct stage {
	struct ft_event event;
	uint32_t round; /* survivors wait once in each */
	struct survivor survivors[SURVIVORS];
};

static int wait_each_round(void *arg, struct survivor *self)
{
	struct stage *stage = arg;
	uint32_t round = 0;

	ft__point = NULL;
	while (going_on(self)) {
		uint32_t now = ft__load32_seq_cst(&stage->round);

		if (now == round) {
			sched_yield();
			continue;
		}
		round = now;
		/* Delays only in there: who sleeps and has set WAITERS has come. */
		ft__point = delay_at_random;
		REQUIRE(ft_event_wait(&stage->event, FT_FOREVER) == 0);
		ft__point = NULL;
		ft__store32_seq_cst(&self->progress, round);
	}
	return 0;
}

static int set_and_clear(void *arg)
{
	struct stage *stage = arg;

	linger();
	REQUIRE(ft_event_set(&stage->event) == 0);
	return ft_event_clear(&stage->event);
}

static int wait_and_set(void *arg)
{
	struct stage *stage = arg;
	int rc = ft_event_wait(&stage->event, ft_after(random_number() % 4 * 30000));

	REQUIRE(rc == 0 || rc == -ETIMEDOUT);
	return ft_event_set(&stage->event);
}

static bool answered(struct stage *stage, uint32_t round)
{
	for (int i = 0; i < SURVIVORS; i++)
		if (ft__load32_seq_cst(&stage->survivors[i].progress) != round)
			return false;
	return true;
}

static bool answered_soon(struct stage *stage, uint32_t round)
{
	ft_deadline late = ft_after(PATIENCE);

	while (!answered(stage, round)) {
		if (ft__passed(late))
			return false;
		sched_yield();
	}
	return true;
}

static bool all_asleep(const struct stage *stage)
{
	for (int i = 0; i < SURVIVORS; i++)
		if (!asleep(stage->survivors[i].pid, stage->survivors[i].pid))
			return false;
	return (ft__load32_seq_cst(&stage->event.word) & FT_EVENT_WAITERS) != 0;
}

/* Answers whether the victims' set released everybody; else there was none. */
static bool one_round(struct stage *stage, uint32_t round, int (*run)(void *), long at,
		      struct deaths *deaths)
{
	uint32_t before;

	REQUIRE(ft_event_clear(&stage->event) == 0);
	before = ft__load32_seq_cst(&stage->event.word) / FT_EVENT_EPOCH;
	ft__store32_seq_cst(&stage->round, round);
	/* Parked, so that they came before whatever the victims do. */
	UNTIL(all_asleep(stage));
	victims_run(run, stage, at, POINTS, deaths);
	if (ft__load32_seq_cst(&stage->event.word) / FT_EVENT_EPOCH == before) {
		assert_false(answered(stage, round));
		assert_int_equal(ft_event_set(&stage->event), 0);
		before = UINT32_MAX;
	}
	if (!answered_soon(stage, round)) {
		print_error("stuck after a kill at point %ld, word %08x\n", at, stage->event.word);
		fail();
	}
	return before != UINT32_MAX;
}

static void kill_at_every_point(const char *name, int (*run)(void *))
{
	struct stage *stage = shared_alloc(sizeof(*stage));
	ft_deadline end = ft_after(TIME);
	int kills = 0, sets = 0;
	uint32_t round = 0;

	assert_int_equal(ft_event_init(&stage->event, FT_SHARED), 0);
	for (int i = 0; i < SURVIVORS; i++)
		survivor_start(&stage->survivors[i], wait_each_round, stage);
	while (kills < KILLS && !ft__passed(end)) {
		for (long at = 1; at <= POINTS && kills < KILLS; at++) {
			struct deaths deaths;

			sets += one_round(stage, ++round, run, at, &deaths);
			kills += deaths.died[0] + deaths.died[1];
		}
	}
	for (int i = 0; i < SURVIVORS; i++)
		ft__store32_seq_cst(&stage->survivors[i].stop, 1);
	for (int i = 0; i < SURVIVORS; i++)
		survivor_end(&stage->survivors[i]);
	print_message("%s: %d kills at %d different points in %u rounds, %d sets by victims\n",
		      name, kills, sites_different(), round, sets);
	assert_true(kills > 0);
	assert_int_equal(ft_block_free(stage), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
}

static void setters(void **state)
{
	(void)state;
	kill_at_every_point("set and clear", set_and_clear);
}

static void waiters(void **state)
{
	(void)state;
	kill_at_every_point("wait and set", wait_and_set);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(setters),
		cmocka_unit_test(waiters),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	seed_from_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
