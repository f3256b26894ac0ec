/* SPDX-License-Identifier: MIT */
/*
 * The threads of one interpreter that its end must wait for: those that are
 * not daemons, and all of them as long as they have no thread state (a thread
 * that makes its state while the interpreter falls apart would take part in that).
 *
 * A thread state that outlasts its worker (see thread_state.h) is its OS thread's
 * until that takes it, or until the interpreter's end disowns it: then it is the
 * interpreter's, which deletes it as those of daemons.  The end waits for
 * threads that have taken theirs to delete it, not for what else they do.
 *
 *   core_crew_enter -> newborn -> core_crew_born -> core_crew_leave
 *
 *   open -> closed    at the interpreter's end: who comes later is turned away
 */
#ifndef FT_PYBIND_CREW_H
#define FT_PYBIND_CREW_H

#include "module.h"

struct core_crew {
	struct ft_lock lock; /* over all below */
	struct ft_condition fewer; /* told when one of the next three has become 0 */
	uint32_t newborns;
	uint32_t members; /* no daemons, newborn or not */
	uint32_t kept; /* thread states: those below, and those that are being deleted */
	struct core_keepsake *keepsakes;
	uint32_t disowned; /* some were: their threads come here once more when they leave */
	uint32_t closed;
	uint32_t generation; /* one more in each child of fork() */
};

/* NULL with MemoryError.  core_crew_free leaks a crew that has members or
 * kept states, who will leave it some day, and one that has ever disowned a
 * state: the OS threads of those look here whether they were. */
struct core_crew *core_crew_new(void);
void core_crew_free(struct core_crew *crew);

/* What a thread knows of its crew. */
struct core_berth {
	struct core_crew *crew;
	uint32_t generation;
	int daemon;
};

/* For what a thread keeps; its memory lasts as long as the thread. */
struct core_keepsake {
	struct core_berth berth; /* const once it is kept */
	struct core_keepsake *next, **link; /* under the crew's lock; link NULL: disowned */
};

/* 0, or -ESHUTDOWN: the crew is closed. */
int core_crew_enter(struct core_berth *berth);
/* None of these wants a thread state. */
void core_crew_born(const struct core_berth *berth);
void core_crew_leave(const struct core_berth *berth);
/* 0, or -ESHUTDOWN: the interpreter is about to end, or is another one's copy. */
int core_crew_keep(struct core_keepsake *keepsake, const struct core_berth *berth);
/* 1, or 0: it was disowned.  Who takes it to delete the state is `leaving`: until
 * core_crew_unkeep the end waits. */
int core_crew_take(struct core_keepsake *keepsake, int leaving);
void core_crew_unkeep(const struct core_keepsake *keepsake);

#endif
