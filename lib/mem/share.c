/* SPDX-License-Identifier: MIT */
/* Holding and letting go of shared blocks: see share.h. */
#include "mem/share.h"

#include <errno.h>

#include "mem/hold.h"
#include "mem/slot.h"
#include "os/atomic.h"

int (*ft__share_end_queue)(void *payload);

/* ---- words ---- */

static bool is_shared(uint64_t word, uint64_t handle)
{
	return FT__WORD_STATE(word) == FT__BLOCK_SHARED &&
	       FT__WORD_GENERATION(word) == (handle & 0x3fffffff);
}

static uint64_t one_join_more(uint64_t word)
{
	return ft__word(FT__BLOCK_SHARED, (FT__WORD_OWNER(word) + 1) & 0x3fffffff,
			FT__WORD_GENERATION(word));
}

/* ---- the end ---- */

/* What this thread has to end: freeing what is in a queue may end further ones,
 * which then wait until the stack is low again. */
static FT__THREAD struct {
	uint64_t first; /* offset, linked by `home` */
	bool busy;
} endings;

/* An item of a queue whose list did not lead to it. */
static void free_stray(void *ctx, struct ft__block *block, uint64_t room)
{
	/* Acquire: pairs with the step that put it there. */
	uint64_t seen = ft__load64_acquire(&block->word);

	(void)room;
	if (FT__WORD_STATE(seen) == FT__BLOCK_HELD &&
	    ft__load64_relaxed(&block->home) == *(const uint64_t *)ctx &&
	    ft__cas64_seq_cst(&block->word, &seen,
			      ft__word(FT__BLOCK_OWNED, ft__process(),
				       FT__WORD_GENERATION(seen))))
		ft_block_free(ft__block_payload(block));
}

static void end_queue(struct ft__block *block)
{
	uint64_t home = ft__offset(ft__block_payload(block));

	if (ft__share_end_queue && ft__share_end_queue(ft__block_payload(block)) != 0)
		ft__block_walk(free_stray, &home);
}

static void end_now(struct ft__block *block)
{
	if (ft__load64_relaxed(&block->size) & FT__BLOCK_QUEUED)
		end_queue(block);
	/* Whoever gets the block next may die before it has said what is in it. */
	ft__store64_relaxed(&block->size, ft__block_bytes(block));
	ft__hold_end(block, ft__block_name(block));
	ft__block_end(block, ft__load64_relaxed(&block->word));
}

static uint64_t ending(uint64_t word)
{
	return ft__word(FT__BLOCK_ENDING, ft__process(), FT__WORD_GENERATION(word));
}

static struct ft__block *first_ending(void)
{
	struct ft__block *block = endings.first ? ft__block_at_offset(endings.first) : NULL;
	uint64_t word = block ? ft__load64_relaxed(&block->word) : 0;

	return block && word == ending(word) ? block : NULL;
}

/* A block that is ENDING(me). */
static void end(struct ft__block *block)
{
	ft__store64_relaxed(&block->home, endings.first);
	endings.first = ft__offset(block);
	if (endings.busy)
		return;
	endings.busy = true;
	/* The links lie in shared pages: one that was scribbled over is the last. */
	while ((block = first_ending())) {
		endings.first = ft__load64_relaxed(&block->home);
		end_now(block);
	}
	endings.first = 0;
	endings.busy = false;
}

/* Step 2 and 3 of who leaves.  The header is one, whatever became of the block. */
static void end_if_last(struct ft__block *block, uint64_t handle)
{
	uint64_t seen = ft__load64_seq_cst(&block->word); /* pairs with join() */

	if (is_shared(seen, handle) && !ft__slot_joins(handle) && !ft__hold_any(block, handle) &&
	    ft__cas64_seq_cst(&block->word, &seen, ending(seen)))
		end(block);
}

/* ---- joining ---- */

struct guest {
	struct ft__slot *slot;
	struct ft__block *block;
	uint64_t handle;
};

/* Whoever joins has its slot say so for the whole visit: nothing of the block
 * goes away before it leaves the slot. */
static int join(struct guest *guest, uint64_t handle)
{
	struct ft__self *self;
	void *payload;
	uint64_t seen;
	int rc = ft_block_at(handle, &payload);

	if (rc == 0)
		rc = ft__self(&self);
	if (rc != 0)
		return rc;
	*guest = (struct guest){ self->slot, (struct ft__block *)payload - 1, handle };
	/* Seq_cst: pairs with ft__slot_joins. */
	ft__store64_seq_cst(&guest->slot->joining, handle);
	seen = ft__load64_seq_cst(&guest->block->word);
	do {
		if (is_shared(seen, handle))
			continue;
		ft__store64_seq_cst(&guest->slot->joining, 0);
		return FT__WORD_GENERATION(seen) == (handle & 0x3fffffff) &&
				       FT__WORD_STATE(seen) != FT__BLOCK_ENDING
			       ? -EPERM
			       : -ESTALE;
	} while (!ft__cas64_seq_cst(&guest->block->word, &seen, one_join_more(seen)));
	return 0;
}

