/* SPDX-License-Identifier: MIT */
/*
 * The code of lib/sync under a scheduler that decides every step (sched.h): in
 * so many random ways, and in all ways with few changes for small cases, deaths
 * included.  A failure names its seed; FT_SEED=that NAME plays it again, FT_TRACE=1 says
 * each step.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include "sched.h"

#include <cmocka.h>

#include <freethreading.h>

#define RUNS 20000 /* in make check, of each scenario */
#define NOBODY (-1)

struct stage {
	struct ft_lock lock;
	struct ft_event event;
	struct ft_semaphore semaphore;
	struct ft_condition condition;
	struct ft_barrier barrier;
	struct ft_queue queue;
};
static struct stage *stage; /* in the arena */

/* What the test itself knows; no step lies between a change and a look. */
static struct {
	int holder;
	uint32_t units, given, taken;
	uint32_t rounds[2]; /* of the barrier: who had which index */
	bool inside[PLAYERS];
	bool was_set;
	uint32_t next[PLAYERS]; /* of each producer, what comes next */
	uint32_t got;
} truth;

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

static bool somebody_died(void)
{
	for (int i = 0; i < scene->players; i++)
		if (sched.players[i].condition == DEAD)
			return true;
	return false;
}

static bool never(void)
{
	return false;
}

static void insist(bool so, const char *what)
{
	if (!so)
		give_up(what);
}

/* Mostly for ever; now and then a deadline that may come. */
static ft_deadline some_deadline(void)
{
	return sched_random(4) ? FT_FOREVER : ft_after(1000 * (1 + sched_random(100)));
}

/* ---- lock ---- */

static void begin_lock(void)
{
	truth.holder = NOBODY;
	REQUIRE(ft_lock_init(&stage->lock, scene->flags) == 0);
}

static void own_it(int me, int rc)
{
	bool dead = truth.holder != NOBODY && sched.players[truth.holder].condition == DEAD;

	insist(truth.holder == NOBODY || dead, "two owners");
	insist(!dead || rc == -EOWNERDEAD || scene->flags == FT_PRIVATE, "a death was not told");
	insist(rc == 0 || somebody_died(), "a death was told, but nobody died");
	truth.holder = me;
	step(NULL, 0);
	insist(truth.holder == me, "somebody else has the lock");
	truth.holder = NOBODY;
}

static void play_lock(int me)
{
	for (int turn = 0; turn < 2; turn++) {
		int rc = ft_lock_acquire(&stage->lock, some_deadline());

		if (rc == -ETIMEDOUT)
			continue;
		insist(rc == 0 || rc == -EOWNERDEAD, "acquire failed");
		own_it(me, rc);
		insist(ft_lock_release(&stage->lock) == 0, "release failed");
	}
}

static const char *end_lock(void)
{
	uint32_t word = stage->lock.word & ~FT_LOCK_WAITERS;

	return word && !somebody_died() ? "still held" : NULL;
}

/* ---- event ---- */

static void begin_event(void)
{
	truth.was_set = false;
	REQUIRE(ft_event_init(&stage->event, scene->flags) == 0);
}

static void play_event_wait(int me)
{
	int rc = ft_event_wait(&stage->event, some_deadline());

	(void)me;
	insist(rc == -ETIMEDOUT || (rc == 0 && truth.was_set), "released, but never set");
}

static void play_event_set(int me)
{
	(void)me;
	truth.was_set = true;
	ft_event_set(&stage->event);
	if (sched_random(2))
		return;
	ft_event_clear(&stage->event);
	ft_event_set(&stage->event);
}

static bool stuck_event(void)
{
	return !(stage->event.word & FT_EVENT_SET);
}

/* ---- semaphore ---- */

static void begin_semaphore(void)
{
	truth.units = 1;
	truth.given = truth.taken = 0;
	REQUIRE(ft_semaphore_init(&stage->semaphore, truth.units, 0, scene->flags) == 0);
}

static void play_semaphore_pair(int me)
{
	(void)me;
	int rc = ft_semaphore_acquire(&stage->semaphore, some_deadline());

	if (rc == -ETIMEDOUT)
		return;
	insist(rc == 0, "acquire failed");
	truth.taken++;
	insist(truth.taken <= truth.units + truth.given, "more units than there are");
	truth.given++;
	insist(ft_semaphore_release(&stage->semaphore, 1) == 0, "release failed");
}

static void play_semaphore_give(int me)
{
	(void)me;
	truth.given += 2;
	insist(ft_semaphore_release(&stage->semaphore, 2) == 0, "release failed");
}

/* Takers and givers that meet often: who is woken may have to wake the next. */
static void begin_flow(void)
{
	begin_semaphore();
	truth.units = 0;
	REQUIRE(ft_semaphore_init(&stage->semaphore, 0, 0, scene->flags) == 0);
}

static void play_flow_take(int me)
{
	(void)me;
	for (int turn = 0; turn < 2; turn++) {
		insist(ft_semaphore_acquire(&stage->semaphore, FT_FOREVER) == 0, "acquire failed");
		truth.taken++;
	}
}

