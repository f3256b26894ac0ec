/* SPDX-License-Identifier: MIT */
/* What a submitter holds of its task. */
#include <errno.h>

#include "os/atomic.h"
#include "pool/pool.h"

static bool is_done(const struct ft_future *future)
{
	/* Acquire, with ft__harvest_end: everything else is written. */
	return ft__load32_acquire(&future->done);
}

static int check(const struct ft_future *future)
{
	return future ? ft__pool_check(future->pool) : -EINVAL;
}

static bool has_ended(void *ctx)
{
	return ((struct ft_future *)ctx)->stage == FT__STAGE_ENDED;
}

int ft_future_wait(struct ft_future *future, ft_deadline deadline)
{
	int rc = check(future);

	if (rc || is_done(future))
		return rc;
	struct ft__vigil waiter = { .ready = has_ended, .ctx = future, .mode = FT__BELL_EACH };
	return ft__wait(future->pool, &waiter, true, deadline);
}

/* Futures of one pool, and how many from the first on are known to be done. */
struct crowd {
	struct ft_future *const *futures;
	size_t count, done;
};

static bool all_ended(void *ctx)
{
	struct crowd *crowd = ctx;

	while (crowd->done < crowd->count && has_ended(crowd->futures[crowd->done]))
		crowd->done++;
	return crowd->done == crowd->count;
}

/* The leading futures that belong to the first one's pool. */
static size_t of_one_pool(struct ft_future *const *futures, size_t count)
{
	size_t i = 1;

	while (i < count && futures[i]->pool == futures[0]->pool)
		i++;
	return i;
}

int ft_future_wait_all(struct ft_future *const *futures, size_t count, ft_deadline deadline)
{
	int rc = futures || !count ? 0 : -EINVAL;

	for (size_t i = 0; i < count && !rc; i++)
		rc = check(futures[i]);
	for (size_t i = 0; i < count && !rc;) {
		struct crowd crowd = { futures + i, of_one_pool(futures + i, count - i), 0 };
		/* A single one is waited for as ft_future_wait does; of many, no
		 * single one is worth a wake-up. */
		struct ft__vigil waiter = { .ready = all_ended,
					    .ctx = &crowd,
					    .mode = crowd.count > 1 ? FT__BELL_LAZY
								    : FT__BELL_EACH };

		rc = ft__wait(futures[i]->pool, &waiter, true, deadline);
		i += crowd.count;
	}
	return rc;
}

int ft_future_done(struct ft_future *future)
{
	int rc = check(future);

	if (rc || is_done(future))
		return rc ? rc : 1;
	rc = ft_pool_poll(future->pool);
	return rc < 0 ? rc : is_done(future);
}

static bool withdraw(struct ft_pool *pool, struct ft_future *future)
{
	if (future->stage == FT__STAGE_BACKLOG) {
		ft__list_remove(&pool->backlog, future);
		return true;
	}
	return future->stage == FT__STAGE_DEALT && ft__deal_recall(pool, future);
}

int ft_future_cancel(struct ft_future *future)
{
	int rc = check(future);

	if (rc)
		return rc;
	struct ft_pool *pool = future->pool;
	ft__pool_lock(pool);
	rc = withdraw(pool, future) ? 0 : -EBUSY;
	if (!rc) {
		ft__harvest_end(pool, future, -ECANCELED);
		ft__deal(pool);
		ft__wake_ready(pool);
	}
	ft__pool_unlock(pool);
	return rc;
}

int ft_future_result(struct ft_future *future, const void **data, size_t *size)
{
	int rc = check(future);

	if (!rc && !is_done(future))
		rc = -EAGAIN;
	if (data)
		*data = rc ? NULL : future->result;
	if (size)
		*size = rc ? 0 : future->size;
	return rc ? rc : future->status;
}

int ft_future_take(struct ft_future *future, void **block)
{
	int rc = check(future);

	if (rc || !block)
		return rc ? rc : -EINVAL;
	if (!is_done(future))
		return -EAGAIN;
	ft__pool_lock(future->pool);
	*block = future->result == future->small ? NULL : future->result;
	if (*block) {
		future->result = NULL;
		future->size = 0;
	}
	ft__pool_unlock(future->pool);
	return *block ? 0 : -ENOENT;
}

int ft_future_death(struct ft_future *future, struct ft_worker_exit *exit)
{
	int rc = check(future);

	if (rc)
		return rc;
	if (!exit || !is_done(future) || !future->lost)
		return -EINVAL;
	*exit = future->death;
	return 0;
}

uint64_t ft_future_id(const struct ft_future *future)
{
	return future ? future->id : 0;
}

/* While it is in a cell, the cell knows. */
static pid_t worker_now(const struct ft_future *future)
{
	const struct ft_pool *pool = future->pool;
	uint64_t word = ft__load64_relaxed(&pool->board.table[future->index].state);
	uint32_t state = ft__task_state(word), seat = ft__task_seat(word);

	if (state != FT__TASK_RUNNING && state != FT__TASK_DONE)
		return 0;
	return seat < pool->board.seats ? ft__member_pid(pool, seat) : 0;
}

/* The death of one that waited is another task's, or nobody's. */
static pid_t worker_then(const struct ft_future *future)
{
	return future->waited ? 0 : future->death.pid;
}

pid_t ft_future_worker(struct ft_future *future)
{
	pid_t pid = 0;
	int rc = check(future);

	if (rc)
		return rc;
	if (is_done(future))
		return worker_then(future);
	ft__pool_lock(future->pool);
	if (future->stage == FT__STAGE_DEALT)
		pid = worker_now(future);
	else if (future->stage == FT__STAGE_ENDED)
		pid = worker_then(future);
	ft__pool_unlock(future->pool);
	return pid;
}

void *ft_future_user(const struct ft_future *future)
{
	return future ? future->user : NULL;
}

void ft_future_free(struct ft_future *future)
{
	if (check(future))
		return;
	struct ft_pool *pool = future->pool;
	ft__pool_lock(pool);
	ft__news_settle(pool, future);
	bool ended = future->stage == FT__STAGE_ENDED;
	future->dropped = true;
	ft__wake_ready(pool);
	ft__pool_unlock(pool);
	if (ended)
		ft__future_delete(future);
}
