/* SPDX-License-Identifier: MIT */
/* The table and the page that people paste into bug reports. */
#include "worker_tools.h"

#include "os/probe.h"

static void features_are_a_table(void **state)
{
	struct ft_feature feature, clone3 = { 0 };
	unsigned n = 0;

	(void)state;
	while (ft_info_feature(n, &feature) == 0) {
		assert_non_null(feature.name);
		assert_true(feature.on == 0 || feature.on == 1);
		assert_true(strlen(feature.since) >= 3);
		assert_true(strlen(feature.why) > 0);
		assert_null(strchr(feature.why, '\n'));
		if (!strcmp(feature.name, "clone3"))
			clone3 = feature;
		n++;
	}
	assert_int_equal(n, FT__FEATURES);
	assert_int_equal(ft_info_feature(n, &feature), -ENOENT);
	assert_int_equal(ft_info_feature(0, NULL), -EINVAL);
	assert_non_null(clone3.name);
	assert_int_equal(clone3.on, ft__have(FT__CLONE3));
	assert_string_equal(clone3.since, "5.3");
}

static void the_page_tells_it_all(void **state)
{
	int size = ft_info_text(NULL, 0);
	struct ft_feature feature;
	char *text;

	(void)state;
	assert_true(size > 200);
	text = malloc((size_t)size + 1);
	assert_non_null(text);
	assert_int_equal(ft_info_text(text, (size_t)size + 1), size);
	assert_int_equal(strlen(text), size);
	assert_non_null(strstr(text, ft_version()));
	assert_non_null(strstr(text, "cgroup quota"));
	for (unsigned i = 0; ft_info_feature(i, &feature) == 0; i++)
		assert_non_null(strstr(text, feature.why));
	free(text);
}

static void short_buffers_are_terminated(void **state)
{
	char text[32];
	int size = ft_info_text(NULL, 0);

	(void)state;
	memset(text, 'x', sizeof(text));
	assert_int_equal(ft_info_text(text, 10), size);
	assert_int_equal(strlen(text), 9);
	assert_int_equal(text[10], 'x');
	assert_int_equal(ft_info_text(NULL, 10), -EINVAL);
}

/* In a fresh process, because a process asks but once. */
static void what_is_switched_off_says_so(void **state)
{
	(void)state;
	pass_self("off", "FT_PROBE", "-clone3,-io_uring");
}

static int check_off(void)
{
	struct ft_feature feature;
	int off = 0;

	for (unsigned i = 0; ft_info_feature(i, &feature) == 0; i++)
		if (!feature.on && strstr(feature.why, "FT_PROBE") &&
		    (!strcmp(feature.name, "clone3") || !strcmp(feature.name, "io_uring")))
			off++;
	return off != 2;
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(features_are_a_table),
		cmocka_unit_test(the_page_tells_it_all),
		cmocka_unit_test(short_buffers_are_terminated),
		cmocka_unit_test(what_is_switched_off_says_so),
	};

	limit_time();
	if (argc > 1 && !strcmp(argv[1], "off"))
		return check_off();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
