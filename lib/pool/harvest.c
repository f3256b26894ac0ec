/* SPDX-License-Identifier: MIT */
/* Results come in, and futures end. */
#include <errno.h>
#include <string.h>

#include <freethreading/arena.h>

#include "mem/block.h"
#include "os/atomic.h"
#include "pool/pool.h"

void ft__list_append(struct ft__list *list, struct ft_future *future)
{
	future->next = NULL;
	future->prev = list->last;
	if (list->last)
		list->last->next = future;
	else
		list->first = future;
	list->last = future;
	list->length++;
}

void ft__list_prepend(struct ft__list *list, struct ft_future *future)
{
	future->prev = NULL;
	future->next = list->first;
	if (list->first)
		list->first->prev = future;
	else
		list->last = future;
	list->first = future;
	list->length++;
}

void ft__list_remove(struct ft__list *list, struct ft_future *future)
{
	if (future->prev)
		future->prev->next = future->next;
	else
		list->first = future->next;
	if (future->next)
		future->next->prev = future->prev;
	else
		list->last = future->prev;
	list->length--;
}

static void count(struct ft_pool *pool, int status)
{
	pool->ended++;
	if (status == -ECANCELED)
		pool->cancelled++;
	if (status == -EOWNERDEAD)
		pool->lost++;
}

void ft__harvest_end(struct ft_pool *pool, struct ft_future *future, int status)
{
	count(pool, status);
	if (future->arg)
		(void)ft__block_release(future->arg_handle);
	future->arg = NULL;
	future->status = status;
	future->stage = FT__STAGE_ENDED;
	if (future->sink) {
		future->sink(future);
		return;
	}
	if (future->dropped) {
		ft__future_delete(future);
		return;
	}
	future->news = future->flags & FT_CALL_NOTIFY;
	if (future->news)
		ft__list_append(&pool->news, future);
	/* Release, with those who look without the lock. */
	ft__store32_release(&future->done, 1);
}

/* Nothing in the cell is trusted: sizes are held against the block's own. */
static void result_take(struct ft_future *future, const struct ft__task_cell *cell)
{
	uint64_t handle = cell->result, size = cell->result_size;
	void *block;

	if (!handle && size && size <= FT__TASK_SMALL_RESULT) {
		memcpy(future->small, cell->small_result, size);
		future->result = future->small;
		future->size = size;
	} else if (handle && !ft_block_at(handle, &block)) {
		future->result = block;
		future->size = size <= ft_block_size(block) ? size : 0;
		/* What the worker took it may reply with. */
		if (future->arg && handle == future->arg_handle)
			future->arg = NULL;
	}
}

/* The worker died after it had given the block to us, or before. */
static void result_drop(const struct ft__task_cell *cell)
{
	void *block;

	if (cell->result && !ft_block_at(cell->result, &block))
		ft_block_free(block);
}

static void end_done(struct ft_pool *pool, struct ft_future *future, uint32_t seat)
{
	const struct ft__task_cell *cell = &pool->board.table[future->index];
	int status = cell->status <= 0 ? cell->status : -EINVAL;

	future->death.pid = ft__member_pid(pool, seat);
	if (pool->terminated) {
		result_drop(cell);
		status = -ECANCELED;
	} else {
		result_take(future, cell);
	}
	pool->chairs[seat].ended++;
	pool->futile = 0;
	ft__deal_free(pool, future);
	ft__harvest_end(pool, future, status);
}

/* The future behind a reference, if its task is where `state` says; whatever
 * else was pushed, perhaps a second time, is nothing. */
static struct ft_future *find(const struct ft_pool *pool, uint64_t ref, uint64_t *word)
{
	uint32_t index = (uint32_t)ref;

	if (index >= pool->high)
		return NULL;
	struct ft_future *future = pool->slips[index].future;
	if (!future || future->generation != ref >> 32)
		return NULL;
	/* Acquire, with the worker's release of DONE. */
	*word = ft__load64_acquire(&pool->board.table[index].state);
	return *word >> 32 == future->generation ? future : NULL;
}

