/* SPDX-License-Identifier: MIT */
/*
 * A pool's life: cancel, close, terminate, join, workers of one's own, and that
 * nothing stays behind.
 */
#include <dirent.h>
#include <fcntl.h>
#include <stdio.h>

#include "pool_modes.h"

/* ---- ends ---- */

static void cancelled(void **state)
{
	struct ft_pool *pool = pool_open(kind, 1);
	struct ft_future *slow = submit(pool, task_long, NULL, 0), *futures[100];
	struct ft_pool_stats stats;
	int busy = 0;

	(void)state;
	await_count(1);
	for (int i = 0; i < 100; i++)
		futures[i] = submit(pool, task_count, NULL, 0);
	for (int i = 0; i < 100; i += 2)
		assert_int_equal(ft_future_cancel(futures[i]), 0);
	assert_int_equal(ft_future_cancel(slow), -EBUSY);
	ft__store32_seq_cst(gate, 1);
	for (int i = 0; i < 100; i++)
		finish(futures[i], i % 2 ? 0 : -ECANCELED);
	assert_int_equal(*counter, 51);
	finish(slow, 0);
	/* Against workers that run: each ends one way or the other. */
	for (int i = 0; i < 3000; i++) {
		struct ft_future *future = submit(pool, task_count, NULL, 0);
		int rc = ft_future_cancel(future);
		busy += rc == -EBUSY;
		finish(future, rc ? 0 : -ECANCELED);
	}
	assert_int_equal(*counter, 51 + busy);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.cancelled, 50 + 3000 - busy);
	pool_end(pool);
}

/* Stale references fill the channel of a busy worker: nothing is lost. */
static void channel_full_of_cancelled(void **state)
{
	struct ft_pool *pool = pool_open(kind, 1);
	struct ft_future *slow = submit(pool, task_long, NULL, 0), *last;

	(void)state;
	await_count(1);
	for (int i = 0; i < FT_POOL_WINDOW + 10; i++) {
		struct ft_future *future = submit(pool, task_empty, NULL, 0);
		assert_int_equal(ft_future_cancel(future), 0);
		ft_future_free(future);
	}
	last = submit(pool, task_count, NULL, 0);
	assert_int_equal(ft_future_wait(last, ft_after(5 * MS)), -ETIMEDOUT);
	ft__store32_seq_cst(gate, 1);
	finish(slow, 0);
	finish(last, 0);
	assert_int_equal(*counter, 2);
	pool_end(pool);
}

static void closed(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_call call = { .main = task_count };
	struct ft_future *future;

	(void)state;
	assert_int_equal(ft_pool_join(pool, FT_NOW), -EINVAL);
	assert_int_equal(ft_pool_free(pool), -EBUSY);
	for (int i = 0; i < 20000; i++) {
		assert_int_equal(ft_pool_submit(pool, &call, &future), 0);
		ft_future_free(future);
	}
	assert_int_equal(ft_pool_close(pool), 0);
	assert_int_equal(ft_pool_close(pool), 0);
	assert_int_equal(ft_pool_submit(pool, &call, &future), -EPIPE);
	assert_int_equal(ft_pool_map(pool, task_count, NULL, 0, NULL, 0, 1), -EPIPE);
	assert_int_equal(ft_pool_free(pool), -EBUSY);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	assert_int_equal(ft_pool_join(pool, FT_NOW), 0);
	assert_int_equal(*counter, 20000);
	assert_int_equal(ft_pool_worker_pid(pool, 0), 0);
	assert_int_equal(ft_pool_worker_pid(pool, 2), -EINVAL);
	assert_int_equal(ft_pool_free(pool), 0);
}

static void join_has_a_deadline(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *slow = submit(pool, task_long, NULL, 0);

	(void)state;
	await_count(1);
	assert_int_equal(ft_pool_close(pool), 0);
	assert_int_equal(ft_pool_join(pool, ft_after(20 * MS)), -ETIMEDOUT);
	ft__store32_seq_cst(gate, 1);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	assert_int_equal(ft_pool_free(pool), 0);
	finish(slow, 0);
}

