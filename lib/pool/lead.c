/* SPDX-License-Identifier: MIT */
/*
 * Waiting.  One of the waiting threads leads: it sleeps in the collector and
 * tends the pool.  The others park, each on a word of its own, until the
 * leader, or whoever else tends the pool, finds that their condition holds.
 * A leader that goes hands over to the one that has waited longest.
 */
#include <errno.h>
#include <signal.h>

#include "os/affinity.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"
#include "pool/pool.h"
#include "sync/wait.h"

/* An answer that comes so soon, wake-ups included, is worth spinning for. */
#define SOON_NS (FT__PATIENCE_NS * 3 / 2)
/* Turns of a spin for each look at who is where. */
#define TURNS_A_LOOK 16u
/* How long a keeper takes for granted that somebody else drives the pool. */
#define KEEP_NS INT64_C(50000000)

void ft__wake_leader(struct ft_pool *pool)
{
	if (!pool->leader)
		return;
	/* Release and relaxed would do: the lock orders all but the spinner's look. */
	ft__store32_release(&pool->leader->turn, 1);
	ft__bell_ring(&pool->board.control->bell, true);
}

static void wake(struct ft_pool *pool, struct ft__vigil *waiter)
{
	if (waiter == pool->leader) {
		ft__wake_leader(pool);
	} else if (waiter->asleep) {
		ft__store32_release(&waiter->turn, 1); /* the parked one's acquire */
		ft__futex_wake(&waiter->turn, 1, false);
	}
	waiter->asleep = false;
}

void ft__wake_ready(struct ft_pool *pool)
{
	for (struct ft__vigil *waiter = pool->waiters; waiter; waiter = waiter->next) {
		if (waiter->asleep && waiter->ready(waiter->ctx))
			wake(pool, waiter);
	}
}

void ft__wake_keepers(struct ft_pool *pool)
{
	pool->unkept = false;
	for (struct ft__vigil *waiter = pool->waiters; waiter; waiter = waiter->next) {
		if (waiter->aside && waiter->asleep)
			wake(pool, waiter);
	}
}

static void shut_or_kill(struct ft_pool *pool)
{
	if (pool->closing && !pool->shut && !pool->backlog.length && !pool->mapping) {
		pool->shut = true;
		ft__deal_state(pool, FT__CONTROL_CLOSING);
	}
	if (pool->kill_at != FT_FOREVER && ft__passed(pool->kill_at)) {
		pool->kill_at = FT_FOREVER;
		ft__member_kill(pool, SIGKILL);
	}
}

void ft__tend(struct ft_pool *pool)
{
	ft__harvest(pool);
	ft__member_look(pool);
	if (pool->terminated && pool->live && !ft__member_any(pool))
		ft__harvest_rest(pool);
	ft__deal(pool);
	shut_or_kill(pool);
	ft__wake_ready(pool);
}

/* ---- the list of waiters ----
 *
 * tests/model/lead.pml checks who leads, and that nobody is forgotten; it is kept in
 * step with this file.
 */

static uint32_t mode_wanted(const struct ft_pool *pool)
{
	for (const struct ft__vigil *waiter = pool->waiters; waiter; waiter = waiter->next) {
		if (waiter->mode == FT__BELL_EACH && !waiter->aside)
			return FT__BELL_EACH;
	}
	return FT__BELL_LAZY;
}

/* One who wants each result must not wait for a leader who does not. */
static void stir_lazy(struct ft_pool *pool, const struct ft__vigil *waiter)
{
	struct ft__bell *bell = &pool->board.control->bell;

	if (waiter->mode == FT__BELL_EACH && ft__load32_relaxed(&bell->asleep) == FT__BELL_LAZY)
		ft__bell_ring(bell, true);
}

static void enter(struct ft_pool *pool, struct ft__vigil *waiter)
{
	waiter->turn = 0;
	waiter->asleep = false;
	waiter->next = NULL;
	waiter->prev = pool->last_waiter;
	if (pool->last_waiter)
		pool->last_waiter->next = waiter;
	else
		pool->waiters = waiter;
	pool->last_waiter = waiter;
	stir_lazy(pool, waiter);
}

static struct ft__vigil *heir(const struct ft_pool *pool)
{
	struct ft__vigil *waiter = pool->waiters;

	while (waiter && waiter->aside)
		waiter = waiter->next;
	return waiter;
}

/* Who does not lead any more sees to it that somebody does. */
static void hand_over(struct ft_pool *pool, const struct ft__vigil *waiter)
{
	struct ft__vigil *next;

	if (pool->leader == waiter)
		pool->leader = NULL;
	if (!pool->leader && (next = heir(pool)))
		wake(pool, next);
}

static void leave(struct ft_pool *pool, struct ft__vigil *waiter)
{
	if (waiter->prev)
		waiter->prev->next = waiter->next;
	else
		pool->waiters = waiter->next;
	if (waiter->next)
		waiter->next->prev = waiter->prev;
	else
		pool->last_waiter = waiter->prev;
	hand_over(pool, waiter);
}

/* ---- sleeping ---- */

static uint32_t park_flags(const struct ft_pool *pool)
{
	return FT_PRIVATE | (pool->options.flags & FT_INTERRUPTIBLE);
}

static int follow(struct ft_pool *pool, struct ft__vigil *waiter, ft_deadline deadline)
{
	waiter->turn = 0;
	waiter->asleep = true;
	ft__pool_unlock(pool);
	int rc = ft__park(&waiter->turn, 0, park_flags(pool), deadline);
	ft__pool_lock(pool);
	waiter->asleep = false;
	return rc == -EINTR ? rc : 0;
}