static void play_flow_give(int me)
{
	(void)me;
	for (int turn = 0; turn < 2; turn++) {
		truth.given++;
		insist(ft_semaphore_release(&stage->semaphore, 1) == 0, "release failed");
	}
}

static bool stuck_semaphore(void)
{
	return (stage->semaphore.word & FT_SEMAPHORE_VALUE) == 0 && somebody_died();
}

static const char *end_semaphore(void)
{
	uint32_t left = stage->semaphore.word & FT_SEMAPHORE_VALUE;

	return left != truth.units + truth.given - truth.taken && !somebody_died()
		       ? "units were lost"
		       : NULL;
}

/* ---- condition ---- */

static void begin_condition(void)
{
	truth.units = 0;
	REQUIRE(ft_lock_init(&stage->lock, FT_SHARED) == 0);
	REQUIRE(ft_condition_init(&stage->condition, FT_SHARED) == 0);
}

static bool locked(int rc)
{
	insist(rc == 0 || rc == -EOWNERDEAD, "acquire failed");
	return true;
}

static void play_condition_wait(int me)
{
	ft_deadline deadline = some_deadline();
	int rc = 0;

	(void)me;
	locked(ft_lock_acquire(&stage->lock, FT_FOREVER));
	while (!truth.units && rc != -ETIMEDOUT) {
		rc = ft_condition_wait(&stage->condition, &stage->lock, deadline);
		insist(rc == 0 || rc == -ETIMEDOUT || rc == -EOWNERDEAD, "wait failed");
	}
	if (truth.units)
		truth.units--;
	insist(ft_lock_release(&stage->lock) == 0, "release failed");
}

static void play_condition_notify(int me)
{
	(void)me;
	for (int turn = 0; turn < 2; turn++) {
		locked(ft_lock_acquire(&stage->lock, FT_FOREVER));
		truth.units++;
		insist(ft_condition_notify(&stage->condition, 1) >= 0, "notify failed");
		insist(ft_lock_release(&stage->lock) == 0, "release failed");
	}
}

/* Who dies with a notification that it has used up takes the unit along. */
static bool stuck_condition(void)
{
	uint32_t lost = 0;

	for (int i = 0; i < scene->players; i++)
		lost += sched.players[i].condition == DEAD &&
			sched.players[i].waiting == FT_CONDITION_IDLE;
	return truth.units <= lost;
}

/* ---- barrier ---- */

static void begin_barrier(void)
{
	truth.rounds[0] = truth.rounds[1] = 0;
	memset(truth.inside, 0, sizeof(truth.inside));
	REQUIRE(ft_barrier_init(&stage->barrier, (uint32_t)scene->players, FT_SHARED) == 0);
}

static void play_barrier(int me)
{
	for (int turn = 0; turn < 2; turn++) {
		truth.inside[me] = true;
		int rc = ft_barrier_wait(&stage->barrier, FT_FOREVER);

		truth.inside[me] = false;
		if (rc < 0) {
			insist(rc == -EPIPE && somebody_died(), "broken, but nobody died");
			return;
		}
		insist(!(truth.rounds[turn] >> rc & 1), "an index was given twice");
		truth.rounds[turn] |= UINT32_C(1) << rc;
	}
}

/* Who dies before it has noted that it is here never came. */
static bool stuck_barrier(void)
{
	for (int i = 0; i < scene->players; i++) {
		const struct player *p = &sched.players[i];

		if (p->condition == DEAD && (!truth.inside[i] || !p->noted))
			return true;
	}
	return false;
}

static const char *end_barrier(void)
{
	uint32_t all = (UINT32_C(1) << scene->players) - 1;

	return !somebody_died() && (truth.rounds[0] != all || truth.rounds[1] != all)
		       ? "somebody did not get through"
		       : NULL;
}

/* ---- queue ---- */

#define ITEMS 2 /* of each producer */
#define ROOM 1

static void begin_queue(void)
{
	memset(truth.next, 0, sizeof(truth.next));
	truth.got = 0;
	REQUIRE(ft_queue_init(&stage->queue, ROOM, FT_SHARED) == 0);
}

static void play_queue_put(int me)
{
	for (uint32_t n = 0; n < ITEMS; n++) {
		uint32_t item = (uint32_t)me << 8 | n;

		insist(ft_queue_put(&stage->queue, &item, sizeof(item), FT_FOREVER) == 0,
		       "put failed");
	}
}

static void play_queue_get(int me)
{
	(void)me;
	for (uint32_t n = 0; n < ITEMS; n++) {
		uint32_t item;
		void *block;
		size_t size;
		int rc = ft_queue_get(&stage->queue, &block, &size, FT_FOREVER);

		insist(rc == 0 && size == sizeof(item), "get failed");
		memcpy(&item, block, sizeof(item));
		insist(item >> 8 < PLAYERS && (item & 0xff) < ITEMS, "not what was put");
		/* Two consumers: what comes later may be seen first, but once. */
		insist(!(truth.got >> ((item >> 8) * ITEMS + (item & 0xff)) & 1), "came twice");
		truth.got |= UINT32_C(1) << ((item >> 8) * ITEMS + (item & 0xff));
		insist(ft_block_free(block) == 0, "not ours");
		insist(ft_queue_task_done(&stage->queue) == 0, "task_done failed");
	}
}

