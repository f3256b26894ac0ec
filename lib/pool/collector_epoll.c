/* SPDX-License-Identifier: MIT */
/* The collector by epoll, for where io_uring is not allowed. */
#include <errno.h>
#include <fcntl.h>
#include <sys/epoll.h>
#include <time.h>
#include <unistd.h>

#include <freethreading/lock.h>

#include "os/atomic.h"
#include "os/clock.h"
#include "pool/rung.h"
#include "work/private_fd.h"

#define EVENTS 16
#define BELL UINT64_MAX

static int epoll_bell(struct ft__collector *collector)
{
	struct epoll_event event = { .events = EPOLLIN | EPOLLET, .data.u64 = BELL };
	int fd = ft__bell_fd();

	if (fd < 0)
		return fd == -1 ? -EBADF : fd;
	/* An edge for each write: nobody ever reads it. */
	return epoll_ctl(collector->epoll, EPOLL_CTL_ADD, fd, &event) ? -errno : 0;
}

static void epoll_shut(struct ft__collector *collector)
{
	ft__private_fd_close(collector->epoll);
	collector->epoll = -1;
}

static int epoll_open(struct ft__collector *collector)
{
	collector->epoll = ft__private_fd(epoll_create1(EPOLL_CLOEXEC));
	if (collector->epoll < 0)
		return -errno;
	int rc = epoll_bell(collector);
	if (rc)
		epoll_shut(collector);
	return rc;
}

/* One shot: a dead process would be told again and again. */
static int epoll_watch(struct ft__collector *collector, struct ft__watch *watch)
{
	uint64_t index = (uint64_t)(watch - collector->watches);
	struct epoll_event event = { .events = EPOLLIN | EPOLLONESHOT,
				     .data.u64 = (uint64_t)watch->number << 32 | index };

	if (epoll_ctl(collector->epoll, EPOLL_CTL_ADD, watch->pidfd, &event))
		return -errno;
	watch->armed = true;
	return 0;
}

/* Explicitly: a forked child may still hold the descriptor, and then closing
 * ours takes nothing out of the set. */
static void epoll_unwatch(struct ft__collector *collector, struct ft__watch *watch)
{
	if (watch->armed)
		epoll_ctl(collector->epoll, EPOLL_CTL_DEL, watch->pidfd, NULL);
	watch->armed = false;
}

static int epoll_sleep(int fd, struct epoll_event *events, ft_deadline deadline)
{
	ft_deadline now = ft_now();
	struct timespec left = ft__timespec(deadline > now ? deadline - now : 0);
	int n = epoll_pwait2(fd, events, EVENTS, deadline == FT_FOREVER ? NULL : &left, NULL);

	/* 5.11, and not in every sandbox: milliseconds must do there. */
	if (n < 0 && (errno == ENOSYS || errno == EPERM))
		n = epoll_wait(fd, events, EVENTS, ft__millis_until(deadline));
	return n < 0 ? -errno : n;
}

static int epoll_take(struct ft__collector *collector, uint32_t seen, ft_deadline deadline)
{
	struct epoll_event events[EVENTS];
	int n = epoll_sleep(collector->epoll, events, deadline);

	(void)seen; /* a ring since then is an edge that waits for us */
	if (n < 0)
		return n;
	if (n == 0)
		return ft__passed(deadline) ? -ETIMEDOUT : 0;
	(void)!ft_lock_acquire(&collector->lock, FT_FOREVER);
	for (int i = 0; i < n; i++) {
		uint64_t data = events[i].data.u64;
		struct ft__watch *watch;
		if (data == BELL)
			continue;
		watch = ft__watch_find(collector, (uint32_t)data, (uint32_t)(data >> 32));
		if (watch)
			watch->dead = true;
		collector->deaths = true;
	}
	ft_lock_release(&collector->lock);
	return 0;
}

const struct ft__rung ft__rung_epoll = {
	.name = "epoll",
	.open = epoll_open,
	.close = epoll_shut,
	.watch = epoll_watch,
	.unwatch = epoll_unwatch,
	.wait = epoll_take,
};
