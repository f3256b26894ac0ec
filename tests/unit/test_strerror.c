/* SPDX-License-Identifier: MIT */
/* Sentences for errors, and the version. */
#include <errno.h>
#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include <cmocka.h>

#include <freethreading.h>

static void signs_do_not_matter(void **state)
{
	(void)state;
	for (int e = 0; e < 200; e++)
		assert_ptr_equal(ft_strerror(e), ft_strerror(-e));
	assert_string_equal(ft_strerror(0), "success");
	assert_non_null(strstr(ft_strerror(-EOWNERDEAD), "died"));
}

/* What the public headers promise has words of its own, each another one's. */
static void every_answer_has_words(void **state)
{
	static const int errors[] = {
		EPERM,	ENOENT,	 ESRCH,	  EINTR,     E2BIG,   EBADF,	 ECHILD,     EAGAIN,
		ENOMEM, EBUSY,	 EEXIST,  EINVAL,    EMFILE,  EFBIG,	 EPIPE,	     ERANGE,
		ENOSYS, EDEADLK, EPROTO,  EUCLEAN,   ENOTSUP, ESTALE,	 ETIMEDOUT,  ECANCELED,
		EOWNERDEAD, EALREADY, EMSGSIZE, EOVERFLOW,
	};
	const size_t count = sizeof(errors) / sizeof(errors[0]);

	(void)state;
	for (size_t i = 0; i < count; i++) {
		assert_string_not_equal(ft_strerror(errors[i]), ft_strerror(INT_MAX));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(ft_strerror(errors[i]), ft_strerror(errors[k]));
	}
}

static void any_number_will_do(void **state)
{
	static const int odd[] = { INT_MIN, INT_MAX, -INT_MAX, 4096, 99999 };

	(void)state;
	for (size_t i = 0; i < sizeof(odd) / sizeof(odd[0]); i++)
		assert_string_equal(ft_strerror(odd[i]), ft_strerror(INT_MAX));
	assert_true(strlen(ft_strerror(INT_MAX)) > 10);
}

static void version(void **state)
{
	char text[32];

	(void)state;
	snprintf(text, sizeof(text), "%d.%d.%d", FT_VERSION_MAJOR, FT_VERSION_MINOR,
		 FT_VERSION_PATCH);
	assert_string_equal(ft_version(), text);
	assert_string_equal(FT_VERSION_STRING, text);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(signs_do_not_matter),
		cmocka_unit_test(every_answer_has_words),
		cmocka_unit_test(any_number_will_do),
		cmocka_unit_test(version),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
