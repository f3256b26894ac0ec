/* SPDX-License-Identifier: MIT */
/*
 * A worker writes whatever it likes over the arena, while the program works on:
 * headers, slots, spans, hints, a pool's control block, its rings and cells, the
 * words of blocks and locks.  Results may be wrong, calls may fail and
 * the pool may break; but the program neither crashes nor hangs, and can take it
 * all down.  A failure names its seed; FT_SEED=that plays it again.
 */
#include <poll.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "../unit/pool_tools.h"
#include "mem/span.h"
#include "pool/control.h"

#define SEEDS 100 /* in make check */
#define HANG_SECONDS 20
#define TASKS 12
#define WRITES 400

enum target {
	HEADER, SLOTS, SPANS, HINTS, CONTROL, LINES, CELLS, RINGS, WORDS, OBJECTS, TARGETS
};
static const char *const target_names[TARGETS] = {
	"header", "slots", "spans", "hints", "control", "lines", "cells", "rings", "words",
	"objects",
};

struct objects {
	struct ft_lock lock;
	struct ft_event event;
	struct ft_semaphore semaphore;
};

/* Known to the workers, which are copies. */
static struct ft__board board;
static struct objects *objects;
static enum target chosen;
static uint64_t seed;

struct orders {
	uint64_t seed;
	enum target target;
};

static uint32_t chance(uint32_t sides)
{
	seed = seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(seed >> 33) % sides;
}

/* ---- the scribbler ---- */

struct region {
	char *base;
	uint64_t size;
};

static struct region region_of(enum target target)
{
	char *base = ft__arena.base;
	struct ft__control *control = board.control;

	switch (target) {
	case HEADER:
		return (struct region){ base, sizeof(struct ft__arena_header) };
	case SLOTS:
		return (struct region){ (char *)ft__arena.slot, 16 * sizeof(struct ft__slot) };
	case SPANS:
		return (struct region){ (char *)ft__arena.span, 128 };
	case HINTS:
		return (struct region){ (char *)ft__arena.hint, ft__arena.hint_words * 8 };
	case CONTROL:
		return (struct region){ (char *)control, sizeof(*control) };
	case LINES:
		return (struct region){ (char *)control->lines, 2 * sizeof(struct ft__line) };
	case CELLS:
		return (struct region){ (char *)board.table, 32 * sizeof(board.table[0]) };
	case RINGS:
		return (struct region){ (char *)board.rings, 2 * 2 * FT_POOL_WINDOW * 8 };
	case WORDS:
		return (struct region){ ft__arena.data, 256 * 1024 };
	default:
		return (struct region){ (char *)objects, sizeof(*objects) };
	}
}

/* What breaks things: small numbers, large ones, single bits, noise. */
static uint64_t bad_value(void)
{
	switch (chance(5)) {
	case 0:
		return chance(4);
	case 1:
		return UINT64_MAX - chance(4);
	case 2:
		return UINT64_C(1) << chance(64);
	case 3:
		return (uint64_t)chance(1 << 30) << 6;
	default:
		return (uint64_t)chance(UINT32_MAX) << 32 | chance(UINT32_MAX);
	}
}

static int task_scribble(struct ft_task *task)
{
	struct orders orders;

	/* What the argument says may be scribbled over already. */
	memcpy(&orders, ft_task_arg(task, NULL), sizeof(orders));
	seed = orders.seed;

	struct region region = region_of(orders.target);

	for (int i = 0; i < WRITES; i++) {
		uint64_t size = chance(2) ? 8 : 4, value = bad_value();
		uint64_t at = chance((uint32_t)(region.size / size)) * size;

		memcpy(region.base + at, &value, size);
		if (chance(16) == 0)
			sched_yield();
	}
	return 0;
}

static int task_innocent(struct ft_task *task)
{
	char text[300] = "innocent";

	return ft_task_reply(task, text, chance(2) ? 9 : sizeof(text));
}

/* ---- the program ---- */

static void *make_objects(void)
{
	void *block;

	REQUIRE(ft_block_alloc(sizeof(*objects), &block) == 0);
	objects = block;
	REQUIRE(ft_lock_init(&objects->lock, FT_SHARED) == 0);
	REQUIRE(ft_event_init(&objects->event, FT_SHARED) == 0);
	REQUIRE(ft_semaphore_init(&objects->semaphore, 1, 0, FT_SHARED) == 0);
	return block;
}

