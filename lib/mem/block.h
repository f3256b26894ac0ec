/* SPDX-License-Identifier: MIT */
/*
 * Blocks: a crash-safe allocator in the arena.  Floor 1.
 *
 * Where blocks lie is told in span.h: small ones in spans of one size class,
 * powers of two from 64 bytes to 32 KiB, header included; larger ones are runs
 * of whole spans.
 *
 * A block's word (atomic), the first of its 32-byte header:
 *
 *   bits 0-2    state
 *   bits 4-33   owner id of the process it belongs to; SHARED: see share.h
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
 *   OWNED(me)   -> SHARED      several processes hold it from now on (share.h)
 *   SHARED      -> ENDING(me)  nobody holds it any more
 *   OWNED(me)   -> ENDING(me)  free, of a block that a queue is in
 *   ENDING(me)  -> FREE        after what is in it was ended
 *   OWNED(me)   -> PAGE(me)    a page of who holds another block: before it is
 *                              linked there
 *   PAGE(me)    -> PAGE        after it is linked
 *   PAGE        -> FREE        by who ends that block
 *
 * After a death: OWNED(dead) -> FREE, or, if a queue is in it, ENDING(sweeper);
 * GIVING(dead) and TAKING(dead) are shown to the home, which knows under its lock
 * whether it is linked: HELD or FREE, or, if a queue is in it, as OWNED(dead);
 * ENDING(dead) is ended by the sweeper, and so is what only the dead had held;
 * PAGE(dead) is PAGE if it is linked, or FREE.
 * So there is no moment at which a death leaks a block or frees one in use.
 *
 * FREE is what a block is, wherever it is remembered: the private caches
 * (cache.h) hold hints to blocks that were free, and the CAS decides.
 *
 * A handle is offset / 64 in bits 30-63 and the generation in bits 0-29.  A
 * generation comes round after 2^30 frees of one block.
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
#define FT__BLOCK_SHARED 5u
#define FT__BLOCK_ENDING 6u
#define FT__BLOCK_PAGE 7u

/* The three fields of a block's word, and of a span's. */
#define FT__WORD_STATE(word) ((uint32_t)((word)&7u))
#define FT__WORD_OWNER(word) ((uint32_t)((word) >> 4) & 0x3fffffffu)
#define FT__WORD_GENERATION(word) ((uint32_t)((word) >> 34))
static inline uint64_t ft__word(uint32_t state, uint32_t owner, uint32_t generation)
{
	return (uint64_t)state | (uint64_t)owner << 4 | (uint64_t)generation << 34;
}

struct ft__block {
	uint64_t word; /* atomic, table above */
	uint64_t size; /* asked for, and marks; written by the owner after it got the
			* block, by who ends it while ENDING */
	uint64_t link; /* the home's: offset of the next block in it; share.h: the next
			* page */
	uint64_t home; /* the home's: its offset, while GIVING, HELD or TAKING; share.h:
			* PAGE: whose it is; ENDING: the next that its ender has to end */
};
_Static_assert(sizeof(struct ft__block) == 32, "payloads stay 32-aligned");

/* In `size`, above any size that a block can have. */
#define FT__BLOCK_CARRIES (UINT64_C(1) << 63) /* share.h: holds stand behind the bytes */
#define FT__BLOCK_QUEUED (UINT64_C(1) << 62)  /* share.h: a queue is in it */
#define FT__BLOCK_BYTES ((UINT64_C(1) << 62) - 1)
static inline uint64_t ft__block_bytes(const struct ft__block *block)
{
	return ft__load64_relaxed(&block->size) & FT__BLOCK_BYTES;
}

/* Payload <-> header.  ft__block_of checks that p is the payload of a block
 * (class or run start, inside the arena); NULL otherwise. */
struct ft__block *ft__block_of(const void *payload);
static inline void *ft__block_payload(struct ft__block *block)
{
	return block + 1;
}
/* The same, if its span says that a block starts there: *span is the span's
 * word, which tells how large it is. */
struct ft__block *ft__block_find(const void *payload, uint64_t *span);
/* Was what lay at this place of the arena in a block that is free by now?  For who
 * asks about what it uses, the answer is no; of what was freed it may be either, as
 * the place may be in use again.  Writes nothing. */
bool ft__block_gone(const void *inside);
/* What a block has room for after its header; `span` from ft__block_find. */
uint64_t ft__block_room(uint64_t span);
/* The header behind an offset read from shared pages, checked; or NULL. */
struct ft__block *ft__block_at_offset(uint64_t offset);

/* Moves between states; -EPERM when the block is not in the state, or not
 * mine, that the table demands. */
int ft__block_assign(struct ft__block *block, uint32_t owner);
int ft__block_give(struct ft__block *block, uint64_t home);
int ft__block_given(struct ft__block *block);
int ft__block_take(struct ft__block *block);
int ft__block_taken(struct ft__block *block);

/* By handle, and only while it is that block and no other: OWNED(from) ->
 * OWNED(me), and OWNED(me) -> FREE.  -EPERM when it belongs to somebody else. */
int ft__block_seize(uint64_t handle, uint32_t from);
int ft__block_release(uint64_t handle);

/* The handle of the block behind a header, as it is now; 0: FREE. */
uint64_t ft__block_name(const struct ft__block *block);

/* Frees a block whose word still is `seen`; false: it is not. */
bool ft__block_end(struct ft__block *block, uint64_t seen);

/* After the proven death of process `dead`: frees what it owned.  For blocks
 * half given or half taken, `linked` says whether the home has it. */
/* Returns how many it freed.  `linked` NULL: nothing of it is in a home. */
typedef bool ft__block_linked(uint64_t home, struct ft__block *block);
uint64_t ft__block_sweep(uint32_t dead, ft__block_linked *linked);

/* Calls fn for every block, free ones too, with the size it has room for. */
typedef void ft__block_visit(void *ctx, struct ft__block *block, uint64_t room);
void ft__block_walk(ft__block_visit *visit, void *ctx);

/* Blocks whose word names this owner, or HELD ones if 0. */
uint64_t ft__block_count(uint32_t owner);

#endif
