/* SPDX-License-Identifier: MIT */
/*
 * Nodes: where a thread waits at a condition.  Floor 2.
 *
 * Each thread has one, and gets one more for each wait that it begins in the
 * middle of another, as a handler of a signal does:
 *
 *              the thread's own             one more
 *   FT_SHARED  in its slot                  in another slot of its process, so that
 *                                           a death is settled as that of two
 *   FT_PRIVATE in thread-local storage      in a stock that only grows: no notifier
 *                                           finds one gone
 *
 * A node's name in links is its slot's owner id, or its address.
 */
#ifndef FT_SYNC_NODE_H
#define FT_SYNC_NODE_H

#include <stdbool.h>

#include "mem/slot.h"

/* For a wait of the calling thread.  `self`: NULL for FT_PRIVATE.  0, -EAGAIN (no
 * slot is left) or -ENOMEM. */
int ft__node_take(struct ft__self *self, uint64_t *name);

/* It is in nobody's list, and at no condition, any more. */
void ft__node_give(struct ft__self *self, uint64_t name);

/* NULL: the name is none, or that of something that was scribbled over. */
struct ft__waiter *ft__node_named(bool is_shared, uint64_t name);

#endif
