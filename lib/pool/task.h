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
 * The result block is given to the submitter's process (ft__block_assign) and
 * its handle stored in `result` before DONE; if the worker dies in between, the
 * collector finds the handle and frees the block.
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

struct ft__task_cell {
	uint64_t state;       /* atomic, table above */
	uint64_t id;          /* submitter, before READY; so are the next four */
	uint64_t main;        /* ft_task_main in workers that share our image, or 0 */
	uint64_t code;
	uint64_t arg;         /* handle of the argument block, or 0 */
	uint64_t arg_size;
	uint64_t result;      /* worker, before DONE: handle, or 0 */
	uint64_t result_size;
	int32_t status;       /* worker, before DONE */
	uint32_t reserved;
	uint64_t pad[7];
};
_Static_assert(sizeof(struct ft__task_cell) == 128, "two cache lines a task");

#endif
