/* SPDX-License-Identifier: MIT */
/*
 * Blocks: a crash-safe allocator in the arena.  Floor 1.
 *
 * The arena's data is cut into spans of 64 KiB.  A span is free, or cut into
 * blocks of one size class, or part of a run that is one large block.
 *
 * A span's word (atomic):
 *
 *   0                        free
 *   CLASS | class            blocks of that class; stays so
 *   CLAIM | owner<<8         taken by a living process that builds a run
 *   RUN   | length<<8        first span of a large block (its header says the rest)
 *   REST  | head index<<8    further span of the run that starts at `head`
 *
 * A run is committed by the one store that turns its head from CLAIM to RUN,
 * after its RESTs are written; freed the other way round.
 *
 * A block's word (atomic), the first of its 32-byte header:
 *
 *   bits 0-2    state
 *   bits 4-33   owner id of the process it belongs to
 *   bits 34-63  generation, +1 at every free: stale handles are refused
 *
 *   FREE        -> OWNED(me)   alloc: CAS; free blocks are found by scanning,
 *                              caches and hints are only hints
 *   OWNED(me)   -> FREE        free
 *   OWNED(me)   -> OWNED(you)  ft__block_assign
 *   OWNED(me)   -> GIVING(me)  put into a home (a queue): before it is linked
 *   GIVING(me)  -> HELD        after it is linked
 *   HELD, GIVING(x) -> TAKING(me)  before it is unlinked
 *   TAKING(me)  -> OWNED(me)   after it is unlinked
 *
 * After a death: OWNED(dead) -> FREE; GIVING(dead) and TAKING(dead) are shown
 * to the home, which knows under its lock whether it is linked: HELD or FREE.
 * So there is no moment at which a death leaks a block or frees one in use.
 */
#ifndef FT_MEM_BLOCK_H
#define FT_MEM_BLOCK_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/arena.h"

#define FT__BLOCK_FREE 0u
#define FT__BLOCK_OWNED 1u
#define FT__BLOCK_GIVING 2u
#define FT__BLOCK_HELD 3u
#define FT__BLOCK_TAKING 4u

struct ft__block {
	uint64_t word; /* atomic, table above */
	uint64_t size; /* asked for; written by the owner after it got the block */
	uint64_t link; /* the home's: offset of the next block in it */
	uint64_t home; /* the home's: its offset, while GIVING, HELD or TAKING */
};
_Static_assert(sizeof(struct ft__block) == 32, "payloads stay 32-aligned");

/* Payload <-> header.  ft__block_of checks that p is the payload of a block
 * (class or run start, inside the arena); NULL otherwise. */
struct ft__block *ft__block_of(const void *payload);
static inline void *ft__block_payload(struct ft__block *block)
{
	return block + 1;
}
/* The header behind an offset read from shared pages, checked; or NULL. */
struct ft__block *ft__block_at_offset(uint64_t offset);

/* Moves between states; -EPERM when the block is not in the state, or not
 * mine, that the table demands. */
int ft__block_assign(struct ft__block *block, uint32_t owner);
int ft__block_give(struct ft__block *block, uint64_t home);
int ft__block_given(struct ft__block *block);
int ft__block_take(struct ft__block *block);
int ft__block_taken(struct ft__block *block);

/* After the proven death of process `dead`: frees what it owned.  For blocks
 * half given or half taken, `linked` says whether the home has it. */
typedef bool ft__block_linked(uint64_t home, struct ft__block *block);
uint64_t ft__block_sweep(uint32_t dead, ft__block_linked *linked);

/* Forgets this process's private caches without freeing: after fork. */
void ft__block_forget(void);

/* Blocks whose word names this owner, or HELD ones if 0. */
uint64_t ft__block_count(uint32_t owner);

#endif
