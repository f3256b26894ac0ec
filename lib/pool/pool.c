/* SPDX-License-Identifier: MIT */
/* A pool's life: open, close, terminate, join, free. */
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include <freethreading/arena.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "pool/pool.h"
#include "work/worker.h"

int ft__pool_check(const struct ft_pool *pool)
{
	if (!pool)
		return -EINVAL;
	return pool->process == ft__process() ? 0 : -ECHILD;
}

void ft__pool_lock(struct ft_pool *pool)
{
	/* A private lock without a deadline cannot fail. */
	(void)!ft_lock_acquire(&pool->lock, FT_FOREVER);
}

void ft__pool_unlock(struct ft_pool *pool)
{
	ft_lock_release(&pool->lock);
}

void ft__pool_get(struct ft_pool *pool)
{
	ft__add32_seq_cst(&pool->refs, 1);
}

void ft__pool_put(struct ft_pool *pool)
{
	/* Seq_cst: the last one sees what all others did. */
	if (ft__add32_seq_cst(&pool->refs, UINT32_MAX) == 1)
		free(pool);
}

/* ---- open ---- */

static int options_check(const struct ft_pool_options *options)
{
	if (!options || options->size != sizeof(*options))
		return -EINVAL;
	if (options->kind != FT_WORKER_THREAD && options->kind != FT_WORKER_PROCESS)
		return -EINVAL;
	if (options->flags & ~FT_INTERRUPTIBLE || options->workers > FT__SEATS_MAX)
		return -EINVAL;
	return options->spawner && options->kind == FT_WORKER_THREAD ? -EINVAL : 0;
}

static uint32_t seats_wanted(const struct ft_pool_options *options)
{
	unsigned count = options->workers ? options->workers : ft_cpu_count();

	return count < FT__SEATS_MAX ? count : FT__SEATS_MAX;
}

static int ticket_make(struct ft_pool *pool, struct ft__chair *chair, uint32_t seat)
{
	int rc = ft_block_alloc(sizeof(struct ft__ticket), &chair->ticket);

	if (rc)
		return rc;
	*(struct ft__ticket *)chair->ticket = (struct ft__ticket){
		.magic = FT__TICKET_MAGIC,
		.control = ft_block_handle(pool->block),
		.seat = seat,
	};
	chair->handle = ft_block_handle(chair->ticket);
	return 0;
}

static int place_plan(struct ft_pool *pool, uint32_t seats)
{
	if (pool->options.place == FT_PLACE_NONE)
		return 0;
	pool->cpus = calloc(seats, sizeof(*pool->cpus));
	if (!pool->cpus)
		return -ENOMEM;
	return ft_place_plan(pool->options.place, seats, pool->cpus);
}

static int shared_make(struct ft_pool *pool, uint32_t seats)
{
	int rc = ft__board_make(&pool->board, seats, &pool->block);

	if (rc) {
		pool->block = NULL;
		return rc;
	}
	struct ft__control *control = pool->board.control;
	control->process = pool->process;
	control->kind = pool->options.kind;
	control->flags = pool->options.flags;
	control->quota = pool->options.tasks_per_worker;
	control->retries = pool->options.retries > 0;
	control->shared = pool->options.kind == FT_WORKER_PROCESS ? FT_SHARED : FT_PRIVATE;
	for (uint32_t i = 0; i < seats && !rc; i++)
		rc = ticket_make(pool, &pool->chairs[i], i);
	if (!rc)
		rc = ft__collector_open(&pool->collector, &control->bell);
	return rc;
}

static int private_make(struct ft_pool *pool, uint32_t seats)
{
	pool->chairs = calloc(seats, sizeof(*pool->chairs));
	/* Not zeroed: nothing at or above `high` is read. */
	pool->slips = malloc(FT_POOL_WINDOW * sizeof(*pool->slips));
	return pool->chairs && pool->slips ? place_plan(pool, seats) : -ENOMEM;
}