static void terminated(void **state)
{
	struct ft_pool *pool = pool_open(kind, 2);
	struct ft_future *slow[2], *futures[100], *done;

	(void)state;
	finish(submit(pool, task_empty, NULL, 0), 0);
	done = submit(pool, task_empty, NULL, 0);
	assert_int_equal(ft_future_wait(done, SOON), 0);
	slow[0] = submit(pool, task_long, NULL, 0);
	slow[1] = submit(pool, task_long, NULL, 0);
	await_count(2);
	for (int i = 0; i < 100; i++)
		futures[i] = submit(pool, task_count, NULL, 0);
	ft_deadline begun = ft_now();
	assert_int_equal(ft_pool_terminate(pool, 100 * MS), 0);
	for (int i = 0; i < 100; i++)
		assert_int_equal(ft_future_result(futures[i], NULL, NULL), -ECANCELED);
	if (kind == FT_WORKER_THREAD)
		ft__store32_seq_cst(gate, 1);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	print_message("terminate and join: %.1f ms\n", (double)(ft_now() - begun) / 1e6);
	assert_int_equal(*counter, 2);
	finish(slow[0], -ECANCELED);
	finish(slow[1], -ECANCELED);
	finish(done, 0);
	for (int i = 0; i < 100; i++)
		ft_future_free(futures[i]);
	assert_int_equal(ft_pool_free(pool), 0);
}

static void tasks_per_worker(void **state)
{
	struct ft_pool_options options = pool_options(kind, 2);
	struct ft_pool_stats stats;
	struct ft_pool *pool;

	(void)state;
	options.tasks_per_worker = 3;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	assert_int_equal(ft_pool_map(pool, task_count, NULL, 0, NULL, 0, 60), 0);
	assert_int_equal(*counter, 60);
	for (int i = 0; i < 10; i++)
		ft_future_free(submit(pool, task_count, NULL, 0));
	assert_int_equal(ft_pool_close(pool), 0);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	assert_int_equal(*counter, 70);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.broken, 0);
	assert_int_equal(stats.lost, 0);
	assert_true(stats.restarts >= 70 / 3 - 2);
	assert_int_equal(ft_pool_free(pool), 0);
}

/* ---- bad arguments, placement ---- */

