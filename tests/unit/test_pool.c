/* SPDX-License-Identifier: MIT */
/* Pools at work: results, order, signals. */
#include "pool_modes.h"

/* ---- results ---- */

static void every_result(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *futures[500];
	const void *data;
	size_t size;

	(void)state;
	for (long i = 0; i < 500; i++)
		futures[i] = submit(pool, task_square, &i, sizeof(i));
	for (long i = 499; i >= 0; i--) {
		assert_int_equal(ft_future_wait(futures[i], SOON), 0);
		assert_int_equal(ft_future_result(futures[i], &data, &size), 0);
		assert_int_equal(size, sizeof(long));
		assert_int_equal(*(const long *)data, i * i);
		assert_true(ft_future_worker(futures[i]) > 0);
		ft_future_free(futures[i]);
	}
	pool_end(pool);
}

static void every_size(void **state)
{
	static const size_t sizes[] = { 1, 104, 105, 4096, 1 << 20, 64 << 20 };
	struct ft_pool *pool = pool_open(kind, 2);
	const unsigned char *bytes;
	const void *data;
	size_t size;

	(void)state;
	finish(submit(pool, task_empty, NULL, 0), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		struct ft_future *future = submit(pool, task_large, &sizes[i], sizeof(size_t));
		assert_int_equal(ft_future_wait(future, SOON), 0);
		assert_int_equal(ft_future_result(future, &data, &size), 0);
		assert_int_equal(size, sizes[i]);
		bytes = data;
		assert_int_equal(bytes[0], size & 0xff);
		assert_int_equal(bytes[size - 1], size & 0xff);
		ft_future_free(future);
	}
	pool_end(pool);
}

static const size_t gift = 5000;

/* Where the worker may: its argument's block becomes its result. */
static int task_pass_on(struct ft_task *task)
{
	void *block;
	int rc = ft_task_take(task, &block);

	if (rc)
		return rc;
	memset(block, 7, gift);
	return ft_task_reply_block(task, block, gift);
}

static void what_was_taken_comes_back(void **state)
{
	struct ft_pool *pool = pool_open(kind, 1);
	char large[5000] = { 0 };
	struct ft_future *future = submit(pool, task_pass_on, large, gift);
	struct ft_arena_info before, after;
	void *block;

	(void)state;
	assert_int_equal(ft_future_wait(future, SOON), 0);
	ft_arena_info(&before);
	if (kind == FT_WORKER_THREAD) {
		assert_int_equal(ft_future_result(future, NULL, NULL), -EPERM);
	} else {
		assert_int_equal(ft_future_result(future, NULL, NULL), 0);
		assert_int_equal(ft_future_take(future, &block), 0);
		assert_int_equal(ft_block_size(block), gift);
		assert_int_equal(((char *)block)[gift - 1], 7);
		assert_int_equal(ft_block_free(block), 0);
	}
	ft_future_free(future);
	ft_arena_info(&after);
	assert_int_equal(before.blocks - after.blocks, kind == FT_WORKER_THREAD ? 0 : 1);
	pool_end(pool);
}

static void every_status(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	const int statuses[] = { 0, -1, -EIO, -4095, 5 };

	(void)state;
	for (int i = 0; i < 5; i++)
		finish(submit(pool, task_fail, &statuses[i], sizeof(int)),
		       statuses[i] > 0 ? -EINVAL : statuses[i]);
	pool_end(pool);
}

static void map_of_everything(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	long *in = malloc(30000 * sizeof(long)), *out = calloc(30000, sizeof(long));
	int statuses[100] = { 0 };
	ft_deadline begun;

	(void)state;
	for (long i = 0; i < 30000; i++)
		in[i] = i;
	for (size_t n = 0; n <= 30000; n = n ? n * 5 : 1) {
		memset(out, 0, 30000 * sizeof(long));
		assert_int_equal(
			ft_pool_map(pool, task_square, in, sizeof(long), out, sizeof(long), n), 0);
		for (size_t i = 0; i < 30000; i++)
			assert_int_equal(out[i], i < n ? (long)(i * i) : 0);
	}
	begun = ft_now();
	assert_int_equal(ft_pool_map(pool, task_count, NULL, 0, NULL, 0, 100000), 0);
	print_message("100000 tiny tasks: %.2f M/s\n",
		      100000.0 / (double)(ft_now() - begun) * 1e3);
	assert_int_equal(*counter, 100000);
	statuses[60] = -7;
	statuses[20] = -3;
	statuses[21] = -4;
	assert_int_equal(ft_pool_map(pool, task_fail, statuses, sizeof(int), NULL, 0, 100), -3);
	assert_int_equal(ft_pool_map(pool, task_square, in, sizeof(long), out, 4, 10), -EMSGSIZE);
	assert_int_equal(ft_pool_map(pool, task_square, NULL, 8, out, 8, 10), -EINVAL);
	assert_int_equal(ft_pool_map(pool, NULL, in, 8, out, 8, 10), -EINVAL);
	pool_end(pool);
	free(in);
	free(out);
}

