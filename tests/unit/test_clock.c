/* SPDX-License-Identifier: MIT */
/* Deadlines: saturation, rounding, conversions. */
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "os/clock.h"

#define MS INT64_C(1000000)

static void now_moves_forward(void **state)
{
	ft_deadline last = ft_now();

	(void)state;
	assert_true(last > 0);
	for (int i = 0; i < 1000; i++) {
		ft_deadline next = ft_now();

		assert_true(next >= last);
		last = next;
	}
}

static void after_saturates(void **state)
{
	ft_deadline before = ft_now();

	(void)state;
	assert_int_equal(ft_after(0), FT_NOW);
	assert_int_equal(ft_after(-1), FT_NOW);
	assert_int_equal(ft_after(INT64_MIN), FT_NOW);
	assert_true(ft_after(INT64_MAX) == FT_FOREVER);
	assert_true(ft_after(INT64_MAX - 1) == FT_FOREVER);

	ft_deadline soon = ft_after(5 * MS);

	assert_true(soon >= before + 5 * MS && soon <= ft_now() + 5 * MS);
}

static void timespecs(void **state)
{
	(void)state;
	assert_int_equal(ft__timespec(0).tv_sec, 0);
	assert_int_equal(ft__timespec(-5).tv_nsec, 0);
	assert_int_equal(ft__timespec(INT64_MIN).tv_sec, 0);
	assert_int_equal(ft__timespec(INT64_C(3000000007)).tv_sec, 3);
	assert_int_equal(ft__timespec(INT64_C(3000000007)).tv_nsec, 7);
}

static void passing(void **state)
{
	(void)state;
	assert_true(ft__passed(FT_NOW));
	assert_true(ft__passed(-1));
	assert_true(ft__passed(ft_now()));
	assert_true(ft__passed(1));
	assert_false(ft__passed(FT_FOREVER));
	assert_false(ft__passed(ft_after(60000 * MS)));
}

static void milliseconds_are_rounded_up(void **state)
{
	(void)state;
	assert_int_equal(ft__millis_until(FT_FOREVER), -1);
	assert_int_equal(ft__millis_until(FT_NOW), 0);
	assert_int_equal(ft__millis_until(INT64_MIN), 0);
	assert_int_equal(ft__millis_until(ft_now()), 0);
	assert_int_equal(ft__millis_until(FT_FOREVER - 1), INT_MAX);

	/* Whatever time passes in between, it is never less than what is left. */
	ft_deadline soon = ft_after(50000 * MS + 1);
	int ms = ft__millis_until(soon);

	assert_true(ms <= 50001);
	assert_true(ms * MS >= soon - ft_now());
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(now_moves_forward), cmocka_unit_test(after_saturates),
		cmocka_unit_test(timespecs),	     cmocka_unit_test(passing),
		cmocka_unit_test(milliseconds_are_rounded_up),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
