/* SPDX-License-Identifier: MIT */
/* What is done after a worker process has died; see supervisor.h. */
#include <errno.h>
#include <signal.h>
#include <sys/epoll.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "os/atomic.h"
#include "sync/journal.h"
#include "work/private_fd.h"
#include "work/supervisor.h"

static struct {
	pthread_mutex_t lock; /* the settling lock: guards everything here */
	int epoll;
	uint32_t high; /* no entry at or above is used */
	struct ft_worker *at[FT__SLOTS]; /* each with a reference */
} watched = { .lock = PTHREAD_MUTEX_INITIALIZER };

static int finish(struct ft_worker *worker);

static int watch(struct ft_worker *worker)
{
	uint32_t index = worker->owner & FT__SLOT_INDEX;
	/* One shot: a death that is held up is tried again by the clock. */
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT,
				     .data.u32 = worker->owner };

	if (epoll_ctl(watched.epoll, EPOLL_CTL_ADD, worker->pidfd, &event))
		return -errno;
	watched.at[index] = ft__worker_get(worker);
	if (watched.high <= index)
		watched.high = index + 1;
	return 0;
}

static void unwatch(struct ft_worker *worker)
{
	uint32_t index = worker->owner & FT__SLOT_INDEX;

	if (watched.at[index] != worker)
		return;
	epoll_ctl(watched.epoll, EPOLL_CTL_DEL, worker->pidfd, NULL);
	watched.at[index] = NULL;
	ft__worker_put(worker);
}

/* A process whose supervisor died before it: its lifeline has killed it, or is
 * about to.  0, or -errno: it cannot be watched now. */
static int adopt(uint32_t owner, struct ft__slot *slot)
{
	struct ft_worker *orphan = ft__worker_new(FT_WORKER_PROCESS, "");
	int rc;

	if (!orphan)
		return -ENOMEM;
	orphan->owner = owner;
	orphan->pid = slot->pid;
	rc = ft__pidfd_open(orphan->pid);
	if (rc >= 0) {
		orphan->pidfd = ft__private_fd(rc);
		rc = watch(orphan);
		if (!rc)
			ft__store32_relaxed(&slot->parent, ft__process());
	} else if (rc == -ESRCH || kill(orphan->pid, 0) != 0) {
		/* Where pidfd_open is refused, it is asked for again until then. */
		orphan->reaped = 1;
		rc = finish(orphan) ? 0 : -EAGAIN;
	}
	ft__worker_put(orphan);
	return rc;
}

/* Only slots that are LIVE: those the dead had only reserved are its own. */
static int adopt_orphans(uint32_t dead)
{
	struct ft__slot *slots = ft__arena.slot;
	uint32_t high = ft__load32_relaxed(&ft__arena.header->slots_high);
	int rc = 0;

	for (uint32_t i = 0; i < high && i < FT__SLOTS; i++) {
		uint32_t word = ft__load32_acquire(&slots[i].word); /* partner: slot.c, LIVE */
		uint32_t owner = (word & FT__SLOT_GENERATION) | i;

		if ((word & FT__SLOT_STATE) != FT__SLOT_LIVE || watched.at[i] ||
		    ft__load32_relaxed(&slots[i].parent) != dead ||
		    ft__load32_relaxed(&slots[i].process) != owner)
			continue;
		rc |= adopt(owner, &slots[i]);
	}
	return rc;
}

static void free_slot(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	(void)slot;
	ft__slot_free(owner);
}

static void record(struct ft_worker *worker)
{
	struct ft__wait_status *status = &worker->status;
	/* Partner: ft__process_leave; the death lies between. */
	uint32_t left = ft__load32_acquire(&ft__slot_of(worker->owner)->left);

	if (status->known)
		return;
	/* Somebody else took the status: believe what it said when it left, and
	 * that it did not mean to leave if it said nothing. */
	status->code = left & 0x100 ? (int)(left & 0xff) : 255;
}

