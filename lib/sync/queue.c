/* SPDX-License-Identifier: MIT */
/*
 * The queue: freethreading/queue.h tells the fields and the protocol,
 * tests/model/queue.pml checks it.
 */
#include "sync/queue.h"

#include <errno.h>
#include <limits.h>
#include <string.h>

#include "mem/share.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"
#include "os/futex.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE)

/* One call of one thread. */
struct visit {
	struct ft_queue *queue;
	struct ft__self *self; /* NULL: private, no journal */
};

/* A wake-up that is owed once the lock is free. */
struct debt {
	struct ft_queue_wait *wait;
	uint32_t seq, tokens; /* as they were left */
	int count;            /* 0: none */
};

static bool shared(const struct ft_queue *queue)
{
	return ft__flags_shared(queue->flags);
}

/* ---- coming and going -------------------------------------------------- */

static int begin(struct visit *visit, struct ft_queue *queue)
{
	struct ft__self *self;

	if (!queue || !ft__queue_marked(queue))
		return -EINVAL;

	int rc = ft__self(&self);

	if (rc != 0)
		return rc;
	*visit = (struct visit){ .queue = queue, .self = shared(queue) ? self : NULL };
	/* The journal keeps a place for it; before the first store to the queue. */
	if (visit->self && !ft__note(self, FT__NOTE_QUEUE, queue))
		return -EINVAL;
	return 0;
}

static void end(struct visit *visit)
{
	if (visit->self)
		ft__unnote(visit->self, FT__NOTE_QUEUE, visit->queue);
}

static void wake(struct ft_queue *queue, struct ft_queue_wait *wait)
{
	/* Release: pairs with the acquire load of who parks on it next. */
	ft__store32_release(&wait->seq, wait->seq + 1);
	ft__store32_release(&wait->tokens, 0);
	ft__futex_wake(&wait->seq, INT_MAX, shared(queue));
}

static void wake_everybody(struct ft_queue *queue)
{
	wake(queue, &queue->not_empty);
	wake(queue, &queue->not_full);
	wake(queue, &queue->all_done);
}

/* Whoever died on the way into the list or out of it: it is in the list. */
static void hold(struct ft__block *block)
{
	uint64_t seen = ft__load64_relaxed(&block->word), held;

	do {
		if (FT__WORD_STATE(seen) != FT__BLOCK_GIVING &&
		    FT__WORD_STATE(seen) != FT__BLOCK_TAKING)
			return;
		held = ft__word(FT__BLOCK_HELD, 0, FT__WORD_GENERATION(seen));
	} while (!ft__cas64_seq_cst(&block->word, &seen, held));
}

/* Walks the list, which has at most one item more than were counted: scribbled
 * links lead nowhere for ever.  Returns how many there are. */
static uint64_t recount(struct ft_queue *queue, uint64_t *last)
{
	uint64_t count = 0, at = queue->head;

	*last = 0;
	for (; at && count <= queue->size; count++) {
		struct ft__block *block = ft__block_at_offset(at);

		if (!block)
			break;
		if (shared(queue))
			hold(block);
		*last = at;
		at = block->link;
	}
	return count;
}

/* The last owner died in here.  Every step may be the last one again. */
static void repair(struct ft_queue *queue)
{
	uint64_t last, count = recount(queue, &last);

	/* One item more in the list than counted: a put was cut short after its
	 * committing store. */
	if (count == queue->size + 1)
		ft__store64_release(&queue->unfinished, queue->intent);
	ft__store64_release(&queue->tail, last);
	ft__store64_release(&queue->size, count);
	wake_everybody(queue);
}

/* What the lock said: 0; -ETIMEDOUT: not inside. */
static int entered(struct ft_queue *queue, int rc)
{
	if (rc == -EOWNERDEAD) {
		repair(queue);
		rc = 0;
	}
	return rc;
}

static int enter_in_time(struct ft_queue *queue, ft_deadline deadline)
{
	return entered(queue, ft__lock_enter_in_time(&queue->lock, deadline));
}

/* The lock is only ever held for a moment. */
static void enter(struct ft_queue *queue)
{
	while (enter_in_time(queue, FT_FOREVER) != 0)
		;
}

/* ---- waiting and waking ------------------------------------------------ */

/* Under the lock: one of those who wait shall look. */
static struct debt owe(struct ft_queue_wait *wait)
{
	struct debt debt = { .wait = wait };

