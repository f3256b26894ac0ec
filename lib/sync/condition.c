/* SPDX-License-Identifier: MIT */
/*
 * The condition: freethreading/condition.h tells the states and the protocol,
 * tests/model/condition.pml checks it and is kept in step with this file.  The
 * list of waiters is lib/sync/line.c, where they wait is lib/sync/node.c.
 */
#include "sync/condition.h"

#include <errno.h>

#include "os/atomic.h"
#include "os/compiler.h"
#include "os/futex.h"
#include "sync/journal.h"
#include "sync/line.h"
#include "sync/node.h"
#include "sync/rlock.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE)

/* One call of one thread. */
struct visit {
	struct ft_condition *condition;
	struct ft__self *self; /* NULL: private, no journal */
	struct ft__waiter *node; /* of a hold; NULL: none yet */
};

static bool shared(const struct ft_condition *condition)
{
	return ft__flags_shared(condition->flags);
}

static bool marked(const struct ft_condition *condition)
{
	return condition && ft__load64_relaxed(&condition->mark) == FT_CONDITION_MARK;
}

int ft_condition_init(struct ft_condition *condition, uint32_t flags)
{
	if (!condition || (uintptr_t)condition % _Alignof(struct ft_condition) ||
	    (flags & ~KNOWN_FLAGS))
		return -EINVAL;
	if (ft__flags_shared(flags)) {
		int rc = ft__arena_ready();

		if (rc != 0)
			return rc;
		if (!ft__at(ft__offset(condition), sizeof(*condition)))
			return -EINVAL;
	}
	*condition = (struct ft_condition){ .flags = flags };
	/* Release: who finds the mark finds the rest. */
	ft__store64_release(&condition->mark, FT_CONDITION_MARK);
	return 0;
}

static int begin(struct visit *visit, struct ft_condition *condition)
{
	*visit = (struct visit){ .condition = condition };
	if (!marked(condition))
		return -EINVAL;
	return shared(condition) ? ft__self(&visit->self) : 0;
}

static int resume(struct visit *visit, const struct ft_condition_hold *hold)
{
	int rc = hold && hold->armed ? begin(visit, hold->condition) : -EINVAL;

	if (rc == 0)
		visit->node = ft__node_named(shared(hold->condition), hold->node);
	return rc;
}

/* ---- the lock ---------------------------------------------------------- */

static uint64_t name_of_lock(const struct ft_condition *condition, const struct ft_lock *lock)
{
	if (!shared(condition))
		return (uintptr_t)lock;
	return ft__flags_shared(lock->flags) ? ft__offset(lock) : 0;
}

static struct ft_lock *lock_named(const struct ft_condition *condition, uint64_t name)
{
	if (!shared(condition))
		return (struct ft_lock *)(uintptr_t)name;
	return ft__at(name, sizeof(struct ft_lock));
}

static bool holds(const struct ft_lock *lock)
{
	return lock->flags & FT_LOCK_UNOWNED ? ft_lock_held(lock) : ft_lock_mine(lock);
}

/* The one lock of all who wait now. */
static int bind(struct ft_condition *condition, const struct ft_lock *lock)
{
	uint64_t name = name_of_lock(condition, lock);

	if (!name)
		return -EINVAL;
	if (!holds(lock))
		return -EPERM;
	if (ft__load64_relaxed(&condition->lock) == name)
		return 0;
	if (!ft__line_empty(condition))
		return -EINVAL;
	ft__store64_release(&condition->lock, name);
	return 0;
}

/* Somebody else may have released an FT_LOCK_UNOWNED lock in our place; then it
 * is free as it shall be. */
static void let_go(struct ft_condition_hold *hold)
{
	if (hold->rlock)
		hold->depth = ft__rlock_release_all(hold->rlock);
	else
		ft_lock_release(hold->lock);
}

static int take_back(const struct ft_condition_hold *hold)
{
	return hold->rlock ? ft__rlock_restore(hold->rlock, hold->depth, FT_FOREVER) :
			     ft_lock_acquire(hold->lock, FT_FOREVER);
}

/* ---- waiting ----------------------------------------------------------- */

static bool granted(uint32_t word)
{
	return word == FT_CONDITION_NOTIFIED || word == FT_CONDITION_FORWARDED;
}

int ft_condition_arm(struct ft_condition *condition, struct ft_lock *lock, struct ft_rlock *rlock,
		     struct ft_condition_hold *hold)
{
	struct visit visit;
	uint64_t name;

	if (!hold || !lock == !rlock)
		return -EINVAL;

	int rc = begin(&visit, condition);

