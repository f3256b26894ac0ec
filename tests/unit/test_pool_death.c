/* SPDX-License-Identifier: MIT */
/* Worker processes that die. */
#include "pool_modes.h"

/* ---- deaths; processes only ---- */

static void killed_in_a_task(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_worker_exit how;
	struct ft_future *slow = submit(pool, task_long, NULL, 0), *futures[200];

	(void)state;
	await_count(1);
	pid_t pid = ft_future_worker(slow);
	assert_true(pid > 0);
	for (int i = 0; i < 200; i++)
		futures[i] = submit(pool, task_empty, NULL, 0);
	ft_deadline begun = ft_now();
	kill(pid, SIGKILL);
	assert_int_equal(ft_future_wait(slow, ft_after(2 * SECOND)), 0);
	print_message("death told after %.2f ms\n", (double)(ft_now() - begun) / 1e6);
	assert_int_equal(ft_future_result(slow, NULL, NULL), -EOWNERDEAD);
	assert_int_equal(ft_future_death(slow, &how), 0);
	assert_int_equal(how.pid, pid);
	assert_int_equal(how.signo, SIGKILL);
	assert_int_equal(how.known, 1);
	assert_int_equal(ft_future_worker(slow), pid);
	ft_future_free(slow);
	for (int i = 0; i < 200; i++)
		finish(futures[i], 0);
	assert_true(ft_now() - begun < 2 * SECOND);
	assert_true(ft_pool_worker_pid(pool, 0) != pid && ft_pool_worker_pid(pool, 1) != pid);
	pool_end(pool);
}

static void exit_is_a_death(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *future = submit(pool, task_exit, NULL, 0);
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(ft_future_wait(future, SOON), 0);
	assert_int_equal(ft_future_result(future, NULL, NULL), -EOWNERDEAD);
	assert_int_equal(ft_future_death(future, &how), 0);
	assert_int_equal(how.signo, 0);
	assert_int_equal(how.code, 3);
	ft_future_free(future);
	finish(submit(pool, task_empty, NULL, 0), 0);
	pool_end(pool);
}

static void fifty_kills(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_pool_stats stats;
	int64_t worst = 0;

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct ft_future *killer = submit(pool, task_die, NULL, 0), *others[8];
		for (int j = 0; j < 8; j++)
			others[j] = submit(pool, task_count, NULL, 0);
		ft_deadline begun = ft_now();
		for (int j = 0; j < 8; j++)
			finish(others[j], 0);
		finish(killer, -EOWNERDEAD);
		worst = ft_now() - begun > worst ? ft_now() - begun : worst;
	}
	assert_true(worst < 2 * SECOND);
	assert_int_equal(*counter, 400);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.lost, 50);
	assert_int_equal(stats.done, 400);
	assert_int_equal(stats.broken, 0);
	print_message("50 kills: worst %.1f ms, %u restarts, %lu stolen\n", (double)worst / 1e6,
		      stats.restarts, stats.stolen);
	pool_end(pool);
	assert_int_equal(ft_arena_check(NULL), 0);
}

/* In a map the dead worker's element fails, all others are there. */
static int task_die_at_7(struct ft_task *task)
{
	const long *x = ft_task_arg(task, NULL);

	return *x == 7 ? task_die(task) : task_square(task);
}

static void death_in_a_map(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	long in[100], out[100] = { 0 };

	(void)state;
	for (long i = 0; i < 100; i++)
		in[i] = i;
	assert_int_equal(ft_pool_map(pool, task_die_at_7, in, 8, out, 8, 100), -EOWNERDEAD);
	for (long i = 0; i < 100; i++)
		assert_int_equal(out[i], i == 7 ? 0 : i * i);
	pool_end(pool);
}

static void idle_worker_is_killed(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	ft_deadline deadline = SOON;

	(void)state;
	finish(submit(pool, task_empty, NULL, 0), 0);
	for (int i = 0; i < 10; i++) {
		pid_t pid = ft_pool_worker_pid(pool, i % 2);
		kill(pid, SIGKILL);
		/* Nobody waits: a poll sees it. */
		while (ft_pool_worker_pid(pool, i % 2) == pid ||
		       ft_pool_worker_pid(pool, i % 2) == 0) {
			assert_int_equal(ft_pool_poll(pool), 0);
			assert_true(ft_now() < deadline);
		}
		finish(submit(pool, task_empty, NULL, 0), 0);
	}
	pool_end(pool);
}

