/* SPDX-License-Identifier: MIT */
/* The probe's answers, its overrides, and what limits do to it. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/compiler.h"
#include "os/probe.h"

static void texts(void **state)
{
	(void)state;
	for (int f = 0; f < FT__FEATURES; f++) {
		const struct ft__feature_text *text = ft__feature_text(f);

		assert_non_null(text);
		assert_true(text->name[0] && text->since[0] && text->why_on[0] && text->why_off[0]);
		for (int g = 0; g < f; g++)
			assert_string_not_equal(text->name, ft__feature_text(g)->name);
		printf("%-20s %-5s %s\n", text->name, text->since,
		       ft__have(f) ? text->why_on : text->why_off);
	}
	assert_null(ft__feature_text(FT__FEATURES));
	assert_false(ft__have(FT__FEATURES));
	assert_int_equal(ft__feature_overridden(FT__FEATURES), 0);
}

static void answers_stay(void **state)
{
	(void)state;
	for (int f = 0; f < FT__FEATURES; f++)
		assert_int_equal(ft__have(f), ft__have(f));
	if (!ft__have(FT__URING)) {
		assert_false(ft__have(FT__URING_FUTEX));
		assert_false(ft__have(FT__URING_MULTI));
	}
}

/* What the kernel says to a second opinion. */
static void answers_are_true(void **state)
{
	long rc = syscall(SYS_clone3, NULL, 0);

	(void)state;
	assert_int_equal(ft__have(FT__CLONE3), rc < 0 && errno == EINVAL);

	int fd = (int)syscall(SYS_pidfd_open, getpid(), 0);

	assert_int_equal(ft__have(FT__PIDFD), fd >= 0);
	if (fd >= 0)
		close(fd);
#ifdef FT__TSAN
	assert_false(ft__have(FT__CLONE));
#else
	assert_true(ft__have(FT__CLONE));
#endif
}

/* Prints nothing: the exit status has one bit for each of the first features. */
static int mode_bits(void)
{
	int bits = 0;

	for (int f = 0; f < 8; f++)
		bits |= ft__have(f) << f;
	return bits;
}

static int mode_no_uring(void)
{
	REQUIRE(!ft__have(FT__URING_FUTEX) && !ft__have(FT__URING_MULTI) && !ft__have(FT__URING));
	REQUIRE(ft__feature_overridden(FT__URING) == 1);
	REQUIRE(ft__feature_overridden(FT__URING_FUTEX) == 0);
	return 0;
}

static int mode_no_futex(void)
{
	REQUIRE(!ft__have(FT__URING_FUTEX));
	return ft__have(FT__URING);
}

static int mode_clone_fork(void)
{
	REQUIRE(!ft__have(FT__CLONE));
	REQUIRE(ft__feature_overridden(FT__CLONE) == 1);
	REQUIRE(ft__feature_overridden(FT__CLONE3) == 0);
	return 0;
}

static void overrides(void **state)
{
	int all = self_run("bits", NULL, NULL);

	(void)state;
	assert_int_equal(all, mode_bits());
	assert_int_equal(self_run("bits", "FT_PROBE", ""), all);
	assert_int_equal(self_run("bits", "FT_PROBE", ",,-,clone3,-clone33,-clone,x,-nonsense"),
			 all & ~(1 << FT__CLONE));
	for (int f = 0; f < 5; f++) {
		char text[64];

		snprintf(text, sizeof(text), "-%s", ft__feature_text(f)->name);
		assert_int_equal(self_run("bits", "FT_PROBE", text), all & ~(1 << f));
		snprintf(text, sizeof(text), "-x,-%s,-y", ft__feature_text(f)->name);
		assert_int_equal(self_run("bits", "FT_PROBE", text), all & ~(1 << f));
	}
	assert_int_equal(self_run("no-uring", "FT_PROBE", "-io_uring"), 0);
	assert_int_equal(self_run("no-futex", "FT_PROBE", "-io_uring-futex"), ft__have(FT__URING));
	assert_int_equal(self_run("clone-fork", "FT_CLONE", "fork"), 0);
	assert_int_equal(self_run("bits", "FT_CLONE", "clone"), all);
}

/* A process without a free descriptor learns nothing false for later. */
static int mode_limits(void)
{
	struct rlimit limit, none;

	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	none = limit;
	none.rlim_cur = 0;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &none) == 0);
	mode_bits();
	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	return mode_bits();
}

static void limits_are_no_refusals(void **state)
{
	(void)state;
	assert_int_equal(self_run("limits", NULL, NULL), mode_bits());
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = {
		{ "bits", mode_bits },		 { "no-uring", mode_no_uring },
		{ "no-futex", mode_no_futex },	 { "clone-fork", mode_clone_fork },
		{ "limits", mode_limits },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(texts),
		cmocka_unit_test(answers_stay),
		cmocka_unit_test(answers_are_true),
		cmocka_unit_test(overrides),
		cmocka_unit_test(limits_are_no_refusals),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