static bool is_busy(const struct ft_pool *pool)
{
	return pool->live || pool->backlog.length || pool->kill_at != FT_FOREVER;
}

/* Whoever waits drives the pool, so there is nothing to do here as long as
 * somebody does; and nothing at all while nothing is going on. */
static int stand_aside(struct ft_pool *pool, struct ft__vigil *waiter, ft_deadline deadline)
{
	ft_deadline until = ft_after(KEEP_NS);
	bool quiet = !is_busy(pool) && pool->kept == pool->ids;

	pool->kept = pool->ids;
	pool->unkept |= quiet;
	waiter->aside = true;
	hand_over(pool, waiter);
	int rc = follow(pool, waiter, quiet || until > deadline ? deadline : until);
	waiter->aside = false;
	if (pool->notify_here)
		stir_lazy(pool, waiter);
	return rc;
}

/* Whether a worker has a task, and was last seen on this CPU: it does not run
 * while we do. */
static bool in_the_way(const struct ft_pool *pool)
{
	uint32_t here = ft__cpu_here();

	for (uint32_t i = 0; here && i < pool->board.seats; i++) {
		const struct ft__line *line = ft__board_line(&pool->board, i);
		if (ft__load32_relaxed(&line->cpu) == here && ft__load32_relaxed(&line->busy) &&
		    pool->chairs[i].member)
			return true;
	}
	return false;
}

/* Results may come at once: a hand-over by cache line is far cheaper. */
static bool spin(const struct ft_pool *pool, const struct ft__vigil *waiter, int64_t patience)
{
	struct ft__spin turn = { .patience = patience };

	while (ft__spin(&turn)) {
		if (ft__harvest_ripe(pool) || ft__load32_acquire(&waiter->turn)) {
			ft__spin_end(&turn);
			return true;
		}
		if (turn.turns % TURNS_A_LOOK == 0 && in_the_way(pool))
			break;
	}
	ft__spin_end(&turn);
	return false;
}

static ft_deadline earliest(const struct ft_pool *pool, ft_deadline deadline)
{
	ft_deadline patience = ft__member_patience(pool);

	if (pool->kill_at < deadline)
		deadline = pool->kill_at;
	return patience < deadline ? patience : deadline;
}

/* The last look comes after `asleep`: whoever publishes later will ring. */
static int doze(struct ft_pool *pool, struct ft__vigil *waiter, ft_deadline deadline)
{
	struct ft__bell *bell = &pool->board.control->bell;
	uint32_t seen = ft__load32_acquire(&bell->word); /* the ringer's +1 */

	ft__store32_seq_cst(&bell->asleep, mode_wanted(pool)); /* the ringer's swap */
	if (waiter->turn || ft__harvest_ripe(pool) || ft__member_left(pool) ||
	    waiter->ready(waiter->ctx)) {
		ft__store32_seq_cst(&bell->asleep, 0);
		return 0;
	}
	deadline = earliest(pool, deadline);
	ft_deadline until = ft__glance_at(park_flags(pool), deadline);
	waiter->asleep = true;
	pool->sleeps++;
	ft__pool_unlock(pool);
	int rc = ft__collector_wait(pool->collector, seen, until);
	rc = ft__glanced(rc, until, deadline);
	ft__store32_seq_cst(&bell->asleep, 0);
	ft__pool_lock(pool);
	waiter->asleep = false;
	return rc == -EINTR ? rc : 0;
}

static int lead(struct ft_pool *pool, struct ft__vigil *waiter, ft_deadline deadline)
{
	waiter->turn = 0;
	pool->leader = waiter;
	waiter->asleep = true;
	/* Many results are not worth watching for one by one. */
	int64_t patience = mode_wanted(pool) == FT__BELL_EACH ? pool->patience : 0;
	ft__pool_unlock(pool);
	bool stir = spin(pool, waiter, patience);
	ft__pool_lock(pool);
	waiter->asleep = false;
	return stir ? 0 : doze(pool, waiter, deadline);
}

static int look(struct ft_pool *pool, struct ft__vigil *waiter, ft_deadline deadline)
{
	if (ft__member_wanted(pool)) {
		ft__pool_unlock(pool);
		ft__member_hire(pool);
		ft__pool_lock(pool);
		return 0;
	}
	if (ft__passed(deadline))
		return -ETIMEDOUT;
	if (waiter->keeper && !pool->notify_here)
		return stand_aside(pool, waiter, deadline);
	if (pool->leader && pool->leader != waiter)
		return follow(pool, waiter, deadline);
	return lead(pool, waiter, deadline);
}

int ft__wait(struct ft_pool *pool, struct ft__vigil *waiter, bool interruptible,
	     ft_deadline deadline)
{
	bool heeds = interruptible && (pool->options.flags & FT_INTERRUPTIBLE);
	int64_t since = 0;
	int rc = 0;

	ft__pool_lock(pool);
	enter(pool, waiter);
	for (;;) {
		ft__tend(pool);
		if (waiter->ready(waiter->ctx)) {
			rc = 0;
			break;
		}
		/* What the last sleep said counts only after one more look. */
		if (rc == -ETIMEDOUT || (rc == -EINTR && heeds))
			break;
		if (!since && waiter->mode == FT__BELL_EACH)
			since = ft_now();
		rc = look(pool, waiter, deadline);
	}
	/* How long it took, asleep or not: else two sides that wake each other would
	 * never find out how soon they answer. */
	if (!rc && since && !waiter->keeper)
		pool->patience = ft__patience(pool->patience, ft_now() - since < SOON_NS);
	leave(pool, waiter);
	ft__pool_unlock(pool);
	return rc;
}
