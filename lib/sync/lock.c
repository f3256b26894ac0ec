/* SPDX-License-Identifier: MIT */
/*
 * The robust lock.  Algorithm: freethreading/lock.h; proof sketch:
 * tests/model/robust_lock.pml, which is kept in step with this file.
 */
#include "sync/lock.h"

#include <errno.h>
#include <limits.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"
#include "os/futex.h"
#include "sync/condition.h"
#include "sync/journal.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE | FT_LOCK_UNOWNED)
#define NAP_NS INT64_C(1000000) /* of who could not note the lock */

/* How a thread may wait for its turn. */
enum manner {
	NOTED,   /* parks; its death is seen to */
	OUTSIDE, /* parks, and looks again by the clock: nobody can note the lock */
	UNNOTED, /* must not park: a wake-up that died with it would be lost */
};

uint32_t ft__thread_number_new(void)
{
	static uint32_t numbers; /* atomic, private: given out so far */

	while (!ft__self_tls.number)
		/* Only to be different: no other memory hangs on it. */
		ft__self_tls.number = (ft__add32_seq_cst(&numbers, 1) + 1) & FT_LOCK_OWNER_MASK;
	return ft__self_tls.number;
}

static uint32_t owner_of(uint32_t word)
{
	return word & FT_LOCK_OWNER_MASK;
}

int ft_lock_init(struct ft_lock *lock, uint32_t flags)
{
	if (!lock || (uintptr_t)lock % _Alignof(struct ft_lock) || (flags & ~KNOWN_FLAGS))
		return -EINVAL;
	*lock = (struct ft_lock){ .flags = flags };
	return 0;
}

static bool owner_gone(const struct ft_lock *lock, uint32_t word)
{
	return (word & FT_LOCK_DIED) ||
	       (ft__flags_shared(lock->flags) && !ft__slot_alive(owner_of(word)));
}

static void remember(struct ft_lock *lock, uint32_t dead)
{
	struct ft__slot *slot = ft__slot_of(dead);

	/* A slot in use again names somebody else. */
	if (slot && !((ft__load32_relaxed(&slot->word) ^ dead) & FT__SLOT_GENERATION))
		ft__store32_relaxed(&lock->died, (uint32_t)slot->pid);
}

/* Takes the lock as `seen` shows it, which must be free or its owner gone.
 * -EAGAIN: the word has changed. */
static int take(struct ft_lock *lock, uint32_t seen, uint32_t mine)
{
	uint32_t before = seen;

	/* Acquire: pairs with give_up's release and the kernel's store there. */
	if (!ft__cas32_acquire(&lock->word, &seen, mine | (before & FT_LOCK_WAITERS)))
		return -EAGAIN;
	if (!owner_of(before))
		return 0;
	if (!(before & FT_LOCK_DIED))
		remember(lock, owner_of(before));
	return -EOWNERDEAD;
}

static ft_deadline earlier(ft_deadline deadline, int64_t ns)
{
	ft_deadline soon = ft_after(ns);

	return soon < deadline ? soon : deadline;
}

/* Parks on the held word `seen`.  0: look again; -ETIMEDOUT and -EINTR mean that
 * no wake-up was spent on the caller: the kernel says so, so it may leave. */
static int park(struct ft_lock *lock, uint32_t seen, enum manner manner, ft_deadline deadline)
{
	ft_deadline until = deadline;
	int rc;

	if (manner == UNNOTED) {
		until = earlier(deadline, NAP_NS);
		rc = ft__park(&lock->polled, 1, lock->flags, until);
		return rc == -ETIMEDOUT && until != deadline ? 0 : rc;
	}
	if (!(seen & FT_LOCK_WAITERS) &&
	    !ft__cas32_acquire(&lock->word, &seen, seen | FT_LOCK_WAITERS))
		return 0;
	/* After the word: pairs with the store before the CAS of who sets it. */
	if (manner == OUTSIDE || ft__load32_relaxed(&lock->polled))
		until = earlier(deadline, FT_LOCK_RECHECK_NS);
	rc = ft__park(&lock->word, seen | FT_LOCK_WAITERS, lock->flags, until);
	return rc == -ETIMEDOUT && until != deadline ? 0 : rc;
}