	if (!wait->tokens)
		return debt;
	debt.tokens = wait->tokens - 1;
	debt.seq = wait->seq + 1;
	debt.count = 1;
	ft__store32_release(&wait->tokens, debt.tokens);
	/* Release: pairs with the load in wait_for(). */
	ft__store32_release(&wait->seq, debt.seq);
	return debt;
}

/* Leaves the lock, then wakes.  If nobody was there, the tokens were too many:
 * they may go if nobody came since (who came would have added one). */
static void leave(struct ft_queue *queue, struct debt debt)
{
	ft__lock_leave(&queue->lock);
	if (!debt.count || ft__futex_wake(&debt.wait->seq, debt.count, shared(queue)) > 0)
		return;
	if (!debt.tokens)
		return;
	enter(queue);
	if (debt.wait->seq == debt.seq && debt.wait->tokens == debt.tokens)
		ft__store32_release(&debt.wait->tokens, 0);
	ft__lock_leave(&queue->lock);
}

static const struct debt no_debt;

/* What wait_for() says when the lock could not be had again in time. */
#define OUTSIDE (-ENOLCK)

/* Under the lock, which is left while the thread sleeps.  0: look again;
 * -ETIMEDOUT and -EINTR: no wake-up was spent on the caller.  OUTSIDE: the lock is
 * left for good; the wake-up, if there was one, is somebody else's, and the token
 * one too many. */
static int wait_for(struct ft_queue *queue, struct ft_queue_wait *wait, ft_deadline deadline)
{
	uint32_t seq = wait->seq;
	int rc;

	ft__store32_release(&wait->tokens, wait->tokens + 1);
	leave(queue, no_debt);
	rc = ft__park(&wait->seq, seq, queue->flags, deadline);
	if (enter_in_time(queue, deadline) != 0) {
		if (rc == 0)
			ft__futex_wake(&wait->seq, 1, shared(queue));
		return OUTSIDE;
	}
	/* Nobody was woken since: the token is still there, and ours. */
	if (rc != 0 && wait->seq == seq && wait->tokens)
		ft__store32_release(&wait->tokens, wait->tokens - 1);
	return rc;
}

/* ---- items ------------------------------------------------------------- */

static bool full(const struct ft_queue *queue)
{
	return queue->maxsize && queue->size >= queue->maxsize;
}

static uint64_t home_of(const struct ft_queue *queue)
{
	return ft__offset(queue);
}

/* Under the lock, and there is room. */
static int append(struct ft_queue *queue, struct ft__block *block)
{
	uint64_t offset = ft__offset(block);
	struct ft__block *last = queue->tail ? ft__block_at_offset(queue->tail) : NULL;

	if (queue->tail && !last)
		return -EUCLEAN;

	int rc = shared(queue) ? ft__block_give(block, home_of(queue)) : 0;

	if (rc != 0)
		return rc;
	ft__store64_release(&block->link, 0);
	ft__store64_release(&queue->intent, queue->unfinished + 1);
	/* The committing store. */
	ft__store64_release(last ? &last->link : &queue->head, offset);
	ft__store64_release(&queue->tail, offset);
	ft__store64_release(&queue->unfinished, queue->unfinished + 1);
	ft__store64_release(&queue->size, queue->size + 1);
	return shared(queue) ? ft__block_given(block) : 0;
}

/* Under the lock, and there is one. */
static int shift(struct ft_queue *queue, struct ft__block **block)
{
	*block = ft__block_at_offset(queue->head);
	if (!*block)
		return -EUCLEAN;

	uint64_t next = (*block)->link;
	int rc = shared(queue) ? ft__block_take(*block) : 0;

	if (rc != 0)
		return rc;
	/* The committing store. */
	ft__store64_release(&queue->head, next);
	if (!next)
		ft__store64_release(&queue->tail, 0);
	ft__store64_release(&queue->size, queue->size - 1);
	return shared(queue) ? ft__block_taken(*block) : 0;
}

/* ---- the public functions ---------------------------------------------- */

static bool good_place(const struct ft_queue *queue, uint32_t flags)
{
	if ((uintptr_t)queue % _Alignof(struct ft_queue))
		return false;
	return !ft__flags_shared(flags) || ft__at(ft__offset(queue), sizeof(*queue));
}

