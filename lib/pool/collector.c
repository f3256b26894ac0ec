/* SPDX-License-Identifier: MIT */
/* The collector's common part: who is watched, and which ladder is used. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#include "pool/collector.h"

#include <errno.h>
#include <stdlib.h>

#include <freethreading/lock.h>

#include "os/atomic.h"
#include "os/futex.h"
#include "os/pidfd.h"
#include "os/probe.h"
#include "pool/rung.h"

/* How often the last resort looks at the processes. */
#define LOOK_NS INT64_C(5000000)

static void lock(struct ft__collector *collector)
{
	/* A private lock without a deadline cannot fail. */
	(void)!ft_lock_acquire(&collector->lock, FT_FOREVER);
}

static void unlock(struct ft__collector *collector)
{
	ft_lock_release(&collector->lock);
}

/* ---- the last resort: the bell's futex, and a look now and then ---- */

static bool look(struct ft__collector *collector)
{
	bool died = false;

	lock(collector);
	for (uint32_t i = 0; i < collector->count; i++) {
		struct ft__watch *watch = &collector->watches[i];
		if (watch->pidfd < 0 || watch->dead || ft__pidfd_dead(watch->pidfd) != 1)
			continue;
		watch->dead = true;
		died = true;
	}
	collector->deaths |= died;
	unlock(collector);
	return died;
}

static int futex_wait(struct ft__collector *collector, uint32_t seen, ft_deadline deadline)
{
	ft_deadline step = ft_after(LOOK_NS);

	if (look(collector))
		return 0;
	int rc = ft__futex_wait(&collector->bell->word, seen, true,
				step < deadline ? step : deadline);
	if (rc == -ETIMEDOUT && deadline > step)
		return 0;
	return rc == -EAGAIN ? 0 : rc;
}

static int nothing_open(struct ft__collector *collector)
{
	(void)collector;
	return 0;
}

static void nothing_close(struct ft__collector *collector)
{
	(void)collector;
}

static const struct ft__rung rung_futex = {
	.name = "futex", .open = nothing_open, .close = nothing_close, .wait = futex_wait
};

/* ---- which ladder ---- */

static const struct ft__rung *rung_first(void)
{
#ifdef HAVE_LIBURING
	if (ft__have(FT__URING_FUTEX))
		return &ft__rung_uring_futex;
	if (ft__have(FT__URING) && ft__have(FT__URING_MULTI))
		return &ft__rung_uring_poll;
#endif
	return &ft__rung_epoll;
}

const char *ft__collector_name(void)
{
	return rung_first()->name;
}

int ft__collector_open(struct ft__collector **out, struct ft__bell *bell)
{
	struct ft__collector *collector = calloc(1, sizeof(*collector));

	if (!collector)
		return -ENOMEM;
	ft_lock_init(&collector->lock, FT_PRIVATE);
	collector->bell = bell;
	collector->rung = rung_first();
	collector->epoll = -1;
	*out = collector;
	return 0;
}

void ft__collector_close(struct ft__collector *collector)
{
	if (!collector)
		return;
	if (collector->opened)
		collector->rung->close(collector);
	free(collector->watches);
	free(collector);
}

/* Under the lock.  Every watch is to be asked for anew. */
static void shut(struct ft__collector *collector)
{
	if (collector->opened)
		collector->rung->close(collector);
	collector->opened = false;
	for (uint32_t i = 0; i < collector->count; i++)
		collector->watches[i].armed = false;
}

void ft__collector_rest(struct ft__collector *collector)
{
	lock(collector);
	shut(collector);
	unlock(collector);
}

/* One ladder further down. */
static void fall(struct ft__collector *collector)
{
	lock(collector);
	shut(collector);
	collector->rung = collector->rung->below ? collector->rung->below : &rung_futex;
	unlock(collector);
}

/* ---- watches ---- */

static int grow(struct ft__collector *collector)
{
	uint32_t count = collector->count ? 2 * collector->count : 4;
	struct ft__watch *watches = realloc(collector->watches, count * sizeof(*watches));

	if (!watches)
		return -ENOMEM;
	for (uint32_t i = collector->count; i < count; i++)
		watches[i] = (struct ft__watch){ .pidfd = -1 };
	collector->watches = watches;
	collector->count = count;
	return 0;
}

static struct ft__watch *find_fd(struct ft__collector *collector, int pidfd)
{
	for (uint32_t i = 0; i < collector->count; i++) {
		if (collector->watches[i].pidfd == pidfd)
			return &collector->watches[i];
	}
	return NULL;
}

struct ft__watch *ft__watch_find(struct ft__collector *collector, uint32_t index, uint32_t number)
{
	if (index >= collector->count)
		return NULL;
	struct ft__watch *watch = &collector->watches[index];
	return watch->pidfd >= 0 && watch->number == number ? watch : NULL;
}

static int watch_add(struct ft__collector *collector, int pidfd)
{
	struct ft__watch *watch = find_fd(collector, -1);

	if (!watch) {
		int rc = grow(collector);
		if (rc)
			return rc;
		watch = find_fd(collector, -1);
	}
	*watch = (struct ft__watch){ .pidfd = pidfd, .number = ++collector->numbers };
	if (collector->opened && collector->rung->watch)
		return collector->rung->watch(collector, watch);
	return 0;
}

int ft__collector_watch(struct ft__collector *collector, int pidfd)
{
	if (!collector || pidfd < 0)
		return -EINVAL;
	lock(collector);
	int rc = watch_add(collector, pidfd);
	bool later = !rc && !(collector->opened && collector->rung->watch);
	unlock(collector);
	/* Who sleeps now has to ask for it. */
	if (later)
		ft__bell_ring(collector->bell, true);
	return rc;
}

void ft__collector_unwatch(struct ft__collector *collector, int pidfd)
{
	lock(collector);
	struct ft__watch *watch = pidfd >= 0 ? find_fd(collector, pidfd) : NULL;
	if (watch) {
		if (collector->opened && collector->rung->unwatch)
			collector->rung->unwatch(collector, watch);
		watch->pidfd = -1;
	}
	unlock(collector);
}

bool ft__collector_deaths(struct ft__collector *collector)
{
	lock(collector);
	bool deaths = collector->deaths;
	collector->deaths = false;
	unlock(collector);
	return deaths;
}

/* ---- waiting ---- */

static int rung_open(struct ft__collector *collector)
{
	lock(collector);
	int rc = collector->opened ? 0 : collector->rung->open(collector);
	collector->opened |= !rc;
	for (uint32_t i = 0; !rc && collector->rung->watch && i < collector->count; i++) {
		struct ft__watch *watch = &collector->watches[i];
		if (watch->pidfd >= 0 && !watch->armed && !watch->dead)
			rc = collector->rung->watch(collector, watch);
	}
	unlock(collector);
	return rc;
}

int ft__collector_wait(struct ft__collector *collector, uint32_t seen, ft_deadline deadline)
{
	if (!collector)
		return -EINVAL;
	for (;;) {
		/* Acquire, with the ringer's +1. */
		if (ft__load32_acquire(&collector->bell->word) != seen)
			return 0;
		int rc = rung_open(collector);
		if (!rc)
			rc = collector->rung->wait(collector, seen, deadline);
		if (rc == 0 || rc == -ETIMEDOUT || rc == -EINTR)
			return rc;
		fall(collector);
	}
}
