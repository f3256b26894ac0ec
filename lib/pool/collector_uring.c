/* SPDX-License-Identifier: MIT */
/* The collector by io_uring: one ring waits for the bell and for deaths. */
#ifdef HAVE_CONFIG_H
#include <config.h>
#endif

#ifdef HAVE_LIBURING

#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>

#include <freethreading/lock.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "os/compiler.h"
#include "pool/rung.h"
#include "work/private_fd.h"

/* liburing 2.3 and the headers of Debian 12 stop before these. */
#define OP_FUTEX_WAIT 51              /* 6.7 */
#define FUTEX2_U32 2                  /* and shared, since not FUTEX2_PRIVATE */
#define FUTEX_ANYBODY 0xffffffffu
#define FEATURE_NO_IOWAIT (1u << 17)  /* 6.15 */
#define ENTER_NO_IOWAIT (1u << 7)

#define ENTRIES 16
/* user_data: bit 63 the bell, bits 32-62 the number, bits 0-31 the watch. */
#define BELL (UINT64_C(1) << 63)
#define NUMBER_MASK 0x7fffffffu
/* So many refusals in a row are no bad luck. */
#define REFUSALS 64

struct ft__uring {
	struct io_uring ring;
	uint64_t armer;        /* the thread whose requests they are */
	uint32_t bell_number;
	bool bell_armed;
	uint32_t refusals;
	unsigned enter_flags;
	int (*arm_bell)(struct ft__collector *collector, uint32_t seen);
};

/* Numbers threads for as long as the process lives; a tid may come again. */
static uint64_t thread_number(void)
{
	static uint64_t last;
	static FT__THREAD uint64_t mine;

	if (!mine)
		mine = ft__add64_seq_cst(&last, 1) + 1;
	return mine;
}

static uint32_t next_number(struct ft__collector *collector)
{
	collector->numbers = (collector->numbers + 1) & NUMBER_MASK;
	return collector->numbers;
}

/* ---- open and close ---- */

static int uring_open(struct ft__collector *collector,
		      int (*arm_bell)(struct ft__collector *collector, uint32_t seen))
{
	struct io_uring_params params = { 0 };
	struct ft__uring *uring = calloc(1, sizeof(*uring));

	if (!uring)
		return -ENOMEM;
	/* No SINGLE_ISSUER: the leader is a different thread each time. */
	int rc = io_uring_queue_init_params(ENTRIES, &uring->ring, &params);
	if (rc) {
		free(uring);
		return rc;
	}
	/* liburing goes by either name, and closes the first. */
	uring->ring.ring_fd = ft__private_fd(uring->ring.ring_fd);
	uring->ring.enter_ring_fd = uring->ring.ring_fd;
	/* A child must not share the indexes with us. */
	io_uring_ring_dontfork(&uring->ring);
	uring->enter_flags = IORING_ENTER_GETEVENTS | IORING_ENTER_EXT_ARG;
	/* An idle collector is not waiting for a disk. */
	if (params.features & FEATURE_NO_IOWAIT)
		uring->enter_flags |= ENTER_NO_IOWAIT;
	uring->arm_bell = arm_bell;
	collector->uring = uring;
	return 0;
}

/* 0, or -EINVAL before Linux 6.0. */
static int cancel_all(struct ft__uring *uring)
{
	struct io_uring_sync_cancel_reg reg = {
		.flags = IORING_ASYNC_CANCEL_ANY | IORING_ASYNC_CANCEL_ALL,
		.timeout = { .tv_sec = -1, .tv_nsec = -1 },
	};
	int rc = io_uring_register_sync_cancel(&uring->ring, &reg);

	return rc == -EINVAL ? rc : 0;
}

