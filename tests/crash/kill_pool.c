/* SPDX-License-Identifier: MIT */
/*
 * A pool's workers are killed at every store to shared pages, one after the
 * other, while they are born, look for work, run tasks, reply in the cell and
 * with blocks, and go to sleep.  Every task must end exactly once: with its
 * result, after having run once, or as lost, after having run at most once.
 */
#include <sys/mman.h>

#include "../unit/pool_tools.h"

#define TASKS 6
#define BUDGET (25 * SECOND)
#define LARGE 3000

/* What the test and its workers share, apart from the arena. */
struct stage {
	uint32_t left;       /* points until the kill; 0: not armed */
	uint32_t killed;
	uint32_t runs[TASKS];
};

static struct stage *stage;
static pid_t test;

/* In every worker, the second one and successors too: they count together. */
static void count_down(const char *file, int line)
{
	(void)file;
	(void)line;
	if (!__atomic_load_n(&stage->left, __ATOMIC_SEQ_CST) || getpid() == test)
		return;
	if (__atomic_fetch_sub(&stage->left, 1, __ATOMIC_SEQ_CST) != 1)
		return;
	__atomic_store_n(&stage->killed, 1, __ATOMIC_SEQ_CST);
	kill(getpid(), SIGKILL);
}

static int reply_text(struct ft_task *task, uint32_t number, size_t size)
{
	char text[LARGE];

	memset(text, (int)('a' + number), sizeof(text));
	return ft_task_reply(task, text, size);
}

static int reply_block(struct ft_task *task, uint32_t number)
{
	void *block;
	int rc = ft_block_alloc(LARGE, &block);

	if (rc)
		return rc;
	memset(block, (int)('a' + number), LARGE);
	return ft_task_reply_block(task, block, LARGE);
}

/* One third replies in the cell, one by a copy in a block, one by a block. */
static int work(struct ft_task *task)
{
	uint32_t number = *(const uint32_t *)ft_task_arg(task, NULL);

	__atomic_fetch_add(&stage->runs[number], 1, __ATOMIC_SEQ_CST);
	if (number % 3 == 2)
		return reply_block(task, number);
	return reply_text(task, number, number % 3 ? LARGE : 50);
}

static void check_result(struct ft_future *future, uint32_t number)
{
	const char *text;
	size_t size;

	assert_int_equal(ft_future_result(future, (const void **)&text, &size), 0);
	assert_int_equal(size, number % 3 ? LARGE : 50);
	assert_int_equal(text[0], 'a' + number);
	assert_int_equal(text[size - 1], 'a' + number);
	assert_int_equal(stage->runs[number], 1);
}

static void check_lost(struct ft_future *future, uint32_t number)
{
	struct ft_worker_exit how;

	assert_int_equal(ft_future_result(future, NULL, NULL), -EOWNERDEAD);
	assert_int_equal(ft_future_death(future, &how), 0);
	assert_int_equal(how.signo, SIGKILL);
	assert_int_equal(stage->killed, 1);
	assert_in_range(stage->runs[number], 0, 1);
}

/* Returns how many were lost: one task at most for one kill. */
static unsigned round_of_tasks(struct ft_pool *pool, uint32_t at)
{
	struct ft_future *futures[TASKS];
	unsigned lost = 0;

	memset(stage, 0, sizeof(*stage));
	__atomic_store_n(&stage->left, at, __ATOMIC_SEQ_CST);
	for (uint32_t i = 0; i < TASKS; i++)
		futures[i] = submit(pool, work, &i, sizeof(i));
	for (uint32_t i = 0; i < TASKS; i++) {
		assert_int_equal(ft_future_wait(futures[i], ft_after(5 * SECOND)), 0);
		if (ft_future_result(futures[i], NULL, NULL)) {
			check_lost(futures[i], i);
			lost++;
		} else {
			check_result(futures[i], i);
		}
		ft_future_free(futures[i]);
	}
	assert_true(lost <= stage->killed);
	return lost;
}

/* Every point of a round, until one goes by without a kill. */
static void each_point(struct ft_pool_options *options)
{
	unsigned kills = 0, lost = 0, calm = 0;
	struct ft_arena_info before, after;
	struct ft_pool_stats stats;
	struct ft_pool *pool;
	uint32_t at;

	assert_true(ft__process()); /* our own slot is there from now on */
	ft_arena_info(&before);
	assert_int_equal(ft_pool_open(&pool, options), 0);
	ft_deadline end = ft_after(BUDGET);
	for (at = 1; calm < 3 && ft_now() < end; at++) {
		lost += round_of_tasks(pool, at);
		kills += stage->killed;
		calm = stage->killed ? 0 : calm + 1;
	}
	stage->left = 0;
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.lost, lost);
	assert_int_equal(stats.done + stats.lost, stats.submitted);
	assert_int_equal(stats.broken, 0);
	pool_end(pool);
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(ft_arena_check(NULL), 0);
	print_message("%u points, %u kills, %u tasks lost, %u restarts, %lu stolen\n", at - 1,
		      kills, lost, stats.restarts, stats.stolen);
	assert_int_equal(calm, 3);
	assert_true(kills > 50);
}

static void workers_that_stay(void **state)
{
	struct ft_pool_options options = pool_options(FT_WORKER_PROCESS, 2);

	(void)state;
	each_point(&options);
}

/* Births and departures come into it too. */
static void workers_that_leave(void **state)
{
	struct ft_pool_options options = pool_options(FT_WORKER_PROCESS, 2);

	(void)state;
	options.tasks_per_worker = 2;
	each_point(&options);
}

/* A kill somewhere on the way from close to the end. */
static void while_closing(void **state)
{
	unsigned kills = 0, lost = 0, calm = 0;
	ft_deadline end = ft_after(15 * SECOND);
	uint32_t at;

	(void)state;
	for (at = 1; calm < 3 && ft_now() < end; at += 3) {
		struct ft_pool *pool = pool_open(FT_WORKER_PROCESS, 2);
		struct ft_future *futures[TASKS];

		memset(stage, 0, sizeof(*stage));
		__atomic_store_n(&stage->left, at, __ATOMIC_SEQ_CST);
		for (uint32_t i = 0; i < TASKS; i++)
			futures[i] = submit(pool, work, &i, sizeof(i));
		pool_end(pool);
		stage->left = 0;
		kills += stage->killed;
		calm = stage->killed ? 0 : calm + 1;
		for (uint32_t i = 0; i < TASKS; i++) {
			assert_int_equal(ft_future_done(futures[i]), 1);
			if (ft_future_result(futures[i], NULL, NULL)) {
				check_lost(futures[i], i);
				lost++;
			} else {
				check_result(futures[i], i);
			}
			ft_future_free(futures[i]);
		}
	}
	print_message("%u points by threes, %u kills, %u tasks lost\n", at - 1, kills, lost);
	assert_int_equal(calm, 3);
	assert_int_equal(ft_arena_check(NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(workers_that_stay),
		cmocka_unit_test(workers_that_leave),
		cmocka_unit_test(while_closing),
	};

	alarm(110 * effort(5));
	test = getpid();
	stage = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (stage == MAP_FAILED)
		return 1;
	ft__point = count_down;
	return cmocka_run_group_tests(tests, NULL, NULL);
}
