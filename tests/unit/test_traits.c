/* SPDX-License-Identifier: MIT */
/* What a thread has from its creator. */
#include "worker_tools.h"

#include <pthread.h>
#include <sched.h>

#include "os/traits.h"

#ifdef __SANITIZE_ADDRESS__
/* It gives each thread a signal stack of its own, with which none is used again. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "use_sigaltstack=0";
}
#endif

static void *look(void *arg)
{
	return (void *)(intptr_t)ft__traits_get(arg);
}

static void *narrow(void *arg)
{
	cpu_set_t one;

	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	sched_setaffinity(0, sizeof(one), &one);
	return look(arg);
}

static void in_thread(void *(*function)(void *), struct ft__traits *traits)
{
	pthread_t thread;
	void *known;

	assert_int_equal(pthread_create(&thread, NULL, function, traits), 0);
	pthread_join(thread, &known);
	assert_non_null(known);
}

static void a_new_thread_has_the_same(void **state)
{
	struct ft__traits mine, other;

	(void)state;
	assert_true(ft__traits_get(&mine));
	in_thread(look, &other);
	assert_true(ft__traits_equal(&mine, &other));
}

static void what_differs_is_seen(void **state)
{
	struct ft__traits mine, other;

	(void)state;
	assert_true(ft__traits_get(&mine));
	in_thread(narrow, &other);
	assert_int_equal(ft__traits_equal(&mine, &other), ft_cpus_count(&mine.cpus) == 1);
}

static void a_signal_stack_is_its_own(void **state)
{
	static char memory[65536];
	stack_t stack = { .ss_sp = memory, .ss_size = sizeof(memory) }, before;
	struct ft__traits traits;

	(void)state;
	assert_int_equal(sigaltstack(&stack, &before), 0);
	assert_false(ft__traits_get(&traits));
	assert_int_equal(sigaltstack(&before, NULL), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_new_thread_has_the_same),
		cmocka_unit_test(what_differs_is_seen),
		cmocka_unit_test(a_signal_stack_is_its_own),
	};

	limit_time();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
