/* SPDX-License-Identifier: MIT */
/*
 * Four threads and four processes on one lock, one queue and two events, each
 * delayed at random points: every seed is another schedule.  FT_SEED repeats
 * one as far as the kernel lets it.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "../crash/kill_tools.h"

#include <cmocka.h>

#include "sync/event.h"
#include "sync/lock.h"

#define THREADS 4
#define PROCESSES 4
#define ALL (THREADS + PROCESSES)
#define ROUNDS 60
#define TURNS 25 /* between two meetings */

struct stage {
	struct ft_lock lock;
	uint64_t count; /* plain, under the lock */
	struct ft_queue queue;
	struct ft_event meet[2];
	uint32_t met;                       /* arrivals at all meetings */
	uint32_t number;                    /* of the next member */
	uint32_t waited;                    /* locks that timed out */
	uint64_t seed;
	uint32_t got[ALL * ROUNDS * TURNS]; /* how often each item came */
};

static void count_one(struct stage *stage)
{
	int rc = ft_lock_acquire(&stage->lock, random_number() % 2 ? FT_FOREVER : ft_after(50000));

	if (rc == -ETIMEDOUT) {
		ft__add32_seq_cst(&stage->waited, 1);
		rc = ft_lock_acquire(&stage->lock, ft_after(LONG));
	}
	REQUIRE(rc == 0);
	stage->count++;
	REQUIRE(ft_lock_release(&stage->lock) == 0);
}

static void pass_one(struct stage *stage, uint32_t item)
{
	void *block;
	size_t size;

	REQUIRE(ft_queue_put(&stage->queue, &item, sizeof(item), ft_after(LONG)) == 0);
	/* One each: there is always one, or one to come. */
	REQUIRE(ft_queue_get(&stage->queue, &block, &size, ft_after(LONG)) == 0);
	REQUIRE(size == sizeof(item));
	memcpy(&item, block, sizeof(item));
	REQUIRE(item < ALL * ROUNDS * TURNS);
	ft__add32_seq_cst(&stage->got[item], 1);
	REQUIRE(ft_block_free(block) == 0);
	REQUIRE(ft_queue_task_done(&stage->queue) == 0);
}

/* The last one to come lets the others go. */
static void meet(struct stage *stage, uint32_t round)
{
	if (ft__add32_seq_cst(&stage->met, 1) == ALL * (round + 1) - 1) {
		REQUIRE(ft_event_clear(&stage->meet[(round + 1) % 2]) == 0);
		REQUIRE(ft_event_set(&stage->meet[round % 2]) == 0);
	} else {
		REQUIRE(ft_event_wait(&stage->meet[round % 2], ft_after(LONG)) == 0);
	}
}

static int member(void *arg)
{
	struct stage *stage = arg;
	uint32_t me = ft__add32_seq_cst(&stage->number, 1);

	seed = stage->seed + me;
	for (uint32_t round = 0; round < ROUNDS; round++) {
		for (uint32_t turn = 0; turn < TURNS; turn++) {
			if (random_number() % 2)
				count_one(stage);
			pass_one(stage, (me * ROUNDS + round) * TURNS + turn);
			count_one(stage);
		}
		meet(stage, round);
	}
	return 0;
}

static void mixed(uint64_t maxsize)
{
	struct stage *stage = shared_alloc(sizeof(*stage));
	struct helper helpers[THREADS];
	uint32_t owners[PROCESSES];
	pid_t pids[PROCESSES];
	ft_deadline start = ft_now();

	assert_int_equal(ft_lock_init(&stage->lock, FT_SHARED), 0);
	assert_int_equal(ft_queue_init(&stage->queue, maxsize, FT_SHARED), 0);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ft_event_init(&stage->meet[i], FT_SHARED), 0);
	stage->seed = random_number();
	ft__point = delay_at_random;
	for (int i = 0; i < PROCESSES; i++)
		pids[i] = worker_start(member, stage, &owners[i]);
	for (int i = 0; i < THREADS; i++)
		helper_start(&helpers[i], member, stage);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(helper_join(&helpers[i]), 0);
	for (int i = 0; i < PROCESSES; i++) {
		assert_int_equal(child_end(pids[i]), 0);
		settle_death(owners[i]);
	}
	ft__point = NULL;
	for (int i = 0; i < ALL * ROUNDS * TURNS; i++)
		assert_int_equal(stage->got[i], 1);
	assert_true(stage->count >= ALL * ROUNDS * TURNS);
	assert_int_equal(stage->lock.word, 0);
	assert_int_equal(stage->queue.unfinished | stage->queue.size | stage->queue.lock.word, 0);
	print_message("room for %d: %u items, %u locks, %u of them late, %.1f s\n", (int)maxsize,
		      ALL * ROUNDS * TURNS, (unsigned)stage->count, stage->waited,
		      (double)(ft_now() - start) / 1e9);
	assert_int_equal(ft_queue_destroy(&stage->queue), 0);
	assert_int_equal(ft_block_free(stage), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft__block_count(0), 0);
}

static void without_limit(void **state)
{
	(void)state;
	mixed(0);
}

static void with_limit(void **state)
{
	(void)state;
	mixed(2);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(without_limit),
		cmocka_unit_test(with_limit),
	};

	alarm(2 * CHILD_SECONDS);
	seed_from_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
