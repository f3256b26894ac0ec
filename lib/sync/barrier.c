/* SPDX-License-Identifier: MIT */
/*
 * The barrier: freethreading/barrier.h tells the states and the protocol,
 * tests/model/barrier.pml checks it and is kept in step with this file.
 */
#include "sync/barrier.h"

#include <errno.h>
#include <limits.h>

#include "mem/arena.h"
#include "os/atomic.h"
#include "os/futex.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/wait.h"

#define KNOWN_FLAGS (FT_SHARED | FT_INTERRUPTIBLE)
#define GENERATION_MASK (~(FT_BARRIER_SLEEPERS | FT_BARRIER_DOOMED))

/* One call of one thread. */
struct visit {
	struct ft_barrier *barrier;
	struct ft__self *self; /* NULL: private, no journal */
	bool wakes;            /* owed once the lock is free */
};

static bool marked(const struct ft_barrier *barrier)
{
	return barrier && ft__load64_relaxed(&barrier->mark) == FT_BARRIER_MARK;
}

static uint64_t generation_of(const struct ft_barrier *barrier)
{
	/* Acquire: pairs with end_generation(). */
	return ft__load64_acquire(&barrier->generation);
}

static uint32_t state_of(const struct ft_barrier *barrier)
{
	return ft__load32_relaxed(&barrier->state);
}

static uint32_t word_of(uint64_t generation)
{
	return (uint32_t)generation * FT_BARRIER_GENERATION;
}

int ft_barrier_init(struct ft_barrier *barrier, uint32_t parties, uint32_t flags)
{
	if (!barrier || (uintptr_t)barrier % _Alignof(struct ft_barrier) ||
	    (flags & ~KNOWN_FLAGS) || !parties || parties > FT_BARRIER_PARTIES)
		return -EINVAL;
	if (ft__flags_shared(flags)) {
		int rc = ft__arena_ready();

		if (rc != 0)
			return rc;
		if (!ft__at(ft__offset(barrier), sizeof(*barrier)))
			return -EINVAL;
	}
	*barrier = (struct ft_barrier){
		.word = word_of(1), .parties = parties, .generation = 1, .flags = flags
	};
	ft_lock_init(&barrier->lock, flags & FT_SHARED);
	/* Release: who finds the mark finds the rest. */
	ft__store64_release(&barrier->mark, FT_BARRIER_MARK);
	return 0;
}

/* ---- coming and going -------------------------------------------------- */

static int identify(struct visit *visit, struct ft_barrier *barrier)
{
	*visit = (struct visit){ .barrier = barrier };
	if (!marked(barrier))
		return -EINVAL;
	return ft__flags_shared(barrier->flags) ? ft__self(&visit->self) : 0;
}

/* Before the first store to the barrier, its lock included. */
static int begin(struct visit *visit, struct ft_barrier *barrier)
{
	int rc = identify(visit, barrier);

	if (rc == 0 && visit->self && !ft__note(visit->self, FT__NOTE_BARRIER, barrier))
		rc = -EAGAIN;
	return rc;
}

static void end(struct visit *visit)
{
	if (visit->self)
		ft__unnote(visit->self, FT__NOTE_BARRIER, visit->barrier);
}

/* The word of the generation that has begun; of the old bits, `kept` stay. */
static void turn_word(struct visit *visit, uint32_t kept)
{
	struct ft_barrier *barrier = visit->barrier;
	uint32_t seen = ft__load32_relaxed(&barrier->word), next;

	do {
		next = word_of(barrier->generation) | (seen & kept);
		/* Seq_cst, after the generation: pairs with the load of who looks
		 * at the word before the generation. */
	} while (!ft__cas32_seq_cst(&barrier->word, &seen, next));
	if (seen & FT_BARRIER_SLEEPERS)
		visit->wakes = true;
}

static void end_generation(struct ft_barrier *barrier)
{
	/* Release: who sees it over sees how it ended. */
	ft__store64_release(&barrier->generation, barrier->generation + 1);
}

/* Under the lock: all are here. */
static void pass(struct visit *visit)
{
	struct ft_barrier *barrier = visit->barrier;

	end_generation(barrier);
	ft__store32_relaxed(&barrier->arrived, 0);
	ft__store32_relaxed(&barrier->state, FT_BARRIER_FILLING);
	turn_word(visit, FT_BARRIER_DOOMED);
}

/* Under the lock.  Each step may have been somebody's last; the next owner of
 * the lock then goes on from there. */