static void parts_free(struct ft_pool *pool)
{
	if (pool->collector)
		ft__collector_close(pool->collector);
	for (uint32_t i = 0; pool->chairs && i < pool->board.seats; i++)
		ft_block_free(pool->chairs[i].ticket);
	ft_block_free(pool->block);
	free(pool->chairs);
	free(pool->slips);
	free(pool->cpus);
	memset(&pool->board, 0, sizeof(pool->board));
	pool->collector = NULL;
	pool->chairs = NULL;
	pool->slips = NULL;
	pool->cpus = NULL;
	pool->block = NULL;
}

/* One worker is enough to go on; the others are tried again later. */
static int hire_first(struct ft_pool *pool)
{
	int rc = 0;

	for (uint32_t i = 0; i < pool->board.seats && !rc; i++)
		rc = ft__member_hire(pool);
	return ft__member_any(pool) ? 0 : rc;
}

static void pool_init(struct ft_pool *pool, const struct ft_pool_options *options)
{
	const char *name = options->name ? options->name : "ft-pool";

	ft_lock_init(&pool->lock, FT_PRIVATE);
	pool->refs = 1;
	pool->process = ft__process();
	pool->options = *options;
	pool->options.name = NULL;
	strncpy(pool->name, name, sizeof(pool->name) - 1);
	pool->kill_at = FT_FOREVER;
}

int ft_pool_open(struct ft_pool **out, const struct ft_pool_options *options)
{
	int rc = out ? options_check(options) : -EINVAL;

	if (!rc)
		rc = ft_arena_open();
	if (rc)
		return rc;
	struct ft_pool *pool = calloc(1, sizeof(*pool));
	if (!pool)
		return -ENOMEM;
	uint32_t seats = seats_wanted(options);
	pool_init(pool, options);
	pool->vacant = seats;
	rc = pool->process ? private_make(pool, seats) : -EAGAIN;
	if (!rc)
		rc = shared_make(pool, seats);
	if (!rc)
		rc = hire_first(pool);
	if (rc) {
		parts_free(pool);
		ft__pool_put(pool);
		return rc;
	}
	*out = pool;
	return 0;
}

/* ---- close ---- */

int ft_pool_close(struct ft_pool *pool)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	ft__pool_lock(pool);
	pool->closing = true;
	ft__tend(pool);
	ft__wake_keepers(pool);
	ft__wake_leader(pool);
	ft__pool_unlock(pool);
	return 0;
}

int ft_pool_cancel(struct ft_pool *pool)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	ft__pool_lock(pool);
	ft__harvest_waiting(pool, -ECANCELED);
	ft__tend(pool);
	ft__wake_leader(pool);
	ft__pool_unlock(pool);
	return 0;
}

int ft_pool_terminate(struct ft_pool *pool, int64_t grace)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	ft__pool_lock(pool);
	/* What has been finished until now counts. */
	ft__harvest(pool);
	pool->closing = true;
	pool->terminated = true;
	pool->shut = true;
	ft__harvest_waiting(pool, -ECANCELED);
	ft__deal_state(pool, FT__CONTROL_TERMINATED);
	ft__member_kill(pool, grace > 0 ? SIGTERM : SIGKILL);
	pool->kill_at = grace > 0 ? ft_after(grace) : FT_FOREVER;
	ft__wake_ready(pool);
	ft__wake_keepers(pool);
	ft__wake_leader(pool);
	ft__pool_unlock(pool);
	return 0;
}

static bool is_deserted(void *ctx)
{
	const struct ft_pool *pool = ctx;

	return pool->closing && !pool->live && !pool->backlog.length && !pool->mapping &&
	       !ft__member_any(pool);
}

/* Some worker that has left its seat, but not ended yet. */
static struct ft_worker *straggler(struct ft_pool *pool, ft_deadline *until)
{
	struct ft_worker *worker = NULL;

