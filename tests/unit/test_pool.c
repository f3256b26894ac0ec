/* SPDX-License-Identifier: MIT */
/* Whole pools: threads and processes, on each of the collector's ladders.  The
 * program runs itself once for each. */
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "pool_tools.h"

static uint32_t kind; /* of the pools, in a mode */

/* ---- what tasks do ---- */

static int task_square(struct ft_task *task)
{
	const long *x = ft_task_arg(task, NULL);
	long y = *x * *x;

	return ft_task_reply(task, &y, sizeof(y));
}

static int task_empty(struct ft_task *task)
{
	(void)task;
	return 0;
}

/* Adds what a plain process would count in shared memory. */
static uint32_t *counter;

static int task_count(struct ft_task *task)
{
	(void)task;
	ft__add32_seq_cst(counter, 1);
	return 0;
}

static int task_fail(struct ft_task *task)
{
	const int *status = ft_task_arg(task, NULL);

	return *status;
}

static int task_large(struct ft_task *task)
{
	const size_t *size = ft_task_arg(task, NULL);
	void *block;
	int rc = ft_block_alloc(*size, &block);

	if (rc)
		return rc;
	memset(block, (int)(*size & 0xff), *size);
	return ft_task_reply_block(task, block, *size);
}

/* Runs until `gate` opens. */
static uint32_t *gate;

static int task_long(struct ft_task *task)
{
	(void)task;
	ft__add32_seq_cst(counter, 1);
	while (!ft__load32_seq_cst(gate))
		usleep(200);
	return 0;
}

static int task_die(struct ft_task *task)
{
	(void)task;
	raise(SIGKILL);
	return 0;
}

static int task_exit(struct ft_task *task)
{
	(void)task;
	_exit(3);
}

static int setup(void **state)
{
	(void)state;
	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gate = counter + 32;
	return counter == MAP_FAILED;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(counter, 4096);
}

static void await_count(uint32_t count)
{
	ft_deadline deadline = SOON;

	while (ft__load32_seq_cst(counter) < count) {
		assert_true(ft_now() < deadline);
		usleep(200);
	}
}

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

static void open_and_close(void)
{
	struct ft_pool *pool = pool_open(kind, 2);

	finish(submit(pool, task_empty, NULL, 0), 0);
	pool_end(pool);
}

static void nothing_leaks(void **state)
{
	unsigned rounds = kind == FT_WORKER_THREAD ? 1000 : 400;
	struct ft_arena_info before, after;
	struct rusage usage[2];

	(void)state;
	for (int i = 0; i < 20; i++)
		open_and_close();
	ft_arena_info(&before);
	unsigned fds = entries("/proc/self/fd"), tasks = entries("/proc/self/task");
	getrusage(RUSAGE_SELF, &usage[0]);
	ft_deadline begun = ft_now();
	for (unsigned i = 0; i < rounds; i++)
		open_and_close();
	print_message("open, one task, close: %.3f ms\n",
		      (double)(ft_now() - begun) / 1e6 / rounds);
	getrusage(RUSAGE_SELF, &usage[1]);
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(after.used, before.used);
	assert_int_equal(entries("/proc/self/fd"), fds);
	assert_int_equal(entries("/proc/self/task"), tasks);
	assert_true(usage[1].ru_maxrss - usage[0].ru_maxrss < 4096);
	assert_int_equal(waitpid(-1, NULL, WNOHANG | __WALL), -1);
	assert_int_equal(errno, ECHILD);
	assert_int_equal(ft_arena_check(NULL), 0);
}

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

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

#define TESTS_OF_BOTH                                                                         \
	TEST(every_result), TEST(every_size), TEST(every_status), TEST(map_of_everything),    \
		TEST(beyond_the_window), TEST(polled), TEST(notified),                        \
		TEST(long_task_holds_nobody_back), TEST(idle_ones_are_woken),                 \
		TEST(many_threads), TEST(cancelled), TEST(channel_full_of_cancelled),         \
		TEST(closed), TEST(join_has_a_deadline), TEST(terminated),                    \
		TEST(tasks_per_worker), TEST(refused), TEST(placed_and_named),                \
		TEST(workers_of_ones_own), TEST(no_worker_can_start), TEST(interrupted),      \
		TEST(map_is_interrupted), TEST(nothing_leaks)

static int run_threads(void)
{
	const struct CMUnitTest tests[] = { TESTS_OF_BOTH };

	kind = FT_WORKER_THREAD;
	print_message("--- threads, %s\n", ft__collector_name());
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static int run_processes(void)
{
	const struct CMUnitTest tests[] = {
		TESTS_OF_BOTH,		     TEST(killed_in_a_task),
		TEST(exit_is_a_death),	     TEST(fifty_kills),
		TEST(death_in_a_map),	     TEST(idle_worker_is_killed),
		TEST(workers_that_always_die), TEST(grace_ends),
		TEST(killed_while_closing),
	};

	kind = FT_WORKER_PROCESS;
	print_message("--- processes, %s\n", ft__collector_name());
	return cmocka_run_group_tests(tests, NULL, NULL);
}

static void ladders(const char *mode)
{
	assert_int_equal(self_run(mode, NULL, NULL), 0);
	assert_int_equal(self_run(mode, "FT_PROBE", "-io_uring-futex"), 0);
	assert_int_equal(self_run(mode, "FT_PROBE", "-io_uring"), 0);
}

/* ---- a sandbox that refuses what Docker refuses ---- */

#define REFUSE(call, error)                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),                                      \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

static int confine(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		REFUSE(SYS_io_uring_setup, EPERM),
		REFUSE(SYS_clone3, ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

static int run_confined_threads(void)
{
	if (confine() || strcmp(ft__collector_name(), "epoll") != 0)
		return 96;
	return run_threads();
}

static int run_confined_processes(void)
{
	if (confine() || strcmp(ft__collector_name(), "epoll") != 0)
		return 96;
	return run_processes();
}

static void in_a_sandbox(void **state)
{
	(void)state;
	assert_int_equal(self_run("confined-threads", NULL, NULL), 0);
	assert_int_equal(self_run("confined-processes", NULL, NULL), 0);
}

static void threads(void **state)
{
	(void)state;
	ladders("threads");
}

static void processes(void **state)
{
	(void)state;
	ladders("processes");
}

int main(int argc, char **argv)
{
	const struct mode modes[] = { { "threads", run_threads },
				      { "processes", run_processes },
				      { "confined-threads", run_confined_threads },
				      { "confined-processes", run_confined_processes } };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
		cmocka_unit_test(in_a_sandbox),
	};
	int rc = mode_run(modes, 4, argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
