/* SPDX-License-Identifier: MIT */
/*
 * A long life: many generations of workers that a helper makes, and many tasks, with
 * large arguments and results among them.  Then there is what there was before:
 * descriptors, threads, children, blocks and slots, here and in the helper, and no
 * more memory than after the first quarter.
 */
#include <sched.h>

#include "../unit/pool_tools.h"
#include "../unit/worker_tools.h"
#include "os/clock.h"

#define GENERATIONS 100 /* in make check */
#define TASKS 100000
#define QUOTA 20        /* tasks of each worker in a pool with generations */
#define PART 5000       /* tasks of one map */
#define LARGE 3000
#define SLACK_KB 1024   /* of memory: what malloc's arenas may still do */

/* ---- workers ---- */

static int answer(struct ft_task *task)
{
	size_t size;
	const void *arg = ft_task_arg(task, &size);

	return ft_task_reply(task, arg, size);
}

static int sit(void *ctx, const void *payload, size_t size)
{
	struct ft_seat *seat;
	struct ft_task *task;
	uint64_t handle;

	(void)ctx;
	REQUIRE(size == sizeof(handle));
	memcpy(&handle, payload, sizeof(handle));
	REQUIRE(ft_seat_open(handle, &seat) == 0);
	while (ft_seat_next(seat, &task, FT_FOREVER) == 0)
		REQUIRE(ft_task_end(task, answer(task)) == 0);
	REQUIRE(ft_seat_close(seat) == 0);
	return 0;
}

static int be_helper(void)
{
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .child = sit };

	return ft_spawner_serve(&hooks) ? 5 : 0;
}

/* ---- what there is ---- */

struct things {
	unsigned fds, threads, children, helper_fds;
	uint64_t blocks, slots;
	long memory_kb, helper_kb;
};

static long memory_of(pid_t pid)
{
	char text[64];

	proc_status(pid, "RssAnon", text, sizeof(text));
	return strtol(text, NULL, 10);
}

static struct things count_things(pid_t helper)
{
	struct things things = { .fds = count_fds(), .threads = count_threads(),
				 .children = count_children() };
	struct ft_arena_info info;
	char path[64];

	snprintf(path, sizeof(path), "/proc/%d/fd", (int)helper);
	things.helper_fds = count_entries(path);
	assert_int_equal(ft_arena_info(&info), 0);
	things.blocks = info.blocks;
	things.slots = info.slots;
	things.memory_kb = memory_of(getpid());
	things.helper_kb = memory_of(helper);
	return things;
}

/* What is only about to go counts in `before`: there may be less.  The supervisor
 * takes a slot when it first has to take a lock. */
static bool no_more_than(const struct things *now, const struct things *before)
{
	return now->fds <= before->fds && now->threads <= before->threads &&
	       now->children <= before->children && now->helper_fds <= before->helper_fds &&
	       now->blocks <= before->blocks && now->slots <= before->slots + 1;
}

/* Spares leave half a second after the last start. */
static struct things settled_things(pid_t helper, const struct things *wanted)
{
	ft_deadline late = ft_after(20 * SECOND);
	struct things things;

	do {
		sched_yield();
		things = count_things(helper);
	} while (!ft__passed(late) &&
		 (wanted ? !no_more_than(&things, wanted) : things.children != 1));
	return things;
}

static void show(const char *when, const struct things *things)
{
	print_message("%s: %u descriptors, %u threads, %u children, %u descriptors in the helper, "
		      "%lu blocks, %lu slots\n", when, things->fds, things->threads,
		      things->children, things->helper_fds, things->blocks, things->slots);
}

/* ---- the program ---- */

static int start_worker(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
			struct ft_worker **worker)
{
	struct ft_worker_options options = process_options();

	(void)seat;
	options.cpus = cpus;
	options.spawner = ctx;
	options.payload = &handle;
	options.payload_size = sizeof(handle);
	return ft_worker_start(worker, &options, NULL, NULL);
}

static void one_task(struct ft_pool *pool, const char *data, size_t size)
{
	struct ft_call call = { .arg = data, .arg_size = size };
	struct ft_future *future;
	const void *back;
	size_t length;

	assert_int_equal(ft_pool_submit(pool, &call, &future), 0);
	assert_int_equal(ft_future_wait(future, SOON), 0);
	assert_int_equal(ft_future_result(future, &back, &length), 0);
	assert_int_equal(length, size);
	assert_memory_equal(back, data, size);
	ft_future_free(future);
}

static void generations(struct ft_spawner *spawner, unsigned count)
{
	struct ft_pool_options options = pool_options(FT_WORKER_PROCESS, 2);
	static char data[LARGE];
	struct ft_pool *pool;

	options.start = start_worker;
	options.start_ctx = spawner;
	options.tasks_per_worker = QUOTA;
	assert_int_equal(ft_pool_open(&pool, &options), 0);
	for (unsigned i = 0; i < count * QUOTA; i++)
		one_task(pool, data, i % 3 ? 50 : sizeof(data));
	pool_end(pool);
}

static void tasks(uint64_t count)
{
	struct ft_pool *pool = pool_open(FT_WORKER_PROCESS, 2);
	static long in[PART], out[PART];

	for (long i = 0; i < PART; i++)
		in[i] = i;
	for (; count >= PART; count -= PART) {
		memset(out, 0, sizeof(out));
		assert_int_equal(ft_pool_map(pool, answer, in, sizeof(in[0]), out, sizeof(out[0]),
					     PART), 0);
		assert_memory_equal(in, out, sizeof(in));
	}
	pool_end(pool);
}

static void a_quarter(struct ft_spawner *spawner)
{
	generations(spawner, GENERATIONS * effort(100) / 4);
	tasks((uint64_t)TASKS * effort(100) / 4);
}

static void leaves_nothing(void **state)
{
	static const char *const argv[] = { "/proc/self/exe", "helper", NULL };
	struct ft_spawner_options options = { .size = sizeof(options), .argv = argv };
	struct ft_spawner *spawner;
	struct things first, last;
	pid_t helper;

	(void)state;
	assert_true(ft__process());
	assert_int_equal(ft_spawner_start(&spawner, &options), 0);
	helper = ft_spawner_pid(spawner);
	a_quarter(spawner);
	first = settled_things(helper, NULL);
	for (int i = 0; i < 3; i++)
		a_quarter(spawner);
	last = settled_things(helper, &first);
	print_message("%u generations, %u tasks: memory %ld to %ld kB, helper's %ld to %ld\n",
		      GENERATIONS * effort(100), TASKS * effort(100), first.memory_kb,
		      last.memory_kb, first.helper_kb, last.helper_kb);
	show("first", &first);
	show("last", &last);
	assert_true(no_more_than(&last, &first));
	assert_true(last.memory_kb <= first.memory_kb + SLACK_KB);
	assert_true(last.helper_kb <= first.helper_kb + SLACK_KB);
	assert_int_equal(ft_spawner_pid(spawner), helper);
	assert_int_equal(ft_spawner_stop(spawner), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(leaves_nothing) };

	if (argc > 1 && !strcmp(argv[1], "helper"))
		return be_helper();
	alarm(CHILD_SECONDS * effort(20));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
