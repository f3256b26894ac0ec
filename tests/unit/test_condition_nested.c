/* SPDX-License-Identifier: MIT */
/* ft_condition: a thread that waits in the middle of a wait, as the handler of a
 * signal does. */
#include "condition_tools.h"

#define DEPTH 5

static uint32_t word_of(const struct ft_condition_hold *hold)
{
	return ft__node_named(hold->condition->flags & FT_SHARED, hold->node)->word;
}

static void arm(struct both *b, struct ft_condition_hold *hold)
{
	assert_int_equal(ft_lock_acquire(&b->lock, FT_NOW), 0);
	assert_int_equal(ft_condition_arm(&b->condition, &b->lock, NULL, hold), 0);
	assert_int_equal(word_of(hold), FT_CONDITION_ARMED);
}

static void disarm(struct both *b, struct ft_condition_hold *hold, int rc)
{
	assert_int_equal(ft_condition_disarm(hold), rc);
	assert_int_equal(ft_lock_release(&b->lock), 0);
}

/* Each has a node, and they are notified in their order, like as many threads. */
static void nested_at_one(struct both *b)
{
	struct ft_condition_hold holds[DEPTH];

	for (int i = 0; i < DEPTH; i++) {
		arm(b, &holds[i]);
		assert_int_equal(ft_condition_park(&holds[i], FT_NOW), -ETIMEDOUT);
		assert_int_equal(b->condition.head, holds[0].node);
		assert_int_equal(b->condition.tail, holds[i].node);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(holds[k].node, holds[i].node);
	}
	notify(b, 2, 2);
	for (int i = 0; i < DEPTH; i++)
		assert_int_equal(word_of(&holds[i]),
				 i < 2 ? FT_CONDITION_NOTIFIED : FT_CONDITION_SLEEPING);
	/* The inner ones end first; the outer ones keep what they have. */
	for (int i = DEPTH; i-- > 2;)
		disarm(b, &holds[i], -ECANCELED);
	assert_int_equal(b->condition.head, 0);
	for (int i = 2; i-- > 0;) {
		assert_int_equal(ft_condition_park(&holds[i], FT_FOREVER), 0);
		disarm(b, &holds[i], 0);
	}
}

/* The outer one is notified in the middle of the inner, which goes on. */
static void nested_at_two(struct both *b, struct both *inner)
{
	struct ft_condition_hold hold, other;

	arm(b, &hold);
	for (int i = 0; i < 3; i++) {
		arm(inner, &other);
		notify(b, 9, i == 0);
		assert_int_equal(ft_condition_park(&other, FT_NOW), -ETIMEDOUT);
		if (i == 1)
			notify(inner, 1, 1);
		disarm(inner, &other, i == 1 ? 0 : -ECANCELED);
	}
	assert_int_equal(ft_condition_park(&hold, FT_FOREVER), 0);
	disarm(b, &hold, 0);
}

static void nested(void **state)
{
	struct both *shared = both_new(FT_SHARED), *other = both_new(FT_SHARED);
	struct both *private = both_new(FT_PRIVATE);
	uint32_t slots = ft__slot_count();

	(void)state;
	for (int i = 0; i < 3; i++) {
		nested_at_one(shared);
		nested_at_one(private);
		nested_at_two(shared, other);
		nested_at_two(shared, private);
		nested_at_two(private, shared);
	}
	assert_int_equal(ft__slot_count(), slots);
	assert_int_equal(ft__self_tls.slot->waiter.word, FT_CONDITION_IDLE);
	assert_int_equal(ft_block_free(shared), 0);
	assert_int_equal(ft_block_free(other), 0);
	assert_int_equal(ft_block_free(private), 0);
}

/* Whatever order they end in. */
static void not_nested(void **state)
{
	struct both *b = both_new(FT_SHARED);
	struct ft_condition_hold holds[DEPTH];

	(void)state;
	for (int i = 0; i < DEPTH; i++)
		arm(b, &holds[i]);
	for (int i = 0; i < DEPTH; i++)
		disarm(b, &holds[i * 2 % DEPTH], -ECANCELED);
	assert_int_equal(b->condition.head, 0);
	assert_int_equal(b->condition.tail, 0);
	assert_int_equal(ft_block_free(b), 0);
}

/* Somebody is about to take a slot that we had. */
static uint32_t half_taken;

static void *ends_in_the_middle(void *arg)
{
	struct ft_condition_hold hold;

	for (int i = 0; i < 3; i++)
		arm(arg, &hold);
	ft__slot_of(half_taken)->tid = gettid();
	return NULL;
}

static void thread_that_ends(void **state)
{
	struct both *b = both_new(FT_SHARED);
	uint32_t slots = ft__slot_count();
	pthread_t thread;

	(void)state;
	half_taken = ft__slot_reserve("");
	assert_int_equal(pthread_create(&thread, NULL, ends_in_the_middle, b), 0);
	pthread_join(thread, NULL);
	assert_true(ft__slot_alive(half_taken));
	ft__slot_free(half_taken);
	assert_int_equal(ft__slot_count(), slots);
	notify(b, 9, 0);
	assert_int_equal(b->condition.head, 0);
	assert_int_equal(ft_block_free(b), 0);
}

static void no_slot_left(void **state)
{
	struct both *b = both_new(FT_SHARED);
	struct ft_condition_hold hold, other;
	static uint32_t taken[FT__SLOTS];
	uint32_t count = 0;

	(void)state;
	arm(b, &hold);
	while ((taken[count] = ft__slot_reserve("taken")) != 0)
		count++;
	assert_int_equal(ft_lock_acquire(&b->lock, FT_NOW), 0);
	assert_int_equal(ft_condition_arm(&b->condition, &b->lock, NULL, &other), -EAGAIN);
	assert_int_equal(ft_condition_wait(&b->condition, &b->lock, FT_NOW), -EAGAIN);
	assert_int_equal(ft_lock_mine(&b->lock), 1);
	assert_int_equal(ft_lock_release(&b->lock), 0);
	while (count-- > 0)
		ft__slot_free(taken[count]);
	disarm(b, &hold, -ECANCELED);
	assert_int_equal(ft_block_free(b), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(nested),
		cmocka_unit_test(not_nested),
		cmocka_unit_test(thread_that_ends),
		cmocka_unit_test(no_slot_left),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
