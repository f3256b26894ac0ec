/* SPDX-License-Identifier: MIT */
/* What the tests of queues share. */
#ifndef FT_TESTS_QUEUE_TOOLS_H
#define FT_TESTS_QUEUE_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>

static inline struct ft_queue *shared_queue(uint64_t maxsize)
{
	struct ft_queue *queue = shared_alloc(sizeof(*queue));

	assert_int_equal(ft_queue_init(queue, maxsize, FT_SHARED), 0);
	return queue;
}

static inline void done_with(struct ft_queue *queue)
{
	assert_int_equal(ft_queue_destroy(queue), 0);
	assert_int_equal(ft_block_free(queue), 0);
	assert_int_equal(ft_arena_check(NULL), 0);
	assert_int_equal(ft__block_count(0), 0);
}

static inline int put_number(struct ft_queue *queue, uint64_t number, ft_deadline deadline)
{
	return ft_queue_put(queue, &number, sizeof(number), deadline);
}

static inline int get_number(struct ft_queue *queue, uint64_t *number, ft_deadline deadline)
{
	void *item;
	size_t size;
	int rc = ft_queue_get(queue, &item, &size, deadline);

	if (rc != 0)
		return rc;
	REQUIRE(size == sizeof(*number) && ft_block_size(item) == size);
	memcpy(number, item, sizeof(*number));
	return ft_block_free(item);
}

#endif
