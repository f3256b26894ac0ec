/* SPDX-License-Identifier: MIT */
/* Many tasks at once: ft_pool_map. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include <freethreading/arena.h>

#include "os/atomic.h"
#include "pool/pool.h"

/* Tasks are dealt out by so many; results are awaited by so many too. */
#define BATCH 64u
/* In flight for each worker: enough that none runs dry while the submitter is
 * being woken, and few enough to stay in the caches. */
#define REACH 256u

struct element {
	struct ft_future future; /* first: a future is an element */
	struct map *map;
	struct element *next;
	size_t at;
};

struct map {
	struct ft_pool *pool;
	ft_task_main *main;
	const char *in;
	char *out;
	size_t in_size, out_size, count;
	/* Under the pool's lock: */
	size_t next;      /* the first element not submitted yet */
	size_t outstanding, reach;
	struct element *free;
	size_t failed_at; /* the first element that failed */
	int failed;       /* its status, or 0 */
};

static void fail(struct map *map, size_t at, int status)
{
	if (map->failed && map->failed_at <= at)
		return;
	map->failed = status;
	map->failed_at = at;
}

/* Locked, as every sink. */
static void element_end(struct ft_future *future)
{
	struct element *element = (struct element *)future;
	struct map *map = element->map;
	int status = future->status;

	if (!status && future->size > map->out_size)
		status = -EMSGSIZE;
	if (status)
		fail(map, element->at, status);
	else if (future->size)
		memcpy(map->out + element->at * map->out_size, future->result, future->size);
	if (future->result != future->small)
		ft_block_free(future->result);
	element->next = map->free;
	map->free = element;
	map->outstanding--;
}

/* Locked: takes free elements for the next part of the input. */
static unsigned batch_take(struct map *map, struct element **batch)
{
	unsigned n = 0;

	while (n < BATCH && map->free && map->next < map->count) {
		struct element *element = map->free;
		map->free = element->next;
		element->at = map->next++;
		batch[n++] = element;
	}
	map->outstanding += n;
	return n;
}

static int element_fill(struct map *map, struct element *element)
{
	struct ft_future *future = &element->future;

	memset(future, 0, offsetof(struct ft_future, small));
	future->pool = map->pool;
	future->main = map->main;
	future->sink = element_end;
	future->retries = map->pool->options.retries;
	element->map = map;
	return ft__future_arg(future, map->in + element->at * map->in_size, map->in_size);
}

/* Not locked; once an element cannot be submitted, no further one will be. */
static void batch_submit(struct map *map, struct element **batch, unsigned n)
{
	int rc[BATCH];

	for (unsigned i = 0; i < n; i++)
		rc[i] = element_fill(map, batch[i]);
	ft__pool_lock(map->pool);
	for (unsigned i = 0; i < n; i++) {
		struct ft_future *future = &batch[i]->future;
		if (!rc[i])
			rc[i] = ft__submit(map->pool, future);
		if (!rc[i])
			continue;
		map->next = map->count;
		ft_block_free(future->arg);
		future->status = rc[i];
		element_end(future);
	}
	ft__submit_flush(map->pool);
	ft__pool_unlock(map->pool);
}

static void submit_more(struct map *map)
{
	struct element *batch[BATCH];
	unsigned n;

	do {
		ft__pool_lock(map->pool);
		n = batch_take(map, batch);
		ft__pool_unlock(map->pool);
		if (n)
			batch_submit(map, batch, n);
	} while (n == BATCH);
}

static bool wants_attention(void *ctx)
{
	const struct map *map = ctx;

	if (map->next < map->count)
		return map->outstanding + BATCH <= map->reach || map->outstanding == 0;
	return map->outstanding == 0;
}

static bool is_over(void *ctx)
{
	return ((struct map *)ctx)->outstanding == 0;
}

/* Takes back what no worker has begun. */
static void withdraw(struct map *map)
{
	struct ft_pool *pool = map->pool;

	ft__pool_lock(pool);
	map->next = map->count;
	for (struct ft_future *future = pool->backlog.first, *next; future; future = next) {
		next = future->next;
		if (future->sink != element_end || ((struct element *)future)->map != map)
			continue;
		ft__list_remove(&pool->backlog, future);
		ft__harvest_end(pool, future, -ECANCELED);
	}
	for (uint32_t i = 0; i < pool->high; i++) {
		struct ft_future *future = pool->slips[i].future;
		if (!future || future->sink != element_end ||
		    ((struct element *)future)->map != map)
			continue;
		if (ft__deal_recall(pool, future))
			ft__harvest_end(pool, future, -ECANCELED);
	}
	ft__pool_unlock(pool);
}

static int map_run(struct map *map)
{
	struct ft__vigil waiter = { .ready = wants_attention, .ctx = map,
				     .mode = FT__BELL_LAZY };
	int rc = 0;

	do {
		submit_more(map);
		rc = ft__wait(map->pool, &waiter, true, FT_FOREVER);
	} while (!rc && (map->next < map->count || map->outstanding));
	if (!rc)
		return map->failed;
	withdraw(map);
	waiter.ready = is_over;
	(void)ft__wait(map->pool, &waiter, false, FT_FOREVER);
	return rc;
}

/* From here on a close waits for us. */
static int map_begin(struct ft_pool *pool)
{
	ft__pool_lock(pool);
	int rc = pool->closing ? -EPIPE : 0;
	pool->mapping += !rc;
	ft__pool_unlock(pool);
	return rc;
}

static void map_finish(struct ft_pool *pool)
{
	ft__pool_lock(pool);
	pool->mapping--;
	ft__tend(pool);
	ft__pool_unlock(pool);
}

static uint32_t reach_of(const struct ft_pool *pool, size_t count)
{
	uint64_t reach = (uint64_t)pool->board.seats * REACH;

	reach = reach < 1024 ? 1024 : reach;
	reach = reach > FT_POOL_WINDOW ? FT_POOL_WINDOW : reach;
	return (uint32_t)(reach > count ? count : reach);
}

int ft_pool_map(struct ft_pool *pool, ft_task_main *main, const void *in, size_t in_size,
		void *out, size_t out_size, size_t count)
{
	int rc = ft__pool_check(pool);

	if (rc)
		return rc;
	if (!main || (!in && in_size) || (!out && out_size))
		return -EINVAL;
	if (!count)
		return 0;
	rc = map_begin(pool);
	if (rc)
		return rc;
	struct map map = { .pool = pool, .main = main, .in = in, .in_size = in_size,
			   .out = out, .out_size = out_size, .count = count,
			   .reach = reach_of(pool, count) };
	struct element *elements = malloc(map.reach * sizeof(*elements));
	for (size_t i = 0; elements && i < map.reach; i++) {
		elements[i].next = map.free;
		map.free = &elements[i];
	}
	rc = elements ? map_run(&map) : -ENOMEM;
	free(elements);
	map_finish(pool);
	return rc;
}