static void break_up(struct visit *visit)
{
	struct ft_barrier *barrier = visit->barrier;
	uint64_t now = barrier->generation;

	if (state_of(barrier) != FT_BARRIER_BROKEN || barrier->failed[0] == now) {
		if (barrier->failed[0] != now) {
			ft__store64_release(&barrier->failed[1], barrier->failed[0]);
			ft__store64_release(&barrier->failed[0], now);
		}
		ft__store32_release(&barrier->state, FT_BARRIER_BROKEN);
		end_generation(barrier);
	}
	ft__store32_release(&barrier->arrived, 0);
	turn_word(visit, 0);
}

/* What the lock said: true: inside. */
static bool entered(struct visit *visit, int rc)
{
	struct ft_barrier *barrier = visit->barrier;

	if (rc == -ETIMEDOUT)
		return false;
	/* Relaxed: the word is only a reason to look, as the lock's answer is. */
	if (rc == -EOWNERDEAD || (ft__load32_relaxed(&barrier->word) & FT_BARRIER_DOOMED))
		break_up(visit);
	return true;
}

static void wake_all(struct ft_barrier *barrier)
{
	ft__futex_wake(&barrier->word, INT_MAX, ft__flags_shared(barrier->flags));
}

/* Without the lock: who gets it next breaks the barrier. */
static void doom(struct ft_barrier *barrier)
{
	/* Seq_cst: before the wake, so that who parks later finds another word. */
	ft__or32_seq_cst(&barrier->word, FT_BARRIER_DOOMED);
	wake_all(barrier);
}

static bool over(const struct ft_barrier *barrier, uint64_t generation)
{
	return generation_of(barrier) != generation;
}

/* For who gives up this generation.  False: that is over, and the next has nothing to
 * do with it. */
static bool doom_only(struct ft_barrier *barrier, uint64_t generation)
{
	/* Acquire: before the generation, see turn_word(). */
	uint32_t seen = ft__load32_acquire(&barrier->word);

	do {
		if (over(barrier, generation) || (seen & GENERATION_MASK) != word_of(generation))
			return false;
		/* Seq_cst: as in doom(). */
	} while (!ft__cas32_seq_cst(&barrier->word, &seen, seen | FT_BARRIER_DOOMED));
	wake_all(barrier);
	return true;
}

/* False: somebody was stopped inside. */
static bool enter_in_time(struct visit *visit, ft_deadline deadline)
{
	return entered(visit, ft__lock_enter_in_time(&visit->barrier->lock, deadline));
}

/* False: so the barrier is doomed. */
static bool enter_or_doom(struct visit *visit)
{
	bool inside = enter_in_time(visit, FT_NOW);

	if (!inside)
		doom(visit->barrier);
	return inside;
}

static void leave(struct visit *visit)
{
	ft__lock_leave(&visit->barrier->lock);
	if (visit->wakes)
		wake_all(visit->barrier);
	visit->wakes = false;
}

/* ---- how a generation ended -------------------------------------------- */

/* Of a generation that is over.  Neither number ever falls, and failed[1] has the
 * old failed[0] before that changes. */
static int judge(const struct ft_barrier *barrier, const struct ft_barrier_ticket *ticket)
{
	/* Acquire, twice, in this order: pairs with break_up(). */
	uint64_t last = ft__load64_acquire(&barrier->failed[0]);
	uint64_t before = ft__load64_acquire(&barrier->failed[1]);
	uint64_t mine = ticket->generation;

	return last < mine || (last != mine && before < mine) ? (int)ticket->index : -EPIPE;
}

/* ---- waiting ----------------------------------------------------------- */

/* Takes the lock once, which is what a doomed barrier needs.  False: that will have
 * to wait for who has it. */
static bool repair(struct visit *visit, ft_deadline deadline)
{
	ft_deadline soon = ft_after(FT_LOCK_RECHECK_NS);
	int rc = ft__lock_enter(&visit->barrier->lock, soon < deadline ? soon : deadline);

	if (!entered(visit, rc))
		return false;
	leave(visit);
	return true;
}

/* On a doomed barrier, which nobody may be there to break, looks by the clock: a
 * signal that came in repair() has woken nobody. */
static int sleep_on(struct ft_barrier *barrier, uint32_t seen, ft_deadline deadline)
{
	ft_deadline soon = seen & FT_BARRIER_DOOMED ? ft_after(FT_LOCK_RECHECK_NS) : deadline;
	ft_deadline until = soon < deadline ? soon : deadline;
	int rc = ft__park(&barrier->word, seen, barrier->flags, until);

	if (rc == -ETIMEDOUT && until != deadline)
		rc = barrier->flags & FT_INTERRUPTIBLE ? -EINTR : 0;
	return rc;
}