int ft_queue_init(struct ft_queue *queue, uint64_t maxsize, uint32_t flags)
{
	if (!queue || (flags & ~KNOWN_FLAGS))
		return -EINVAL;

	int rc = ft__arena_ready();

	if (rc != 0)
		return rc;
	if (!good_place(queue, flags))
		return -EINVAL;
	*queue = (struct ft_queue){ .flags = flags, .maxsize = maxsize };
	ft_lock_init(&queue->lock, flags & FT_SHARED);
	if (shared(queue))
		ft__share_mark(queue, true);
	/* Release: who finds the mark finds the rest. */
	ft__store64_release(&queue->mark, FT_QUEUE_MARK);
	return 0;
}

int ft_queue_destroy(struct ft_queue *queue)
{
	void *item;
	size_t size;
	int rc;

	do {
		rc = ft_queue_get(queue, &item, &size, FT_NOW);
		if (rc == 0)
			rc = ft_block_free(item);
	} while (rc == 0);
	if (rc != -ETIMEDOUT && rc != -EPIPE)
		return rc;
	/* Somebody stands still inside, with the lock. */
	if (ft__load64_relaxed(&queue->size))
		return -EBUSY;
	ft__store64_release(&queue->mark, 0);
	if (shared(queue))
		ft__share_mark(queue, false);
	return 0;
}

/* By who ends it, and is alone.  Whoever has its lock is dead, and it may be only this
 * thread that settles that death, later: so it is waited for no longer than then. */
static int come_last(struct ft_queue *queue)
{
	struct visit visit;
	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc;
	rc = entered(queue, ft__lock_enter(&queue->lock, ft_after(FT__SETTLE_NS)));
	if (rc == 0)
		leave(queue, no_debt);
	end(&visit);
	return rc;
}

static int end_queue(void *payload)
{
	struct ft_queue *queue = payload;
	int rc = come_last(queue);

	if (rc == 0)
		rc = ft_queue_destroy(queue);
	/* Who settles a death in it finds none, but what this memory is used for then. */
	if (rc != 0 && ft__queue_marked(queue))
		ft__store64_release(&queue->mark, 0);
	return rc;
}

__attribute__((constructor)) static void watch_shares(void)
{
	ft__share_end_queue = end_queue;
}

/* Somebody on another CPU may be about to put, or to get: wait a little without the
 * lock for the size to leave `at`. */
static struct ft__spin spin_while(const struct ft_queue *queue, uint64_t at,
				  const struct ft_queue_wait *wait, ft_deadline deadline)
{
	struct ft__spin spin = { 0 };

	if (deadline <= 0 || ft__load64_relaxed(&queue->size) != at)
		return spin;
	spin = ft__spin_start(deadline);
	while (ft__load64_relaxed(&queue->size) == at && !ft__load32_relaxed(&queue->closed) &&
	       ft__spin_beside(&spin, ft__load32_relaxed(&wait->tokens)))
		;
	ft__spin_end(&spin);
	return spin;
}

/* Under the lock: waits until there is room. */
static int make_room(struct ft_queue *queue, ft_deadline deadline)
{
	int rc = 0;

	while (!queue->closed && full(queue)) {
		if (rc != 0 || deadline <= 0)
			return rc ? rc : -ETIMEDOUT;
		rc = wait_for(queue, &queue->not_full, deadline);
		if (rc == OUTSIDE)
			return rc;
	}
	return queue->closed ? -EPIPE : 0;
}

static int put(struct visit *visit, struct ft__block *block, ft_deadline deadline)
{
	struct ft_queue *queue = visit->queue;
	struct debt debt = no_debt;
	struct ft__spin spin = { 0 };

	if (queue->maxsize)
		spin = spin_while(queue, queue->maxsize, &queue->not_full, deadline);

	int rc = enter_in_time(queue, deadline);

	if (rc != 0)
		return rc;
	rc = make_room(queue, deadline);
	if (rc == OUTSIDE)
		return -ETIMEDOUT;
	if (rc == 0)
		rc = append(queue, block);
	if (rc == 0)
		debt = owe(&queue->not_empty);
	leave(queue, debt);
	ft__spin_over(&spin, rc == 0);
	return rc;
}

static bool mine(struct ft__block *block)
{
	uint64_t word = ft__load64_relaxed(&block->word);

	return FT__WORD_STATE(word) == FT__BLOCK_OWNED && FT__WORD_OWNER(word) == ft__process();
}

int ft_queue_put_block(struct ft_queue *queue, void *block, ft_deadline deadline)
{
	struct ft__block *item = ft__block_of(block);
	struct visit visit;
	int rc;

	if (!item)
		return -EINVAL;
	rc = begin(&visit, queue);
	if (rc != 0)
		return rc;
	rc = mine(item) ? put(&visit, item, deadline) : -EPERM;
	end(&visit);
	return rc;
}