static int always_dies(void *arg)
{
	(void)arg;
	_exit(9);
}

static int start_dying(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
		       struct ft_worker **worker)
{
	struct ft_worker_options options = { .size = sizeof(options), .kind = kind,
					     .cpus = cpus };

	(void)seat;
	(void)handle;
	++*(int *)ctx;
	return ft_worker_start(worker, &options, always_dies, NULL);
}

static void workers_that_always_die(void **state)
{
	struct ft_pool_options options = pool_options(kind, 2);
	struct ft_call call = { .code = 1 };
	struct ft_future *futures[10], *future;
	struct ft_worker_exit how;
	struct ft_pool_stats stats;
	struct ft_pool *pool;
	int starts = 0;

	(void)state;
	options.start = start_dying;
	options.start_ctx = &starts;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	for (int i = 0; i < 10; i++)
		assert_int_equal(ft_pool_submit(pool, &call, &futures[i]), 0);
	for (int i = 0; i < 10; i++) {
		assert_int_equal(ft_future_wait(futures[i], SOON), 0);
		assert_int_equal(ft_future_result(futures[i], NULL, NULL), -EOWNERDEAD);
		assert_int_equal(ft_future_worker(futures[i]), 0);
		assert_int_equal(ft_future_death(futures[i], &how), 0);
		assert_int_equal(how.code, 9);
		ft_future_free(futures[i]);
	}
	assert_int_equal(ft_pool_submit(pool, &call, &future), -EOWNERDEAD);
	assert_int_equal(ft_pool_map(pool, task_empty, NULL, 0, NULL, 0, 5), -EOWNERDEAD);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.broken, 1);
	assert_true(starts >= 9 && starts <= 11);
	pool_end(pool);
}

/* SIGTERM is not enough for this one. */
static int task_stubborn(struct ft_task *task)
{
	signal(SIGTERM, SIG_IGN);
	return task_long(task);
}

static void grace_ends(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *slow = submit(pool, task_stubborn, NULL, 0);

	(void)state;
	await_count(1);
	ft_deadline begun = ft_now();
	assert_int_equal(ft_pool_terminate(pool, 50 * MS), 0);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	assert_true(ft_now() - begun >= 50 * MS);
	finish(slow, -ECANCELED);
	assert_int_equal(ft_pool_free(pool), 0);
}

/* The pool is closed; those who could do the rest are killed. */
static void killed_while_closing(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);

	(void)state;
	struct ft_future *slow[2] = { submit(pool, task_long, NULL, 0),
				      submit(pool, task_long, NULL, 0) };
	await_count(2);
	struct ft_future *rest[50];
	for (int i = 0; i < 50; i++)
		rest[i] = submit(pool, task_count, NULL, 0);
	assert_int_equal(ft_pool_close(pool), 0);
	kill(ft_future_worker(slow[0]), SIGKILL);
	kill(ft_future_worker(slow[1]), SIGKILL);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	finish(slow[0], -EOWNERDEAD);
	finish(slow[1], -EOWNERDEAD);
	for (int i = 0; i < 50; i++)
		finish(rest[i], 0);
	assert_int_equal(*counter, 52);
	assert_int_equal(ft_pool_free(pool), 0);
}

/* A thread cannot die alone. */
static int run_threads(void)
{
	return 0;
}

static int run_processes(void)
{
	const struct CMUnitTest tests[] = {
		TEST(killed_in_a_task),
		TEST(exit_is_a_death),
		TEST(fifty_kills),
		TEST(death_in_a_map),
		TEST(idle_worker_is_killed),
		TEST(workers_that_always_die),
		TEST(grace_ends),
		TEST(killed_while_closing),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}

int main(int argc, char **argv)
{
	return pool_main(argc, argv);
}
