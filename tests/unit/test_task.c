/* SPDX-License-Identifier: MIT */
/* A task's word at each step, and what a worker may do with it.  The worker is
 * the test itself. */
#include "pool_tools.h"

static struct own_seat own;

static int setup(void **state)
{
	(void)state;
	own_open(&own, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	own_close(&own);
	return 0;
}

static struct ft_future *give(const void *arg, size_t size)
{
	struct ft_call call = { .code = 7, .arg = arg, .arg_size = size };
	struct ft_future *future;

	assert_int_equal(ft_pool_submit(own.pool, &call, &future), 0);
	return future;
}

static struct ft_task *take(void)
{
	struct ft_task *task;

	assert_int_equal(ft_seat_next(own.seat, &task, FT_NOW), 0);
	return task;
}

static void word_at_each_step(void **state)
{
	struct ft__line *line = ft__board_line(&own.pool->board, 0);
	struct ft_future *future;
	const void *data;
	size_t size;

	(void)state;
	for (uint32_t g = 1; g <= 3; g++) {
		future = give("abc", 3);
		assert_int_equal(state_of(&own, 0), WORD(FT__TASK_READY, 0, g));
		assert_int_equal(line->in.tail, g);
		assert_int_equal(line->in.head, g - 1);
		struct ft_task *task = take();
		assert_int_equal(state_of(&own, 0), WORD(FT__TASK_RUNNING, 0, g));
		assert_int_equal(line->in.head, g);
		assert_int_equal(line->busy, 1);
		assert_int_equal(ft_task_code(task), 7);
		assert_int_equal(ft_task_id(task), g);
		assert_int_equal(ft_task_id(task), ft_future_id(future));
		assert_memory_equal(ft_task_arg(task, &size), "abc", 3);
		assert_int_equal(size, 3);
		assert_int_equal(ft_task_reply(task, "xy", 2), 0);
		assert_int_equal(line->out.tail, g - 1);
		assert_int_equal(ft_task_end(task, 0), 0);
		assert_int_equal(state_of(&own, 0), WORD(FT__TASK_DONE, 0, g));
		assert_int_equal(line->out.tail, g);
		assert_int_equal(line->out.head, g - 1);
		assert_int_equal(ft_future_done(future), 1);
		assert_int_equal(state_of(&own, 0), WORD(FT__TASK_FREE, 0, g));
		assert_int_equal(line->out.head, g);
		assert_int_equal(ft_future_result(future, &data, &size), 0);
		assert_int_equal(size, 2);
		assert_memory_equal(data, "xy", 2);
		ft_future_free(future);
	}
}

static void cancel_before_the_claim(void **state)
{
	struct ft_future *future = give(NULL, 0);
	struct ft_task *task;

	(void)state;
	assert_int_equal(state_of(&own, 0), WORD(FT__TASK_READY, 0, 1));
	assert_int_equal(ft_future_cancel(future), 0);
	assert_int_equal(state_of(&own, 0), WORD(FT__TASK_FREE, 0, 1));
	assert_int_equal(ft_future_result(future, NULL, NULL), -ECANCELED);
	assert_int_equal(ft_future_cancel(future), -EBUSY);
	/* Its reference is stale, and passed over. */
	assert_int_equal(ft__channel_length(&ft__board_line(&own.pool->board, 0)->in), 1);
	assert_int_equal(ft_seat_next(own.seat, &task, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft__channel_length(&ft__board_line(&own.pool->board, 0)->in), 0);
	ft_future_free(future);
}

static void no_cancel_after_the_claim(void **state)
{
	struct ft_future *future = give(NULL, 0);
	struct ft_task *task = take();

	(void)state;
	assert_int_equal(ft_future_cancel(future), -EBUSY);
	assert_int_equal(ft_future_result(future, NULL, NULL), -EAGAIN);
	ft_task_end(task, 0);
	assert_int_equal(ft_future_cancel(future), -EBUSY);
	finish(future, 0);
}

static void stale_reference_is_no_claim(void **state)
{
	struct ft_future *first = give(NULL, 0), *second;

	(void)state;
	assert_int_equal(ft_future_cancel(first), 0);
	second = give(NULL, 0); /* the same cell, the next generation */
	assert_int_equal(state_of(&own, 0), WORD(FT__TASK_READY, 0, 2));
	assert_false(ft__task_claim(own.seat, ft__task_ref(0, 1)));
	assert_false(ft__task_claim(own.seat, ft__task_ref(FT_POOL_WINDOW, 2)));
	assert_false(ft__task_claim(own.seat, UINT64_MAX));
	assert_int_equal(state_of(&own, 0), WORD(FT__TASK_READY, 0, 2));
	ft_task_end(take(), 0);
	finish(second, 0);
	ft_future_free(first);
}

/* Sizes round the edges of what lies in the cell. */
static void sizes(void **state)
{
	static const size_t edges[] = { 0,   1,	  FT__TASK_SMALL_ARG, FT__TASK_SMALL_ARG + 1,
					FT__TASK_SMALL_RESULT, FT__TASK_SMALL_RESULT + 1,
					4096, 65536, 1 << 20 };
	char *text = malloc(1 << 20);

	(void)state;
	for (size_t i = 0; i < 1 << 20; i++)
		text[i] = (char)(i * 7);
	for (size_t i = 0; i < sizeof(edges) / sizeof(edges[0]); i++) {
		struct ft_future *future = give(text, edges[i]);
		struct ft_task *task = take();
		const void *data;
		size_t size = 99;
		const void *arg = ft_task_arg(task, &size);

		assert_int_equal(size, edges[i]);
		if (size)
			assert_memory_equal(arg, text, size);
		assert_int_equal(ft_task_reply(task, text, edges[i]), 0);
		ft_task_end(task, 0);
		assert_int_equal(ft_future_done(future), 1);
		assert_int_equal(ft_future_result(future, &data, &size), 0);
		assert_int_equal(size, edges[i]);
		if (size)
			assert_memory_equal(data, text, size);
		ft_future_free(future);
	}
	free(text);
}

static void reply_at_most_once(void **state)
{
	struct ft_future *future = give(NULL, 0);
	struct ft_task *task = take();
	void *block, *other;

	(void)state;
	assert_int_equal(ft_block_alloc(300, &block), 0);
	assert_int_equal(ft_task_reply_block(task, block, 400), -EINVAL);
	assert_int_equal(ft_task_reply_block(task, (char *)block + 32, 1), -EINVAL);
	assert_int_equal(ft_task_reply_block(task, NULL, 0), -EINVAL);
	memset(block, 'b', 300);
	assert_int_equal(ft_task_reply_block(task, block, 200), 0);
	assert_int_equal(ft_task_reply(task, "x", 1), -EINVAL);
	assert_int_equal(ft_block_alloc(300, &other), 0);
	assert_int_equal(ft_task_reply_block(task, other, 1), -EINVAL);
	assert_int_equal(ft_block_free(other), 0);
	assert_int_equal(ft_task_end(task, -7), 0);
	assert_int_equal(ft_task_end(task, 0), -EINVAL);
	/* An error may have a result too. */
	const void *data;
	size_t size;
	assert_int_equal(ft_future_wait(future, SOON), 0);
	assert_int_equal(ft_future_result(future, &data, &size), -7);
	assert_ptr_equal(data, block);
	assert_int_equal(size, 200);
	ft_future_free(future);
}

static void block_as_argument(void **state)
{
	struct ft_arena_info before, after;
	struct ft_future *future;
	void *block;

	(void)state;
	ft_arena_info(&before);
	assert_int_equal(ft_block_alloc(5000, &block), 0);
	memset(block, 'q', 5000);
	struct ft_call call = { .block = block, .arg_size = 6000 };
	assert_int_equal(ft_pool_submit(own.pool, &call, &future), -EINVAL);
	call.arg_size = 5000;
	assert_int_equal(ft_pool_submit(own.pool, &call, &future), 0);
	struct ft_task *task = take();
	size_t size;
	assert_ptr_equal(ft_task_arg(task, &size), block);
	assert_int_equal(size, 5000);
	ft_task_end(task, 0);
	finish(future, 0);
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
}

static void one_task_at_a_time(void **state)
{
	struct ft_future *a = give(NULL, 0), *b = give(NULL, 0);
	struct ft_task *task = take(), *other;

	(void)state;
	assert_int_equal(ft_seat_next(own.seat, &other, FT_NOW), -EINVAL);
	assert_int_equal(ft_seat_close(own.seat), -EINVAL);
	assert_int_equal(ft_task_end(task, 1), -EINVAL);
	ft_task_end(task, 0);
	ft_task_end(take(), 0);
	finish(a, 0);
	finish(b, 0);
}

static void nobody_sits_twice(void **state)
{
	struct ft_seat *seat;

	(void)state;
	assert_int_equal(ft_seat_open(own.handle[0], &seat), -EINVAL);
	assert_int_equal(ft_seat_open(0, &seat), -EINVAL);
	assert_int_equal(ft_seat_open(own.handle[0], NULL), -EINVAL);
	/* A block that is no ticket. */
	void *block;
	assert_int_equal(ft_block_alloc(64, &block), 0);
	memset(block, 0, 64);
	assert_int_equal(ft_seat_open(ft_block_handle(block), &seat), -EINVAL);
	ft_block_free(block);
}

static void bad_arguments(void **state)
{
	size_t size = 5;
	struct ft_task *task;

	(void)state;
	assert_null(ft_task_arg(NULL, &size));
	assert_int_equal(size, 0);
	assert_int_equal(ft_task_code(NULL), 0);
	assert_int_equal(ft_task_id(NULL), 0);
	assert_int_equal(ft_task_reply(NULL, "", 0), -EINVAL);
	assert_int_equal(ft_task_reply_block(NULL, NULL, 0), -EINVAL);
	assert_int_equal(ft_task_end(NULL, 0), -EINVAL);
	assert_int_equal(ft_seat_next(NULL, &task, FT_NOW), -EINVAL);
	assert_int_equal(ft_seat_next(own.seat, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_seat_close(NULL), -EINVAL);
}

/* What a worker may scribble is held against what the pool knows. */
static void scribbled_results(void **state)
{
	struct ft_future *future = give(NULL, 0);
	struct ft_task *task = take();
	struct ft__task_cell *cell = task->cell;
	struct ft__line *line = ft__board_line(&own.pool->board, 0);
	uint64_t *cells = ft__board_out(&own.pool->board, 0);
	const void *data;
	size_t size;

	(void)state;
	ft__channel_push(&line->out, cells, FT_POOL_WINDOW, UINT64_MAX);
	ft__channel_push(&line->out, cells, FT_POOL_WINDOW, ft__task_ref(5000, 1));
	ft__channel_push(&line->out, cells, FT_POOL_WINDOW, task->ref); /* not DONE */
	assert_int_equal(ft_future_done(future), 0);
	cell->result = 0;
	cell->result_size = 1 << 30;
	uint64_t ref = task->ref;
	ft_task_end(task, 0);
	ft__channel_push(&line->out, cells, FT_POOL_WINDOW, ref); /* twice */
	assert_int_equal(ft_future_done(future), 1);
	assert_int_equal(ft_future_result(future, &data, &size), 0);
	assert_null(data);
	assert_int_equal(size, 0);
	ft_future_free(future);
	/* A handle of something else. */
	future = give(NULL, 0);
	task = take();
	task->cell->result = 12345;
	task->cell->result_size = 10;
	ft_task_end(task, 0);
	assert_int_equal(ft_future_done(future), 1);
	assert_int_equal(ft_future_result(future, &data, &size), 0);
	assert_null(data);
	ft_future_free(future);
}

/* Cells are used last in, first out. */
static void few_cells_are_touched(void **state)
{
	(void)state;
	for (int i = 0; i < 1000; i++) {
		struct ft_future *a = give(NULL, 0), *b = give(NULL, 0);
		ft_task_end(take(), 0);
		ft_task_end(take(), 0);
		finish(a, 0);
		finish(b, 0);
	}
	assert_int_equal(own.pool->high, 2);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(word_at_each_step),
		TEST(cancel_before_the_claim),
		TEST(no_cancel_after_the_claim),
		TEST(stale_reference_is_no_claim),
		TEST(sizes),
		TEST(reply_at_most_once),
		TEST(block_as_argument),
		TEST(one_task_at_a_time),
		TEST(nobody_sits_twice),
		TEST(bad_arguments),
		TEST(scribbled_results),
		TEST(few_cells_are_touched),
	};

	alarm(50);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
