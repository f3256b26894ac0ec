/* SPDX-License-Identifier: MIT */
/*
 * The journal: what a thread is in the middle of, kept in its slot, so that a
 * supervisor can finish it after the thread's process was killed.  Floor 2.
 *
 * An entry is noted before the first store to the object and dropped after the
 * last wake.  Entries are an unordered set; FT__JOURNAL of them, the last few
 * kept for what is noted only for a moment (events, queues).  A full journal
 * first drops notes of locks that the thread no longer holds; if that does not
 * help, ft__note says no, and a lock is then `polled` (freethreading/lock.h).
 * A queue, semaphore or condition can always be noted: no thread is inside two
 * of them at a time.  A barrier can not: its action may use anything.
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

/* The kind is in bits 56-63, the offset below.  false: not noted, because the
 * object lies outside the arena or the journal is full. */
bool ft__note(struct ft__self *self, enum ft__note kind, const void *object);
void ft__unnote(struct ft__self *self, enum ft__note kind, const void *object);

/* After the proven death of a process: settles every note of every thread of
 * it.  Called by the supervisor before the slots are freed and before blocks
 * are swept.  0, or -EAGAIN: everything else is settled, but the lock of some
 * queue could not be had within FT__SETTLE_NS.  Its holder may be stopped, or
 * dead as well and next in the supervisor's hands: so the supervisor must not
 * sleep on it, and calls again later (settling twice does no harm). */
#define FT__SETTLE_NS INT64_C(2000000)
int ft__journal_settle(uint32_t process);

#endif