int ft_queue_put(struct ft_queue *queue, const void *data, size_t size, ft_deadline deadline)
{
	void *block;

	if (!queue || !ft__queue_marked(queue) || (!data && size))
		return -EINVAL;
	if (ft__load32_relaxed(&queue->closed))
		return -EPIPE;

	/* Outside the lock, and before anything is noted: a block is ours alone. */
	int rc = ft_block_alloc(size ? size : 1, &block);

	if (rc != 0)
		return rc;
	if (size)
		memcpy(block, data, size);
	else
		ft__block_of(block)->size = 0;
	rc = ft_queue_put_block(queue, block, deadline);
	if (rc != 0)
		ft_block_free(block);
	return rc;
}

static int find_item(struct ft_queue *queue, ft_deadline deadline)
{
	int rc = 0;

	while (!queue->head) {
		if (queue->closed)
			return -EPIPE;
		if (rc != 0 || deadline <= 0)
			return rc ? rc : -ETIMEDOUT;
		rc = wait_for(queue, &queue->not_empty, deadline);
		if (rc == OUTSIDE)
			return rc;
	}
	return 0;
}

static int get(struct visit *visit, struct ft__block **block, ft_deadline deadline)
{
	struct ft_queue *queue = visit->queue;
	struct debt debt = no_debt;
	struct ft__spin spin = spin_while(queue, 0, &queue->not_empty, deadline);

	int rc = enter_in_time(queue, deadline);

	if (rc != 0)
		return rc;
	rc = find_item(queue, deadline);
	if (rc == OUTSIDE)
		return -ETIMEDOUT;
	if (rc == 0)
		rc = shift(queue, block);
	if (rc == 0)
		debt = owe(&queue->not_full);
	leave(queue, debt);
	ft__spin_over(&spin, rc == 0);
	return rc;
}

int ft_queue_get(struct ft_queue *queue, void **block, size_t *size, ft_deadline deadline)
{
	struct ft__block *item = NULL;
	struct visit visit;

	if (!block || !size)
		return -EINVAL;

	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc;
	rc = get(&visit, &item, deadline);
	end(&visit);
	if (rc != 0)
		return rc;
	*block = ft__block_payload(item);
	*size = ft_block_size(*block); /* no more than there is room for */
	return 0;
}

uint64_t ft_queue_size(const struct ft_queue *queue)
{
	return queue ? ft__load64_relaxed(&queue->size) : 0;
}

int ft_queue_task_done(struct ft_queue *queue)
{
	struct visit visit;
	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc;
	enter(queue);
	if (!queue->unfinished)
		rc = -EINVAL;
	else
		ft__store64_release(&queue->unfinished, queue->unfinished - 1);
	if (rc == 0 && !queue->unfinished && queue->all_done.tokens)
		wake(queue, &queue->all_done);
	leave(queue, no_debt);
	end(&visit);
	return rc;
}

int ft_queue_join(struct ft_queue *queue, ft_deadline deadline)
{
	struct visit visit;
	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc;
	rc = enter_in_time(queue, deadline);
	if (rc != 0) {
		end(&visit);
		return rc;
	}
	while (queue->unfinished && rc == 0)
		rc = deadline <= 0 ? -ETIMEDOUT : wait_for(queue, &queue->all_done, deadline);
	if (rc == OUTSIDE) {
		end(&visit);
		return -ETIMEDOUT;
	}
	if (!queue->unfinished)
		rc = 0;
	leave(queue, no_debt);
	end(&visit);
	return rc;
}

int ft_queue_close(struct ft_queue *queue)
{
	struct visit visit;
	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc;
	enter(queue);
	ft__store32_release(&queue->closed, 1);
	wake_everybody(queue);
	leave(queue, no_debt);
	end(&visit);
	return rc;
}

/* ---- after a death ----------------------------------------------------- */

int ft__queue_settle(struct ft_queue *queue)
{
	struct visit visit;
	int rc = begin(&visit, queue);

	if (rc != 0)
		return rc == -EINVAL ? 0 : -EAGAIN;
	rc = entered(queue, ft__lock_enter(&queue->lock, ft_after(FT__SETTLE_NS)));
	if (rc == 0) {
		wake_everybody(queue);
		leave(queue, no_debt);
	}
	end(&visit);
	return rc ? -EAGAIN : 0;
}
