/* SPDX-License-Identifier: MIT */
/* The queue under load: many producers and consumers, threads and processes. */
#include "queue_tools.h"

#define ITEMS 6000
#define CROWD 4

/* Two put, two get; every item must come out once, each producer's in order. */
struct crowd {
	struct ft_queue queue;
	uint32_t next_id, finished;
	uint32_t seen[2][ITEMS];
};

static int produce(struct crowd *crowd, uint32_t id)
{
	for (uint64_t i = 0; i < ITEMS; i++) {
		int rc = -ETIMEDOUT;

		while (rc == -ETIMEDOUT)
			rc = put_number(&crowd->queue, (uint64_t)id << 32 | i,
					i % 4 ? FT_FOREVER : ft_after(100000));
		REQUIRE(rc == 0);
	}
	ft__add32_seq_cst(&crowd->finished, 1);
	return 0;
}

static int consume(struct crowd *crowd)
{
	int64_t last[2] = { -1, -1 };

	for (uint64_t n = 0;; n++) {
		uint64_t number;
		int rc = get_number(&crowd->queue, &number, n % 4 ? FT_FOREVER : ft_after(100000));

		if (rc == -EPIPE)
			return 0;
		if (rc == -ETIMEDOUT)
			continue;
		REQUIRE(rc == 0);

		uint32_t id = (uint32_t)(number >> 32), i = (uint32_t)number;

		REQUIRE(id < 2 && i < ITEMS && (int64_t)i > last[id]);
		last[id] = i;
		ft__add32_seq_cst(&crowd->seen[id][i], 1);
		REQUIRE(ft_queue_task_done(&crowd->queue) == 0);
	}
}

static int member(void *arg)
{
	struct crowd *crowd = arg;
	uint32_t id = ft__add32_seq_cst(&crowd->next_id, 1);

	return id < 2 ? produce(crowd, id) : consume(crowd);
}

static void let_finish(struct crowd *crowd)
{
	UNTIL(ft__load32_seq_cst(&crowd->finished) == 2);
	assert_int_equal(ft_queue_join(&crowd->queue, ft_after(LONG)), 0);
	assert_int_equal(ft_queue_close(&crowd->queue), 0);
}

static void check(struct crowd *crowd, const char *who, ft_deadline start)
{
	print_message("%d %s, room for %d: %.0f ns an item\n", CROWD, who,
		      (int)crowd->queue.maxsize, (double)(ft_now() - start) / 2 / ITEMS);
	for (int id = 0; id < 2; id++)
		for (int i = 0; i < ITEMS; i++)
			assert_int_equal(crowd->seen[id][i], 1);
	assert_int_equal(crowd->queue.lock.word, 0);
	assert_int_equal(crowd->queue.size, 0);
	assert_int_equal(crowd->queue.unfinished, 0);
	assert_int_equal(ft_queue_destroy(&crowd->queue), 0);
	assert_int_equal(ft_block_free(crowd), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft__block_count(0), 0);
}

static void threads_at(uint64_t maxsize, uint32_t flags)
{
	struct crowd *crowd = shared_alloc(sizeof(*crowd));
	struct helper helpers[CROWD];
	ft_deadline start = ft_now();

	assert_int_equal(ft_queue_init(&crowd->queue, maxsize, flags), 0);
	for (int i = 0; i < CROWD; i++)
		helper_start(&helpers[i], member, crowd);
	let_finish(crowd);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(helper_join(&helpers[i]), 0);
	check(crowd, flags ? "threads, shared" : "threads, private", start);
}

static void threads(void **state)
{
	(void)state;
	threads_at(0, FT_PRIVATE);
	threads_at(1, FT_PRIVATE);
	threads_at(0, FT_SHARED);
	threads_at(7, FT_SHARED);
}

static void processes_at(uint64_t maxsize)
{
	struct crowd *crowd = shared_alloc(sizeof(*crowd));
	uint32_t owners[CROWD];
	pid_t pids[CROWD];
	ft_deadline start = ft_now();

	assert_int_equal(ft_queue_init(&crowd->queue, maxsize, FT_SHARED), 0);
	for (int i = 0; i < CROWD; i++)
		pids[i] = worker_start(member, crowd, &owners[i]);
	let_finish(crowd);
	for (int i = 0; i < CROWD; i++) {
		assert_int_equal(child_end(pids[i]), 0);
		settle_death(owners[i]);
	}
	check(crowd, "processes", start);
}

static void processes(void **state)
{
	(void)state;
	processes_at(0);
	processes_at(1);
	processes_at(7);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
