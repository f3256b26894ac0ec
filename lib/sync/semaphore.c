/* SPDX-License-Identifier: MIT */
/*
 * The semaphore: one word, see freethreading/semaphore.h; tests/model/semaphore.pml
 * is kept in step with this file.
 */
#include "sync/semaphore.h"

#include <errno.h>
#include <limits.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE)
#define WAITERS FT_SEMAPHORE_WAITERS

/* One call of one thread. */
struct visit {
	struct ft_semaphore *semaphore;
	struct ft__self *self; /* NULL: private, no journal */
	bool noted;
};

static uint32_t value(uint32_t word)
{
	return word & FT_SEMAPHORE_VALUE;
}

int ft_semaphore_init(struct ft_semaphore *semaphore, uint32_t units, uint32_t max, uint32_t flags)
{
	if (!semaphore || (uintptr_t)semaphore % _Alignof(struct ft_semaphore) ||
	    (flags & ~KNOWN_FLAGS))
		return -EINVAL;
	if (!max)
		max = FT_SEMAPHORE_MAX;
	if (max > FT_SEMAPHORE_MAX || units > max)
		return -EINVAL;
	*semaphore = (struct ft_semaphore){ .word = units, .max = max, .flags = flags };
	return 0;
}

static int begin(struct visit *visit, struct ft_semaphore *semaphore)
{
	*visit = (struct visit){ .semaphore = semaphore };
	return ft__flags_shared(semaphore->flags) ? ft__self(&visit->self) : 0;
}

/* Before anything that makes a wake-up ours to give or to use. */
static void note(struct visit *visit)
{
	if (visit->self && !visit->noted)
		visit->noted = ft__note(visit->self, FT__NOTE_SEMAPHORE, visit->semaphore);
}

static void end(struct visit *visit)
{
	if (visit->noted)
		ft__unnote(visit->self, FT__NOTE_SEMAPHORE, visit->semaphore);
}

static int wake(struct ft_semaphore *semaphore, int count)
{
	return ft__futex_wake(&semaphore->word, count, ft__flags_shared(semaphore->flags));
}

/* ---- acquiring --------------------------------------------------------- */

/* A death of somebody who could not note the semaphore is seen by the clock. */
static ft_deadline look_again(const struct visit *visit, ft_deadline deadline)
{
	if (!visit->self || visit->noted)
		return deadline;

	ft_deadline soon = ft_after(FT_LOCK_RECHECK_NS);

	return soon < deadline ? soon : deadline;
}

/* Parks on an empty semaphore.  0: look again; -ETIMEDOUT and -EINTR mean that
 * no wake-up was spent on the caller: the kernel says so, so it may leave. */
static int park(struct visit *visit, uint32_t seen, ft_deadline deadline)
{
	struct ft_semaphore *semaphore = visit->semaphore;

	note(visit);
	if (seen != WAITERS && !ft__cas32_acquire(&semaphore->word, &seen, WAITERS))
		return 0;

	ft_deadline until = look_again(visit, deadline);
	int rc = ft__park(&semaphore->word, WAITERS, semaphore->flags, until);

	return rc == -ETIMEDOUT && until != deadline ? 0 : rc;
}

/* One look at the word and what follows from it; -EAGAIN: look again. */
static int turn(struct visit *visit, bool *slept, struct ft__spin *spin, ft_deadline deadline)
{
	struct ft_semaphore *semaphore = visit->semaphore;
	uint32_t seen = ft__load32_relaxed(&semaphore->word);

	if (value(seen)) {
		/* Who slept may not be the only one, and WAITERS may be gone. */
		uint32_t left = (seen - 1) | (*slept ? WAITERS : 0);

		/* Acquire: pairs with the releaser's CAS. */
		if (!ft__cas32_acquire(&semaphore->word, &seen, left))
			return -EAGAIN;
		if (*slept && value(left))
			wake(semaphore, 1);
		return 0;
	}
	if (!*slept && deadline <= 0)
		return -ETIMEDOUT;
	if (ft__spin_beside(spin, *slept || (seen & WAITERS)))
		return -EAGAIN;

	int rc = park(visit, seen, deadline);

	*slept = true;
	ft__spin_anew(spin);
	return rc ? rc : -EAGAIN;
}

