/* SPDX-License-Identifier: MIT */
/*
 * Processes are killed at every point of putting, getting, answering, joining
 * and closing, while two others put and get.  Books are kept of every item: who
 * returned from a put finds it delivered, none comes twice, and what is missing
 * was in the hands of a consumer that died, one item each.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "kill_tools.h"

#include <cmocka.h>

#include "sync/lock.h"

#define KILLS (500 * (int)effort(5)) /* for each way to kill */
#define POINTS 64 /* that a victim passes, about */
#define TIME (9000 * MS * effort(5))
#define ITEMS (1 << 20)

struct stage {
	struct ft_queue queue;
	uint32_t next;           /* number of the next item */
	uint32_t unlimited_room; /* the producer then keeps it short itself */
	struct survivor survivors[SURVIVORS];
	uint8_t *put;            /* put returned 0, by item */
	uint8_t *got;            /* how often it came out */
};

static void put_one(struct stage *stage, ft_deadline deadline)
{
	uint32_t number = ft__add32_seq_cst(&stage->next, 1);
	int rc;

	REQUIRE(number < ITEMS);
	rc = ft_queue_put(&stage->queue, &number, sizeof(number), deadline);
	REQUIRE(rc == 0 || rc == -ETIMEDOUT);
	if (rc == 0)
		stage->put[number] = 1;
}

static bool get_one(struct stage *stage, ft_deadline deadline)
{
	void *item;
	size_t size;
	uint32_t number;
	int rc = ft_queue_get(&stage->queue, &item, &size, deadline);

	REQUIRE(rc == 0 || rc == -ETIMEDOUT);
	if (rc != 0)
		return false;
	REQUIRE(size == sizeof(number));
	memcpy(&number, item, sizeof(number));
	REQUIRE(number < ITEMS);
	stage->got[number]++;
	REQUIRE(ft_block_free(item) == 0);
	return true;
}

static ft_deadline some_time(void)
{
	return random_number() % 2 ? FT_FOREVER : ft_after(random_number() % 4 * 50000);
}

static int producer(void *arg, struct survivor *self)
{
	struct stage *stage = arg;

	while (going_on(self)) {
		if (ft_queue_size(&stage->queue) < 8 || !stage->unlimited_room)
			put_one(stage, ft_after(500000));
		ft__add32_seq_cst(&self->progress, 1);
		linger();
	}
	return 0;
}

static int consumer(void *arg, struct survivor *self)
{
	struct stage *stage = arg;

	while (going_on(self)) {
		if (get_one(stage, ft_after(500000)))
			(void)ft_queue_task_done(&stage->queue);
		ft__add32_seq_cst(&self->progress, 1);
		linger();
	}
	return 0;
}

static int put_two(void *arg)
{
	put_one(arg, some_time());
	put_one(arg, some_time());
	return 0;
}

static int get_two(void *arg)
{
	(void)get_one(arg, some_time());
	(void)get_one(arg, some_time());
	return 0;
}

static int put_and_get(void *arg)
{
	put_one(arg, ft_after(50000));
	(void)get_one(arg, ft_after(50000));
	return 0;
}

static int answer_and_join(void *arg)
{
	struct stage *stage = arg;
	int rc;

	if (get_one(stage, ft_after(50000)))
		(void)ft_queue_task_done(&stage->queue);
	rc = ft_queue_join(&stage->queue, ft_after(50000));
	REQUIRE(rc == 0 || rc == -ETIMEDOUT);
	return 0;
}

/* A supervisor that is a worker itself. */
static int settle_another(void *arg)
{
	struct stage *stage = arg;

	(void)ft__queue_settle(&stage->queue);
	return 0;
}

static bool only_survivors_get(const char *name)
{
	return strncmp(name, "put,", 4) == 0 || strncmp(name, "settle", 6) == 0;
}

