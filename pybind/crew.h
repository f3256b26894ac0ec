/* SPDX-License-Identifier: MIT */
/*
 * The threads of one interpreter that its end must wait for: those that are
 * not daemons, and all of them as long as they have no thread state (a thread
 * that makes its state while the interpreter falls apart would take part in that),
 * or one that outlasts its worker (see thread_state.h).
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
	uint32_t kept; /* thread states that OS threads keep between two workers */
	uint32_t closed;
	uint32_t generation; /* one more in each child of fork() */
};

/* NULL with MemoryError.  core_crew_free leaks a crew that has members or
 * kept states, who will leave it some day. */
struct core_crew *core_crew_new(void);
void core_crew_free(struct core_crew *crew);

/* What a thread knows of its crew. */
struct core_berth {
	struct core_crew *crew;
	uint32_t generation;
	int daemon;
};

/* 0, or -ESHUTDOWN: the crew is closed. */
int core_crew_enter(struct core_berth *berth);
/* None of these wants a thread state. */
void core_crew_born(const struct core_berth *berth);
void core_crew_leave(const struct core_berth *berth);
/* 0, or -ESHUTDOWN: the interpreter is about to end, or is another one's copy. */
int core_crew_keep(const struct core_berth *berth);
void core_crew_unkeep(const struct core_berth *berth);

#endif