/* One look at the word and what follows from it; -EAGAIN: look again. */
static int turn(struct ft_lock *lock, uint32_t *mine, enum manner manner, struct ft__spin *spin,
		ft_deadline deadline)
{
	/* Acquire: `polled` is read after it, see park(). */
	uint32_t seen = ft__load32_acquire(&lock->word);

	if (!owner_of(seen) || (seen & FT_LOCK_DIED))
		return take(lock, seen, *mine);
	if (owner_of(seen) == owner_of(*mine) && !(lock->flags & FT_LOCK_UNOWNED))
		return -EDEADLK;
	if (deadline > 0 && ft__back_off(spin, (seen | *mine) & FT_LOCK_WAITERS))
		return -EAGAIN;
	if (owner_gone(lock, seen))
		return take(lock, seen, *mine);
	if (deadline <= 0)
		return -ETIMEDOUT;

	int rc = park(lock, seen, manner, deadline);

	/* From now on somebody else may be parked without the bit being set: it
	 * was ours too, and a late drop may have taken it. */
	if (manner != UNNOTED)
		*mine |= FT_LOCK_WAITERS;
	ft__spin_anew(spin);
	return rc ? rc : -EAGAIN;
}

static inline bool free_taken(struct ft_lock *lock, uint32_t me)
{
	uint32_t seen = 0;

	/* Acquire: as in take(). */
	return FT__LIKELY(ft__cas32_acquire(&lock->word, &seen, me));
}

static FT__COLD int wait_for(struct ft_lock *lock, uint32_t me, enum manner manner,
			     ft_deadline deadline)
{
	int rc;

	if (ft__passed(deadline))
		deadline = FT_NOW;

	struct ft__spin spin = ft__spin_start(deadline);

	do {
		rc = turn(lock, &me, manner, &spin, deadline);
	} while (rc == -EAGAIN);
	ft__spin_over(&spin, rc == 0 || rc == -EOWNERDEAD);
	return rc;
}

/* The lock was noted, and is not free. */
static FT__COLD int acquire_held(struct ft__self *self, struct ft_lock *lock,
				 ft_deadline deadline)
{
	int rc = wait_for(lock, self->owner, NOTED, deadline);

	if (rc != 0 && rc != -EOWNERDEAD)
		ft__unnote(self, FT__NOTE_LOCK, lock);
	return rc;
}

/* The caller is new, or its journal nearly full, or the lock not in the arena. */
static FT__COLD int acquire_shared(struct ft_lock *lock, ft_deadline deadline)
{
	enum manner manner = NOTED;
	struct ft__self *self;
	int rc = ft__self(&self);

	if (rc)
		return rc;
	if (!ft__note(self, FT__NOTE_LOCK, lock))
		manner = ft__offset(lock) ? UNNOTED : OUTSIDE;
	else if (!free_taken(lock, self->owner))
		return acquire_held(self, lock, deadline);
	else
		return 0;
	/* Before our CAS of the word; pairs with the load in park(). */
	if (manner == UNNOTED && !ft__load32_relaxed(&lock->polled))
		ft__store32_seq_cst(&lock->polled, 1);
	return free_taken(lock, self->owner) ? 0 : wait_for(lock, self->owner, manner, deadline);
}

int ft_lock_acquire(struct ft_lock *lock, ft_deadline deadline)
{
	if (FT__UNLIKELY(!lock))
		return -EINVAL;
	if (!ft__flags_shared(lock->flags)) {
		uint32_t me = ft__thread_number();

		return free_taken(lock, me) ? 0 : wait_for(lock, me, NOTED, deadline);
	}

	struct ft__self *self = &ft__self_tls;

	if (FT__UNLIKELY(!self->owner || !ft__note_at_once(self, FT__NOTE_LOCK, lock)))
		return acquire_shared(lock, deadline);
	return free_taken(lock, self->owner) ? 0 : acquire_held(self, lock, deadline);
}

/* Frees the held lock.  Two foreign releases of one acquisition may both find
 * it held; the second then lets the next owner's go, as if it came later. */
static void give_up(struct ft_lock *lock, uint32_t seen)
{
	bool shared = ft__flags_shared(lock->flags);

	/* Release: pairs with take(). */
	while (!(seen & FT_LOCK_WAITERS))
		if (ft__cas32_release(&lock->word, &seen, 0))
			return;
	/* In one system call: no kill can come between the store and the wake. */
	if (ft__futex_store_wake(&lock->word, FT_LOCK_WAITERS, 1, shared) > 0)
		return;
	seen = FT_LOCK_WAITERS;
	/* Nobody was parked.  If somebody is by now, an owner in between woke
	 * one, who sets the bit again. */
	ft__cas32_release(&lock->word, &seen, 0);
}

