/* SPDX-License-Identifier: MIT */
/* Notes of what a thread is in the middle of, and their settling. */
#include "sync/journal.h"

#include <errno.h>
#include <pthread.h>

#include "mem/block.h"
#include "os/atomic.h"
#include "sync/barrier.h"
#include "sync/condition.h"
#include "sync/event.h"
#include "sync/lock.h"
#include "sync/queue.h"
#include "sync/semaphore.h"

#define OFFSET_MASK ((UINT64_C(1) << FT__NOTE_SHIFT) - 1)

static enum ft__note kind_of(uint64_t entry)
{
	return (enum ft__note)(entry >> FT__NOTE_SHIFT);
}

/* In shared pages, where anybody could have scribbled. */
static uint32_t noted(const struct ft__slot *slot)
{
	return slot->noted < FT__JOURNAL ? slot->noted : FT__JOURNAL;
}

static void *object_of(uint64_t entry, uint64_t size)
{
	return ft__at(entry & OFFSET_MASK, size);
}

/* The last entry takes its place: twice there for a moment, never missing. */
static void drop(struct ft__slot *slot, uint32_t i)
{
	uint32_t last = noted(slot) ? noted(slot) - 1 : 0;

	if (i != last)
		ft__journal_put(slot, i, slot->journal[last]);
	ft__journal_put(slot, last, 0);
	slot->noted = last;
	FT__POINT();
}

/* A lock that went with its block: nobody holds it, or waits for it. */
static bool is_gone(uint64_t entry)
{
	struct ft_lock *lock = object_of(entry, sizeof(*lock));

	return kind_of(entry) == FT__NOTE_LOCK && lock && ft__block_gone(lock);
}

/* Where a lock went with its block there may be another by now, noted as well. */
static bool noted_before(const struct ft__slot *slot, uint32_t i)
{
	for (uint32_t j = 0; j < i; j++)
		if (slot->journal[j] == slot->journal[i])
			return true;
	return false;
}

/* Forgets locks that somebody else released, FT_LOCK_UNOWNED, and those that went
 * with their block while they were held: one note is left for each that is held. */
static void clean(struct ft__self *self)
{
	struct ft__slot *slot = self->slot;

	for (uint32_t i = noted(slot); i-- > 0;) {
		struct ft_lock *lock = object_of(slot->journal[i], sizeof(*lock));

		if (kind_of(slot->journal[i]) != FT__NOTE_LOCK || !lock)
			continue;
		if ((ft__load32_relaxed(&lock->word) & FT_LOCK_OWNER_MASK) != self->owner ||
		    is_gone(slot->journal[i]) || noted_before(slot, i))
			drop(slot, i);
	}
}

bool ft__note_again(struct ft__self *self, enum ft__note kind, const void *object)
{
	if (!ft__offset(object) || (kind != FT__NOTE_LOCK && kind != FT__NOTE_BARRIER))
		return false;
	clean(self);
	return ft__note_at_once(self, kind, object);
}

int ft__unnote_any(struct ft__self *self, uint64_t entry)
{
	struct ft__slot *slot = self->slot;

	for (uint32_t i = noted(slot); i-- > 0;) {
		if (slot->journal[i] == entry) {
			drop(slot, i);
			break;
		}
	}
	return 0;
}

/* All that needs no other lock: so that the second round, which takes the locks
 * of queues, meets none that this process died holding. */
static void settle_at_once(uint32_t owner, uint64_t *entry)
{
	struct ft_queue *queue = object_of(*entry, sizeof(*queue));
	struct ft_event *event = object_of(*entry, sizeof(*event));
	struct ft_lock *lock = object_of(*entry, sizeof(*lock));
	struct ft_semaphore *semaphore = object_of(*entry, sizeof(*semaphore));
	struct ft_condition *condition = object_of(*entry, sizeof(*condition));
	struct ft_barrier *barrier = object_of(*entry, sizeof(*barrier));

	switch (kind_of(*entry)) {
	case FT__NOTE_QUEUE:
		if (queue && ft__queue_marked(queue)) {
			ft__lock_settle(&queue->lock, owner);
			return; /* until the second round */
		}
		break;
	case FT__NOTE_EVENT:
		if (event)
			ft__event_settle(event);
		break;
	case FT__NOTE_LOCK:
		if (lock)
			ft__lock_settle(lock, owner);
		break;
	case FT__NOTE_SEMAPHORE:
		if (semaphore)
			ft__semaphore_settle(semaphore);
		break;
	case FT__NOTE_CONDITION:
		if (condition)
			ft__condition_settle(condition);
		break;
	case FT__NOTE_BARRIER:
		if (barrier)
			ft__barrier_settle(barrier, owner);
		break;
	case FT__NOTE_NONE:
		break;
	}
	*entry = 0;
}