static bool take(struct ft_semaphore *semaphore)
{
	uint32_t seen = ft__load32_relaxed(&semaphore->word);

	while (value(seen))
		/* Acquire: as in turn(). */
		if (ft__cas32_acquire(&semaphore->word, &seen, seen - 1))
			return true;
	return false;
}

static FT__COLD int acquire_slowly(struct ft_semaphore *semaphore, ft_deadline deadline)
{
	struct visit visit;
	bool slept = false;
	int rc = begin(&visit, semaphore);

	if (rc != 0 || take(semaphore))
		return rc;
	if (ft__passed(deadline))
		deadline = FT_NOW;

	struct ft__spin spin = ft__spin_start(deadline);

	do {
		rc = turn(&visit, &slept, &spin, deadline);
	} while (rc == -EAGAIN);
	ft__spin_over(&spin, rc == 0);
	end(&visit);
	return rc;
}

/* Whoever has never come here before is asked who it is. */
static bool known(const struct ft_semaphore *semaphore)
{
	return FT__LIKELY(!ft__flags_shared(semaphore->flags) || ft__self_tls.owner);
}

int ft_semaphore_acquire(struct ft_semaphore *semaphore, ft_deadline deadline)
{
	if (FT__UNLIKELY(!semaphore))
		return -EINVAL;
	return known(semaphore) && take(semaphore) ? 0 : acquire_slowly(semaphore, deadline);
}

/* ---- releasing --------------------------------------------------------- */

/* Wakes as many as there are units to take; drops WAITERS if nobody was there.
 * If somebody is by now, one who was woken in between makes up for it. */
static void pay(struct ft_semaphore *semaphore, uint32_t left, uint32_t n)
{
	if (wake(semaphore, n < INT_MAX ? (int)n : INT_MAX) == 0)
		ft__cas32_release(&semaphore->word, &left, value(left));
}

static FT__COLD int release_slowly(struct ft_semaphore *semaphore, uint32_t n)
{
	struct visit visit;
	int rc = begin(&visit, semaphore);
	uint32_t seen;

	if (rc != 0)
		return rc;
	seen = ft__load32_relaxed(&semaphore->word);
	do {
		if (value(seen) > semaphore->max || n > semaphore->max - value(seen)) {
			rc = -EOVERFLOW;
			break;
		}
		if (seen & WAITERS)
			note(&visit);
		/* Release: pairs with the acquirer's CAS. */
	} while (!ft__cas32_release(&semaphore->word, &seen, seen + n));
	if (rc == 0 && (seen & WAITERS))
		pay(semaphore, seen + n, n);
	end(&visit);
	return rc;
}

int ft_semaphore_release(struct ft_semaphore *semaphore, uint32_t n)
{
	if (FT__UNLIKELY(!semaphore || !n))
		return -EINVAL;

	uint32_t seen = ft__load32_relaxed(&semaphore->word);

	/* Nobody waits, and there is room.  Release: as above. */
	if (FT__LIKELY(known(semaphore) && seen < semaphore->max && n <= semaphore->max - seen) &&
	    FT__LIKELY(ft__cas32_release(&semaphore->word, &seen, seen + n)))
		return 0;
	return release_slowly(semaphore, n);
}

uint32_t ft_semaphore_value(const struct ft_semaphore *semaphore)
{
	return semaphore ? value(ft__load32_relaxed(&semaphore->word)) : 0;
}

void ft__semaphore_settle(struct ft_semaphore *semaphore)
{
	wake(semaphore, INT_MAX);
}
