/* SPDX-License-Identifier: MIT */
#include "work/parked.h"

#include <errno.h>
#include <signal.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"
#include "sync/wait.h"
#include "work/worker.h"

#define LINGER_NS INT64_C(50000000) /* who starts workers in a row does so sooner */
#define LEAVE_NS INT64_C(20000000)  /* what fork() waits for a thread at most */
#define MOST 64u

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* over the list */
static struct ft__parked *list;
static uint32_t count; /* atomic; written under the lock */

static void push(struct ft__parked *parked)
{
	parked->link = list;
	list = parked;
	ft__store32_relaxed(&count, ft__load32_relaxed(&count) + 1);
}

/* Takes the thread at *at from the list. */
static struct ft__parked *pull(struct ft__parked **at)
{
	struct ft__parked *parked = *at;

	*at = parked->link;
	ft__store32_relaxed(&count, ft__load32_relaxed(&count) - 1);
	return parked;
}

bool ft__parked_enter(struct ft__parked *parked, const struct ft__traits *traits)
{
	sigset_t all;
	bool room;

	if (!ft__traits_get(&parked->traits) || !ft__traits_equal(&parked->traits, traits))
		return false;
	ft__self_leave();
	*parked = (struct ft__parked){ .traits = *traits,
				       .thread = pthread_self(),
				       .tid = (pid_t)syscall(SYS_gettid) };
	sigfillset(&all);
	pthread_sigmask(SIG_SETMASK, &all, NULL);
	pthread_mutex_lock(&lock);
	room = ft__load32_relaxed(&count) < MOST;
	if (room)
		push(parked);
	pthread_mutex_unlock(&lock);
	return room;
}

/* After the time is over: true if nobody has called. */
static bool withdraw(struct ft__parked *parked)
{
	struct ft__parked **at = &list;

	pthread_mutex_lock(&lock);
	while (*at && *at != parked)
		at = &(*at)->link;
	if (*at)
		pull(at);
	else
		parked = NULL;
	pthread_mutex_unlock(&lock);
	return parked;
}

struct ft_worker *ft__parked_wait(struct ft__parked *parked, int64_t *patience)
{
	struct ft__spin spin = { .patience = *patience };
	ft_deadline since = ft_now(), deadline = since + LINGER_NS;

	/* Partner: the release in call(). */
	while (!ft__load32_acquire(&parked->called)) {
		if (ft__spin(&spin))
			continue;
		if (ft__park(&parked->called, 0, FT_PRIVATE, deadline) != -ETIMEDOUT)
			continue;
		if (withdraw(parked)) {
			pthread_detach(pthread_self());
			return NULL;
		}
		deadline = FT_FOREVER; /* being called just now */
	}
	ft__spin_end(&spin);
	*patience = ft__patience(*patience, ft_now() - since < FT__PATIENCE_NS);
	return parked->next;
}

static void call(struct ft__parked *parked, struct ft_worker *worker)
{
	parked->next = worker;
	/* Partner: the acquire in ft__parked_wait.  From here on the thread may be
	 * gone, and the word is only an address. */
	ft__store32_release(&parked->called, 1);
	ft__futex_wake(&parked->called, 1, false);
}

static struct ft__parked *take(const struct ft__traits *traits)
{
	struct ft__parked **at = &list, *found;

	pthread_mutex_lock(&lock);
	while (*at && traits && !ft__traits_equal(&(*at)->traits, traits))
		at = &(*at)->link;
	found = *at ? pull(at) : NULL;
	pthread_mutex_unlock(&lock);
	return found;
}

bool ft__parked_call(struct ft_worker *worker)
{
	struct ft__traits traits;
	struct ft__parked *parked;

	if (!ft__load32_relaxed(&count) || !ft__traits_get(&traits))
		return false;
	parked = take(&traits);
	if (!parked)
		return false;
	worker->thread = parked->thread;
	worker->pid = parked->tid;
	worker->told = 1;
	pthread_sigmask(SIG_SETMASK, NULL, &worker->signals);
	call(parked, worker);
	return true;
}

static int see_out(pthread_t thread, ft_deadline deadline)
{
	struct timespec until = ft__timespec(deadline);
	int rc = deadline == FT_FOREVER
			 ? pthread_join(thread, NULL)
			 : pthread_clockjoin_np(thread, NULL, CLOCK_MONOTONIC, &until);

	if (rc)
		pthread_detach(thread);
	return rc ? -ETIMEDOUT : 0;
}

int ft_worker_dismiss(ft_deadline deadline)
{
	pthread_t threads[MOST];
	struct ft__parked *parked;
	uint32_t n = 0;
	int rc = 0;

	/* All at once: their destructors may take a while. */
	while (n < MOST && (parked = take(NULL))) {
		threads[n++] = parked->thread;
		call(parked, NULL);
	}
	for (uint32_t i = 0; i < n; i++)
		if (see_out(threads[i], deadline))
			rc = -ETIMEDOUT;
	return rc;
}

/* Where another library's handler holds what a thread needs to leave, fork()
 * goes on without having seen it out. */
static void before_fork(void)
{
	(void)ft_worker_dismiss(ft_after(LEAVE_NS));
}

static void after_fork(void)
{
	lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
	list = NULL;
	ft__store32_relaxed(&count, 0);
}

__attribute__((constructor)) static void watch_forks(void)
{
	pthread_atfork(before_fork, NULL, after_fork);
}
