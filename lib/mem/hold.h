/* SPDX-License-Identifier: MIT */
/*
 * Holds: who holds a shared block (share.h).  Floor 1.
 *
 * A hold is one word (atomic, 0: nobody):
 *
 *   bits 0-29       bits 30-63                  holder
 *   owner id        how often, 1 to 65535       a process
 *   generation      unit, more than 65535       a block that carries this one: the
 *                                               hold is that block's handle
 *
 * It is written by its holder: a process, or who puts the carried handles into a
 * block or frees that block; and by the sweeper of a dead process, which takes away
 * the holds of that process, and those of blocks that are no more.
 *
 * Holds stand in the block's pages: its `link` leads to the first, a page's `link`
 * to the next, which is four times as large.  A page is a block in the state PAGE
 * whose `home` is the handle of the block that is held.  Its payload is the cursor,
 * then the places.  In each page a holder has a window of some places, by a hash of
 * its name: it stands in one of these, or in none, so that it is found in a few
 * steps, however many there are.  The first page with room is taken; where none has
 * any, a page is linked behind the last, by a CAS of 0.
 *
 * The cursor of the first page is a hint for who looks whether there is any hold:
 * where a carrier put the last one (page in bits 32-63, place in 0-31); the others
 * are 0.  It is written by who is joining only: who leaves may be too late, and the
 * page somebody else's block by then.
 *
 * A page is linked while the block is SHARED, by who is joining, and unlinked never:
 * who ends the block frees all pages, the last one first, so that one that is not
 * free yet can still be reached.  One that a dead process has not linked is freed by
 * its sweeper.  tests/model/share.pml checks this.
 */
#ifndef FT_MEM_HOLD_H
#define FT_MEM_HOLD_H

#include "mem/block.h"
#include "mem/slot.h"

#define FT__HOLDS_MOST 65535u
_Static_assert(FT__SLOTS * sizeof(struct ft__slot) > (FT__HOLDS_MOST + 1ull) << 6,
	       "the first block's unit is larger than any count");

/* Each four times the one before: some millions of holds. */
#define FT__PAGES_MOST 10u

/* For a block that is not shared yet: a page, linked nowhere, with the process's one
 * hold in it; and once it is the block's.  NULL: no memory. */
struct ft__block *ft__hold_begin(uint64_t handle, uint32_t process);
void ft__hold_begun(struct ft__block *page);

/* By who is joining: one hold more, of the process, or of the carrier of that handle.
 * 0, -ENOMEM, -ENOSPC (no page has room for it any more). */
int ft__hold_add(struct ft__block *block, uint64_t handle, uint32_t process);
int ft__hold_carry(struct ft__block *block, uint64_t handle, uint64_t carrier);

/* By the holder: one hold less.  False: the process has none. */
bool ft__hold_remove(struct ft__block *block, uint64_t handle, uint32_t process);
void ft__hold_unload(struct ft__block *block, uint64_t handle, uint64_t carrier);

/* Does anybody hold it?  By anybody: of a block that is no more the answer is false or
 * true. */
bool ft__hold_any(const struct ft__block *block, uint64_t handle);

/* For tests and checks: how many holds stand in its pages. */
uint32_t ft__hold_count(const struct ft__block *block);

/* By who ends the block. */
void ft__hold_end(const struct ft__block *block, uint64_t handle);

/* For the sweeper of the dead process: at a block that it is joining, what the dead
 * held, and blocks that are no more; at a PAGE, whose word was `seen`. */
void ft__hold_sweep(struct ft__block *block, uint64_t handle, uint32_t dead);
void ft__hold_settle(struct ft__block *page, uint64_t seen, uint32_t dead);

#endif