static void refused(void **state)
{
	struct ft_pool_options good = pool_options(kind, 1), o;
	struct ft_pool *pool;

	(void)state;
	assert_int_equal(ft_pool_open(NULL, &good), -EINVAL);
	assert_int_equal(ft_pool_open(&pool, NULL), -EINVAL);
	o = good;
	o.size = 1;
	assert_int_equal(ft_pool_open(&pool, &o), -EINVAL);
	o = good;
	o.kind = 0;
	assert_int_equal(ft_pool_open(&pool, &o), -EINVAL);
	o = good;
	o.flags = FT_SHARED;
	assert_int_equal(ft_pool_open(&pool, &o), -EINVAL);
	o = good;
	o.workers = 100000;
	assert_int_equal(ft_pool_open(&pool, &o), -EINVAL);
	o = good;
	o.place = 77;
	assert_int_equal(ft_pool_open(&pool, &o), -EINVAL);
	assert_int_equal(ft_pool_free(NULL), 0);
	assert_int_equal(ft_pool_close(NULL), -EINVAL);
	assert_int_equal(ft_pool_poll(NULL), -EINVAL);
	assert_int_equal(ft_pool_join(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_pool_terminate(NULL, 0), -EINVAL);
	assert_int_equal(ft_pool_stats(NULL, NULL), -EINVAL);
}

static void placed_and_named(void **state)
{
	struct ft_pool_options options = pool_options(kind, 0);
	char path[64], name[64] = "";
	struct ft_pool_stats stats;
	struct ft_pool *pool;

	(void)state;
	options.place = FT_PLACE_CORES;
	options.name = "crunch";
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	assert_int_equal(ft_pool_map(pool, task_empty, NULL, 0, NULL, 0, 10), 0);
	assert_int_equal(ft_pool_stats(pool, &stats), 0);
	assert_int_equal(stats.workers, ft_cpu_count());
	snprintf(path, sizeof(path), "/proc/%d/comm", ft_pool_worker_pid(pool, 0));
	/* The other one may have done it all before this one was born. */
	for (ft_deadline deadline = SOON; strcmp(name, "crunch-0\n") && ft_now() < deadline;) {
		int fd = open(path, O_RDONLY);
		assert_true(read(fd, name, sizeof(name) - 1) > 0);
		close(fd);
	}
	assert_string_equal(name, "crunch-0\n");
	pool_end(pool);
}

/* ---- start of one's own ---- */

static int own_loop(void *arg)
{
	uint64_t handle = *(uint64_t *)arg;
	struct ft_seat *seat;
	struct ft_task *task;
	int rc = ft_seat_open(handle, &seat);

	free(arg);
	if (rc)
		return 1;
	while (!(rc = ft_seat_next(seat, &task, FT_FOREVER))) {
		uint64_t code = ft_task_code(task) + 1;
		rc = ft_task_reply(task, &code, sizeof(code));
		ft_task_end(task, rc);
	}
	ft_seat_close(seat);
	return 0;
}

static int own_start(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
		     struct ft_worker **worker)
{
	struct ft_worker_options options = { .size = sizeof(options), .kind = kind,
					     .cpus = cpus };
	uint64_t *copy = malloc(sizeof(*copy));

	(void)seat;
	*copy = handle;
	++*(int *)ctx;
	int rc = ft_worker_start(worker, &options, own_loop, copy);
	if (rc || kind == FT_WORKER_PROCESS)
		free(copy);
	return rc;
}

static void workers_of_ones_own(void **state)
{
	struct ft_pool_options options = pool_options(kind, 2);
	struct ft_future *future;
	struct ft_pool *pool;
	const void *data;
	int starts = 0;

	(void)state;
	options.start = own_start;
	options.start_ctx = &starts;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	assert_int_equal(starts, 2);
	for (uint64_t i = 0; i < 100; i++) {
		struct ft_call call = { .code = i };
		assert_int_equal(ft_pool_submit(pool, &call, &future), 0);
		assert_int_equal(ft_future_wait(future, SOON), 0);
		assert_int_equal(ft_future_result(future, &data, NULL), 0);
		assert_int_equal(*(const uint64_t *)data, i + 1);
		ft_future_free(future);
	}
	pool_end(pool);
}

static int start_never(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
		       struct ft_worker **worker)
{
	(void)seat;
	(void)handle;
	(void)cpus;
	(void)worker;
	return *(int *)ctx;
}

static void no_worker_can_start(void **state)
{
	struct ft_pool_options options = pool_options(kind, 2);
	struct ft_arena_info before, after;
	int rc = -EMFILE;
	struct ft_pool *pool;

	(void)state;
	options.start = start_never;
	options.start_ctx = &rc;
	ft_arena_info(&before);
	assert_int_equal(ft_pool_open(&pool, &options), -EMFILE);
	rc = 0; /* it says yes, but gives none */
	assert_int_equal(ft_pool_open(&pool, &options), -EINVAL);
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
}

/* ---- nothing leaks ---- */

static unsigned entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned count = 0;

	assert_non_null(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

#define PF_EXITING 0x4 /* of the flags in /proc's stat, proc(5) */

static int is_exiting(const char *tid)
{
	char path[64], text[512] = "";
	unsigned flags = PF_EXITING;

	snprintf(path, sizeof(path), "/proc/self/task/%s/stat", tid);
	int fd = open(path, O_RDONLY);
	if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0)
		*text = 0; /* gone meanwhile */
	if (fd >= 0)
		close(fd);
	char *rest = strrchr(text, ')');
	if (rest)
		assert_int_equal(sscanf(rest, ") %*c %*d %*d %*d %*d %*d %u", &flags), 1);
	return !!(flags & PF_EXITING);
}

/* Threads, but for those that the kernel is still taking down: one that was
 * joined is listed a little longer. */
static unsigned threads_of_ours(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned count = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' && !is_exiting(entry->d_name);
	closedir(dir);
	return count;
}

static long resident_pages(void)
{
	FILE *file = fopen("/proc/self/statm", "r");
	long pages = 0;

	assert_non_null(file);
	assert_int_equal(fscanf(file, "%*d %ld", &pages), 1);
	fclose(file);
	return pages;
}

static void open_and_close(void)
{
	struct ft_pool *pool = pool_open(kind, 2);

	finish(submit(pool, task_empty, NULL, 0), 0);
	pool_end(pool);
}

static void nothing_leaks(void **state)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
	unsigned rounds = 100; /* a fork takes milliseconds with shadow memory */
#else
	unsigned rounds = 400;
#endif
	struct ft_arena_info before, after;

	(void)state;
	for (unsigned i = 0; i < rounds / 5; i++)
		open_and_close();
	ft_arena_info(&before);
	unsigned fds = entries("/proc/self/fd"), tasks = threads_of_ours();
	long pages = resident_pages();
	ft_deadline begun = ft_now();
	for (unsigned i = 0; i < rounds; i++)
		open_and_close();
	print_message("open, one task, close: %.3f ms\n",
		      (double)(ft_now() - begun) / 1e6 / rounds);
	pages = resident_pages() - pages;
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(after.used, before.used);
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_int_equal(threads_of_ours(), tasks);
#ifndef __SANITIZE_ADDRESS__ /* which keeps freed memory for a while */
	print_message("resident after %u pools: %+ld pages\n", rounds, pages);
	assert_true(pages < (long)rounds);
#endif
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(ft_arena_check(NULL), 0);
}

static const struct CMUnitTest tests_of_both[] = {
	TEST(cancelled),
	TEST(channel_full_of_cancelled),
	TEST(closed),
	TEST(join_has_a_deadline),
	TEST(terminated),
	TEST(tasks_per_worker),
	TEST(refused),
	TEST(placed_and_named),
	TEST(workers_of_ones_own),
	TEST(no_worker_can_start),
	TEST(nothing_leaks),
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
