/* SPDX-License-Identifier: MIT */
/* The kernel's masks and ours. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/affinity.h"

static int bits(const struct ft_cpus *cpus)
{
	int n = 0;

	for (int i = 0; i < FT_CPUS_MAX / 64; i++)
		n += __builtin_popcountll(cpus->bits[i]);
	return n;
}

static bool has(const struct ft_cpus *cpus, int cpu)
{
	return cpus->bits[cpu / 64] >> cpu % 64 & 1;
}

static void the_mask_is_libcs(void **state)
{
	struct ft_cpus cpus;
	cpu_set_t set;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(ft__affinity_get(0, &cpus), 0);
	assert_int_equal(bits(&cpus), CPU_COUNT(&set));
	for (int cpu = 0; cpu < CPU_SETSIZE; cpu++)
		assert_int_equal(has(&cpus, cpu), CPU_ISSET(cpu, &set) ? 1 : 0);
	assert_int_equal(ft__affinity_get(getpid(), &cpus), 0);
	assert_int_equal(bits(&cpus), CPU_COUNT(&set));
}

static int pin(void *arg)
{
	struct ft_cpus cpus, one = { 0 }, seen;
	int cpu = 0;

	(void)arg;
	REQUIRE(ft__affinity_get(0, &cpus) == 0);
	while (!has(&cpus, cpu))
		cpu++;
	one.bits[cpu / 64] = UINT64_C(1) << cpu % 64;
	REQUIRE(ft__affinity_set(0, &one) == 0);
	REQUIRE(ft__affinity_get(0, &seen) == 0);
	REQUIRE(memcmp(&one, &seen, sizeof(one)) == 0);
	REQUIRE(sched_getcpu() == cpu);
	REQUIRE(ft__affinity_set(0, &cpus) == 0);
	return 0;
}

static void setting(void **state)
{
	(void)state;
	assert_int_equal(child_run(pin, NULL), 0);
}

static void refusals(void **state)
{
	struct ft_cpus none = { 0 };

	(void)state;
	assert_int_equal(ft__affinity_set(0, &none), -EINVAL);
	assert_int_equal(ft__affinity_get(INT32_MAX, &none), -ESRCH);
	assert_int_equal(ft__affinity_set(INT32_MAX, &none), -ESRCH);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_mask_is_libcs),
		cmocka_unit_test(setting),
		cmocka_unit_test(refusals),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
