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

/* What Pool.ticket knows more; before it is set.  The ticket holds the pool. */
void core_ticket_tell(PyObject *op, PyObject *pool, size_t size);

/* The future, or NULL with TypeError if op is no Ticket. */
struct ft_future *core_ticket_future(struct core_state *state, PyObject *op);

/*
 * What ft_pool_next has not handed over yet.  The pool owns a
 * reference to each, in a place where Python's garbage collector can see it.
 */
struct core_news_item {
	struct core_news_item *next, *prev; /* under the news' lock */
	PyObject *object;		    /* a Ticket or a Future, that it is part of */
};

struct core_news {
	pthread_mutex_t lock;
	struct core_news_item *first;
};

void core_news_init(struct core_news *news);
/* Adds an object, with a reference of its own; that is the caller's after take. */
void core_news_add(struct core_news *news, struct core_news_item *item, PyObject *object);
void core_news_take(struct core_news *news, struct core_news_item *item);
/* A ticket's. */
struct core_news_item *core_ticket_item(PyObject *op);
int core_news_traverse(struct core_news *news, visitproc visit, void *arg);
/* Drops them all. */
void core_news_clear(struct core_news *news);

#endif
