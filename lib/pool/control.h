/* SPDX-License-Identifier: MIT */
/*
 * A pool's control block: all that a pool shares with its workers, in one arena
 * block.  Floor 4.
 *
 *   head            struct ft__control, below
 *   lines           one struct ft__line for each seat
 *   table           FT_POOL_WINDOW task cells          (pool/task.h)
 *   rings           for each seat FT_POOL_WINDOW references in, as many out
 *
 * Everything but head and lines is sparse and starts as whatever the memory
 * held before: a reference is read only after it was pushed, a cell only
 * through a reference.
 *
 *   field           who writes                     partner
 *   magic .. shared opener, before anybody looks   const
 *   state           submitter, seq_cst             worker: before it looks for work
 *                                                  (acquire), after it set its idle
 *                                                  bit (seq_cst)
 *   bell            sync/bell.h: submitter's process waits, workers ring
 *   idle            worker: sets its bit, then looks once more, then parks, and
 *                   clears it;                     submitter: pushed, or changed
 *                   submitter, or a worker that    the state, then looks at the
 *                   goes busy: clears it when it   bits (seq_cst both sides: one
 *                   takes upon itself to call the  of the two sees the other)
 *                   worker
 *   watcher         worker: 0 to its seat + 1,     workers: at most one spins for long;
 *                   CAS, and back to 0;            a hint, nothing hangs on it
 *                   submitter: 0 after its end
 *   line.in         submitter pushes, worker pops, thieves peek
 *   line.out        worker pushes, submitter pops
 *   line.call       whoever took the idle bit:     worker: parks on the value that it
 *                   +1, then wakes (futex)         read before it set its idle bit
 *   line.busy       worker: 0 before it looks for   submitter: after its push; if it sees
 *                   work, 1 when it looks no more,  0 it leaves the wake of a thief to
 *                   then sees whether somebody has  the worker, which then sees the push
 *                   to be called (seq_cst both
 *                   sides); submitter: 1 after the
 *                   worker's end
 *   line.holder     worker: 0 to its owner id,     submitter: for looking
 *                   CAS; submitter: 0 after the
 *                   worker's end
 *   line.left       worker: 1 when it needs the    submitter: the seat is free
 *                   seat no more, release; the     (acquire)
 *                   submitter: 0 before the next
 *   line.stolen     worker                         submitter: for looking
 *   cpu, line.cpu   submitter, worker: where it    whoever spins: if the other one was
 *                   has run last, + 1              there where he is, he is in its way;
 *                                                  a hint, nothing hangs on it
 *
 * A worker may die between clearing somebody's idle bit and the call: after
 * each death the submitter calls everybody.
 *
 * "Submitter" is any thread of the opening process that holds the pool's
 * private lock.
 */
#ifndef FT_POOL_CONTROL_H
#define FT_POOL_CONTROL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "os/compiler.h"
#include "pool/channel.h"
#include "pool/task.h"
#include "sync/bell.h"

#define FT__CONTROL_MAGIC UINT64_C(0x6c6f6f7074667466)
#define FT__TICKET_MAGIC UINT64_C(0x74656b6369747466)
#define FT__SEATS_MAX 1024u

#define FT__CONTROL_OPEN 0u
#define FT__CONTROL_CLOSING 1u    /* leave when there is no READY task */
#define FT__CONTROL_TERMINATED 2u /* leave after the task at hand */

struct ft__line {
	struct ft__channel in, out;
	uint32_t call FT__ALIGNED(FT__CACHE_LINE);
	uint32_t holder;
	uint32_t left;
	uint32_t busy;
	uint32_t cpu;
	uint64_t stolen;
};

struct ft__control {
	uint64_t magic;
	uint32_t process; /* owner id of the submitter's */
	uint32_t seats;
	uint32_t kind;    /* enum ft_worker_kind */
	uint32_t flags;   /* FT_INTERRUPTIBLE */
	uint32_t quota;   /* tasks that a worker takes, 0: any number */
	uint32_t retries; /* 1: an argument stays where it is */
	uint32_t shared;  /* FT_SHARED or FT_PRIVATE: how `call` is keyed */
	uint32_t state FT__ALIGNED(FT__CACHE_LINE);
	struct ft__bell bell FT__ALIGNED(FT__CACHE_LINE);
	uint32_t watcher FT__ALIGNED(FT__CACHE_LINE);
	uint32_t cpu FT__ALIGNED(FT__CACHE_LINE);
	uint64_t idle[FT__SEATS_MAX / 64] FT__ALIGNED(FT__CACHE_LINE);
	struct ft__line lines[] FT__ALIGNED(FT__CACHE_LINE);
};

/* What a seat's handle names: a small block. */
struct ft__ticket {
	uint64_t magic;
	uint64_t control; /* handle of the control block */
	uint64_t seat;
};

/* Where the parts lie, worked out by each process for itself and kept in
 * private memory: nothing of it is read from shared pages again. */
struct ft__board {
	struct ft__control *control;
	struct ft__task_cell *table;
	uint64_t *rings;
	uint32_t seats;
};

/* A new control block, with everything set but its const fields.  `block` is
 * what ft_block_free wants.  0 or -errno. */
int ft__board_make(struct ft__board *board, uint32_t seats, void **block);

/* Finds the control block behind a handle.  0, -EINVAL, -ESTALE. */
int ft__board_find(struct ft__board *board, uint64_t handle);

static inline struct ft__line *ft__board_line(const struct ft__board *board, uint32_t seat)
{
	return &board->control->lines[seat];
}

static inline uint64_t *ft__board_in(const struct ft__board *board, uint32_t seat)
{
	return board->rings + (size_t)seat * 2 * FT_POOL_WINDOW;
}

static inline uint64_t *ft__board_out(const struct ft__board *board, uint32_t seat)
{
	return ft__board_in(board, seat) + FT_POOL_WINDOW;
}

/* The cell a reference names, or NULL for what cannot be one. */
static inline struct ft__task_cell *ft__board_cell(const struct ft__board *board, uint64_t ref)
{
	uint32_t index = (uint32_t)ref;

	return index < FT_POOL_WINDOW ? &board->table[index] : NULL;
}

/* Some seat whose worker sleeps, taken out of the bits: whoever gets it must
 * wake it.  False: none sleeps. */
bool ft__board_take_idle(const struct ft__board *board, uint32_t *seat);
/* The same for one seat. */
bool ft__board_take_idle_seat(const struct ft__board *board, uint32_t seat);
void ft__board_set_idle(const struct ft__board *board, uint32_t seat);
bool ft__board_any_idle(const struct ft__board *board);
uint32_t ft__board_count_idle(const struct ft__board *board);

/* Calls a worker whose idle bit the caller took. */
void ft__board_call(const struct ft__board *board, uint32_t seat);
/* Calls some sleeping worker, if there is one. */
void ft__board_call_any(const struct ft__board *board);

#endif
