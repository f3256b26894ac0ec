/* SPDX-License-Identifier: MIT */
/*
 * Tasks in shared pages.  A pool has a table of FT_POOL_WINDOW descriptors that
 * are never anything else (type-stable), so a stale reference can be looked at
 * without harm, and its generation tells that it is stale.  Floor 4.
 *
 * A reference, as channels carry it:  bits 0-31 index, bits 32-63 generation.
 *
 * A descriptor's state (atomic):
 *
 *   bits 0-2    state
 *   bits 8-23   seat, while RUNNING or DONE
 *   bits 32-63  generation, +1 when the descriptor is used again
 *
 *   FREE       -> READY       submitter, after the other fields are written
 *                             (release; pairs with the claimer's acquire)
 *   READY      -> RUNNING(s)  worker in seat s: CAS; this is the claim, whoever's
 *                             channel the reference came from
 *   READY      -> FREE        submitter cancels: CAS
 *   RUNNING(s) -> DONE(s)     the same worker (release; pairs with the
 *                             collector's acquire), then it pushes the reference
 *   RUNNING(s) -> FREE        collector, after the worker's proven death: LOST
 *   DONE(s)    -> FREE        collector, after it took the result
 *
 * Small arguments and results lie in the descriptor itself: the handle is 0
 * then, and the size is not.  A larger result is a block.  Its handle is stored
 * in `result`, the block is given to the submitter's process (ft__block_assign),
 * and then comes DONE.  If the worker dies before the gift, the block is swept
 * and the handle stale; if it dies after, the collector frees the block.
 */
#ifndef FT_POOL_TASK_H
#define FT_POOL_TASK_H

#include <stdint.h>

#include <freethreading/pool.h>

#include "os/compiler.h"

#define FT__TASK_FREE 0u
#define FT__TASK_READY 1u
#define FT__TASK_RUNNING 2u
#define FT__TASK_DONE 3u
#define FT__TASK_STATE 7u

#define FT__TASK_SMALL_ARG 80u
#define FT__TASK_SMALL_RESULT 104u

struct ft__task_cell {
	uint64_t state;       /* atomic, table above */
	uint64_t id;          /* submitter, before READY; so are all up to small_arg */
	uint64_t main;        /* ft_task_main in workers that share our image, or 0 */
	uint64_t code;
	uint64_t arg;         /* handle of the argument block, or 0 */
	uint64_t arg_size;
	unsigned char small_arg[FT__TASK_SMALL_ARG];
	uint64_t result;      /* worker, before DONE: handle, or 0; so is the rest */
	uint64_t result_size;
	int32_t status;
	uint32_t reserved;
	unsigned char small_result[FT__TASK_SMALL_RESULT];
};
_Static_assert(sizeof(struct ft__task_cell) == 256, "two cache lines for each side");

static inline uint64_t ft__task_ref(uint32_t index, uint32_t generation)
{
	return (uint64_t)generation << 32 | index;
}

static inline uint64_t ft__task_word(uint32_t state, uint32_t seat, uint64_t ref)
{
	return (ref & ~UINT64_C(0xffffffff)) | (uint64_t)seat << 8 | state;
}

static inline uint32_t ft__task_state(uint64_t word)
{
	return (uint32_t)word & FT__TASK_STATE;
}

static inline uint32_t ft__task_seat(uint64_t word)
{
	return (uint32_t)word >> 8 & 0xffff;
}

#endif