static void check_books(struct stage *stage, int kills, const char *name)
{
	uint32_t missing = 0, unreturned = 0, count = stage->next;

	for (uint32_t i = 0; i < count; i++) {
		if (stage->got[i] > 1) {
			print_error("%s: item %u came %u times\n", name, i, stage->got[i]);
			fail();
		}
		missing += stage->put[i] && !stage->got[i];
		unreturned += !stage->put[i] && stage->got[i];
	}
	print_message("%s: %u items, %u missing, %u delivered of puts cut short\n", name, count,
		      missing, unreturned);
	assert_true(missing <= (uint32_t)kills && unreturned <= (uint32_t)kills);
	/* Only who gets can lose an item. */
	if (only_survivors_get(name))
		assert_int_equal(missing, 0);
}

static struct stage *stage_open(uint64_t maxsize)
{
	struct stage *stage = shared_alloc(sizeof(*stage));

	stage->put = outside_alloc(ITEMS);
	stage->got = outside_alloc(ITEMS);
	stage->unlimited_room = !maxsize;
	assert_int_equal(ft_queue_init(&stage->queue, maxsize, FT_SHARED), 0);
	survivor_start(&stage->survivors[0], producer, stage);
	survivor_start(&stage->survivors[1], consumer, stage);
	return stage;
}

static void stage_close(struct stage *stage, int kills, const char *name)
{
	for (int i = 0; i < SURVIVORS; i++)
		ft__store32_seq_cst(&stage->survivors[i].stop, 1);
	for (int i = 0; i < SURVIVORS; i++)
		survivor_end(&stage->survivors[i]);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft__block_count(0), ft_queue_size(&stage->queue));
	/* The survivor answers all it gets. */
	if (only_survivors_get(name))
		assert_int_equal(stage->queue.unfinished, stage->queue.size);
	while (get_one(stage, FT_NOW))
		;
	assert_int_equal(stage->queue.lock.word, 0);
	assert_int_equal(stage->queue.head | stage->queue.tail | stage->queue.size, 0);
	check_books(stage, kills, name);
	munmap(stage->put, ITEMS);
	munmap(stage->got, ITEMS);
	assert_int_equal(ft_queue_destroy(&stage->queue), 0);
	assert_int_equal(ft_block_free(stage), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft__block_count(0), 0);
}

static void kill_at_every_point(uint64_t maxsize, const char *name, int (*run)(void *))
{
	struct stage *stage = stage_open(maxsize);
	ft_deadline end = ft_after(TIME);
	int kills = 0, rounds = 0;

	while (kills < KILLS && !ft__passed(end)) {
		for (long at = 1; at <= POINTS && kills < KILLS; at++) {
			struct deaths deaths;

			victims_run(run, stage, at, POINTS, &deaths);
			if (!survivors_go_on(stage->survivors, 2)) {
				print_error("%s: stuck after a kill at point %ld, lock %08x, "
					    "size %d\n",
					    name, at, stage->queue.lock.word,
					    (int)stage->queue.size);
				fail();
			}
			kills += deaths.died[0] + deaths.died[1];
		}
		rounds++;
	}
	print_message("%s, room for %d: %d kills at %d different points in %d rounds\n", name,
		      (int)maxsize, kills, sites_different(), rounds);
	assert_true(rounds > 0 && kills > 0);
	stage_close(stage, kills, name);
}

static void producers(void **state)
{
	(void)state;
	kill_at_every_point(0, "put, without limit", put_two);
	kill_at_every_point(2, "put, with limit", put_two);
}

static void consumers(void **state)
{
	(void)state;
	kill_at_every_point(0, "get, without limit", get_two);
	kill_at_every_point(2, "get, with limit", get_two);
}

static void both(void **state)
{
	(void)state;
	kill_at_every_point(1, "both", put_and_get);
}

static void joiners(void **state)
{
	(void)state;
	kill_at_every_point(0, "join", answer_and_join);
}

static void settlers(void **state)
{
	(void)state;
	kill_at_every_point(2, "settle", settle_another);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(producers),
		cmocka_unit_test(consumers),
		cmocka_unit_test(both),
		cmocka_unit_test(joiners),
		cmocka_unit_test(settlers),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	seed_from_environment();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