	if (rc == 0)
		rc = bind(condition, rlock ? &rlock->lock : lock);
	if (rc == 0)
		rc = ft__node_take(visit.self, &name);
	if (rc != 0)
		return rc;
	*hold = (struct ft_condition_hold){ condition, lock, rlock, 0, 1, name };
	ft__line_enter(condition);
	ft__line_append(condition, name, ft__node_named(shared(condition), name));
	ft__line_leave(condition);
	let_go(hold);
	return 0;
}

/* 0: no longer waiting, or look again. */
static int sleep_on(const struct visit *visit, ft_deadline deadline)
{
	uint32_t *word = &visit->node->word, seen = FT_CONDITION_ARMED;

	/* Acquire, on failure relaxed: the caller loads the word again. */
	if (!ft__cas32_acquire(word, &seen, FT_CONDITION_SLEEPING) && granted(seen))
		return 0;
	return ft__park(word, FT_CONDITION_SLEEPING, visit->condition->flags, deadline);
}

int ft_condition_park(struct ft_condition_hold *hold, ft_deadline deadline)
{
	struct visit visit;
	int rc = resume(&visit, hold);

	if (rc != 0)
		return rc;

	struct ft__spin spin = ft__spin_start(deadline);

	for (;;) {
		/* Acquire: pairs with the CAS of who notifies. */
		uint32_t seen = ft__load32_acquire(&visit.node->word);

		if (granted(seen))
			rc = 0;
		if (granted(seen) || rc != 0)
			break;
		if (seen == FT_CONDITION_ARMED && deadline > 0 && ft__spin(&spin))
			continue;
		ft__spin_end(&spin);
		rc = sleep_on(&visit, deadline);
	}
	ft__spin_over(&spin, rc == 0);
	return rc;
}

/* From now on nobody notifies the node. */
static void stop_waiting(struct ft__waiter *node)
{
	uint32_t seen = ft__load32_relaxed(&node->word);

	while (seen == FT_CONDITION_ARMED || seen == FT_CONDITION_SLEEPING)
		/* Against the CAS of who notifies: one of both finds it done. */
		if (ft__cas32_acquire(&node->word, &seen, FT_CONDITION_CANCELLED))
			break;
}

int ft_condition_disarm(struct ft_condition_hold *hold)
{
	struct visit visit;
	int rc = resume(&visit, hold);

	if (rc != 0)
		return rc;
	stop_waiting(visit.node);
	rc = take_back(hold);
	if (rc == -EINTR)
		return rc;

	/* Acquire: pairs with the CAS of who notifies. */
	uint32_t word = ft__load32_acquire(&visit.node->word);

	if (word != FT_CONDITION_NOTIFIED) {
		ft__line_enter(visit.condition);
		ft__line_remove(visit.condition, hold->node);
		ft__line_leave(visit.condition);
	}
	/* This store consumes the notification. */
	ft__store32_release(&visit.node->word, FT_CONDITION_IDLE);
	ft__store64_release(&visit.node->condition, 0);
	ft__node_give(visit.self, hold->node);
	hold->armed = 0;
	if (rc != 0)
		return rc;
	return granted(word) ? 0 : -ECANCELED;
}

static int wait_with(struct ft_condition *condition, struct ft_lock *lock, struct ft_rlock *rlock,
		     ft_deadline deadline)
{
	struct ft_condition_hold hold;
	int rc = ft_condition_arm(condition, lock, rlock, &hold);

	if (rc != 0)
		return rc;
	rc = ft_condition_park(&hold, deadline);

	int end;

	/* Whatever comes: the caller must hold the lock when its wait returns. */
	do {
		end = ft_condition_disarm(&hold);
	} while (end == -EINTR);
	return end == -ECANCELED ? rc : end;
}

int ft_condition_wait(struct ft_condition *condition, struct ft_lock *lock, ft_deadline deadline)
{
	return wait_with(condition, lock, NULL, deadline);
}

int ft_condition_wait_rlock(struct ft_condition *condition, struct ft_rlock *rlock,
			    ft_deadline deadline)
{
	return wait_with(condition, NULL, rlock, deadline);
}

/* ---- notifying --------------------------------------------------------- */

/* Gives a notification to a node that waits for one.  0: it did not; 1: it knows;
 * 2: it is to be woken. */
static int grant(struct ft__waiter *node, uint32_t how)
{
	uint32_t seen = ft__load32_relaxed(&node->word);

	while (seen == FT_CONDITION_ARMED || seen == FT_CONDITION_SLEEPING) {
		uint32_t before = seen;

		/* Seq_cst, so release: pairs with the waiter's loads. */
		if (!ft__cas32_seq_cst(&node->word, &seen, how))
			continue;
		return before == FT_CONDITION_SLEEPING ? 2 : 1;
	}
	return 0;
}

