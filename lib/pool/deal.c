/* SPDX-License-Identifier: MIT */
/* Tasks go out: from the backlog into cells and channels. */
#include <string.h>

#include <freethreading/arena.h>

#include "os/affinity.h"
#include "os/atomic.h"
#include "pool/pool.h"

static uint32_t cell_get(struct ft_pool *pool)
{
	uint32_t index = pool->high;

	/* Last in, first out: few pages are ever touched. */
	if (pool->free) {
		index = pool->free - 1;
		pool->free = pool->slips[index].next;
	} else {
		pool->high++;
		pool->slips[index].generation = 0;
	}
	pool->slips[index].generation++;
	pool->live++;
	return index;
}

void ft__deal_free(struct ft_pool *pool, struct ft_future *future)
{
	struct ft__slip *slip = &pool->slips[future->index];
	uint64_t ref = ft__task_ref(future->index, future->generation);

	ft__store64_relaxed(&pool->board.table[future->index].state,
			    ft__task_word(FT__TASK_FREE, 0, ref));
	slip->future = NULL;
	slip->next = pool->free;
	pool->free = future->index + 1;
	pool->live--;
	pool->chairs[future->seat].load--;
}

static void cell_write(struct ft__task_cell *cell, const struct ft_future *future)
{
	cell->id = future->id;
	cell->main = (uint64_t)(uintptr_t)future->main;
	cell->code = future->code;
	cell->arg = future->arg ? future->arg_handle : 0;
	cell->arg_size = future->arg_size;
	if (!future->arg && future->arg_size)
		memcpy(cell->small_arg, future->small, future->arg_size);
	cell->result = 0;
	cell->result_size = 0;
	cell->status = 0;
}

static bool seat_sleeps(const struct ft_pool *pool, uint32_t seat)
{
	const uint64_t *word = &pool->board.control->idle[seat / 64];

	return ft__load64_relaxed(word) >> seat % 64 & 1; /* a hint only */
}

/* The least loaded seat, preferably one whose worker is awake. */
static uint32_t seat_choose(const struct ft_pool *pool)
{
	uint64_t best = UINT64_MAX;
	uint32_t chosen = 0;

	for (uint32_t i = 0; i < pool->board.seats; i++) {
		const struct ft__chair *chair = &pool->chairs[i];
		uint64_t cost = (uint64_t)chair->load * 4 + (chair->member ? 0 : 2);
		if (cost < best)
			cost += seat_sleeps(pool, i);
		if (cost < best) {
			best = cost;
			chosen = i;
		}
	}
	return chosen;
}

static bool seat_full(const struct ft_pool *pool, uint32_t seat)
{
	return ft__channel_length(&ft__board_line(&pool->board, seat)->in) >= FT_POOL_WINDOW;
}

/* Channels fill up with references to tasks that were stolen or cancelled
 * while the seat's worker is busy. */
static bool seat_find(const struct ft_pool *pool, uint32_t *seat)
{
	*seat = seat_choose(pool);
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		if (!seat_full(pool, *seat))
			return true;
		*seat = (*seat + 1) % pool->board.seats;
	}
	return false;
}

/* Some worker that looks for work must see the task that was just pushed. */
static void seat_tell(const struct ft_pool *pool, uint32_t seat)
{
	const struct ft__board *board = &pool->board;

	if (ft__board_take_idle_seat(board, seat))
		ft__board_call(board, seat);
	else if (!pool->chairs[seat].member ||
		 ft__load32_seq_cst(&ft__board_line(board, seat)->busy)) /* the worker's claim */
		ft__board_call_any(board);
}

static void place(struct ft_pool *pool, struct ft_future *future, uint32_t seat)
{
	struct ft__line *line = ft__board_line(&pool->board, seat);
	uint32_t index = cell_get(pool);
	struct ft__slip *slip = &pool->slips[index];
	struct ft__task_cell *cell = &pool->board.table[index];
	uint64_t ref = ft__task_ref(index, slip->generation);

	slip->future = future;
	future->index = index;
	future->generation = slip->generation;
	future->seat = seat;
	future->stage = FT__STAGE_DEALT;
	pool->chairs[seat].load++;
	cell_write(cell, future);
	/* Release, with the claimer's acquire. */
	ft__store64_release(&cell->state, ft__task_word(FT__TASK_READY, 0, ref));
	ft__channel_push(&line->in, ft__board_in(&pool->board, seat), FT_POOL_WINDOW, ref);
	seat_tell(pool, seat);
}

void ft__deal(struct ft_pool *pool)
{
	uint32_t *cpu = &pool->board.control->cpu, here = ft__cpu_here(), seat;
	struct ft_future *future;

	if (ft__load32_relaxed(cpu) != here)
		ft__store32_relaxed(cpu, here);
	while ((future = pool->backlog.first) && pool->live < FT_POOL_WINDOW) {
		if (!seat_find(pool, &seat))
			return;
		ft__list_remove(&pool->backlog, future);
		place(pool, future, seat);
	}
}

bool ft__deal_recall(struct ft_pool *pool, struct ft_future *future)
{
	uint64_t ref = ft__task_ref(future->index, future->generation);
	uint64_t ready = ft__task_word(FT__TASK_READY, 0, ref);

	/* Against the workers' claims: one of us gets it. */
	if (!ft__cas64_seq_cst(&pool->board.table[future->index].state, &ready,
			       ft__task_word(FT__TASK_FREE, 0, ref)))
		return false;
	ft__deal_free(pool, future);
	return true;
}

void ft__deal_state(struct ft_pool *pool, uint32_t state)
{
	/* Seq_cst, with a worker's last look before it sleeps. */
	ft__store32_seq_cst(&pool->board.control->state, state);
	for (uint32_t i = 0; i < pool->board.seats; i++) {
		if (ft__board_take_idle_seat(&pool->board, i))
			ft__board_call(&pool->board, i);
	}
}