static void uring_shut(struct ft__collector *collector)
{
	struct ft__uring *uring = collector->uring;
	int fd = uring->ring.ring_fd;

	/* The kernel tears a ring down later; until then an armed futex wait
	 * would eat a wake that is meant for somebody else. */
	cancel_all(uring);
	/* The descriptor is closed together with its note. */
	uring->ring.ring_fd = -1;
	io_uring_queue_exit(&uring->ring);
	ft__private_fd_close(fd);
	free(uring);
	collector->uring = NULL;
}

/* ---- arming ---- */

static struct io_uring_sqe *sqe_get(struct ft__uring *uring)
{
	struct io_uring_sqe *sqe = io_uring_get_sqe(&uring->ring);

	if (!sqe && io_uring_submit(&uring->ring) >= 0)
		sqe = io_uring_get_sqe(&uring->ring);
	return sqe;
}

/* The kernel compares the word with `seen` as it queues the wait, so a ring
 * cannot fall between our last look and the sleep. */
static int arm_futex(struct ft__collector *collector, uint32_t seen)
{
	struct io_uring_sqe *sqe = sqe_get(collector->uring);

	if (!sqe)
		return -EBUSY;
	io_uring_prep_rw(OP_FUTEX_WAIT, sqe, FUTEX2_U32, &collector->bell->word, 0, seen);
	sqe->addr3 = FUTEX_ANYBODY;
	return io_uring_sqe_set_data64(sqe, BELL | collector->uring->bell_number), 0;
}

static int arm_eventfd(struct ft__collector *collector, uint32_t seen)
{
	int fd = ft__bell_fd();
	struct io_uring_sqe *sqe = fd < 0 ? NULL : sqe_get(collector->uring);

	(void)seen; /* every write is told, those before the arming too */
	if (!sqe)
		return -EBADF;
	io_uring_prep_poll_multishot(sqe, fd, POLLIN);
	return io_uring_sqe_set_data64(sqe, BELL | collector->uring->bell_number), 0;
}

static int arm_watch(struct ft__collector *collector, uint32_t index)
{
	struct ft__watch *watch = &collector->watches[index];
	struct io_uring_sqe *sqe = sqe_get(collector->uring);

	if (!sqe)
		return -EBUSY;
	watch->number = next_number(collector);
	watch->armed = true;
	io_uring_prep_poll_add(sqe, watch->pidfd, POLLIN);
	io_uring_sqe_set_data64(sqe, (uint64_t)watch->number << 32 | index);
	return 0;
}

/* Requests die with the thread that made them, and their completions run in
 * it: a new leader makes its own.  Before 6.0 the old ones stay, which is safe
 * with polls, and there are only polls. */
static void take_over(struct ft__collector *collector)
{
	struct ft__uring *uring = collector->uring;
	uint64_t me = thread_number(), before = uring->armer;

	uring->armer = me;
	if (before == me || !before || cancel_all(uring))
		return;
	uring->bell_armed = false;
	for (uint32_t i = 0; i < collector->count; i++)
		collector->watches[i].armed = false;
}

/* Locked. */
static int arm_all(struct ft__collector *collector, uint32_t seen)
{
	struct ft__uring *uring = collector->uring;
	int rc = 0;

	take_over(collector);
	if (!uring->bell_armed) {
		uring->bell_number = next_number(collector);
		rc = uring->arm_bell(collector, seen);
		uring->bell_armed = !rc;
	}
	for (uint32_t i = 0; !rc && i < collector->count; i++) {
		const struct ft__watch *watch = &collector->watches[i];
		if (watch->pidfd >= 0 && !watch->armed && !watch->dead)
			rc = arm_watch(collector, i);
	}
	return rc;
}

/* ---- what came ---- */

/* Whatever a request says, it says "look again"; but one that is refused for
 * good means that this ladder does not carry. */
static int judge(struct ft__uring *uring, int res)
{
	switch (res) {
	case -EAGAIN:
	case -ECANCELED:
	case -EINTR:
		return 0;
	case -ENOMEM:
		return ++uring->refusals < REFUSALS ? 0 : res;
	default:
		uring->refusals = res < 0 ? uring->refusals : 0;
		return res < 0 ? res : 0;
	}
}

