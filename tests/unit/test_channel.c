/* SPDX-License-Identifier: MIT */
/* Channels: the indexes after each step, and that threads lose nothing. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "os/atomic.h"
#include "pool/channel.h"

#define CAPACITY 8u

static struct ft__channel channel;
static uint64_t cells[CAPACITY];

static int empty(void **state)
{
	(void)state;
	memset(&channel, 0, sizeof(channel));
	memset(cells, 0xee, sizeof(cells));
	return 0;
}

static void indexes_count_up(void **state)
{
	uint64_t ref = 0;

	(void)state;
	assert_false(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_true(ft__channel_push(&channel, cells, CAPACITY, 11));
	assert_int_equal(channel.tail, 1);
	assert_int_equal(channel.head, 0);
	assert_int_equal(cells[0], 11);
	assert_true(ft__channel_push(&channel, cells, CAPACITY, 12));
	assert_int_equal(channel.tail, 2);
	assert_int_equal(ft__channel_length(&channel), 2);
	assert_true(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_int_equal(ref, 11);
	assert_int_equal(channel.head, 1);
	assert_true(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_int_equal(ref, 12);
	assert_int_equal(ft__channel_length(&channel), 0);
	assert_false(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_int_equal(channel.head, 2);
}

static void full_is_refused(void **state)
{
	uint64_t ref;

	(void)state;
	for (uint64_t i = 0; i < CAPACITY; i++)
		assert_true(ft__channel_push(&channel, cells, CAPACITY, i));
	assert_false(ft__channel_push(&channel, cells, CAPACITY, 99));
	assert_int_equal(channel.tail, CAPACITY);
	assert_true(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_true(ft__channel_push(&channel, cells, CAPACITY, CAPACITY));
	for (uint64_t i = 1; i <= CAPACITY; i++) {
		assert_true(ft__channel_pop(&channel, cells, CAPACITY, &ref));
		assert_int_equal(ref, i);
	}
}

static void peek_walks(void **state)
{
	uint64_t at = 0, ref;

	(void)state;
	assert_false(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
	assert_false(ft__channel_beyond(&channel, 0));
	for (uint64_t i = 0; i < 4; i++)
		ft__channel_push(&channel, cells, CAPACITY, 100 + i);
	assert_true(ft__channel_beyond(&channel, 0));
	for (uint64_t i = 0; i < 4; i++, at++) {
		assert_true(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
		assert_int_equal(at, i);
		assert_int_equal(ref, 100 + i);
	}
	assert_false(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
	assert_false(ft__channel_beyond(&channel, at));
	/* What was read meanwhile is passed over. */
	ft__channel_pop(&channel, cells, CAPACITY, &ref);
	ft__channel_pop(&channel, cells, CAPACITY, &ref);
	at = 1;
	assert_true(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
	assert_int_equal(at, 2);
	assert_int_equal(ref, 102);
}

static void scribbled_indexes_stay_inside(void **state)
{
	uint64_t at = 0, ref = 0;

	(void)state;
	channel.tail = UINT64_MAX - 3;
	channel.head = 5;
	assert_true(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_true(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
	assert_false(ft__channel_push(&channel, cells, CAPACITY, 1));
	channel.head = UINT64_MAX - 1;
	assert_int_equal(ft__channel_length(&channel), 0);
	assert_false(ft__channel_pop(&channel, cells, CAPACITY, &ref));
	assert_false(ft__channel_peek(&channel, cells, CAPACITY, &at, &ref));
}

/* One pusher, one popper that claims like a worker, and thieves.  Each number
 * is a task; `taken` is its state: whoever sets it has it. */
#define NUMBERS 200000u
#define THIEVES 2

static uint32_t taken[NUMBERS + 1];
static uint32_t over;
static uint64_t shares[THIEVES + 1];

static bool claim(uint64_t number)
{
	uint32_t no = 0;

	return number && number <= NUMBERS && ft__cas32_seq_cst(&taken[number], &no, 1);
}

static void *push_all(void *arg)
{
	for (uint64_t i = 1; i <= NUMBERS; i++) {
		while (!ft__channel_push(&channel, cells, CAPACITY, i))
			sched_yield();
	}
	return arg;
}

static void *pop_all(void *arg)
{
	uint64_t last = 0, at = 0, ref, same;

	while (last < NUMBERS) {
		if (!ft__channel_peek(&channel, cells, CAPACITY, &at, &ref)) {
			sched_yield();
			continue;
		}
		if (ref != last + 1)
			return "out of order";
		last = ref;
		shares[THIEVES] += claim(ref);
		ft__channel_pop(&channel, cells, CAPACITY, &same);
	}
	ft__store32_seq_cst(&over, 1);
	return arg;
}

static void *steal_some(void *arg)
{
	uint64_t at = 0, ref;

	while (!ft__load32_seq_cst(&over)) {
		if (!ft__channel_peek(&channel, cells, CAPACITY, &at, &ref)) {
			sched_yield();
			continue;
		}
		*(uint64_t *)arg += claim(ref);
		at++;
	}
	return NULL;
}

static void each_is_taken_once(void **state)
{
	pthread_t pusher, popper, thieves[THIEVES];
	uint64_t sum = 0;
	void *said;

	(void)state;
	pthread_create(&pusher, NULL, push_all, NULL);
	pthread_create(&popper, NULL, pop_all, NULL);
	for (int i = 0; i < THIEVES; i++)
		pthread_create(&thieves[i], NULL, steal_some, &shares[i]);
	pthread_join(pusher, NULL);
	pthread_join(popper, &said);
	for (int i = 0; i < THIEVES; i++)
		pthread_join(thieves[i], NULL);
	assert_null(said);
	for (int i = 0; i <= THIEVES; i++)
		sum += shares[i];
	assert_int_equal(sum, NUMBERS);
	print_message("popper took %lu of %u, thieves %lu and %lu\n", shares[THIEVES], NUMBERS,
		      shares[0], shares[1]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup(indexes_count_up, empty),
		cmocka_unit_test_setup(full_is_refused, empty),
		cmocka_unit_test_setup(peek_walks, empty),
		cmocka_unit_test_setup(scribbled_indexes_stay_inside, empty),
		cmocka_unit_test_setup(each_is_taken_once, empty),
	};

	alarm(50);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
