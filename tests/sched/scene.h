/* SPDX-License-Identifier: MIT */
/*
 * Scenes for the scheduler (sched.h): what its players do, and what must hold; and
 * the programs that play them, in so many random ways, and in all ways with few
 * changes for small cases, deaths included.  A failure names its seed; FT_SEED=that
 * NAME plays it again, FT_TRACE=1 says each step.
 */
#ifndef TESTS_SCENE_H
#define TESTS_SCENE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "sched.h"

#include <cmocka.h>

#include <freethreading.h>

#define RUNS 20000 /* in make check, of each scenario */

struct scenario {
	const char *name;
	int players;
	void (*plays[PLAYERS])(int me);
	void (*begin)(void);
	bool (*stuck)(void);      /* everybody sleeps: rightly? */
	const char *(*end)(void); /* NULL, or what is wrong afterwards */
	uint32_t mortal;
	uint32_t steps;           /* about so many; const, as seeds depend on it */
	uint32_t flags;
};
static const struct scenario *scene;

static inline bool somebody_died(void)
{
	for (int i = 0; i < scene->players; i++)
		if (sched.players[i].condition == DEAD)
			return true;
	return false;
}

static inline bool never(void)
{
	return false;
}

static inline void insist(bool so, const char *what)
{
	if (!so)
		give_up(what);
}

/* Mostly for ever; now and then a deadline that may come. */
static inline ft_deadline some_deadline(void)
{
	return sched_random(4) ? FT_FOREVER : ft_after(1000 * (1 + sched_random(100)));
}

static inline const char *nothing(void)
{
	return NULL;
}

#define SCENE(name, n, begin, stuck, end, mortal, steps, flags, ...)                     \
	{                                                                                \
		name, n, { __VA_ARGS__ }, begin, stuck, end, mortal, steps, flags        \
	}

/* What a program plays. */
struct play_list {
	const struct scenario *scenes, *small;
	size_t scenes_count, small_count, stage_size;
	void (*stage)(void *block); /* stage_size bytes in the arena, zero at first */
	bool kernels; /* those that do wrong are played, too */
};
static const struct play_list *list;

/* ---- runs ---- */

/* A seed with this bit is a number in the list of all plans. */
#define LISTED (UINT64_C(1) << 62)
#define ORDERS 8 /* of priorities, and of what else is random */

static uint64_t listed_plans(void)
{
	return (uint64_t)scene->steps * scene->steps * 2 * ORDERS;
}

static struct plan listed_plan(uint64_t number)
{
	uint32_t first = (uint32_t)(number % scene->steps);
	uint32_t second = (uint32_t)(number / scene->steps % scene->steps);
	bool kill = number / scene->steps / scene->steps % 2;

	return (struct plan){
		.seed = number / scene->steps / scene->steps / 2,
		.mortal = scene->mortal,
		.changes = kill ? 1 : 2,
		.change_at = { 1 + first, 1 + second },
		.kills = kill,
		.kill_at = { 1 + second },
	};
}

/* All of it from the seed, so that the seed is enough. */
static struct plan plan_of(uint64_t seed, enum mutant mutant)
{
	if (seed & LISTED)
		return listed_plan(seed & ~LISTED);

	struct plan plan = { .seed = seed, .mortal = scene->mortal, .mutant = mutant };

	sched.random = seed * UINT64_C(0x9e3779b97f4a7c15);
	sched_random(2);
	plan.changes = (int)sched_random(4);
	plan.walk = sched_random(4) == 0;
	plan.kills = scene->mortal ? (int)sched_random(3) : 0;
	for (int i = 0; i < plan.changes; i++)
		plan.change_at[i] = 1 + sched_random(scene->steps);
	for (int i = 0; i < plan.kills; i++)
		plan.kill_at[i] = 1 + sched_random(scene->steps);
	return plan;
}

static const char *play_once(const struct plan *plan)
{
	scene->begin();

	const char *failure = sched_run(plan, scene->players, scene->plays, scene->stuck);

	return failure ? failure : scene->end();
}

static void complain(uint64_t seed, const char *failure)
{
	static const char *const names[] = { "absent", "ready", "asleep", "over", "dead" };

	print_error("%s: %s at step %u: FT_SEED=%llu\n", scene->name, failure, sched.steps,
		    (unsigned long long)seed);
	for (int i = 0; i < scene->players; i++)
		print_error("    player %d: %s\n", i, names[sched.players[i].condition]);
}

/* Shared by fork: what the runs of a scenario came to. */
struct sum {
	uint64_t runs, deaths, steps, failed; /* failed: a seed, or 0 */
	uint32_t most;
};
static struct sum *sum;

/* Runs follow each other in one process, and each finds slots and blocks as the
 * last one left them: a batch begins with nothing, so that it can be repeated. */
