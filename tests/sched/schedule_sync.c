/* SPDX-License-Identifier: MIT */
/* The code of lib/sync under a scheduler that decides every step: see scene.h. */
#include "scene.h"

#define NOBODY (-1)

struct stage {
	struct ft_lock lock;
	struct ft_event event;
	struct ft_semaphore semaphore;
	struct ft_condition condition;
	struct ft_barrier barrier;
	struct ft_queue queue;
	struct ft_rlock rlock;
	struct ft_simple_queue simple;
};
static struct stage *stage; /* in the arena */

static void set_stage(void *block)
{
	stage = block;
}

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

/* ---- rlock ---- */

static void begin_rlock(void)
{
	truth.holder = NOBODY;
	REQUIRE(ft_rlock_init(&stage->rlock, scene->flags) == 0);
}

static void play_rlock(int me)
{
	int rc = ft_rlock_acquire(&stage->rlock, some_deadline());

	if (rc == -ETIMEDOUT)
		return;
	insist(rc == 0 || rc == -EOWNERDEAD, "acquire failed");
	insist(ft_rlock_depth(&stage->rlock) == 1, "not taken once");
	insist(ft_rlock_acquire(&stage->rlock, FT_NOW) == 0, "not ours to take again");
	own_it(me, rc);
	insist(ft_rlock_release(&stage->rlock) == 0 && ft_rlock_mine(&stage->rlock),
	       "the first release was the last");
	truth.holder = me;
	step(NULL, 0);
	insist(truth.holder == me, "somebody else has the lock");
	truth.holder = NOBODY;
	insist(ft_rlock_release(&stage->rlock) == 0, "release failed");
	insist(ft_rlock_release(&stage->rlock) == -EPERM, "released twice");
}

static const char *end_rlock(void)
{
	uint32_t word = stage->rlock.lock.word & ~FT_LOCK_WAITERS;

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

/* ---- simple queue ---- */

static void begin_simple(void)
{
	memset(truth.next, 0, sizeof(truth.next));
	truth.got = 0;
	REQUIRE(ft_simple_queue_init(&stage->simple, FT_SHARED) == 0);
}

static void play_simple_put(int me)
{
	for (uint32_t n = 0; n < ITEMS; n++) {
		uint32_t item = (uint32_t)me << 8 | n;

		insist(ft_simple_queue_put(&stage->simple, &item, sizeof(item)) == 0, "put failed");
	}
}

/* Alone: what one producer puts comes in its order. */
static void play_simple_get(int me)
{
	(void)me;
	for (uint32_t n = 0; n < 2 * ITEMS; n++) {
		uint32_t item, from;
		void *block;
		size_t size;
		int rc = ft_simple_queue_get(&stage->simple, &block, &size, FT_FOREVER);

		insist(rc == 0 && size == sizeof(item), "get failed");
		memcpy(&item, block, sizeof(item));
		from = item >> 8;
		insist(from < PLAYERS && (item & 0xff) == truth.next[from], "out of order");
		truth.next[from]++;
		truth.got |= UINT32_C(1) << (from * ITEMS + (item & 0xff));
		insist(ft_block_free(block) == 0, "not ours");
	}
}

static bool stuck_simple(void)
{
	return stage->simple.queue.size == 0 && somebody_died();
}

static const char *end_simple(void)
{
	uint32_t all = (UINT32_C(1) << 2 * ITEMS) - 1;

	REQUIRE(ft_simple_queue_destroy(&stage->simple) == 0);
	return !somebody_died() && truth.got != all ? "items were lost" : NULL;
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
	SCENE("rlock", 3, begin_rlock, never, end_rlock, 7, 120, FT_SHARED, play_rlock, play_rlock,
	      play_rlock),
	SCENE("simple-queue", 3, begin_simple, stuck_simple, end_simple, 7, 900, FT_SHARED,
	      play_simple_put, play_simple_put, play_simple_get),
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

int main(int argc, char **argv)
{
	static const struct play_list plays = {
		.scenes = scenarios,
		.scenes_count = SCENES,
		.small = small,
		.small_count = SMALL,
		.stage_size = sizeof(struct stage),
		.stage = set_stage,
		.kernels = true,
	};

	return play(&plays, argc, argv);
}
