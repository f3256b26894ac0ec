/* SPDX-License-Identifier: MIT */
/* ft_simple_queue: that it is a queue without a limit, and nothing else.  What a
 * queue does is in test_queue.c. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <freethreading/simple_queue.h>

#include "child.h"
#include "mem/block.h"

static struct ft_simple_queue *queue_new(uint32_t flags)
{
	void *block;

	assert_int_equal(ft_block_alloc(sizeof(struct ft_simple_queue), &block), 0);
	assert_int_equal(ft_simple_queue_init(block, flags), 0);
	return block;
}

static void queue_end(struct ft_simple_queue *queue)
{
	assert_int_equal(ft_simple_queue_destroy(queue), 0);
	assert_int_equal(ft_block_free(queue), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
}

static void bad_arguments(void **state)
{
	struct ft_simple_queue local;
	size_t size;
	void *item;

	(void)state;
	memset(&local, 0, sizeof(local));
	assert_int_equal(ft_simple_queue_init(NULL, 0), -EINVAL);
	assert_int_equal(ft_simple_queue_init(&local, 0x100), -EINVAL);
	assert_int_equal(ft_simple_queue_init(&local, FT_SHARED), -EINVAL);
	assert_int_equal(ft_simple_queue_put(NULL, "x", 1), -EINVAL);
	assert_int_equal(ft_simple_queue_put(&local, "x", 1), -EINVAL);
	assert_int_equal(ft_simple_queue_put_block(NULL, NULL), -EINVAL);
	assert_int_equal(ft_simple_queue_get(NULL, &item, &size, FT_NOW), -EINVAL);
	assert_int_equal(ft_simple_queue_size(NULL), 0);
	assert_int_equal(ft_simple_queue_close(NULL), -EINVAL);
	assert_int_equal(ft_simple_queue_destroy(NULL), -EINVAL);
}

static void in_order_without_limit(uint32_t flags)
{
	struct ft_simple_queue *queue = queue_new(flags);
	size_t size;
	void *item;

	assert_int_equal(queue->queue.maxsize, 0);
	assert_int_equal(ft_simple_queue_get(queue, &item, &size, FT_NOW), -ETIMEDOUT);
	for (uint64_t i = 0; i < 10000; i++)
		assert_int_equal(ft_simple_queue_put(queue, &i, sizeof(i)), 0);
	assert_int_equal(ft_simple_queue_size(queue), 10000);
	assert_int_equal(ft_simple_queue_put(queue, NULL, 0), 0);
	for (uint64_t i = 0; i < 10000; i++) {
		assert_int_equal(ft_simple_queue_get(queue, &item, &size, FT_NOW), 0);
		assert_int_equal(size, sizeof(i));
		assert_memory_equal(item, &i, sizeof(i));
		assert_int_equal(ft_block_free(item), 0);
	}
	assert_int_equal(ft_simple_queue_get(queue, &item, &size, FT_NOW), 0);
	assert_int_equal(size, 0);
	/* The same block once more, not copied. */
	assert_int_equal(ft_simple_queue_put_block(queue, item), 0);
	assert_int_equal(ft_simple_queue_size(queue), 1);
	assert_int_equal(ft_simple_queue_close(queue), 0);
	assert_int_equal(ft_simple_queue_put(queue, "x", 1), -EPIPE);
	assert_int_equal(ft_simple_queue_get(queue, &item, &size, FT_FOREVER), 0);
	assert_int_equal(ft_block_free(item), 0);
	assert_int_equal(ft_simple_queue_get(queue, &item, &size, FT_FOREVER), -EPIPE);
	queue_end(queue);
}

static void in_order_private(void **state)
{
	(void)state;
	in_order_without_limit(FT_PRIVATE);
}

static void in_order_shared(void **state)
{
	(void)state;
	in_order_without_limit(FT_SHARED);
}

static int echo(void *arg)
{
	struct ft_simple_queue *queues = *(struct ft_simple_queue **)arg;
	size_t size;
	void *item;

	while (ft_simple_queue_get(&queues[0], &item, &size, FT_FOREVER) == 0)
		REQUIRE(ft_simple_queue_put_block(&queues[1], item) == 0);
	return 0;
}

static void there_and_back(void **state)
{
	struct ft_simple_queue *queues[1];
	uint32_t owner;
	size_t size;
	void *item;

	(void)state;
	assert_int_equal(ft_block_alloc(2 * sizeof(**queues), &item), 0);
	queues[0] = item;
	assert_int_equal(ft_simple_queue_init(&queues[0][0], FT_SHARED), 0);
	assert_int_equal(ft_simple_queue_init(&queues[0][1], FT_SHARED), 0);

	pid_t pid = worker_start(echo, queues, &owner);

	for (int i = 0; i < 1000; i++) {
		assert_int_equal(ft_simple_queue_put(&queues[0][0], &i, sizeof(i)), 0);
		assert_int_equal(ft_simple_queue_get(&queues[0][1], &item, &size, FT_FOREVER), 0);
		assert_memory_equal(item, &i, sizeof(i));
		assert_int_equal(ft_block_free(item), 0);
	}
	assert_int_equal(ft_simple_queue_close(&queues[0][0]), 0);
	assert_int_equal(child_end(pid), 0);
	ft__slot_free(owner);
	for (int i = 0; i < 2; i++)
		assert_int_equal(ft_simple_queue_destroy(&queues[0][i]), 0);
	assert_int_equal(ft_block_free(queues[0]), 0);
	assert_int_equal(ft__block_count(0), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments), cmocka_unit_test(in_order_private),
		cmocka_unit_test(in_order_shared), cmocka_unit_test(there_and_back),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