static bool stuck_queue(void)
{
	for (int i = 0; i < scene->players; i++) {
		bool getter = scene->plays[i] == play_queue_get;

		if (sched.players[i].condition != ASLEEP)
			continue;
		if (getter ? stage->queue.size != 0 : stage->queue.size < ROOM)
			return false;
	}
	return somebody_died();
}

static const char *end_queue(void)
{
	uint64_t size = stage->queue.size;
	uint32_t all = (UINT32_C(1) << 2 * ITEMS) - 1;

	REQUIRE(ft_queue_destroy(&stage->queue) == 0);
	if (somebody_died())
		return NULL;
	return size || truth.got != all ? "items were lost" : NULL;
}

static const char *nothing(void)
{
	return NULL;
}

#define SCENE(name, n, begin, stuck, end, mortal, steps, flags, ...)                     \
	{                                                                                \
		name, n, { __VA_ARGS__ }, begin, stuck, end, mortal, steps, flags        \
	}

static const struct scenario scenarios[] = {
	SCENE("lock", 3, begin_lock, never, end_lock, 7, 150, FT_SHARED, play_lock, play_lock,
	      play_lock),
	SCENE("private-lock", 3, begin_lock, never, end_lock, 0, 50, FT_PRIVATE, play_lock,
	      play_lock, play_lock),
	SCENE("crowd", 4, begin_lock, never, end_lock, 0, 80, FT_SHARED, play_lock, play_lock,
	      play_lock, play_lock),
	SCENE("event", 4, begin_event, stuck_event, nothing, 15, 60, FT_SHARED, play_event_wait,
	      play_event_wait, play_event_set, play_event_set),
	SCENE("semaphore", 4, begin_semaphore, stuck_semaphore, end_semaphore, 15, 70, FT_SHARED,
	      play_semaphore_pair, play_semaphore_pair, play_semaphore_pair, play_semaphore_give),
	SCENE("flow", 4, begin_flow, never, end_semaphore, 0, 60, FT_SHARED, play_flow_take,
	      play_flow_take, play_flow_give, play_flow_give),
	SCENE("condition", 4, begin_condition, stuck_condition, nothing, 7, 260, FT_SHARED,
	      play_condition_wait, play_condition_wait, play_condition_wait,
	      play_condition_notify),
	SCENE("barrier", 3, begin_barrier, stuck_barrier, end_barrier, 7, 240, FT_SHARED,
	      play_barrier, play_barrier, play_barrier),
	SCENE("queue", 4, begin_queue, stuck_queue, end_queue, 15, 1700, FT_SHARED, play_queue_put,
	      play_queue_put, play_queue_get, play_queue_get),
};
#define SCENES (sizeof(scenarios) / sizeof(scenarios[0]))

/* For all ways with two changes, or with one and a death. */
static const struct scenario small[] = {
	SCENE("lock, 2", 2, begin_lock, never, end_lock, 3, 100, FT_SHARED, play_lock, play_lock),
	SCENE("event, 2", 2, begin_event, stuck_event, nothing, 3, 40, FT_SHARED, play_event_wait,
	      play_event_set),
	SCENE("semaphore, 3", 3, begin_semaphore, stuck_semaphore, end_semaphore, 7, 50,
	      FT_SHARED, play_semaphore_pair, play_semaphore_pair, play_semaphore_give),
	SCENE("condition, 2", 2, begin_condition, stuck_condition, nothing, 1, 130, FT_SHARED,
	      play_condition_wait, play_condition_notify),
	SCENE("barrier, 2", 2, begin_barrier, stuck_barrier, end_barrier, 3, 150, FT_SHARED,
	      play_barrier, play_barrier),
};
#define SMALL (sizeof(small) / sizeof(small[0]))

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
	REQUIRE(ft__process() != 0 && ft_block_alloc(sizeof(*stage), &block) == 0);
	stage = block;
	memset(stage, 0, sizeof(*stage));
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

		for (size_t i = 0; i < SCENES && sound; i++) {
			scene = &scenarios[i];
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

int main(int argc, char **argv)
{
	struct CMUnitTest tests[SCENES + SMALL + 1];
	const char *wanted = argc > 1 ? argv[1] : NULL;
	size_t used = 0;

	sum = mmap(NULL, sizeof(*sum), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (sum == MAP_FAILED)
		return 1;
	for (size_t i = 0; i < SCENES; i++)
		used += add(&tests[used], &scenarios[i], wanted, scenario_test);
	for (size_t i = 0; i < SMALL; i++)
		used += add(&tests[used], &small[i], wanted,
			    getenv("FT_SEED") ? scenario_test : small_test);
	if (!wanted)
		tests[used++] = (struct CMUnitTest)cmocka_unit_test(mutant_test);
	return _cmocka_run_group_tests("schedule_sync", tests, used, NULL, NULL);
}