static void settle_first(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	for (uint32_t i = 0; i < FT__JOURNAL; i++)
		settle_at_once(owner, &slot->journal[i]);
	ft__condition_bury(slot);
}

static void settle_queues(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	int *answer = ctx;

	(void)owner;
	for (uint32_t i = 0; i < FT__JOURNAL; i++) {
		struct ft_queue *queue = object_of(slot->journal[i], sizeof(*queue));

		if (kind_of(slot->journal[i]) != FT__NOTE_QUEUE)
			continue;
		if (queue && ft__queue_settle(queue) != 0)
			*answer = -EAGAIN;
		else
			slot->journal[i] = 0;
	}
}

int ft__journal_settle(uint32_t process)
{
	int answer = 0;

	ft__slot_each(process, settle_first, NULL);
	ft__slot_each(process, settle_queues, &answer);
	return answer;
}

/* A lock that anybody may release stays held when its thread ends in peace. */
static bool outlives(uint64_t entry, uint32_t owner)
{
	struct ft_lock *lock = object_of(entry, sizeof(*lock));

	return kind_of(entry) == FT__NOTE_LOCK && lock && !is_gone(entry) &&
	       (lock->flags & FT_LOCK_UNOWNED) &&
	       (ft__load32_relaxed(&lock->word) & ~FT_LOCK_WAITERS) == owner;
}

/* A slot that was kept, the locks of which may have been released since. */
static void revisit(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	struct ft__self gone = { .owner = owner, .slot = slot };

	(void)ctx;
	/* Acquire: with come_alive, after `gone` was reset, and with thread_leaves. */
	if ((ft__load32_acquire(&slot->word) & FT__SLOT_STATE) != FT__SLOT_LIVE ||
	    !ft__load32_acquire(&slot->gone))
		return;
	clean(&gone);
	if (!slot->noted)
		ft__slot_free(owner);
}

/* A thread that ends in the middle of a wait in a wait. */
static void leave_more(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	struct ft__self *self = ctx;

	/* A reserved one still has the number of who had it before.  Acquire: with
	 * come_alive, after `tid` and `gone` were written. */
	if (owner == self->owner ||
	    (ft__load32_acquire(&slot->word) & FT__SLOT_STATE) != FT__SLOT_LIVE)
		return;
	/* One that was kept may be of an earlier thread with our number. */
	if (slot->tid != self->slot->tid || ft__load32_relaxed(&slot->gone))
		return;
	ft__condition_bury(slot);
	ft__slot_less(self, owner);
}

static void thread_leaves(uint32_t owner)
{
	static pthread_mutex_t one_at_a_time = PTHREAD_MUTEX_INITIALIZER;
	struct ft__slot *slot = ft__slot_of(owner);

	if (!slot)
		return;
	for (uint32_t i = noted(slot); i-- > 0;) {
		if (outlives(slot->journal[i], owner))
			continue;
		if (!is_gone(slot->journal[i]))
			settle_at_once(owner, &slot->journal[i]);
		drop(slot, i);
	}
	if (ft__self_tls.more)
		ft__slot_each(ft__process(), leave_more, &ft__self_tls);
	ft__condition_bury(slot);
	if (!slot->noted)
		return;
	/* Not waited for: a fork may have left it locked by nobody. */
	if (pthread_mutex_trylock(&one_at_a_time) == 0) {
		ft__slot_each(ft__process(), revisit, NULL);
		pthread_mutex_unlock(&one_at_a_time);
	}
	/* Release: from here on the slot is revisit()'s. */
	ft__store32_release(&slot->gone, 1);
}

__attribute__((constructor)) static void watch_threads(void)
{
	ft__slot_leaving = thread_leaves;
}
