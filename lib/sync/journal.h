/* SPDX-License-Identifier: MIT */
/*
 * The journal: what a thread is in the middle of, kept in its slot, so that a
 * supervisor can finish it after the thread's process was killed.  Floor 2.
 *
 * An entry is noted before the first store to the object and dropped after the
 * last wake.  Entries are an unordered set; FT__JOURNAL of them, the last few
 * kept for what is noted only for a moment (events, queues).  A full journal
 * first drops notes of locks that the thread no longer holds, or that went with
 * their block while it held them, and nobody may hold any more; if that does not
 * help, ft__note says no, and a lock is then `polled` (freethreading/lock.h).
 * A queue, semaphore or condition can always be noted: no thread is inside two
 * of them at a time, and a condition whose note stays until a lock is released
 * leaves room as a lock does.  A barrier can not: its action may use anything.
 *
 * Only the slot's thread writes (its signal handlers too: reserve, then fill);
 * the supervisor reads after the kernel proved the death, so plain stores in
 * program order are enough.
 */
#ifndef FT_SYNC_JOURNAL_H
#define FT_SYNC_JOURNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "mem/slot.h"

enum ft__note {
	FT__NOTE_NONE,
	FT__NOTE_LOCK,  /* struct ft_lock: being acquired, held or released */
	FT__NOTE_EVENT, /* struct ft_event: wakes may be owed */
	FT__NOTE_QUEUE, /* struct ft_queue: inside one of its functions */
	FT__NOTE_SEMAPHORE, /* struct ft_semaphore: sleeping, or wakes may be owed */
	FT__NOTE_CONDITION, /* struct ft_condition: wakes may be owed */
	FT__NOTE_BARRIER,   /* struct ft_barrier: inside, the lock included */
};

/* An entry: the kind in bits 56-63, the object's offset below. */
#define FT__NOTE_SHIFT 56
static inline uint64_t ft__note_entry(enum ft__note kind, uint64_t offset)
{
	return (uint64_t)kind << FT__NOTE_SHIFT | offset;
}

/* How many entries may be there with one of this kind.  Locks are held for long,
 * so they must leave room: events, which signal handlers note on top of each
 * other, all but one; a queue, a semaphore or a condition, which exclude each
 * other, the last. */
static inline uint32_t ft__journal_room(enum ft__note kind)
{
	if (kind == FT__NOTE_LOCK || kind == FT__NOTE_BARRIER)
		return FT__JOURNAL - 4;
	return kind == FT__NOTE_EVENT ? FT__JOURNAL - 1 : FT__JOURNAL;
}

/* Every store to the journal is one that a kill may follow; nobody else looks
 * before the kernel proved that, so only the compiler must keep their order. */
static inline void ft__journal_put(struct ft__slot *slot, uint32_t i, uint64_t entry)
{
	ft__compiler_barrier();
	FT__POINT();
	slot->journal[i] = entry;
	FT__POINT();
	ft__compiler_barrier();
}

/* false: full, for this kind. */
static inline bool ft__journal_push(struct ft__slot *slot, enum ft__note kind, uint64_t entry)
{
	uint32_t i = slot->noted;

	if (FT__UNLIKELY(i >= ft__journal_room(kind)))
		return false;
	/* Reserve, then fill: a signal handler in between takes the next. */
	slot->noted = i + 1;
	ft__journal_put(slot, i, entry);
	return true;
}

/* Of what the functions below do, the seldom half. */
bool ft__note_again(struct ft__self *self, enum ft__note kind, const void *object);
int ft__unnote_any(struct ft__self *self, uint64_t entry);

/* false: there is more to do, or it cannot be done.  Inline, as are the next: an
 * uncontended lock is little more than this. */
static inline bool ft__note_at_once(struct ft__self *self, enum ft__note kind, const void *object)
{
	uint64_t offset = ft__offset(object);

	return FT__LIKELY(offset) &&
	       FT__LIKELY(ft__journal_push(self->slot, kind, ft__note_entry(kind, offset)));
}

/* false: not noted, because the object lies outside the arena or the journal is
 * full. */
static inline bool ft__note(struct ft__self *self, enum ft__note kind, const void *object)
{
	return ft__note_at_once(self, kind, object) || ft__note_again(self, kind, object);
}

/* Returns 0, so that it can come last. */
static inline int ft__unnote(struct ft__self *self, enum ft__note kind, const void *object)
{
	struct ft__slot *slot = self->slot;
	/* Of an object outside no entry can look like this. */
	uint64_t entry = ft__note_entry(kind, ft__offset_unchecked(object));
	uint32_t last = slot->noted - 1;

	/* The latest first: notes come and go like brackets, nearly always. */
	if (FT__UNLIKELY(last >= FT__JOURNAL || slot->journal[last] != entry))
		return ft__unnote_any(self, entry);
	ft__journal_put(slot, last, 0);
	slot->noted = last;
	return 0;
}

/* After the proven death of a process: settles every note of every thread of
 * it.  Called by the supervisor before the slots are freed and before blocks
 * are swept.  0, or -EAGAIN: everything else is settled, but the lock of some
 * queue could not be had within FT__SETTLE_NS.  Its holder may be stopped, or
 * dead as well and next in the supervisor's hands: so the supervisor must not
 * sleep on it, and calls again later (settling twice does no harm). */
#define FT__SETTLE_NS INT64_C(2000000)
int ft__journal_settle(uint32_t process);

#endif
