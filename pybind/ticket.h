/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_TICKET_H
#define FT_PYBIND_TICKET_H

#include <pthread.h>

#include "module.h"

/* A Ticket is the Python side of a future, which knows it as its `user`. */
PyObject *core_ticket_new(struct core_state *state, PyObject *user);

/* Gives the ticket its future.  Two threads may do so at once with the same
 * one: who submitted, and who has got it from ft_pool_next. */
void core_ticket_set(PyObject *op, struct ft_future *future);

/* The future, or NULL with TypeError if op is no Ticket. */
struct ft_future *core_ticket_future(struct core_state *state, PyObject *op);

/*
 * The tickets that ft_pool_next has not handed over yet.  The pool owns a
 * reference to each, in a place where Python's garbage collector can see it.
 */
struct core_news {
	pthread_mutex_t lock;
	struct core_ticket *first; /* under lock, as are the tickets' links */
};

void core_news_init(struct core_news *news);
/* Adds a ticket, with a reference of its own; that is the caller's after take. */
void core_news_add(struct core_news *news, PyObject *ticket);
void core_news_take(struct core_news *news, PyObject *ticket);
int core_news_traverse(struct core_news *news, visitproc visit, void *arg);
/* Drops them all. */
void core_news_clear(struct core_news *news);

#endif
