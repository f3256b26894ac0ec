/* SPDX-License-Identifier: MIT */
/* Sealed files, and what limits do to them. */
#include <errno.h>
#include <fcntl.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/memfd.h"

#define MIB (UINT64_C(1) << 20)

static void size_is_fixed(void **state)
{
	int fd = ft__memfd_create("test", 3 * MIB);
	struct stat st;

	(void)state;
	assert_true(fd >= 0);
	assert_int_equal(fstat(fd, &st), 0);
	assert_int_equal(st.st_size, 3 * MIB);
	assert_int_equal(st.st_blocks, 0);
	assert_int_equal(fcntl(fd, F_GETFD), FD_CLOEXEC);
	assert_int_equal(ftruncate(fd, MIB), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(ftruncate(fd, 4 * MIB), -1);
	assert_int_equal(errno, EPERM);
	assert_int_equal(fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE), -1);
	close(fd);
}

static void absurd_sizes(void **state)
{
	(void)state;
	assert_int_equal(ft__memfd_create("test", UINT64_MAX), -EFBIG);
	assert_int_equal(ft__memfd_create("test", (uint64_t)INT64_MAX + 1), -EFBIG);
}

static int under_fsize(void *arg)
{
	struct rlimit limit = { .rlim_cur = MIB, .rlim_max = MIB };

	(void)arg;
	REQUIRE(setrlimit(RLIMIT_FSIZE, &limit) == 0);
	REQUIRE(ft__memfd_create("test", MIB + 1) == -EFBIG);
	REQUIRE(ft__memfd_create("test", MIB) >= 0);
	return 0;
}

static void the_size_limit_does_not_kill(void **state)
{
	(void)state;
	assert_int_equal(child_run(under_fsize, NULL), 0);
}

static int under_nofile(void *arg)
{
	struct rlimit limit = { 0 };

	(void)arg;
	/* The probe is asked first, and would take the refusal for an answer. */
	int fd = ft__memfd_create("test", MIB);

	REQUIRE(fd >= 0);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	REQUIRE(ft__memfd_create("test", MIB) == -EMFILE);
	return 0;
}

static void no_descriptors(void **state)
{
	(void)state;
	assert_int_equal(child_run(under_nofile, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(size_is_fixed),
		cmocka_unit_test(absurd_sizes),
		cmocka_unit_test(the_size_limit_does_not_kill),
		cmocka_unit_test(no_descriptors),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