#define BATCH 1000

struct batch {
	uint64_t from, to; /* seeds */
	enum mutant mutant;
};

static void set_the_stage(void)
{
	void *block;

	alarm(CHILD_SECONDS);
	REQUIRE(ft__process() != 0 && ft_block_alloc(list->stage_size, &block) == 0);
	memset(block, 0, list->stage_size);
	list->stage(block);
}

static bool play_seed(uint64_t seed, enum mutant mutant)
{
	struct plan plan = plan_of(seed, mutant);
	const char *failure = play_once(&plan);

	sum->runs++;
	sum->steps += sched.steps;
	if (sched.steps > sum->most)
		sum->most = sched.steps;
	if (!failure)
		return true;
	sum->failed = seed;
	if (mutant == SOUND)
		complain(seed, failure);
	return false;
}

static int play_batch(void *arg)
{
	const struct batch *batch = arg;
	struct ft_arena_info before, after;

	set_the_stage();
	ft_arena_info(&before);
	for (uint64_t seed = batch->from; seed < batch->to; seed++) {
		sched.trace = seed + 1 == batch->to && getenv("FT_TRACE");
		if (!play_seed(seed, batch->mutant))
			return 1;
	}
	ft_arena_info(&after);
	REQUIRE(after.blocks == before.blocks && ft_arena_check(NULL) == 0);
	sum->deaths += sched.deaths;
	return 0;
}

static bool play_all(uint64_t from, uint64_t to, enum mutant mutant)
{
	memset(sum, 0, sizeof(*sum));
	for (uint64_t at = from; at < to; at += BATCH) {
		struct batch batch = { at, at + BATCH < to ? at + BATCH : to, mutant };

		if (child_run(play_batch, &batch) != 0)
			return false;
	}
	return true;
}

static void replay(const char *text)
{
	uint64_t seed = strtoull(text, NULL, 0);

	assert_true(play_all(seed / BATCH * BATCH, seed + 1, SOUND));
}

static void report(void)
{
	print_message("%-12s %8lu runs, %7lu deaths, %5.1f million steps, %u at most\n",
		      scene->name, (unsigned long)sum->runs, (unsigned long)sum->deaths,
		      (double)sum->steps / 1e6, sum->most);
}

/* What a kernel may not do: each of it must be seen by some scenario. */
static void mutant_test(void **state)
{
	static const char *const names[MUTANTS] = {
		"", "wakes one less", "loses a wake", "sleeps blindly", "stores late",
		"does not settle",
	};

	(void)state;
	for (enum mutant mutant = SOUND + 1; mutant < MUTANTS; mutant++) {
		bool sound = true;

		for (size_t i = 0; i < list->scenes_count && sound; i++) {
			scene = &list->scenes[i];
			sound = play_all(0, 5 * BATCH, mutant);
		}
		if (sound || !sum->failed)
			fail_msg("a kernel that %s was not noticed", names[mutant]);
		print_message("a kernel that %s: seen by %s, seed %lu\n", names[mutant], scene->name,
			      (unsigned long)sum->failed);
	}
}

static void small_test(void **state)
{
	scene = *state;
	assert_true(play_all(LISTED, LISTED + listed_plans(), SOUND));
	report();
}

static void scenario_test(void **state)
{
	const char *seed = getenv("FT_SEED");

	scene = *state;
	if (seed) {
		replay(seed);
		return;
	}
	assert_true(play_all(0, (uint64_t)RUNS * effort(50), SOUND));
	report();
}

static size_t add(struct CMUnitTest *test, const struct scenario *scenario, const char *wanted,
		  CMUnitTestFunction run)
{
	if (wanted && strcmp(wanted, scenario->name))
		return 0;
	*test = (struct CMUnitTest){ .name = scenario->name,
				     .test_func = run,
				     .initial_state = (void *)scenario };
	return 1;
}

/* For main(). */
static int play(const struct play_list *plays, int argc, char **argv)
{
	struct CMUnitTest tests[32];
	const char *wanted = argc > 1 ? argv[1] : NULL;
	size_t used = 0;

	list = plays;
	REQUIRE(list->scenes_count + list->small_count < 32);
	sum = mmap(NULL, sizeof(*sum), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sum == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < list->scenes_count; i++)
		used += add(&tests[used], &list->scenes[i], wanted, scenario_test);
	for (size_t i = 0; i < list->small_count; i++)
		used += add(&tests[used], &list->small[i], wanted,
			    getenv("FT_SEED") ? scenario_test : small_test);
	if (!wanted && list->kernels)
		tests[used++] = (struct CMUnitTest)cmocka_unit_test(mutant_test);
	return _cmocka_run_group_tests("schedule", tests, used, NULL, NULL);
}

#endif