/* More than the window, submitted before anybody waits. */
static void beyond_the_window(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	unsigned count = 2 * FT_POOL_WINDOW + 1000;
	struct ft_future **futures = malloc(count * sizeof(*futures));
	struct ft_pool_stats stats;

	(void)state;
	for (unsigned i = 0; i < count; i++)
		futures[i] = submit(pool, task_count, NULL, 0);
	for (unsigned i = 0; i < count; i++)
		finish(futures[i], 0);
	assert_int_equal(*counter, count);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.submitted, count);
	assert_int_equal(stats.done, count);
	assert_int_equal(stats.workers, 2);
	assert_int_equal(stats.restarts, 0);
	assert_string_equal(stats.collector, ft__collector_name());
	free(futures);
	pool_end(pool);
}

/* Nobody waits: a poll now and then is enough. */
static void polled(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *futures[100];
	ft_deadline deadline = SOON;

	(void)state;
	for (int i = 0; i < 100; i++)
		futures[i] = submit(pool, task_empty, NULL, 0);
	for (int i = 0; i < 100; i++) {
		while (!ft_future_done(futures[i]))
			assert_true(ft_now() < deadline);
		ft_future_free(futures[i]);
	}
	pool_end(pool);
}

static void notified(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_call call = { .main = task_empty, .flags = FT_CALL_NOTIFY };
	struct ft_future *future;

	(void)state;
	for (uintptr_t i = 1; i <= 1000; i++) {
		call.user = (void *)i;
		assert_int_equal(ft_pool_submit(pool, &call, &future), 0);
	}
	uintptr_t sum = 0;
	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ft_pool_next(pool, &future, SOON), 0);
		sum += (uintptr_t)ft_future_user(future);
		ft_future_free(future);
	}
	assert_int_equal(sum, 500500);
	assert_int_equal(ft_pool_next(pool, &future, FT_NOW), -ETIMEDOUT);
	pool_end(pool);
}

/* ---- order ---- */

/* Nothing waits behind a long task while a worker is idle. */
static void long_task_holds_nobody_back(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *slow, *futures[200];

	(void)state;
	/* Some lie in the long one's channel already when it is taken. */
	for (int i = 0; i < 100; i++)
		futures[i] = submit(pool, task_empty, NULL, 0);
	slow = submit(pool, task_long, NULL, 0);
	for (int i = 100; i < 200; i++)
		futures[i] = submit(pool, task_empty, NULL, 0);
	for (int i = 0; i < 200; i++)
		finish(futures[i], 0);
	/* And without help from us: the other worker must find them alone. */
	await_count(1);
	for (int i = 0; i < 20; i++)
		futures[i] = submit(pool, task_count, NULL, 0);
	await_count(21);
	for (int i = 0; i < 20; i++)
		finish(futures[i], 0);
	assert_int_equal(ft_future_done(slow), 0);
	ft__store32_seq_cst(gate, 1);
	finish(slow, 0);
	pool_end(pool);
}

/* A worker that slept while the other was busy must wake for each new one. */
static void idle_ones_are_woken(void **state)
{
	struct ft_pool *pool = pool_open(kind, 3);
	struct ft_future *slow[3];

	(void)state;
	for (int round = 0; round < 30; round++) {
		ft__store32_seq_cst(counter, 0);
		ft__store32_seq_cst(gate, 0);
		for (uint32_t i = 0; i < 3; i++) {
			slow[i] = submit(pool, task_long, NULL, 0);
			if (round % 2)
				await_count(i + 1);
		}
		await_count(3);
		ft__store32_seq_cst(gate, 1);
		for (int i = 0; i < 3; i++)
			finish(slow[i], 0);
	}
	pool_end(pool);
}

static void *submit_some(void *arg)
{
	for (int i = 0; i < 300; i++) {
		struct ft_future *future;
		struct ft_call call = { .main = task_empty };
		if (ft_pool_submit(arg, &call, &future) ||
		    ft_future_wait(future, ft_after(20 * SECOND)) ||
		    ft_future_result(future, NULL, NULL))
			return arg;
		ft_future_free(future);
	}
	return NULL;
}

