/* SPDX-License-Identifier: MIT */
/*
 * Rest: the servers of a queue that have found nothing to do.  One at a time is
 * called back, and the one that lay down last, since it is likely to be awake
 * still; whoever was called and has found work calls the next if there is more.
 * So a queue that is fed one job at a time is served by one server, which need
 * not sleep, and the others are left alone.
 *
 *   field    who writes                        partner
 *   resting  under lock                        caller: after it put work; who lies
 *                                              down looks for work once more after it
 *   soon     a server: +1 before it lets go    caller: leaves the work to that one,
 *            who waits for its job, -1 after   who looks again after its -1 (seq_cst)
 *            it has looked for the next
 *   called   under lock: 1 by the caller, 0    caller: with 1 it leaves the rest to
 *            by who was called before it looks who was called (seq_cst)
 *            for work
 */
#ifndef FT_PYBIND_REST_H
#define FT_PYBIND_REST_H

#include <stdatomic.h>

#include "module.h"

struct core_bed {
	struct ft_event call;
	_Atomic int taken; /* by a server, from core_rest_enter to core_rest_leave */
	char apart[64 - sizeof(struct ft_event) - sizeof(int)]; /* no two in one cache line */
};

struct core_rest {
	struct ft_lock lock;
	_Atomic uint32_t resting, called, soon;
	uint32_t *order;       /* under lock: who rests, the last one lay down last */
	struct core_bed *beds; /* one for each server */
	uint32_t count;        /* of servers; const */
};

/* 0 or -ENOMEM. */
int core_rest_init(struct core_rest *rest, uint32_t count);
void core_rest_fini(struct core_rest *rest);

/* Before a thread serves under that number, and when it does no longer.  0, or
 * -EBUSY: another does. */
int core_rest_enter(struct core_rest *rest, uint32_t server);
void core_rest_leave(struct core_rest *rest, uint32_t server);

/* There is work: somebody will look for it. */
void core_rest_call(struct core_rest *rest);
void core_rest_call_all(struct core_rest *rest);

/* The calling server is done but for telling so, and looks for work next: whoever
 * hears of it and brings more need not call another.  No foreign code may run
 * between the two, which the second one ends (if there was a first). */
void core_rest_soon(struct core_rest *rest);
void core_rest_looked(struct core_rest *rest);

/* From lie_down on the server will be called.  It looks for work once more, and
 * then sleeps until it is called, or gets up by itself.  It is up then. */
void core_rest_lie_down(struct core_rest *rest, uint32_t server);
void core_rest_sleep(struct core_rest *rest, uint32_t server);
void core_rest_get_up(struct core_rest *rest, uint32_t server);

#endif
