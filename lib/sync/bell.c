/* SPDX-License-Identifier: MIT */
/* The bell, see sync/bell.h; tests/model/bell.pml. */
#include "sync/bell.h"

#include <errno.h>
#include <limits.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/fd.h"
#include "os/futex.h"
#include "os/probe.h"

#define NO_FD UINT32_MAX

/* Descriptors, atomic and private: that of this process's bells, and that of
 * the process that made this one. */
static uint32_t own_fd = NO_FD, parent_fd = NO_FD;

static int make_fd(void)
{
	uint32_t seen = NO_FD;
	int fd = ft__fd_raise(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));

	if (fd < 0)
		return -errno;
	if (ft__cas32_seq_cst(&own_fd, &seen, (uint32_t)fd))
		return fd;
	close(fd); /* another thread was faster */
	return (int)seen;
}

int ft__bell_fd(void)
{
	uint32_t fd = ft__load32_acquire(&own_fd); /* pairs with make_fd */

	if (fd != NO_FD)
		return (int)fd;
	/* A bell that rings by one way while its leader listens to the other is
	 * not heard: no answer is better than one that changes. */
	if (!ft__known(FT__URING_FUTEX))
		return -EMFILE;
	return ft__have(FT__URING_FUTEX) ? -1 : make_fd();
}

void ft__bell_inherit(int fd)
{
	ft__store32_seq_cst(&own_fd, fd < 0 ? NO_FD : (uint32_t)fd);
}

void ft__bell_adopt(void)
{
	ft__store32_seq_cst(&parent_fd, ft__load32_acquire(&own_fd)); /* pairs with make_fd */
	ft__store32_seq_cst(&own_fd, NO_FD);
}

int ft__bell_init(struct ft__bell *bell)
{
	if (!bell)
		return -EINVAL;

	uint32_t owner = ft__process();
	int fd = ft__bell_fd();

	if (!owner)
		return -EAGAIN;
	if (fd < -1)
		return fd;
	*bell = (struct ft__bell){ .owner = owner, .by_fd = fd >= 0 };
	return 0;
}

void ft__bell_again(struct ft__bell *bell)
{
	static const uint64_t one = 1;
	uint32_t fd;

	/* Seq_cst: pairs with the leader, who parks on what it read before. */
	ft__add32_seq_cst(&bell->word, 1);
	if (!bell->by_fd) {
		ft__futex_wake(&bell->word, INT_MAX, true);
		return;
	}
	fd = ft__load32_acquire(bell->owner == ft__process() ? &own_fd : &parent_fd);
	/* It cannot fail for good: a full counter (EAGAIN) is readable anyway. */
	while (fd != NO_FD && write((int)fd, &one, sizeof(one)) < 0 && errno == EINTR)
		;
}

void ft__bell_ring(struct ft__bell *bell, bool lazy)
{
	/* Seq_cst, and the result was published before: of the leader's store of
	 * `asleep` and our load one comes first, so that either it sees the result
	 * or we see it sleep. */
	ft__fence_seq_cst();

	uint32_t asleep = ft__load32_seq_cst(&bell->asleep);

	if (asleep == 0 || (asleep == FT__BELL_LAZY && !lazy))
		return;
	/* Of several ringers one wakes. */
	if (ft__swap32_seq_cst(&bell->asleep, 0))
		ft__bell_again(bell);
}
