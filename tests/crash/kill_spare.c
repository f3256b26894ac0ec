/* SPDX-License-Identifier: MIT */
/*
 * A spawner's helper, and the workers and spares that it makes, are killed at
 * every store to shared pages, while a program starts workers one after the other
 * and several at once.  Each start must give a worker that ran its job once, or
 * one that died, or say that none can be made; nothing may be left behind.
 *
 * The helper is this program, run with the number of the point at which all of
 * its kind die.
 */
#include "../unit/worker_tools.h"

#include <sched.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/point.h"

#define STARTS 8
#define BUDGET (25 * SECOND)
#define ANSWER 3

static long points_left; /* 0: nobody dies */
static pid_t helper_pid;
static bool kill_workers;

/* The helper counts its own points, each worker counts anew. */
static void count_down(const char *file, int line)
{
	(void)file;
	(void)line;
	if (points_left == 0 || (getpid() != helper_pid) != kill_workers)
		return;
	if (--points_left == 0)
		kill(getpid(), SIGKILL);
}

static int run_hook(void *ctx, const void *payload, size_t size)
{
	uint64_t handle;
	void *counter;

	(void)ctx;
	if (size != sizeof(handle))
		return 90;
	memcpy(&handle, payload, sizeof(handle));
	if (ft_block_at(handle, &counter))
		return 91;
	__atomic_fetch_add((uint32_t *)counter, 1, __ATOMIC_SEQ_CST);
	return ANSWER;
}

static int helper(const char *whom, const char *at)
{
	struct ft_spawner_hooks hooks = {.size = sizeof(hooks), .child = run_hook};

	helper_pid = getpid();
	kill_workers = !strcmp(whom, "workers");
	points_left = atol(at);
	ft__point = count_down;
	return ft_spawner_serve(&hooks) ? 5 : 0;
}

/* ---- the program ---- */

struct tally {
	unsigned ran, died, refused;
};

static struct ft_worker *start(struct ft_spawner *spawner, uint64_t handle)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	int rc;

	o.spawner = spawner;
	o.payload = &handle;
	o.payload_size = sizeof(handle);
	rc = ft_worker_start(&worker, &o, NULL, NULL);
	assert_true(rc == 0 || rc == -EPIPE);
	return rc ? NULL : worker;
}

static void count(struct tally *tally, struct ft_worker *worker, const uint32_t *counter)
{
	struct ft_worker_exit how;
	uint32_t runs;

	if (!worker) {
		tally->refused++;
		assert_int_equal(*counter, 0);
		return;
	}
	join_free(worker, &how);
	runs = __atomic_load_n(counter, __ATOMIC_SEQ_CST);
	if (how.signo == SIGKILL) {
		tally->died++;
		assert_in_range(runs, 0, 1);
	} else {
		tally->ran++;
		assert_int_equal(how.signo, 0);
		assert_int_equal(how.code, ANSWER);
		assert_int_equal(runs, 1);
	}
}

/* Half of them one after the other, then half at once. */
static void start_some(struct tally *tally, struct ft_spawner *spawner)
{
	struct ft_worker *worker[STARTS];
	uint32_t *counter[STARTS];

	for (unsigned i = 0; i < STARTS; i++) {
		assert_int_equal(ft_block_alloc(4, (void **)&counter[i]), 0);
		*counter[i] = 0;
		worker[i] = start(spawner, ft_block_handle(counter[i]));
		if (i < STARTS / 2)
			count(tally, worker[i], counter[i]);
	}
	for (unsigned i = STARTS / 2; i < STARTS; i++)
		count(tally, worker[i], counter[i]);
	for (unsigned i = 0; i < STARTS; i++)
		assert_int_equal(ft_block_free(counter[i]), 0);
}

static void one_point(struct tally *tally, const char *whom, unsigned at)
{
	char number[16];
	const char *argv[] = {"/proc/self/exe", whom, number, NULL};
	struct ft_spawner_options o = {.size = sizeof(o), .argv = argv};
	struct ft_arena_info before, after;
	ft_deadline end = ft_after(10 * SECOND);
	unsigned children = count_children();
	struct ft_spawner *spawner;

	snprintf(number, sizeof(number), "%u", at);
	assert_int_equal(ft_arena_info(&before), 0);
	assert_int_equal(ft_spawner_start(&spawner, &o), 0);
	start_some(tally, spawner);
	assert_int_equal(ft_spawner_stop(spawner), 0);
	/* A helper that died by itself is the supervisor's business. */
	do
		assert_int_equal(ft_arena_info(&after), 0);
	while (after.slots != before.slots && ft_now() < end && sched_yield() == 0);
	while (count_children() != children && ft_now() < end)
		sched_yield();
	assert_int_equal(count_children(), children);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(ft_arena_check(NULL), 0);
}

/* Until `enough` points in a row have done no harm: a helper may die between two
 * workers, and another take over. */
static void each_point(const char *whom, unsigned enough)
{
	ft_deadline end = ft_after(BUDGET);
	struct tally all = {0};
	unsigned at, calm = 0;

	assert_true(ft__process()); /* our own slot is there from now on */
	for (at = 1; calm < enough && ft_now() < end; at++) {
		struct tally tally = {0};

		one_point(&tally, whom, at);
		calm = tally.ran == STARTS ? calm + 1 : 0;
		all.ran += tally.ran;
		all.died += tally.died;
		all.refused += tally.refused;
	}
	print_message("%s: %u points; %u workers ran, %u died, %u could not be made\n", whom,
		      at - 1, all.ran, all.died, all.refused);
	assert_int_equal(calm, enough);
	assert_true(all.ran > 2 * STARTS);
}

static void helpers_die(void **state)
{
	(void)state;
	each_point("helpers", 4 * STARTS);
}

static void workers_die(void **state)
{
	(void)state;
	each_point("workers", 2);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
	    cmocka_unit_test(helpers_die),
	    cmocka_unit_test(workers_die),
	};

	if (argc > 2)
		return helper(argv[1], argv[2]);
	limit_time();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
