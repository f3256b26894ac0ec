/* SPDX-License-Identifier: MIT */
/* What the tests of pools have in common. */
#ifndef TESTS_POOL_TOOLS_H
#define TESTS_POOL_TOOLS_H

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include <freethreading.h>

#include "child.h"
#include "os/atomic.h"
#include "pool/pool.h"
#include "pool/seat.h"

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define SOON ft_after(20 * SECOND)

static inline struct ft_pool_options pool_options(uint32_t kind, uint32_t workers)
{
	return (struct ft_pool_options){ .size = sizeof(struct ft_pool_options), .kind = kind,
					 .workers = workers };
}

static inline struct ft_pool *pool_open(uint32_t kind, uint32_t workers)
{
	struct ft_pool_options options = pool_options(kind, workers);
	struct ft_pool *pool;

	assert_int_equal(ft_pool_open(&pool, &options), 0);
	return pool;
}

static inline void pool_end(struct ft_pool *pool)
{
	assert_int_equal(ft_pool_close(pool), 0);
	assert_int_equal(ft_pool_join(pool, SOON), 0);
	assert_int_equal(ft_pool_free(pool), 0);
}

static inline struct ft_future *submit(struct ft_pool *pool, ft_task_main *main, const void *arg,
				       size_t size)
{
	struct ft_call call = { .main = main, .arg = arg, .arg_size = size };
	struct ft_future *future;

	assert_int_equal(ft_pool_submit(pool, &call, &future), 0);
	return future;
}

static inline void finish(struct ft_future *future, int status)
{
	assert_int_equal(ft_future_wait(future, SOON), 0);
	assert_int_equal(ft_future_result(future, NULL, NULL), status);
	ft_future_free(future);
}

/* ---- a pool whose only worker is the test itself ---- */

struct own_seat {
	struct ft_event over;
	uint64_t handle[2];
	struct ft_pool *pool;
	struct ft_seat *seat;
};

static int stand_in(void *arg)
{
	struct own_seat *own = arg;

	return ft_event_wait(&own->over, FT_FOREVER);
}

static int start_stand_in(void *ctx, uint32_t seat, uint64_t handle, const struct ft_cpus *cpus,
			  struct ft_worker **worker)
{
	struct ft_worker_options options = { .size = sizeof(options), .kind = FT_WORKER_THREAD };
	struct own_seat *own = ctx;

	(void)cpus;
	own->handle[seat] = handle;
	return ft_worker_start(worker, &options, stand_in, own);
}

static inline void own_open(struct own_seat *own, uint32_t seats)
{
	struct ft_pool_options options = pool_options(FT_WORKER_THREAD, seats);

	memset(own, 0, sizeof(*own));
	ft_event_init(&own->over, FT_PRIVATE);
	options.start = start_stand_in;
	options.start_ctx = own;
	assert_int_equal(ft_pool_open(&own->pool, &options), 0);
	assert_int_equal(ft_seat_open(own->handle[0], &own->seat), 0);
}

/* With one seat only. */
static inline void own_close(struct own_seat *own)
{
	struct ft_task *task;

	assert_int_equal(ft_pool_close(own->pool), 0);
	assert_int_equal(ft_seat_next(own->seat, &task, FT_NOW), -EPIPE);
	assert_int_equal(ft_seat_close(own->seat), 0);
	ft_event_set(&own->over);
	assert_int_equal(ft_pool_join(own->pool, SOON), 0);
	assert_int_equal(ft_pool_free(own->pool), 0);
}

static inline uint64_t state_of(const struct own_seat *own, uint32_t index)
{
	return ft__load64_seq_cst(&own->pool->board.table[index].state);
}

#define WORD(state, seat, generation) ((uint64_t)(generation) << 32 | (seat) << 8 | (state))

#endif