static void *map_some(void *arg)
{
	for (int i = 0; i < 5; i++) {
		if (ft_pool_map(arg, task_empty, NULL, 0, NULL, 0, 3000))
			return arg;
	}
	return NULL;
}

static void many_threads(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	pthread_t threads[8];
	void *rc;

	(void)state;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, i % 4 ? submit_some : map_some, pool);
	for (int i = 0; i < 8; i++) {
		pthread_join(threads[i], &rc);
		assert_null(rc);
	}
	pool_end(pool);
}

/* ---- signals ---- */

static void on_signal(int signo)
{
	(void)signo;
}

static void *interrupt_later(void *arg)
{
	pthread_t *whom = arg;

	await_count(1);
	for (int i = 0; i < 200 && !ft__load32_seq_cst(gate); i++) {
		pthread_kill(*whom, SIGUSR1);
		usleep(1000);
	}
	return NULL;
}

static void interrupted(void **state)
{
	struct sigaction action = { .sa_handler = on_signal }, before;
	struct ft_pool_options options = pool_options(kind, 2);
	pthread_t self = pthread_self(), thread;
	struct ft_pool *pool;

	(void)state;
	sigaction(SIGUSR1, &action, &before);
	options.flags = FT_INTERRUPTIBLE;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	struct ft_future *slow = submit(pool, task_long, NULL, 0);
	pthread_create(&thread, NULL, interrupt_later, &self);
	assert_int_equal(ft_future_wait(slow, SOON), -EINTR);
	ft__store32_seq_cst(gate, 1);
	pthread_join(thread, NULL);
	while (ft_future_wait(slow, SOON) == -EINTR)
		;
	finish(slow, 0);
	pool_end(pool);
	/* Without the flag nothing is seen of it. */
	ft__store32_seq_cst(gate, 0);
	ft__store32_seq_cst(counter, 0);
	pool = pool_open(kind, 2);
	slow = submit(pool, task_long, NULL, 0);
	pthread_create(&thread, NULL, interrupt_later, &self);
	assert_int_equal(ft_future_wait(slow, ft_after(50 * MS)), -ETIMEDOUT);
	ft__store32_seq_cst(gate, 1);
	finish(slow, 0);
	pthread_join(thread, NULL);
	pool_end(pool);
	sigaction(SIGUSR1, &before, NULL);
}

static void *open_gate_later(void *arg)
{
	usleep(50000);
	ft__store32_seq_cst(gate, 1);
	return arg;
}

static void map_is_interrupted(void **state)
{
	struct sigaction action = { .sa_handler = on_signal }, before;
	struct ft_pool_options options = pool_options(kind, 2);
	pthread_t self = pthread_self(), thread, opener;
	struct ft_pool_stats stats;
	struct ft_pool *pool;

	(void)state;
	sigaction(SIGUSR1, &action, &before);
	options.flags = FT_INTERRUPTIBLE;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	pthread_create(&thread, NULL, interrupt_later, &self);
	pthread_create(&opener, NULL, open_gate_later, NULL);
	assert_int_equal(ft_pool_map(pool, task_long, NULL, 0, NULL, 0, 5000), -EINTR);
	pthread_join(thread, NULL);
	pthread_join(opener, NULL);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	/* What had begun has ended, what had not never will. */
	assert_int_equal(stats.done, *counter);
	assert_int_equal(stats.submitted, stats.done + stats.cancelled);
	assert_true(stats.cancelled > 0);
	pool_end(pool);
	sigaction(SIGUSR1, &before, NULL);
}

static const struct CMUnitTest tests_of_both[] = {
	TEST(every_result),
	TEST(every_size),
	TEST(what_was_taken_comes_back),
	TEST(every_status),
	TEST(map_of_everything),
	TEST(beyond_the_window),
	TEST(polled),
	TEST(notified),
	TEST(long_task_holds_nobody_back),
	TEST(idle_ones_are_woken),
	TEST(many_threads),
	TEST(interrupted),
	TEST(map_is_interrupted),
};

static int run_threads(void)
{
	return cmocka_run_group_tests(tests_of_both, NULL, NULL);
}

static int run_processes(void)
{
	return cmocka_run_group_tests(tests_of_both, NULL, NULL);
}

int main(int argc, char **argv)
{
	return pool_main(argc, argv);
}
