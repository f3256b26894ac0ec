/* SPDX-License-Identifier: MIT */
/* The line of waiters at a condition: see sync/line.h. */
#include "sync/line.h"

#include "os/atomic.h"
#include "sync/node.h"
#include "sync/wait.h"

#define NEXT_MASK UINT64_C(0xffffffff)

static bool shared(const struct ft_condition *condition)
{
	return ft__flags_shared(condition->flags);
}

static struct ft__waiter *node_named(const struct ft_condition *condition, uint64_t name)
{
	return ft__node_named(shared(condition), name);
}

static uint64_t link_to(const struct ft_condition *condition, uint64_t name, uint64_t next)
{
	return shared(condition) ? name << 32 | next : next;
}

/* Who is behind a node; false: the slot is not that node's any more. */
static bool next_of(const struct ft_condition *condition, uint64_t name, uint64_t *next)
{
	struct ft__waiter *node = node_named(condition, name);

	if (!node)
		return false;
	/* Acquire: pairs with the supervisor's store of 0. */
	*next = ft__load64_acquire(&node->link);
	if (!shared(condition))
		return true;
	if (*next >> 32 != name)
		return false;
	*next &= NEXT_MASK;
	return true;
}

static bool set_next(const struct ft_condition *condition, uint64_t name, uint64_t next)
{
	struct ft__waiter *node = node_named(condition, name);
	uint64_t old, seen;

	if (!next_of(condition, name, &old))
		return false;
	seen = link_to(condition, name, old);
	/* Fails only against the supervisor's store of 0. */
	return ft__cas64_seq_cst(&node->link, &seen, link_to(condition, name, next));
}

static void set_ends(struct ft_condition *condition, uint64_t head, uint64_t tail)
{
	ft__store64_release(&condition->head, head);
	ft__store64_release(&condition->tail, tail);
}

static bool waiting(const struct ft__waiter *node)
{
	uint32_t word = ft__load32_relaxed(&node->word);

	return word == FT_CONDITION_ARMED || word == FT_CONDITION_SLEEPING;
}

struct ft__waiter *ft__line_oldest(uint64_t home, uint64_t after, uint32_t *owner)
{
	struct ft__waiter *best = NULL;
	uint64_t lowest = UINT64_MAX;
	uint32_t index = 0, who;

	while ((who = ft__slot_next(&index))) {
		struct ft__waiter *node = &ft__slot_of(who)->waiter;
		uint64_t ticket = ft__load64_relaxed(&node->ticket);

		if (ft__load64_relaxed(&node->condition) != home || !waiting(node) ||
		    ticket <= after || ticket >= lowest)
			continue;
		lowest = ticket;
		best = node;
		if (owner)
			*owner = who;
	}
	return best;
}

/* From the nodes, which are what holds.  Who is settled meanwhile is left out,
 * or found out by its link later. */
static void rebuild(struct ft_condition *condition)
{
	uint64_t home = ft__offset(condition), last = 0;
	struct ft__waiter *node;
	uint32_t owner;

	set_ends(condition, 0, 0);
	while ((node = ft__line_oldest(home, last, &owner))) {
		last = ft__load64_relaxed(&node->ticket);
		if (!set_next(condition, owner, 0))
			continue;
		if (!condition->tail)
			set_ends(condition, owner, owner);
		else if (set_next(condition, condition->tail, owner))
			ft__store64_release(&condition->tail, owner);
	}
}

void ft__line_enter(struct ft_condition *condition)
{
	if (condition->busy && shared(condition))
		rebuild(condition);
	ft__store32_relaxed(&condition->busy, 1);
	/* The next owner of the lock reads it after our death or our release. */
	ft__compiler_barrier();
}

void ft__line_leave(struct ft_condition *condition)
{
	ft__store32_release(&condition->busy, 0);
}

void ft__line_append(struct ft_condition *condition, uint64_t name, struct ft__waiter *node)
{
	uint64_t home = shared(condition) ? ft__offset(condition) : (uintptr_t)condition;

	ft__store64_release(&condition->tickets, condition->tickets + 1);
	ft__store64_relaxed(&node->ticket, condition->tickets);
	ft__store64_relaxed(&node->link, link_to(condition, name, 0));
	ft__store64_release(&node->condition, home);
	/* Release: who finds it waiting, by whatever way, finds the rest. */
	ft__store32_release(&node->word, FT_CONDITION_ARMED);
	if (!condition->tail)
		set_ends(condition, name, name);
	else if (set_next(condition, condition->tail, name))
		ft__store64_release(&condition->tail, name);
	else
		rebuild(condition);
}

void ft__line_remove(struct ft_condition *condition, uint64_t name)
{
	uint64_t before = 0, at = condition->head, next = 0;
	/* What was scribbled over may be a circle. */
	uint64_t steps = shared(condition) ? FT__SLOTS : UINT64_MAX;
	bool good = true;

	while (good && at && at != name && steps-- > 0) {
		good = next_of(condition, at, &next);
		before = at;
		at = next;
	}
	if (good && !at)
		return;
	good = good && at == name && next_of(condition, name, &next);
	if (good && before)
		good = set_next(condition, before, next);
	else if (good)
		ft__store64_release(&condition->head, next);
	if (!good)
		rebuild(condition);
	else if (condition->tail == name)
		ft__store64_release(&condition->tail, before);
}

struct ft__waiter *ft__line_first(struct ft_condition *condition)
{
	uint64_t next;

	while (condition->head && !next_of(condition, condition->head, &next))
		rebuild(condition);
	return condition->head ? node_named(condition, condition->head) : NULL;
}

void ft__line_drop_first(struct ft_condition *condition)
{
	uint64_t next;

	if (!next_of(condition, condition->head, &next)) {
		rebuild(condition);
		return;
	}
	ft__store64_release(&condition->head, next);
	if (!next)
		ft__store64_release(&condition->tail, 0);
}

bool ft__line_empty(const struct ft_condition *condition)
{
	/* Relaxed: the caller may hold another lock than those who wait. */
	return !ft__load64_relaxed(&condition->head) && !ft__load32_relaxed(&condition->busy);
}
