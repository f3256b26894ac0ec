/* SPDX-License-Identifier: MIT */
/* What a copy of this process has written to, and pages it gets at once. */
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "child.h"
#include "os/pages.h"
#include "os/probe.h"

#define PAGES 16

static char *memory; /* PAGES of them, all written to */
static size_t size;  /* of one */

static int set_up(void **state)
{
	(void)state;
	size = (size_t)sysconf(_SC_PAGESIZE);
	memory = mmap(NULL, PAGES * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1,
		      0);
	if (memory == MAP_FAILED)
		return -1;
	for (int i = 0; i < PAGES; i++)
		memory[i * size] = 'a';
	return 0;
}

static int tear_down(void **state)
{
	(void)state;
	return munmap(memory, PAGES * size);
}

/* Which pages of an area are in the list, a bit for each. */
static unsigned among(const struct ft__pages *pages, const char *area, uint32_t first,
		      uint32_t end)
{
	unsigned bits = 0;

	for (uint32_t i = first; i < end; i++)
		if (pages->at[i] >= area && pages->at[i] < area + PAGES * size)
			bits |= 1u << ((size_t)(pages->at[i] - area) / size);
	return bits;
}

static unsigned own(void)
{
	static struct ft__pages pages;

	REQUIRE(ft__pages_own(&pages) == 0);
	REQUIRE(pages.anonymous <= pages.n && pages.n <= FT__PAGES_MOST);
	REQUIRE(!among(&pages, memory, pages.anonymous, pages.n));
	return among(&pages, memory, 0, pages.anonymous);
}

static int write_some(void *arg)
{
	(void)arg;
	REQUIRE(own() == 0);
	memory[3 * size] = memory[4 * size] = memory[9 * size] = 'b';
	REQUIRE(own() == (1u << 3 | 1u << 4 | 1u << 9));
	return 0;
}

static void what_a_copy_wrote(void **state)
{
	(void)state;
	assert_int_equal(child_run(write_some, NULL), 0);
}

/* Initialized data: a private mapping of the program's file. */
static char *table(void)
{
	static _Alignas(65536) char space[65536 * 2] = { 1 };

	return space;
}

static int write_table(void *arg)
{
	static struct ft__pages pages;

	(void)arg;
	*(volatile char *)(table() + 2 * size) = 2;
	REQUIRE(ft__pages_own(&pages) == 0);
	REQUIRE(among(&pages, table(), 0, pages.anonymous) == 0);
	REQUIRE(among(&pages, table(), pages.anonymous, pages.n) == 1u << 2);
	return 0;
}

static void files_come_last(void **state)
{
	(void)state;
	assert_int_equal(child_run(write_table, NULL), 0);
}

static int look_at_pinned(void *arg)
{
	const unsigned *expected = arg;

	REQUIRE(own() == *expected);
	for (int i = 0; i < PAGES; i++)
		REQUIRE(memory[i * size] == 'a');
	memory[size] = 'c';
	return 0;
}

static void pinned_pages_come_copied(void **state)
{
	struct ft__pages pages = { .n = 3, .anonymous = 3 };
	unsigned expected = 1u << 1 | 1u << 2 | 1u << 7, none = 0;
	int pin;

	(void)state;
	pages.at[0] = memory + size;
	pages.at[1] = memory + 2 * size;
	pages.at[2] = memory + 7 * size;
	assert_int_equal(child_run(look_at_pinned, &none), 0);
	pin = ft__pages_pin(&pages);
	if (!ft__have(FT__URING)) {
		assert_int_equal(pin, -ENOSYS);
		return;
	}
	assert_true(pin >= 0);
	assert_int_equal(child_run(look_at_pinned, &expected), 0);
	assert_int_equal(memory[size], 'a');
	close(pin);
}

static void only_what_is_there(void **state)
{
	struct ft__pages pages = { .n = 1, .anonymous = 1 };

	(void)state;
	pages.at[0] = memory + 5 * size;
	assert_int_equal(munmap(memory + 5 * size, size), 0);
	assert_int_equal(ft__pages_pin(&pages), ft__have(FT__URING) ? -ENOENT : -ENOSYS);
	pages.n = 0;
	assert_int_equal(ft__pages_pin(&pages), ft__have(FT__URING) ? -ENOENT : -ENOSYS);
}

static int without_rings(void *arg)
{
	struct ft__pages pages = { .n = 1, .anonymous = 1, .at = { memory } };

	(void)arg;
	setenv("FT_PROBE", "-io_uring", 1);
	return ft__pages_pin(&pages) == -ENOSYS ? 0 : 1;
}

static void where_rings_are_refused(void **state)
{
	(void)state;
	assert_int_equal(child_run(without_rings, NULL), 0);
}

int main(void)
{
	/* The probe's answers are kept: who wants others asks first. */
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(where_rings_are_refused, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_a_copy_wrote, set_up, tear_down),
		cmocka_unit_test_setup_teardown(files_come_last, set_up, tear_down),
		cmocka_unit_test_setup_teardown(pinned_pages_come_copied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(only_what_is_there, set_up, tear_down),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
