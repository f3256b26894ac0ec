/* SPDX-License-Identifier: MIT */
/*
 * Slots: who is who in the program.  Every thread that owns something shared
 * has a slot in the arena; a process is known by the slot of its main part.
 * Floor 1.
 *
 * An owner id is 30 bits, never 0, and fits a lock word:
 *
 *   bits 0-13   slot index
 *   bits 14-29  the slot's generation, 1..65535
 *
 * The slot's word (atomic; it changes together with `process`, in one CAS of
 * both, so that no death leaves a slot that nobody answers for):
 *
 *   bits 0-1    FREE 0, RESERVED 1, LIVE 2
 *   bits 14-29  generation
 *
 *   FREE(g), 0        -> RESERVED(g+1), me  any process: CAS; the taker writes
 *                                           the rest
 *   RESERVED(g), me   -> LIVE(g), me        a thread of that process
 *   RESERVED(g), you  -> LIVE(g), self      the worker process that `you` made it
 *                                           for, once it runs
 *   RESERVED(g), LIVE(g) -> FREE(g), 0      its thread at exit, or the supervisor
 *                                           of a process whose death the kernel
 *                                           proved
 *
 * An id is alive while its slot shows its generation and is not FREE.
 */
#ifndef FT_MEM_SLOT_H
#define FT_MEM_SLOT_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "mem/arena.h"

#define FT__SLOT_FREE 0u
#define FT__SLOT_RESERVED 1u
#define FT__SLOT_LIVE 2u
#define FT__SLOT_STATE 3u
#define FT__SLOT_INDEX 0x3fffu
#define FT__SLOT_GENERATION 0x3fffc000u
#define FT__JOURNAL 24

/* A thread's place at a condition (sync/condition.h, sync/line.h).  On a cache
 * line of its own, since the thread looks at `word` while others write it. */
struct ft__waiter {
	uint32_t word;      /* atomic, a futex */
	uint32_t zero;
	uint64_t link;      /* atomic: who is next in line */
	uint64_t condition; /* atomic: offset or address; 0: at none */
	uint64_t ticket;    /* atomic */
	uint64_t reserved[4];
};

struct ft__slot {
	union {
		struct {
			uint32_t word;    /* atomic, table above */
			uint32_t process; /* owner id of the process's slot; its own there;
					   * the maker's while RESERVED for a worker */
		};
		uint64_t head; /* atomic: both */
	};
	uint32_t parent;   /* owner id of the process that supervises it, or 0 */
	int32_t pid, tid;  /* written by the slot's thread when it goes LIVE */
	uint32_t left;     /* 0x100|status, by a process about to _exit */
	uint32_t noted;    /* journal entries in use; the slot's thread only */
	uint32_t gone;     /* atomic: 1: its thread has ended, the notes keep the slot */
	char name[16];
	uint64_t journal[FT__JOURNAL]; /* sync/journal.h; the slot's thread writes,
					* its supervisor reads after its death */
	uint32_t mail;     /* work/mail.h: atomic, a futex; 0 when reserved */
	uint32_t zero;
	uint64_t letter;   /* the same; the maker writes it */
	struct ft__waiter waiter;
	/* mem/share.h: atomic: the handle of the block that its thread is joining, or
	 * 0; the thread, and the sweeper of its process. */
	uint64_t joining;
	uint64_t apart[7];
};
_Static_assert(sizeof(struct ft__slot) == 384, "slots are counted in whole cache lines");

/* A wake-up that comes when the thread releases a lock (sync/condition.h). */
struct ft__owed {
	const void *lock; /* NULL: none is owed */
	uint32_t *word;
	const void *condition; /* noted in the journal; NULL: private */
};

/* The calling thread, registered on first use.  0 or -errno (-ECHILD). */
struct ft__cache;
struct ft__self {
	uint32_t owner;  /* 0: not registered yet */
	uint32_t number; /* sync/lock.h: whatever becomes of the rest; 0: none yet */
	struct ft__slot *slot;
	struct ft__cache *cache; /* mem/cache.h; NULL until the first block */
	struct ft__owed owed;
	uint32_t more; /* slots that it has beside its own, for its signal handlers too */
};
extern FT__THREAD struct ft__self ft__self_tls;
int ft__self_register(void);
static inline int ft__self(struct ft__self **self)
{
	*self = &ft__self_tls;
	return FT__LIKELY(ft__self_tls.owner) ? 0 : ft__self_register();
}

/* The calling thread has come to its end, or to that of the worker that it runs:
 * what it holds is as if it were dead.  It registers anew when it needs to. */
void ft__self_leave(void);

/* This process's owner id, registering it on first use; 0 on failure. */
uint32_t ft__process(void);

/* Called by a thread that leaves, before its slot is freed: the floor above
 * settles what its journal still says.  Notes that it leaves there keep the
 * slot; the floor above frees it then.  NULL, or set once. */
extern void (*ft__slot_leaving)(uint32_t owner);

/* One more slot for the calling thread, which has gone and come like its own: its
 * owner id, or 0: none left.  The floor above gives it back, cleared. */
uint32_t ft__slot_more(struct ft__self *self);
void ft__slot_less(struct ft__self *self, uint32_t owner);

/* For a worker process about to be made: a RESERVED slot whose parent is this
 * process.  Returns the owner id, or 0: none left. */
uint32_t ft__slot_reserve(const char *name);
void ft__slot_free(uint32_t owner);

struct ft__slot *ft__slot_of(uint32_t owner); /* NULL: out of range */
bool ft__slot_alive(uint32_t owner);

/* By ft__arena_adopt: this thread is the main one of process `owner`, whose
 * slot was reserved.  0 or -ESTALE. */
int ft__slot_adopt(uint32_t owner);

/* In a child of a plain fork, async-signal-safe: we are nobody. */
void ft__slot_forget(void);

/* Slots in use. */
uint32_t ft__slot_count(void);

/* The owner id of the first slot in use at *index or above, and *index behind it;
 * 0: no more.  Of all processes. */
uint32_t ft__slot_next(uint32_t *index);

/* Does a thread, of any process, say that it is joining this block? */
bool ft__slot_joins(uint64_t handle);

/* Calls fn for every slot, the process's own last, that belongs to a process. */
void ft__slot_each(uint32_t process, void (*fn)(void *ctx, uint32_t owner, struct ft__slot *slot),
		   void *ctx);

#endif
