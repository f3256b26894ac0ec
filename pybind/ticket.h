/* SPDX-License-Identifier: MIT */
#ifndef FT_PYBIND_TICKET_H
#define FT_PYBIND_TICKET_H

#include "module.h"

/*
 * A Ticket is the Python side of a future.  The C pool refers to it as the
 * future's `user`; for a task with notification that is a reference of its
 * own, which ft_pool_next hands over.
 */
PyObject *core_ticket_new(struct core_state *state, PyObject *user);

/* Gives the ticket its future.  Two threads may do so at once with the same
 * one: who submitted, and who has got it from ft_pool_next. */
void core_ticket_set(PyObject *op, struct ft_future *future);

/* The future, or NULL with TypeError if op is no Ticket. */
struct ft_future *core_ticket_future(struct core_state *state, PyObject *op);

#endif