/* Whatever they answer.  A queue or a barrier has a lock that it waits for as
 * long as somebody who lives seems to hold it: not here. */
static void use_objects(void)
{
	ft_deadline soon = ft_after(20 * MS);
	void *block;

	if (ft_lock_acquire(&objects->lock, soon) == 0)
		ft_lock_release(&objects->lock);
	if (ft_semaphore_acquire(&objects->semaphore, soon) == 0)
		ft_semaphore_release(&objects->semaphore, 1);
	(void)!ft_event_wait(&objects->event, soon);
	if (ft_block_alloc(1 + chance(100000), &block) == 0)
		ft_block_free(block);
	ft_arena_check(NULL);
}

static struct ft_future *try_submit(struct ft_pool *pool, ft_task_main *main)
{
	struct orders orders = { .seed = seed + chance(1000), .target = chosen };
	struct ft_call call = { .main = main, .arg = &orders, .arg_size = sizeof(orders) };
	struct ft_future *future;

	return ft_pool_submit(pool, &call, &future) ? NULL : future;
}

/* A result that is lost is waited for once: the others will not come either. */
static int64_t patience = 100 * MS;

static void look_at(struct ft_future *future)
{
	const volatile char *text;
	const void *result;
	size_t size;

	if (!future)
		return;

	int rc = ft_future_wait(future, ft_after(patience));

	if (rc == -ETIMEDOUT)
		patience = MS;
	if (rc == 0 && ft_future_result(future, &result, &size) == 0 && size) {
		text = result;
		(void)text[0];
		(void)text[size - 1];
	}
	ft_future_free(future);
}

static int program(void *arg)
{
	struct ft_pool *pool;
	struct ft_pool_options options = pool_options(FT_WORKER_PROCESS, 2);

	const uint64_t *number = arg;

	seed = *number * UINT64_C(0x9e3779b97f4a7c15);
	chosen = (enum target)(*number % TARGETS);
	/* cmocka would go on with its tests, in whoever crashes. */
	for (int signo = 1; signo < 32; signo++)
		if (signo != SIGALRM)
			signal(signo, SIG_DFL);
	REQUIRE(ft__process() != 0);
	void *block = make_objects();
	REQUIRE(ft_pool_open(&pool, &options) == 0);
	board = pool->board;
	for (int round = 0; round < 2; round++) {
		struct ft_future *futures[TASKS];

		for (int i = 0; i < TASKS; i++)
			futures[i] = try_submit(pool, i % 4 == 1 ? task_scribble : task_innocent);
		use_objects();
		for (int i = 0; i < TASKS; i++)
			look_at(futures[i]);
	}
	ft_pool_terminate(pool, 100 * MS);
	REQUIRE(ft_pool_join(pool, ft_after(10 * SECOND)) == 0);
	REQUIRE(ft_pool_free(pool) == 0);
	ft_block_free(block);
	return 0;
}

/* ---- all seeds ---- */

/* As child_end; -ETIMEDOUT: it hung. */
static int end_soon(pid_t pid)
{
	int pidfd = (int)syscall(SYS_pidfd_open, pid, 0), status;
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };
	int ready = poll(&poller, 1, HANG_SECONDS * 1000);

	if (ready == 0)
		kill(pid, SIGKILL);
	close(pidfd);
	status = child_end(pid);
	return ready == 0 ? -ETIMEDOUT : status;
}

static int play(uint64_t number)
{
	return end_soon(child_start(program, &number));
}

static void scribble(void **state)
{
	const char *text = getenv("FT_SEED");
	uint64_t from = text ? strtoull(text, NULL, 0) : 0;
	uint64_t count = text ? 1 : (uint64_t)SEEDS * effort(50);
	unsigned bad = 0;

	(void)state;
	for (uint64_t i = from; i < from + count; i++) {
		int rc = play(i);

		if (rc == 0)
			continue;
		print_error("%s scribbled over: %s %d: FT_SEED=%lu\n", target_names[i % TARGETS],
			    rc == -ETIMEDOUT ? "hung" : rc > 255 ? "signal" : "status",
			    rc > 255 ? rc - 256 : rc, (unsigned long)i);
		bad++;
	}
	print_message("%lu seeds, %d words each time and task, %u bad\n", (unsigned long)count,
		      WRITES, bad);
	assert_int_equal(bad, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(scribble) };

	return cmocka_run_group_tests(tests, NULL, NULL);
}