static void leave_slot(const struct guest *guest)
{
	ft__store64_seq_cst(&guest->slot->joining, 0);
}

int ft_block_hold(uint64_t handle, void **payload)
{
	uint32_t me = ft__process();
	struct guest guest;
	int rc = payload ? join(&guest, handle) : -EINVAL;

	if (rc != 0)
		return rc;
	rc = ft__hold_add(guest.block, handle, me);
	leave_slot(&guest);
	if (rc != 0)
		end_if_last(guest.block, handle);
	else
		*payload = ft__block_payload(guest.block);
	return rc;
}

int ft_block_drop(void *payload)
{
	struct ft__block *block = ft__block_of(payload);
	uint64_t handle = block ? ft__block_name(block) : 0;

	if (ft__arena.forked)
		return -ECHILD;
	if (!handle)
		return -EINVAL;
	if (!is_shared(ft__load64_relaxed(&block->word), handle) ||
	    !ft__hold_remove(block, handle, ft__process()))
		return -EPERM;
	end_if_last(block, handle);
	return 0;
}

static bool is_mine(const struct ft__block *block, uint32_t me)
{
	uint64_t seen = ft__load64_relaxed(&block->word);

	return FT__WORD_STATE(seen) == FT__BLOCK_OWNED && FT__WORD_OWNER(seen) == me;
}

void ft__share_mark(void *queue, bool there)
{
	struct ft__block *block = ft__block_of(queue);
	uint64_t size = block ? ft__load64_relaxed(&block->size) : 0;

	if (block && is_mine(block, ft__process()))
		ft__store64_relaxed(&block->size, there ? size | FT__BLOCK_QUEUED
							: size & ~FT__BLOCK_QUEUED);
}

/* ---- carrying ---- */

/* Where the handles stand: their number, then they.  NULL: no room. */
static uint64_t *cargo_of(struct ft__block *block, uint64_t bytes, size_t count)
{
	uint64_t span, at = (bytes + 7) & ~UINT64_C(7), room;

	if (ft__block_find(ft__block_payload(block), &span) != block)
		return NULL;
	room = ft__block_room(span);
	if (at > room || (room - at) / sizeof(uint64_t) <= count)
		return NULL;
	return (uint64_t *)((char *)ft__block_payload(block) + at);
}

static int carry_one(uint64_t handle, uint64_t carrier)
{
	struct guest guest;
	int rc = join(&guest, handle);

	if (rc != 0)
		return rc;
	rc = ft__hold_carry(guest.block, handle, carrier);
	leave_slot(&guest);
	if (rc != 0)
		end_if_last(guest.block, handle);
	return rc;
}

/* Holds that were put: so each of the blocks is there until then. */
static void let_go(const uint64_t *handles, uint64_t count, uint64_t carrier)
{
	for (uint64_t i = 0; i < count; i++) {
		uint64_t handle = ft__load64_relaxed(&handles[i]);
		struct ft__block *block;
		void *payload;

		if (ft_block_at(handle, &payload) != 0)
			continue;
		block = (struct ft__block *)payload - 1;
		ft__hold_unload(block, handle, carrier);
		end_if_last(block, handle);
	}
}

/* The handles stand in shared pages: what is no shared block's is passed over. */
static void unload(struct ft__block *block, uint32_t me)
{
	uint64_t size = ft__load64_relaxed(&block->size), bytes = size & FT__BLOCK_BYTES;
	bool carries = size & FT__BLOCK_CARRIES && is_mine(block, me);
	uint64_t *cargo = carries ? cargo_of(block, bytes, 0) : NULL;

	/* Read once: what was checked is what is walked. */
	uint64_t count = cargo ? ft__load64_relaxed(&cargo[0]) : 0;

	/* Of two frees at once only one lets go. */
	if (cargo && ft__cas64_seq_cst(&block->size, &size, size & ~FT__BLOCK_CARRIES) &&
	    cargo_of(block, bytes, count))
		let_go(cargo + 1, count, ft__block_name(block));
}

static bool has_queue(const struct ft__block *block, uint64_t word, uint32_t owner)
{
	return FT__WORD_STATE(word) == FT__BLOCK_OWNED && FT__WORD_OWNER(word) == owner &&
	       (ft__load64_relaxed(&block->size) & FT__BLOCK_QUEUED);
}