/* Sleeps until the generation is over: 0; -ETIMEDOUT; -EINTR. */
static int outlast(struct visit *visit, uint64_t generation, ft_deadline deadline)
{
	struct ft_barrier *barrier = visit->barrier;
	struct ft__spin spin = ft__spin_start(deadline);
	int rc = 0;

	for (;;) {
		/* Acquire: before the generation, see turn_word(). */
		uint32_t seen = ft__load32_acquire(&barrier->word);

		if (over(barrier, generation) || rc != 0)
			break;
		if ((seen & FT_BARRIER_DOOMED) && repair(visit, deadline))
			continue;
		if (deadline > 0 && ft__spin_beside(&spin, seen & FT_BARRIER_SLEEPERS))
			continue;
		ft__spin_end(&spin);
		if (!(seen & FT_BARRIER_SLEEPERS) &&
		    !ft__cas32_seq_cst(&barrier->word, &seen, seen | FT_BARRIER_SLEEPERS))
			continue;
		rc = sleep_on(barrier, seen | FT_BARRIER_SLEEPERS, deadline);
	}
	ft__spin_over(&spin, over(barrier, generation));
	return over(barrier, generation) ? 0 : rc;
}

/* Under the lock, in FILLING. */
static void take_place(struct ft_barrier *barrier, struct ft_barrier_ticket *ticket)
{
	ticket->generation = barrier->generation;
	ticket->index = barrier->arrived;
	ticket->last = ticket->index + 1 == barrier->parties;
	if (ticket->last)
		ft__store32_relaxed(&barrier->state, FT_BARRIER_LEADING);
	ft__store32_relaxed(&barrier->arrived, ticket->index + 1);
}

/* `pass_on`: the last one lets everybody go at once. */
static int arrive(struct visit *visit, struct ft_barrier_ticket *ticket, bool pass_on,
		  ft_deadline deadline)
{
	struct ft_barrier *barrier = visit->barrier;

	while (enter_in_time(visit, deadline)) {
		uint32_t state = state_of(barrier);
		uint64_t now = barrier->generation;

		if (state == FT_BARRIER_FILLING)
			take_place(barrier, ticket);
		if (state == FT_BARRIER_FILLING && ticket->last && pass_on)
			pass(visit);
		leave(visit);
		if (state != FT_BARRIER_LEADING)
			return state == FT_BARRIER_BROKEN ? -EPIPE : 0;

		int rc = outlast(visit, now, deadline);

		if (rc != 0)
			return rc;
	}
	/* Who only tried may have the time to try again. */
	if (deadline > 0)
		doom(barrier);
	return -ETIMEDOUT;
}

int ft_barrier_arrive(struct ft_barrier *barrier, struct ft_barrier_ticket *ticket,
		      ft_deadline deadline)
{
	struct visit visit;

	if (!ticket)
		return -EINVAL;

	int rc = begin(&visit, barrier);

	if (rc != 0)
		return rc;
	rc = arrive(&visit, ticket, false, deadline);
	if (rc != 0)
		end(&visit);
	return rc;
}

/* The deadline has passed: breaks the barrier, unless all are there. */
static int expire(struct visit *visit, uint64_t generation)
{
	struct ft_barrier *barrier = visit->barrier;
	int rc = 0;

	if (!enter_in_time(visit, FT_NOW))
		return doom_only(barrier, generation) ? -ETIMEDOUT : 0;
	if (barrier->generation == generation && state_of(barrier) == FT_BARRIER_FILLING) {
		break_up(visit);
		rc = -ETIMEDOUT;
	}
	leave(visit);
	return rc;
}

int ft_barrier_await(struct ft_barrier *barrier, const struct ft_barrier_ticket *ticket,
		     ft_deadline deadline)
{
	struct visit visit;

	if (!ticket)
		return -EINVAL;

	int rc = identify(&visit, barrier);

	if (rc != 0)
		return rc;
	while ((rc = outlast(&visit, ticket->generation, deadline)) == -ETIMEDOUT) {
		rc = expire(&visit, ticket->generation);
		if (rc != 0)
			break;
		deadline = FT_FOREVER;
	}
	if (rc == -EINTR)
		return rc;
	if (rc == 0)
		rc = judge(barrier, ticket);
	end(&visit);
	return rc;
}

