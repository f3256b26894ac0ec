/* SPDX-License-Identifier: MIT */
/* Deaths by descriptor: exits, signals, and what is left when others reap. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/pidfd.h"

static int until_killed(void *arg)
{
	(void)arg;
	pause();
	return 1;
}

static int leave_21(void *arg)
{
	(void)arg;
	return 21;
}

static void await_death(int pidfd)
{
	struct pollfd p = { .fd = pidfd, .events = POLLIN };

	assert_int_equal(poll(&p, 1, 20000), 1);
}

static void exits(void **state)
{
	pid_t pid = child_start(leave_21, NULL);
	int fd = ft__pidfd_open(pid);
	struct ft__wait_status status;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	await_death(fd);
	assert_int_equal(ft__pidfd_dead(fd), 1);
	assert_int_equal(ft__pidfd_reap(fd, &status), 1);
	assert_int_equal(status.code, 21);
	assert_int_equal(status.signo, 0);
	assert_int_equal(status.known, 1);
	assert_int_equal(ft__pidfd_dead(fd), 1);
	assert_int_equal(waitpid(pid, NULL, 0), -1);
	close(fd);
}

static void kills(void **state)
{
	pid_t pid = child_start(until_killed, NULL);
	int fd = ft__pidfd_open(pid);
	struct ft__wait_status status = { 1, 1, 1 };

	(void)state;
	assert_int_equal(ft__pidfd_dead(fd), 0);
	assert_int_equal(ft__pidfd_reap(fd, &status), 0);
	assert_int_equal(status.known, 0);
	assert_int_equal(ft__pidfd_signal(fd, pid, 0), 0);
	assert_int_equal(ft__pidfd_signal(fd, pid, SIGTERM), 0);
	await_death(fd);
	assert_int_equal(ft__pidfd_reap(fd, &status), 1);
	assert_int_equal(status.code, 0);
	assert_int_equal(status.signo, SIGTERM);
	assert_int_equal(status.known, 1);
	assert_int_equal(ft__pidfd_signal(fd, pid, SIGTERM), -ESRCH);
	close(fd);
}

/* A user's wait() takes the status: we still learn of the death, and of the
 * status where the kernel remembers it. */
static void stolen(void **state)
{
	pid_t pid = child_start(leave_21, NULL);
	int fd = ft__pidfd_open(pid), raw;
	struct ft__wait_status status;

	(void)state;
	assert_int_equal(waitpid(pid, &raw, 0), pid);
	assert_int_equal(ft__pidfd_reap(fd, &status), 1);
	printf("status after a foreign wait: %s\n", status.known ? "known" : "unknown");
	if (status.known) {
		assert_int_equal(status.code, 21);
		assert_int_equal(status.signo, 0);
	}
	close(fd);

	pid = child_start(until_killed, NULL);
	fd = ft__pidfd_open(pid);
	kill(pid, SIGKILL);
	assert_int_equal(waitpid(pid, &raw, 0), pid);
	assert_int_equal(ft__pidfd_reap(fd, &status), 1);
	if (status.known)
		assert_int_equal(status.signo, SIGKILL);
	close(fd);
}

/* Not our child: its death can be seen, its life is not mistaken for death. */
static void strangers(void **state)
{
	struct ft__wait_status status;
	int parent = ft__pidfd_open(getppid()), self = ft__pidfd_open(getpid());

	(void)state;
	assert_int_equal(ft__pidfd_dead(parent), 0);
	assert_int_equal(ft__pidfd_reap(parent, &status), 0);
	assert_int_equal(ft__pidfd_reap(self, &status), 0);
	close(parent);
	close(self);
}

static void bad_descriptors(void **state)
{
	struct ft__wait_status status;

	(void)state;
	assert_int_equal(ft__pidfd_dead(-1), 0);
	assert_int_equal(ft__pidfd_dead(999999), 0);
	assert_int_equal(ft__pidfd_reap(999999, &status), 0);
	assert_int_equal(ft__pidfd_signal(999999, getpid(), 0), -EBADF);
	assert_int_equal(ft__pidfd_open(-1), -ESRCH);
	assert_int_equal(ft__pidfd_open(0), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(exits),	   cmocka_unit_test(kills),
		cmocka_unit_test(stolen),	   cmocka_unit_test(strangers),
		cmocka_unit_test(bad_descriptors),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