static void wake(struct ft__waiter *node, bool is_shared)
{
	ft__futex_wake(&node->word, 1, is_shared);
}

/* Leaves a wake-up to who releases the lock, which must then be the caller, and
 * the note too, which must leave room for others. */
static bool owe(const struct visit *visit, const struct ft_lock *lock, struct ft__waiter *node)
{
	struct ft__self *self = &ft__self_tls;

	if (self->owed.lock || (lock->flags & FT_LOCK_UNOWNED) ||
	    (visit->self && self->slot->noted > ft__journal_room(FT__NOTE_LOCK)))
		return false;
	self->owed.word = &node->word;
	self->owed.condition = visit->self ? visit->condition : NULL;
	self->owed.lock = lock;
	return true;
}

/* The word is there yet, or its address wakes nobody: it is in a slot, which
 * never goes, or in a thread that may have come back from its wait and ended. */
void ft__condition_pay(struct ft__self *self)
{
	struct ft__owed owed = self->owed;

	self->owed.lock = NULL;
	ft__futex_wake(owed.word, 1, owed.condition != NULL);
	if (owed.condition)
		ft__unnote(self, FT__NOTE_CONDITION, owed.condition);
}

/* The answer is how many; *owing: the note stays until the lock is released. */
static int notify(const struct visit *visit, const struct ft_lock *lock, uint32_t n, bool *owing)
{
	struct ft_condition *condition = visit->condition;
	struct ft__waiter *node;
	uint32_t count = 0;

	ft__line_enter(condition);
	while (count < n && (node = ft__line_first(condition))) {
		int granted_now = grant(node, FT_CONDITION_NOTIFIED);

		count += granted_now != 0;
		ft__line_drop_first(condition);
		if (granted_now == 2 && owe(visit, lock, node))
			*owing = true;
		else if (granted_now == 2)
			wake(node, shared(condition));
	}
	ft__line_leave(condition);
	return (int)count;
}

int ft_condition_notify(struct ft_condition *condition, uint32_t n)
{
	struct visit visit;
	bool owing = false;
	int rc = begin(&visit, condition);

	if (rc != 0)
		return rc;

	uint64_t name = ft__load64_relaxed(&condition->lock);
	struct ft_lock *lock = name ? lock_named(condition, name) : NULL;

	/* Nobody ever waited here. */
	if (!lock)
		return name ? -EUCLEAN : 0;
	if (!holds(lock))
		return -EPERM;
	/* The journal keeps a place for it. */
	if (visit.self && !ft__note(visit.self, FT__NOTE_CONDITION, condition))
		return -EINVAL;
	rc = notify(&visit, lock, n, &owing);
	if (visit.self && !owing)
		ft__unnote(visit.self, FT__NOTE_CONDITION, condition);
	return rc;
}

int ft_condition_notify_all(struct ft_condition *condition)
{
	return ft_condition_notify(condition, UINT32_MAX);
}

/* ---- after a death ----------------------------------------------------- */

void ft__condition_settle(const struct ft_condition *condition)
{
	uint64_t home = ft__offset(condition);
	uint32_t index = 0, owner;

	while ((owner = ft__slot_next(&index))) {
		struct ft__waiter *node = &ft__slot_of(owner)->waiter;

		if (ft__load64_relaxed(&node->condition) == home &&
		    ft__load32_relaxed(&node->word) == FT_CONDITION_NOTIFIED)
			ft__futex_wake(&node->word, 1, true);
	}
}

/* To who waits longest; if nobody does, it is gone, as if it had come when
 * nobody waited. */
static void forward(uint64_t home)
{
	struct ft__waiter *node;
	int granted_now = 0;

	do {
		node = ft__line_oldest(home, 0, NULL);
		if (node)
			granted_now = grant(node, FT_CONDITION_FORWARDED);
	} while (node && !granted_now);
	if (node && granted_now == 2)
		wake(node, true);
}

void ft__condition_bury(struct ft__slot *slot)
{
	struct ft__waiter *node = &slot->waiter;
	uint64_t home = ft__load64_relaxed(&node->condition);

	if (!home)
		return;
	/* Seq_cst, so acquire: pairs with the CAS of who notified it. */
	if (granted(ft__swap32_seq_cst(&node->word, FT_CONDITION_IDLE)))
		forward(home);
	ft__store64_release(&node->condition, 0);
	/* From here on a link to it is known to be one to nobody. */
	ft__store64_release(&node->link, 0);
}
