/* SPDX-License-Identifier: MIT */
/* The event: one word, see freethreading/event.h; tests/model/event.pml. */
#include "sync/event.h"

#include <errno.h>
#include <limits.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE)
#define EPOCH_MASK (~(FT_EVENT_EPOCH - 1))

int ft_event_init(struct ft_event *event, uint32_t flags)
{
	if (!event || (uintptr_t)event % _Alignof(struct ft_event) || (flags & ~KNOWN_FLAGS))
		return -EINVAL;
	*event = (struct ft_event){ .flags = flags };
	return 0;
}

static void wake_all(struct ft_event *event)
{
	ft__futex_wake(&event->word, INT_MAX, ft__flags_shared(event->flags));
}

/* The setter's CAS.  Returns false when the word had changed; *seen is then
 * what it is now. */
static bool raise(struct ft_event *event, uint32_t *seen)
{
	uint32_t raised = ((*seen & EPOCH_MASK) + FT_EVENT_EPOCH) | FT_EVENT_SET;

	/* Seq_cst, so release: pairs with the acquire loads of waiters. */
	return ft__cas32_seq_cst(&event->word, seen, raised);
}

/* With somebody parked: nothing may come between the CAS and the wake that the
 * journal does not know. */
static bool raise_and_wake(struct ft_event *event, uint32_t *seen)
{
	struct ft__self *self = NULL;
	bool noted = ft__flags_shared(event->flags) && ft__self(&self) == 0 &&
		     ft__note(self, FT__NOTE_EVENT, event);
	bool done = raise(event, seen);

	if (done)
		wake_all(event);
	if (noted)
		ft__unnote(self, FT__NOTE_EVENT, event);
	return done;
}

int ft_event_set(struct ft_event *event)
{
	if (!event)
		return -EINVAL;

	/* Acquire: who finds the flag set comes after who set it. */
	uint32_t seen = ft__load32_acquire(&event->word);
	bool done = false;

	while (!done && !(seen & FT_EVENT_SET))
		done = seen & FT_EVENT_WAITERS ? raise_and_wake(event, &seen) :
						 raise(event, &seen);
	return 0;
}

int ft_event_clear(struct ft_event *event)
{
	if (!event)
		return -EINVAL;

	uint32_t seen = ft__load32_relaxed(&event->word);

	/* Seq_cst: what follows a clear is not seen before it by who sets. */
	while ((seen & FT_EVENT_SET) &&
	       !ft__cas32_seq_cst(&event->word, &seen, seen & ~FT_EVENT_SET))
		;
	return 0;
}

int ft_event_is_set(const struct ft_event *event)
{
	/* Acquire: pairs with raise(). */
	return event && (ft__load32_acquire(&event->word) & FT_EVENT_SET);
}

/* A setter's note needs an offset; without, sleepers look by the clock. */
static ft_deadline look_again(const struct ft_event *event, ft_deadline deadline)
{
	if (!ft__flags_shared(event->flags) || ft__offset(event))
		return deadline;

	ft_deadline soon = ft_after(FT_LOCK_RECHECK_NS);

	return soon < deadline ? soon : deadline;
}

/* The word as it is once there is a reason to look at it again. */
static int sleep_on(struct ft_event *event, uint32_t *seen, ft_deadline deadline)
{
	ft_deadline until = look_again(event, deadline);
	uint32_t parked = *seen | FT_EVENT_WAITERS;
	int rc = 0;

	if (*seen == parked || ft__cas32_seq_cst(&event->word, seen, parked))
		rc = ft__park(&event->word, parked, event->flags, until);
	*seen = ft__load32_acquire(&event->word); /* pairs with raise() */
	return rc == -ETIMEDOUT && until != deadline ? 0 : rc;
}

static bool released(uint32_t came, uint32_t seen)
{
	return ((came | seen) & FT_EVENT_SET) || ((came ^ seen) & EPOCH_MASK);
}

uint32_t ft_event_arrive(const struct ft_event *event)
{
	return event ? ft__load32_acquire(&event->word) : 0; /* pairs with raise() */
}

int ft_event_await(struct ft_event *event, uint32_t came, ft_deadline deadline)
{
	int rc = 0;

	if (!event)
		return -EINVAL;

	uint32_t seen = ft__load32_acquire(&event->word); /* pairs with raise() */

	if (released(came, seen))
		return 0;

	struct ft__spin spin = ft__spin_start(deadline);

	while (!released(came, seen) && rc == 0) {
		if (ft__passed(deadline)) {
			rc = -ETIMEDOUT;
		} else if (ft__spin_beside(&spin, seen & FT_EVENT_WAITERS)) {
			seen = ft__load32_acquire(&event->word); /* pairs with raise() */
		} else {
			ft__spin_end(&spin);
			rc = sleep_on(event, &seen, deadline);
		}
	}
	ft__spin_over(&spin, released(came, seen));
	return released(came, seen) ? 0 : rc;
}

int ft_event_wait(struct ft_event *event, ft_deadline deadline)
{
	return ft_event_await(event, ft_event_arrive(event), deadline);
}

void ft__event_settle(struct ft_event *event)
{
	wake_all(event);
}
