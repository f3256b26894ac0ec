/* SPDX-License-Identifier: MIT */
/*
 * The threads of one interpreter that its end must wait for: those that are
 * not daemons, and daemons as long as they have no thread state (a thread that
 * makes its state while the interpreter falls apart would take part in that).
 *
 *   open -> closed    at the interpreter's end, when everybody has left: who
 *                     comes later is turned away
 */
#ifndef FT_PYBIND_CREW_H
#define FT_PYBIND_CREW_H

#include "module.h"

struct core_crew {
	struct ft_lock lock; /* over all below */
	struct ft_condition empty;
	uint32_t members;
	uint32_t closed;
	uint32_t generation; /* one more in each child of fork() */
};

/* NULL with MemoryError.  core_crew_free leaks a crew that has members, who
 * will leave it some day. */
struct core_crew *core_crew_new(void);
void core_crew_free(struct core_crew *crew);

/* 0: a member, which must leave with the generation it got; -ESHUTDOWN. */
int core_crew_enter(struct core_crew *crew, uint32_t *generation);
/* Wants no thread state. */
void core_crew_leave(struct core_crew *crew, uint32_t generation);

#endif