static int take_bell(struct ft__uring *uring, const struct io_uring_cqe *cqe)
{
	if ((cqe->user_data & NUMBER_MASK) != uring->bell_number)
		return 0;
	if (!(cqe->flags & IORING_CQE_F_MORE))
		uring->bell_armed = false;
	return judge(uring, cqe->res);
}

static int take_watch(struct ft__collector *collector, const struct io_uring_cqe *cqe)
{
	struct ft__watch *watch = ft__watch_find(collector, (uint32_t)cqe->user_data,
						 (uint32_t)(cqe->user_data >> 32));

	if (!watch || !watch->armed)
		return 0;
	watch->armed = false;
	if (cqe->res > 0) {
		watch->dead = true;
		collector->deaths = true;
	}
	return judge(collector->uring, cqe->res);
}

/* How many completions there were, or an error that ends this ladder. */
static int reap(struct ft__collector *collector)
{
	struct ft__uring *uring = collector->uring;
	struct io_uring_cqe *cqe;
	int count = 0, rc = 0;

	(void)!ft_lock_acquire(&collector->lock, FT_FOREVER);
	while (!io_uring_peek_cqe(&uring->ring, &cqe)) {
		int bad = cqe->user_data & BELL ? take_bell(uring, cqe)
						: take_watch(collector, cqe);
		rc = rc ? rc : bad;
		io_uring_cqe_seen(&uring->ring, cqe);
		count++;
	}
	ft_lock_release(&collector->lock);
	return rc ? rc : count;
}

static int uring_sleep(struct ft__uring *uring, ft_deadline deadline)
{
	ft_deadline now = ft_now(), left = deadline > now ? deadline - now : 0;
	struct __kernel_timespec ts = { .tv_sec = left / 1000000000,
					.tv_nsec = left % 1000000000 };
	struct io_uring_getevents_arg arg = {
		.sigmask_sz = _NSIG / 8,
		.ts = deadline == FT_FOREVER ? 0 : (uint64_t)(uintptr_t)&ts,
	};

	return io_uring_enter2(uring->ring.ring_fd, 0, 1, uring->enter_flags, (sigset_t *)&arg,
			       sizeof(arg));
}

static int uring_take(struct ft__collector *collector, uint32_t seen, ft_deadline deadline)
{
	struct ft__uring *uring = collector->uring;

	(void)!ft_lock_acquire(&collector->lock, FT_FOREVER);
	int rc = arm_all(collector, seen);
	ft_lock_release(&collector->lock);
	if (!rc && io_uring_sq_ready(&uring->ring))
		rc = io_uring_submit(&uring->ring);
	if (rc < 0)
		return rc;
	rc = reap(collector);
	if (rc)
		return rc < 0 ? rc : 0;
	int slept = uring_sleep(uring, deadline);
	rc = reap(collector);
	if (rc)
		return rc < 0 ? rc : 0;
	if (slept == -ETIME)
		return ft__passed(deadline) ? -ETIMEDOUT : 0;
	return slept == -EBUSY || slept == -EAGAIN || slept > 0 ? 0 : slept;
}

static int uring_futex_open(struct ft__collector *collector)
{
	return uring_open(collector, arm_futex);
}

static int uring_poll_open(struct ft__collector *collector)
{
	return uring_open(collector, arm_eventfd);
}

const struct ft__rung ft__rung_uring_futex = {
	.name = "uring-futex",
	.open = uring_futex_open,
	.close = uring_shut,
	.wait = uring_take,
};

const struct ft__rung ft__rung_uring_poll = {
	.name = "uring-poll",
	.below = &ft__rung_epoll,
	.open = uring_poll_open,
	.close = uring_shut,
	.wait = uring_take,
};

#else
/* A translation unit holds at least one declaration. */
extern const int ft__no_uring;
#endif
