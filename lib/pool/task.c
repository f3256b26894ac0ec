/* SPDX-License-Identifier: MIT */
/* A task as its worker sees it: claim, argument, reply, end. */
#include <errno.h>
#include <string.h>

#include <freethreading/arena.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "os/atomic.h"
#include "pool/seat.h"

/* So many unread results are worth waking a LAZY sleeper for. */
#define MANY 64

/* A cell whose argument cannot be what a submitter wrote gives a task without
 * one, never a wild pointer. */
static void arg_find(struct ft_task *task)
{
	const struct ft__task_cell *cell = task->cell;
	void *block;

	task->arg = NULL;
	task->arg_size = 0;
	if (!cell->arg && cell->arg_size <= FT__TASK_SMALL_ARG) {
		task->arg = cell->arg_size ? cell->small_arg : NULL;
		task->arg_size = cell->arg_size;
	} else if (cell->arg && !ft_block_at(cell->arg, &block) &&
		   cell->arg_size <= ft_block_size(block)) {
		task->arg = block;
		task->arg_size = cell->arg_size;
	}
}

bool ft__task_claim(struct ft_seat *seat, uint64_t ref)
{
	struct ft__task_cell *cell = ft__board_cell(&seat->board, ref);
	uint64_t ready = ft__task_word(FT__TASK_READY, 0, ref);

	/* Looking before the CAS leaves the line of a stolen task where it is. */
	if (!cell || ft__load64_relaxed(&cell->state) != ready)
		return false;
	/* Acquire, with the submitter's release of READY. */
	if (!ft__cas64_acquire(&cell->state, &ready,
			       ft__task_word(FT__TASK_RUNNING, seat->index, ref)))
		return false;
	seat->task = (struct ft_task){ .seat = seat, .cell = cell, .ref = ref };
	arg_find(&seat->task);
	seat->taken++;
	return true;
}

const void *ft_task_arg(const struct ft_task *task, size_t *size)
{
	bool live = task && task->cell;

	if (size)
		*size = live ? task->arg_size : 0;
	return live ? task->arg : NULL;
}

int ft_task_take(struct ft_task *task, void **block)
{
	if (!task || !task->cell || !block)
		return -EINVAL;
	if (!task->cell->arg || !task->arg)
		return -ENOENT;
	if (task->seat->board.control->retries || task->seat->process == ft__process())
		return -EPERM;
	int rc = ft__block_seize(task->cell->arg, task->seat->process);
	*block = rc ? NULL : (void *)(uintptr_t)task->arg;
	return rc;
}

uint64_t ft_task_code(const struct ft_task *task)
{
	return task && task->cell ? task->cell->code : 0;
}

uint64_t ft_task_id(const struct ft_task *task)
{
	return task && task->cell ? task->cell->id : 0;
}

static bool may_reply(const struct ft_task *task)
{
	return task && task->cell && !task->replied;
}

/* The handle comes first: whenever the gift has happened, the collector can
 * find the block by it. */
static int reply_give(struct ft_task *task, void *payload, size_t size)
{
	struct ft__task_cell *cell = task->cell;
	struct ft__block *block = ft__block_of(payload);

	if (!block)
		return -EINVAL;
	ft__store64_relaxed(&cell->result, ft_block_handle(payload));
	ft__compiler_barrier();
	if (ft__block_assign(block, task->seat->process)) {
		ft__store64_relaxed(&cell->result, 0);
		return -EINVAL;
	}
	cell->result_size = size;
	FT__POINT();
	task->replied = true;
	return 0;
}

int ft_task_reply(struct ft_task *task, const void *data, size_t size)
{
	void *payload;

	if (!may_reply(task) || (!data && size))
		return -EINVAL;
	if (size <= FT__TASK_SMALL_RESULT) {
		if (size)
			memcpy(task->cell->small_result, data, size);
		task->cell->result_size = size;
		FT__POINT();
		task->replied = true;
		return 0;
	}
	int rc = ft_block_alloc(size, &payload);
	if (rc)
		return rc;
	memcpy(payload, data, size);
	rc = reply_give(task, payload, size);
	if (rc)
		ft_block_free(payload);
	return rc;
}

int ft_task_reply_block(struct ft_task *task, void *block, size_t size)
{
	if (!may_reply(task) || !block || size > ft_block_size(block))
		return -EINVAL;
	return reply_give(task, block, size);
}

int ft_task_end(struct ft_task *task, int status)
{
	if (!task || !task->cell || status > 0)
		return -EINVAL;
	/* A child that the task has forked is not its worker. */
	if (ft__arena.forked)
		return -ECHILD;
	struct ft_seat *seat = task->seat;
	struct ft__control *control = seat->board.control;
	uint64_t *cells = ft__board_out(&seat->board, seat->index);
	uint64_t ref = task->ref;

	task->cell->status = status;
	FT__POINT();
	/* Release, with the collector's acquire: the result is there. */
	ft__store64_release(&task->cell->state, ft__task_word(FT__TASK_DONE, seat->index, ref));
	task->cell = NULL;
	/* Never full: no more tasks are alive than it has cells. */
	ft__channel_push(&seat->line->out, cells, FT_POOL_WINDOW, ref);
	seat->owing = true;
	ft__bell_ring(&control->bell, ft__channel_length(&seat->line->out) >= MANY);
	return 0;
}

void ft__task_run(struct ft_task *task)
{
	ft_task_main *main = (ft_task_main *)(uintptr_t)task->cell->main;
	int status = main ? main(task) : -ENOSYS;

	/* It may have ended itself. */
	if (task->cell)
		ft_task_end(task, status > 0 ? -EINVAL : status);
}