int ft_barrier_release(struct ft_barrier *barrier, const struct ft_barrier_ticket *ticket)
{
	struct visit visit;

	if (!ticket || !ticket->last)
		return -EINVAL;

	int rc = identify(&visit, barrier);

	if (rc != 0)
		return rc;
	/* Nobody else lets them go: if it is over, it was broken. */
	if (!enter_in_time(&visit, FT_NOW)) {
		doom_only(barrier, ticket->generation);
		end(&visit);
		return -EPIPE;
	}
	if (barrier->generation == ticket->generation && state_of(barrier) == FT_BARRIER_LEADING)
		pass(&visit);
	leave(&visit);
	rc = judge(barrier, ticket);
	end(&visit);
	return rc;
}

/* 0: the caller is not counted any more; -EALREADY: all had arrived, or it was
 * broken, so that the generation ends without that; -ETIMEDOUT: it was doomed. */
static int withdraw(struct visit *visit, const struct ft_barrier_ticket *ticket)
{
	struct ft_barrier *barrier = visit->barrier;
	int rc = -EALREADY;

	if (!enter_in_time(visit, FT_NOW))
		return doom_only(barrier, ticket->generation) ? -ETIMEDOUT : -EALREADY;
	if (barrier->generation == ticket->generation &&
	    state_of(barrier) == FT_BARRIER_FILLING && barrier->arrived) {
		ft__store32_relaxed(&barrier->arrived, barrier->arrived - 1);
		rc = 0;
	}
	leave(visit);
	return rc;
}

int ft_barrier_withdraw(struct ft_barrier *barrier, const struct ft_barrier_ticket *ticket)
{
	struct visit visit;

	if (!ticket)
		return -EINVAL;

	int rc = identify(&visit, barrier);

	if (rc != 0)
		return rc;
	rc = withdraw(&visit, ticket);
	end(&visit);
	return rc == 0 ? 0 : -EALREADY;
}

int ft_barrier_wait(struct ft_barrier *barrier, ft_deadline deadline)
{
	struct ft_barrier_ticket ticket = { 0 };
	struct visit visit;
	int rc = begin(&visit, barrier);

	if (rc != 0)
		return rc;
	rc = arrive(&visit, &ticket, true, deadline);
	if (rc != 0) {
		end(&visit);
		return rc;
	}
	do {
		rc = ft_barrier_await(barrier, &ticket, deadline);
	} while (rc == -EINTR && withdraw(&visit, &ticket) == -EALREADY);
	if (rc == -EINTR)
		end(&visit);
	return rc;
}

/* ---- breaking and mending ---------------------------------------------- */

int ft_barrier_abort(struct ft_barrier *barrier)
{
	struct visit visit;
	int rc = begin(&visit, barrier);

	if (rc != 0)
		return rc;
	/* A doomed barrier is as good as broken. */
	if (enter_or_doom(&visit)) {
		break_up(&visit);
		leave(&visit);
	}
	end(&visit);
	return 0;
}

int ft_barrier_reset(struct ft_barrier *barrier)
{
	struct visit visit;
	int rc = begin(&visit, barrier);

	if (rc != 0)
		return rc;
	if (!enter_or_doom(&visit)) {
		end(&visit);
		return -ETIMEDOUT;
	}
	if (barrier->arrived)
		break_up(&visit);
	ft__store32_relaxed(&barrier->state, FT_BARRIER_FILLING);
	turn_word(&visit, 0);
	leave(&visit);
	end(&visit);
	return 0;
}

int ft_barrier_broken(const struct ft_barrier *barrier)
{
	return barrier && (state_of(barrier) == FT_BARRIER_BROKEN ||
			   (ft__load32_relaxed(&barrier->word) & FT_BARRIER_DOOMED));
}

uint32_t ft_barrier_waiting(const struct ft_barrier *barrier)
{
	return barrier ? ft__load32_relaxed(&barrier->arrived) : 0;
}

uint32_t ft_barrier_parties(const struct ft_barrier *barrier)
{
	return barrier ? barrier->parties : 0;
}

/* ---- after a death ----------------------------------------------------- */

void ft__barrier_settle(struct ft_barrier *barrier, uint32_t dead)
{
	if (!marked(barrier))
		return;
	/* Seq_cst: before the lock can be had, so that its next owner knows, and
	 * before the wake, so that who parks later finds another word. */
	ft__or32_seq_cst(&barrier->word, FT_BARRIER_DOOMED);
	ft__lock_settle(&barrier->lock, dead);
	wake_all(barrier);
}