/* Not held by the caller, or somebody may be parked, or is to be woken. */
static FT__COLD int release_slowly(struct ft_lock *lock)
{
	struct ft__self *self = &ft__self_tls;
	bool shared = ft__flags_shared(lock->flags);
	int rc = shared ? ft__self(&self) : 0;

	if (rc)
		return rc;

	uint32_t me = shared ? self->owner : ft__thread_number();
	uint32_t seen = ft__load32_relaxed(&lock->word);
	bool mine = owner_of(seen) == me;

	if (!owner_of(seen) || (seen & FT_LOCK_DIED) ||
	    (!mine && !(lock->flags & FT_LOCK_UNOWNED)))
		return -EPERM;
	give_up(lock, seen);
	if (shared && mine)
		ft__unnote(self, FT__NOTE_LOCK, lock);
	if (self->owed.lock == lock)
		ft__condition_pay(self);
	return 0;
}

static inline bool mine_freed(struct ft_lock *lock, uint32_t me)
{
	/* Release: pairs with take(). */
	return FT__LIKELY(ft__cas32_release(&lock->word, &me, 0));
}

int ft_lock_release(struct ft_lock *lock)
{
	if (FT__UNLIKELY(!lock))
		return -EINVAL;

	struct ft__self *self = &ft__self_tls;
	bool is_shared = ft__flags_shared(lock->flags);

	if (FT__UNLIKELY(self->owed.lock == lock))
		return release_slowly(lock);
	if (!is_shared)
		return self->number && mine_freed(lock, self->number) ? 0 : release_slowly(lock);
	if (FT__UNLIKELY(!self->owner || !mine_freed(lock, self->owner)))
		return release_slowly(lock);
	return ft__unnote(self, FT__NOTE_LOCK, lock);
}

int ft_lock_held(const struct ft_lock *lock)
{
	uint32_t seen = lock ? ft__load32_relaxed(&lock->word) : 0;

	return owner_of(seen) && !owner_gone(lock, seen);
}

int ft_lock_mine(const struct ft_lock *lock)
{
	return lock && ft__lock_mine(lock);
}

pid_t ft_lock_owner(const struct ft_lock *lock)
{
	uint32_t seen = lock ? ft__load32_relaxed(&lock->word) : 0;

	if (!owner_of(seen) || owner_gone(lock, seen))
		return 0;
	if (!ft__flags_shared(lock->flags))
		return getpid();

	const struct ft__slot *slot = ft__slot_of(owner_of(seen));

	return slot ? slot->pid : 0;
}

pid_t ft_lock_died(const struct ft_lock *lock)
{
	return lock ? (pid_t)ft__load32_relaxed(&lock->died) : 0;
}

int ft__lock_enter(struct ft_lock *lock, ft_deadline deadline)
{
	uint32_t me = ft__flags_shared(lock->flags) ? ft__self_tls.owner : ft__thread_number();

	return free_taken(lock, me) ? 0 : wait_for(lock, me, NOTED, deadline);
}

#define PATIENCE_NS INT64_C(500000000)

int ft__lock_enter_in_time(struct ft_lock *lock, ft_deadline deadline)
{
	int rc;

	if (deadline > FT_FOREVER - PATIENCE_NS)
		return ft__lock_enter(lock, FT_FOREVER);
	rc = ft__lock_enter(lock, FT_NOW);
	if (rc != -ETIMEDOUT)
		return rc;

	ft_deadline now = ft_now();

	return ft__lock_enter(lock, (deadline > now ? deadline : now) + PATIENCE_NS);
}

void ft__lock_leave(struct ft_lock *lock)
{
	give_up(lock, ft__load32_relaxed(&lock->word));
}

void ft__lock_settle(struct ft_lock *lock, uint32_t dead)
{
	uint32_t seen = ft__load32_relaxed(&lock->word);

	while (owner_of(seen) == dead && !(seen & FT_LOCK_DIED)) {
		remember(lock, dead);
		/* Release: whoever sees DIED sees `died` too. */
		if (ft__cas32_release(&lock->word, &seen, seen | FT_LOCK_DIED))
			break;
	}
	ft__futex_wake(&lock->word, INT_MAX, ft__flags_shared(lock->flags));
}