/* Everything that a death asks for.  1: done; 0: alive, or held up. */
static int finish(struct ft_worker *worker)
{
	if (ft__load32_acquire(&worker->done)) /* partner: ft__worker_end */
		return 1;
	if (!worker->reaped && !ft__pidfd_reap(worker->pidfd, &worker->status))
		return 0;
	/* Written under the lock, and read there; tests look without it. */
	ft__store32_relaxed(&worker->reaped, 1);
	if (ft__journal_settle(worker->owner))
		return 0;
	/* What was in a queue is HELD by now (sync/queue.h). */
	ft__block_sweep(worker->owner, NULL);
	if (adopt_orphans(worker->owner))
		return 0;
	record(worker);
	ft__slot_each(worker->owner, free_slot, NULL);
	ft__worker_end(worker, worker->status.code, worker->status.signo, worker->status.known);
	unwatch(worker);
	return 1;
}

int ft__supervisor_settle(struct ft_worker *worker)
{
	int rc;

	if (ft__load32_acquire(&worker->done)) /* partner: ft__worker_end */
		return 1;
	if (worker->pidfd >= 0 && !ft__pidfd_dead(worker->pidfd))
		return 0;
	pthread_mutex_lock(&watched.lock);
	rc = finish(worker);
	pthread_mutex_unlock(&watched.lock);
	return rc;
}

int ft__death_watch(struct ft_worker *worker, int epoll)
{
	int rc;

	pthread_mutex_lock(&watched.lock);
	watched.epoll = epoll;
	rc = watch(worker);
	pthread_mutex_unlock(&watched.lock);
	return rc;
}

static void take_place(struct ft_worker *spare, struct ft_worker *worker)
{
	uint32_t index = worker->owner & FT__SLOT_INDEX;

	worker->reaped = spare->reaped;
	worker->status = spare->status;
	if (ft__load32_acquire(&spare->done)) { /* partner: ft__worker_end */
		ft__worker_end(worker, spare->exit.code, spare->exit.signo, spare->exit.known);
		return;
	}
	watched.at[index] = ft__worker_get(worker);
	ft__worker_put(spare);
}

void ft__death_hand_over(struct ft_worker *spare, struct ft_worker *worker, void *payload)
{
	pthread_mutex_lock(&watched.lock);
	worker->owner = spare->owner;
	worker->pid = spare->pid;
	worker->pidfd = spare->pidfd;
	spare->pidfd = -1;
	take_place(spare, worker);
	/* It goes with the worker, if that has not gone by now. */
	if (payload && ft__load32_acquire(&worker->done)) /* partner: ft__worker_end */
		ft_block_free(payload);
	else if (payload)
		ft__block_assign(ft__block_of(payload), worker->owner);
	pthread_mutex_unlock(&watched.lock);
}

void ft__death_notice(uint32_t owner)
{
	struct ft_worker *worker;

	pthread_mutex_lock(&watched.lock);
	worker = watched.at[owner & FT__SLOT_INDEX];
	/* Another thread may have settled it, and the slot be somebody else's. */
	if (worker && worker->owner == owner)
		finish(worker);
	pthread_mutex_unlock(&watched.lock);
}

/* Somebody has taken it in, or is about to: a spawner whose helper died. */
static bool has_slot(pid_t pid)
{
	uint32_t high = ft__load32_relaxed(&ft__arena.header->slots_high);

	for (uint32_t i = 0; i < high && i < FT__SLOTS; i++) {
		const struct ft__slot *slot = &ft__arena.slot[i];
		/* Acquire: as in adopt_orphans. */
		uint32_t word = ft__load32_acquire(&slot->word);

		if ((word & FT__SLOT_STATE) == FT__SLOT_LIVE && slot->pid == pid)
			return true;
	}
	return false;
}

bool ft__death_knows(pid_t pid)
{
	bool known = has_slot(pid);

	pthread_mutex_lock(&watched.lock);
	for (uint32_t i = 0; i < watched.high && !known; i++)
		known = watched.at[i] && watched.at[i]->pid == pid;
	pthread_mutex_unlock(&watched.lock);
	return known;
}

int ft__death_retry(void)
{
	int held_up = 0;

	pthread_mutex_lock(&watched.lock);
	for (uint32_t i = 0; i < watched.high; i++) {
		struct ft_worker *worker = watched.at[i];

		if (worker && worker->reaped)
			held_up += !finish(worker);
	}
	pthread_mutex_unlock(&watched.lock);
	return held_up;
}

void ft__death_forget(void)
{
	pthread_mutex_init(&watched.lock, NULL);
	for (uint32_t i = 0; i < watched.high; i++)
		watched.at[i] = NULL;
	watched.high = 0;
}