bool ft__share_unload_now(struct ft__block *block, uint32_t me)
{
	uint64_t seen;

	unload(block, me);
	seen = ft__load64_relaxed(&block->word);
	/* Of two frees at once only one ends it. */
	if (!has_queue(block, seen, me) || !ft__cas64_seq_cst(&block->word, &seen, ending(seen)))
		return false;
	end(block);
	return true;
}

static int carry(struct ft__block *block, uint64_t *cargo, const uint64_t *handles, size_t count)
{
	uint64_t carrier = ft__block_name(block);

	for (size_t i = 0; i < count; i++) {
		int rc = carry_one(handles[i], carrier);

		if (rc != 0) {
			let_go(handles, i, carrier);
			return rc;
		}
		ft__store64_relaxed(&cargo[i + 1], handles[i]);
	}
	ft__store64_relaxed(&cargo[0], count);
	return 0;
}

int ft_block_carry(void *payload, size_t size, const uint64_t *handles, size_t count)
{
	struct ft__block *block = ft__block_of(payload);
	uint32_t me = ft__process();
	uint64_t *cargo, marks;
	int rc;

	if (ft__arena.forked)
		return -ECHILD;
	if (!block || (count && !handles) || size > ft_block_size(payload))
		return -EINVAL;
	if (!is_mine(block, me))
		return -EPERM;
	unload(block, me);
	cargo = cargo_of(block, size, count);
	if (count && !cargo)
		return -ENOSPC;
	rc = count ? carry(block, cargo, handles, count) : 0;
	if (rc != 0)
		return rc;
	marks = ft__load64_relaxed(&block->size) & FT__BLOCK_QUEUED;
	ft__store64_relaxed(&block->size, size | marks | (count ? FT__BLOCK_CARRIES : 0));
	return 0;
}

/* ---- sharing ---- */

int ft_block_share(void *payload)
{
	struct ft__block *block = ft__block_of(payload), *page;
	uint32_t me = ft__process();
	uint64_t seen;

	if (ft__arena.forked)
		return -ECHILD;
	if (!block)
		return -EINVAL;
	if (!is_mine(block, me))
		return -EPERM;
	unload(block, me);
	page = ft__hold_begin(ft__block_name(block), me);
	if (!page)
		return -ENOMEM;
	ft__store64_relaxed(&block->link, ft__offset(page));
	seen = ft__load64_relaxed(&block->word);
	/* Seq_cst, so release: pairs with join(). */
	ft__cas64_seq_cst(&block->word, &seen,
			  ft__word(FT__BLOCK_SHARED, 0, FT__WORD_GENERATION(seen)));
	ft__hold_begun(page);
	return 0;
}

/* ---- after a death ---- */

/* A slot that was reserved may be a worker's by now, which joins for itself. */
static void forget_join(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	/* Acquire: pairs with the CAS to LIVE, which changes both. */
	uint32_t state = ft__load32_acquire(&slot->word) & FT__SLOT_STATE;

	(void)owner;
	if (state == FT__SLOT_LIVE && ft__load32_relaxed(&slot->process) == *(uint32_t *)ctx)
		ft__store64_seq_cst(&slot->joining, 0);
}

void ft__share_sweep(uint32_t dead)
{
	ft__slot_each(dead, forget_join, &dead);
}

void ft__share_resume(struct ft__block *block, uint32_t dead)
{
	/* Acquire: pairs with the dead one's last step. */
	uint64_t seen = ft__load64_acquire(&block->word);
	bool begun = FT__WORD_STATE(seen) == FT__BLOCK_ENDING && FT__WORD_OWNER(seen) == dead;

	if ((begun || has_queue(block, seen, dead)) &&
	    ft__cas64_seq_cst(&block->word, &seen, ending(seen)))
		end(block);
}

static void settle_shared(struct ft__block *block, uint64_t handle, uint32_t dead)
{
	struct guest guest;

	if (join(&guest, handle) != 0)
		return;
	ft__hold_sweep(block, handle, dead);
	leave_slot(&guest);
	end_if_last(block, handle);
}

void ft__share_settle(struct ft__block *block, uint32_t dead)
{
	/* Acquire: pairs with the last step of who made it so. */
	uint64_t seen = ft__load64_acquire(&block->word);

	if (FT__WORD_STATE(seen) == FT__BLOCK_SHARED)
		settle_shared(block, ft__block_name(block), dead);
	else if (FT__WORD_STATE(seen) == FT__BLOCK_PAGE)
		ft__hold_settle(block, seen, dead);
}