static void drain(struct ft_pool *pool, uint32_t seat)
{
	struct ft__line *line = ft__board_line(&pool->board, seat);
	const uint64_t *cells = ft__board_out(&pool->board, seat);
	uint64_t ref, word;

	/* Bounded: a scribbled index must not keep us here for ever. */
	for (uint32_t i = 0; i < FT_POOL_WINDOW; i++) {
		if (!ft__channel_pop(&line->out, cells, FT_POOL_WINDOW, &ref))
			return;
		struct ft_future *future = find(pool, ref, &word);
		if (future && ft__task_state(word) == FT__TASK_DONE)
			end_done(pool, future, seat);
	}
}

void ft__harvest(struct ft_pool *pool)
{
	for (uint32_t i = 0; i < pool->board.seats; i++)
		drain(pool, i);
}

bool ft__harvest_ripe(const struct ft_pool *pool)
{
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		if (ft__channel_length(&ft__board_line(&pool->board, i)->out))
			return true;
	}
	return false;
}

static void end_lost(struct ft_pool *pool, struct ft_future *future,
		     const struct ft_worker_exit *exit)
{
	result_drop(&pool->board.table[future->index]);
	future->death = *exit;
	future->lost = !pool->terminated;
	ft__deal_free(pool, future);
	ft__harvest_end(pool, future, pool->terminated ? -ECANCELED : -EOWNERDEAD);
}

/* Whether the cell says what no worker and no submitter writes: it has been
 * scribbled over, and nobody will ever end its task. */
static bool is_nonsense(const struct ft_pool *pool, uint64_t word)
{
	uint32_t state = ft__task_state(word), seat = ft__task_seat(word);

	if (state == FT__TASK_READY)
		return false;
	if (state != FT__TASK_RUNNING && state != FT__TASK_DONE)
		return true;
	return seat >= pool->board.seats || !pool->chairs[seat].member;
}

/* A task whose worker died, if it may: its argument is where it was, as nobody
 * could take it. */
static bool begin_anew(struct ft_pool *pool, struct ft_future *future)
{
	if (!future->retries || pool->terminated || pool->broken)
		return false;
	future->retries--;
	result_drop(&pool->board.table[future->index]);
	ft__deal_free(pool, future);
	future->stage = FT__STAGE_BACKLOG;
	ft__list_prepend(&pool->backlog, future);
	return true;
}

/* Whether it was the dead worker's. */
static bool end_after_death(struct ft_pool *pool, struct ft_future *future, uint32_t seat,
			    const struct ft_worker_exit *exit)
{
	uint64_t word;

	if (!find(pool, ft__task_ref(future->index, future->generation), &word) ||
	    is_nonsense(pool, word))
		end_lost(pool, future, exit);
	else if (ft__task_state(word) == FT__TASK_READY || ft__task_seat(word) != seat)
		return false;
	else if (ft__task_state(word) == FT__TASK_DONE)
		end_done(pool, future, seat);
	else if (!begin_anew(pool, future))
		end_lost(pool, future, exit);
	return true;
}

bool ft__harvest_dead(struct ft_pool *pool, uint32_t seat, const struct ft_worker_exit *exit)
{
	bool worked = false;

	drain(pool, seat);
	for (uint32_t i = 0; i < pool->high; i++) {
		if (pool->slips[i].future)
			worked |= end_after_death(pool, pool->slips[i].future, seat, exit);
	}
	return worked;
}

void ft__harvest_rest(struct ft_pool *pool)
{
	for (uint32_t i = 0; i < pool->high; i++) {
		if (pool->slips[i].future)
			end_lost(pool, pool->slips[i].future, &pool->last_death);
	}
}

static void end_waiting(struct ft_pool *pool, struct ft_future *future, int status)
{
	future->lost = future->waited = status == -EOWNERDEAD;
	if (future->lost)
		future->death = pool->last_death;
	ft__harvest_end(pool, future, status);
}

void ft__harvest_waiting(struct ft_pool *pool, int status)
{
	struct ft_future *future;

	while ((future = pool->backlog.first)) {
		ft__list_remove(&pool->backlog, future);
		end_waiting(pool, future, status);
	}
	for (uint32_t i = 0; i < pool->high; i++) {
		future = pool->slips[i].future;
		if (future && ft__deal_recall(pool, future))
			end_waiting(pool, future, status);
	}
}
