/* SPDX-License-Identifier: MIT */
/*
 * The line of waiters at a condition: a list of nodes, in the order they came.
 * Floor 2.
 *
 * Everything here but ft__line_oldest is under the user's lock, and between
 * ft__line_enter and ft__line_leave.  The names of nodes in links are those of
 * sync/node.h.
 *
 *   a node's link     who writes                       meaning
 *   name<<32 | next   FT_SHARED: under the lock, CAS   this node's name: a link
 *                                                      that does not say it is
 *                                                      one into a slot that was
 *                                                      settled
 *   next              FT_PRIVATE: under the lock
 *   0                 the supervisor, after a death    nobody's
 */
#ifndef FT_SYNC_LINE_H
#define FT_SYNC_LINE_H

#include <stdbool.h>

#include <freethreading/condition.h>

#include "mem/slot.h"

/* Around each change.  Finds out whether the last one was cut short by a death,
 * and then builds the list again from the nodes. */
void ft__line_enter(struct ft_condition *condition);
void ft__line_leave(struct ft_condition *condition);

/* Makes the node ARMED, last in line.  The commit is its word; a list that does
 * not have it yet is one that was cut short. */
void ft__line_append(struct ft_condition *condition, uint64_t name, struct ft__waiter *node);

/* Takes a node out that is not waiting; it need not be there. */
void ft__line_remove(struct ft_condition *condition, uint64_t name);

/* Who came first, or NULL; and takes that one out. */
struct ft__waiter *ft__line_first(struct ft_condition *condition);
void ft__line_drop_first(struct ft_condition *condition);

bool ft__line_empty(const struct ft_condition *condition);

/* Among all slots, the one that waits at the condition with this offset and has
 * the lowest ticket above `after`; NULL: none.  *owner (may be NULL) is its id.
 * Needs no lock. */
struct ft__waiter *ft__line_oldest(uint64_t home, uint64_t after, uint32_t *owner);

#endif
