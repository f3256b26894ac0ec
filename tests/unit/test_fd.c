/* SPDX-License-Identifier: MIT */
/* Descriptors out of the way of those who close by number. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/fd.h"

static int limited(rlim_t most)
{
	struct rlimit limit;

	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	REQUIRE(limit.rlim_max >= most);
	limit.rlim_cur = most;
	return setrlimit(RLIMIT_NOFILE, &limit);
}

static int high_up(void *arg)
{
	int fd[2], high;

	(void)arg;
	REQUIRE(limited(FT__FD_HIGH + 1) == 0);
	REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
	errno = EXDEV;
	high = ft__fd_raise(fd[1]);
	REQUIRE(high == FT__FD_HIGH && errno == EXDEV);
	REQUIRE(fcntl(high, F_GETFD) == FD_CLOEXEC);
	REQUIRE(fcntl(fd[1], F_GETFD) == -1); /* moved, not copied */
	REQUIRE(write(high, "x", 1) == 1);
	REQUIRE(ft__fd_raise(high) == high);
	/* No room is left there. */
	errno = EXDEV;
	REQUIRE(ft__fd_raise(fd[0]) == fd[0] && errno == EXDEV);
	return 0;
}

static int low_limit(void *arg)
{
	int fd[2];

	(void)arg;
	REQUIRE(limited(64) == 0);
	REQUIRE(pipe2(fd, O_CLOEXEC) == 0);
	errno = EXDEV;
	REQUIRE(ft__fd_raise(fd[0]) == fd[0] && errno == EXDEV);
	REQUIRE(fcntl(fd[0], F_GETFD) == FD_CLOEXEC);
	return 0;
}

static void where_there_is_room(void **state)
{
	(void)state;
	assert_int_equal(child_run(high_up, NULL), 0);
}

static void where_the_limit_is_low(void **state)
{
	(void)state;
	assert_int_equal(child_run(low_limit, NULL), 0);
}

static void errors_pass_through(void **state)
{
	(void)state;
	errno = EMFILE;
	assert_int_equal(ft__fd_raise(-1), -1);
	assert_int_equal(errno, EMFILE);
	assert_int_equal(ft__fd_raise(-ENOMEM), -ENOMEM);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(where_there_is_room),
		cmocka_unit_test(where_the_limit_is_low),
		cmocka_unit_test(errors_pass_through),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