	ft__pool_lock(pool);
	ft__tend(pool);
	if (pool->leaving)
		worker = ft__worker_get(pool->leaving->worker);
	if (pool->kill_at < *until)
		*until = pool->kill_at;
	ft__pool_unlock(pool);
	return worker;
}

static int join_stragglers(struct ft_pool *pool, ft_deadline deadline)
{
	for (;;) {
		ft_deadline until = deadline;
		struct ft_worker *worker = straggler(pool, &until);
		if (!worker)
			return 0;
		int rc = ft_worker_join(worker, until);
		ft__worker_put(worker);
		if (rc == -EINTR || (rc && ft__passed(deadline)))
			return rc;
	}
}

int ft_pool_join(struct ft_pool *pool, ft_deadline deadline)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	ft__pool_lock(pool);
	rc = pool->closing ? 0 : -EINVAL;
	ft__pool_unlock(pool);
	if (rc)
		return rc;
	struct ft__vigil waiter = { .ready = is_deserted, .ctx = pool, .mode = FT__BELL_LAZY };
	rc = ft__wait(pool, &waiter, true, deadline);
	if (!rc)
		rc = join_stragglers(pool, deadline);
	if (rc)
		return rc;
	ft__pool_lock(pool);
	pool->joined = true;
	if (!pool->leader)
		ft__collector_rest(pool->collector);
	ft__pool_unlock(pool);
	return 0;
}

/* Futures that were never fetched stay their users'. */
static void news_forget(struct ft_pool *pool)
{
	struct ft_future *future;

	while ((future = pool->news.first)) {
		ft__list_remove(&pool->news, future);
		future->news = false;
	}
}

int ft_pool_free(struct ft_pool *pool)
{
	if (!pool)
		return 0;
	int rc = ft__pool_check(pool);
	if (rc)
		return rc;
	ft__pool_lock(pool);
	rc = pool->joined && !pool->waiters ? 0 : -EBUSY;
	if (!rc)
		news_forget(pool);
	ft__pool_unlock(pool);
	if (rc)
		return rc;
	parts_free(pool);
	ft__pool_put(pool);
	return 0;
}

/* ---- looking ---- */

int ft_pool_poll(struct ft_pool *pool)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	ft__pool_lock(pool);
	ft__tend(pool);
	bool wanted = ft__member_wanted(pool);
	ft__pool_unlock(pool);
	if (wanted)
		ft__member_hire(pool);
	return 0;
}

static void stats_fill(const struct ft_pool *pool, struct ft_pool_stats *stats)
{
	*stats = (struct ft_pool_stats){
		.submitted = pool->ids,
		.done = pool->ended - pool->cancelled - pool->lost,
		.cancelled = pool->cancelled,
		.lost = pool->lost,
		.sleeps = pool->sleeps,
		.workers = pool->board.seats - pool->vacant,
		.restarts = pool->hires > pool->board.seats ? pool->hires - pool->board.seats : 0,
		.broken = pool->broken,
		.idle = ft__board_count_idle(&pool->board),
	};
	for (uint32_t i = 0; i < pool->board.seats; i++)
		stats->stolen += ft__load64_relaxed(&ft__board_line(&pool->board, i)->stolen);
	strncpy(stats->collector, ft__collector_name(), sizeof(stats->collector) - 1);
}

int ft_pool_stats(struct ft_pool *pool, struct ft_pool_stats *stats)
{
	int rc = ft__pool_check(pool);

	if (rc || !stats)
		return rc ? rc : -EINVAL;
	ft__pool_lock(pool);
	stats_fill(pool, stats);
	ft__pool_unlock(pool);
	return 0;
}

pid_t ft_pool_worker_pid(struct ft_pool *pool, uint32_t seat)
{
	int rc = ft__pool_check(pool);

	if (rc || seat >= pool->board.seats)
		return rc ? rc : -EINVAL;
	ft__pool_lock(pool);
	pid_t pid = ft__member_pid(pool, seat);
	ft__pool_unlock(pool);
	return pid;
}
