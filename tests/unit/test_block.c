/* SPDX-License-Identifier: MIT */
/* Blocks: the words at each step, refusals, memory, threads. */
#include <errno.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "block_tools.h"
#include "os/clock.h"

#define MIB (UINT64_C(1) << 20)

static void sizes_and_places(void **state)
{
	static const size_t sizes[] = { 1,    31,    32,    33,	   96,	   97,	  4064,	   4065,
					9999, 32735, 32736, 32737, 65504, 65505, 1000000, 5000001 };

	(void)state;
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		char *p = get(sizes[i]);

		assert_int_equal((uintptr_t)p % 32, 0);
		assert_int_equal(ft_block_size(p), sizes[i]);
		assert_ptr_equal(ft__block_of(p), header(p));
		assert_ptr_equal(ft__block_at_offset(ft__offset(header(p))), header(p));
		assert_int_equal(header(p)->word, owned(header(p)->word));
		memset(p, 0xff, sizes[i]);
		clean();
		assert_int_equal(ft_block_free(p), 0);
		assert_int_equal(FT__WORD_STATE(header(p)->word), FT__BLOCK_FREE);
	}
	clean();
	assert_int_equal(ft__block_count(ft__process()), 0);
}

static void bad_arguments(void **state)
{
	void *p = NULL, *big;
	int local;

	(void)state;
	assert_int_equal(ft_block_alloc(0, &p), -EINVAL);
	assert_int_equal(ft_block_alloc(1, NULL), -EINVAL);
	assert_int_equal(ft_block_alloc(SIZE_MAX, &p), -EINVAL);
	assert_int_equal(ft_block_alloc(SIZE_MAX - 31, &p), -EINVAL);
	assert_int_equal(ft_block_alloc(FT__ARENA_MAX, &p), -ENOMEM);
	assert_int_equal(ft_block_alloc(ft__arena.size, &p), -ENOMEM);
	assert_null(p);
	assert_int_equal(ft_block_free(NULL), 0);
	assert_int_equal(ft_block_free(&local), -EINVAL);
	assert_int_equal(ft_block_free(ft__arena.base), -EINVAL);
	assert_int_equal(ft_block_free(ft__arena.data), -EINVAL);
	assert_int_equal(ft_block_free(ft__arena.base + ft__arena.size), -EINVAL);
	assert_int_equal(ft_block_size(NULL), 0);
	assert_int_equal(ft_block_size(&local), 0);
	assert_int_equal(ft_block_handle(&local), 0);
	assert_null(ft__block_of((void *)-1));
	assert_null(ft__block_at_offset(0));
	assert_null(ft__block_at_offset(UINT64_MAX));
	assert_null(ft__block_at_offset(UINT64_MAX - 31));

	p = get(100);
	big = get(200000);
	assert_int_equal(ft_block_free((char *)p + 1), -EINVAL);
	assert_int_equal(ft_block_free((char *)p + 32), -EINVAL);
	assert_int_equal(ft_block_free((char *)big + 64), -EINVAL);
	assert_int_equal(ft_block_free((char *)big + FT__SPAN), -EINVAL);
	assert_int_equal(ft_block_free(p), 0);
	assert_int_equal(ft_block_free(p), -EINVAL);
	assert_int_equal(ft_block_free(big), 0);
	assert_int_equal(ft_block_free(big), -EINVAL);
	assert_int_equal(ft_block_size(p), 0);
	assert_int_equal(ft_block_handle(p), 0);
	assert_int_equal(ft_block_handle(big), 0);
	assert_int_equal(ft__block_assign(NULL, 1), -EINVAL);
	assert_int_equal(ft__block_give(NULL, 1), -EINVAL);
	assert_int_equal(ft__block_given(NULL), -EINVAL);
	assert_int_equal(ft__block_take(NULL), -EINVAL);
	assert_int_equal(ft__block_taken(NULL), -EINVAL);
	assert_int_equal(ft__block_sweep(0, NULL), 0);
}

static void handle_of_size(size_t size)
{
	void *p = get(size), *q = NULL;
	uint64_t handle = ft_block_handle(p), generation = FT__WORD_GENERATION(header(p)->word);

	assert_int_not_equal(handle, 0);
	assert_int_equal(handle, ft__offset(header(p)) / 64 << 30 | generation);
	assert_int_equal(ft_block_at(handle, &q), 0);
	assert_ptr_equal(p, q);
	assert_int_equal(ft_block_at(handle, NULL), -EINVAL);
	assert_int_equal(ft_block_at(handle + 1, &q), -ESTALE);
	assert_int_equal(ft_block_at(handle + (UINT64_C(1) << 60), &q), -EINVAL);
	assert_int_equal(ft_block_free(p), 0);
	assert_int_equal(ft_block_at(handle, &q), -ESTALE);

	/* The same memory again: another name. */
	void *again = get(size);

	assert_ptr_equal(again, p);
	assert_int_equal(ft_block_handle(again), handle + 1);
	assert_int_equal(ft_block_at(handle, &q), -ESTALE);
	assert_int_equal(ft_block_at(handle + 1, &q), 0);
	assert_int_equal(ft_block_free(again), 0);
}

static void handles(void **state)
{
	void *q = NULL;

	(void)state;
	handle_of_size(10);
	handle_of_size(5000);
	handle_of_size(50000);
	handle_of_size(1000000);
	assert_int_equal(ft_block_at(0, &q), -EINVAL);
	assert_int_equal(ft_block_at(1, &q), -EINVAL);
	assert_int_equal(ft_block_at(UINT64_MAX, &q), -EINVAL);
	assert_null(q);
}

/* The generation is the highest field: it starts over and spoils nothing. */
static void generations_come_round(void **state)
{
	void *p = get(40);
	struct ft__block *block = header(p);

	(void)state;
	block->word = ft__word(FT__BLOCK_OWNED, ft__process(), 0x3fffffff);
	assert_int_equal(ft_block_free(p), 0);
	assert_int_equal(block->word, 0);
	assert_ptr_equal(get(40), p);
	assert_int_equal(block->word, ft__word(FT__BLOCK_OWNED, ft__process(), 0));
	assert_int_equal(ft_block_free(p), 0);
}

/* A run's old handles stay refused when its first span becomes small blocks. */
static int mode_recut(void)
{
	void *run, *p, *q;
	uint64_t handle;

	REQUIRE(ft_block_alloc(100000, &run) == 0);
	memset(run, 0xff, 100000);
	handle = ft_block_handle(run);
	REQUIRE(ft_block_free(run) == 0);
	REQUIRE(ft_block_at(handle, &q) == -ESTALE);
	REQUIRE(ft_block_alloc(10, &p) == 0);
	REQUIRE(span_of(p) == span_of(run));
	REQUIRE(ft_arena_check(NULL) == 0);
	for (int i = 0; i < 1023; i++) {
		REQUIRE(ft_block_at(handle, &q) == -ESTALE);
		REQUIRE(ft_block_alloc(10, &p) == 0);
		REQUIRE(span_of(p) == span_of(run));
	}
	REQUIRE(ft_block_at(handle, &q) == -ESTALE);
	REQUIRE(ft_block_at(handle + 1, &q) == 0);
	return 0;
}

static void recutting(void **state)
{
	(void)state;
	assert_int_equal(self_run("recut", NULL, NULL), 0);
}

static void runs(void **state)
{
	uint32_t me = ft__process();
	void *p = get(3 * FT__SPAN - 32);
	uint64_t at = span_of(p), *span = &ft__arena.span[at];
	uint32_t generation = FT__WORD_GENERATION(span[0]);

	(void)state;
	assert_int_equal(span[0], ft__word(FT__SPAN_RUN, 3, generation));
	for (int i = 1; i < 3; i++) {
		assert_int_equal(FT__WORD_STATE(span[i]), FT__SPAN_REST);
		assert_int_equal(FT__WORD_OWNER(span[i]), at);
	}
	assert_int_equal(header(p)->word, ft__word(FT__BLOCK_OWNED, me, generation));
	assert_int_equal(ft_block_free(p), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(FT__WORD_STATE(span[i]), FT__SPAN_FREE);
		assert_int_equal(FT__WORD_OWNER(span[i]), 0);
		assert_int_equal(span[i] & FT__SPAN_WARM, FT__SPAN_WARM);
		assert_true(FT__WORD_GENERATION(span[i]) > 0);
	}
	assert_int_equal(FT__WORD_GENERATION(span[0]), generation + 1);
	/* First fit: the same place again, though a smaller one would do. */
	assert_ptr_equal(get(2 * FT__SPAN), p);
	assert_int_equal(ft_block_free(p), 0);
	clean();
}

static void giving_and_taking(void **state)
{
	void *p = get(40);
	struct ft__block *block = header(p);
	uint32_t me = ft__process(), generation = FT__WORD_GENERATION(block->word);
	uint64_t home = ft__offset(p);

	(void)state;
	assert_int_equal(ft__block_given(block), -EPERM);
	assert_int_equal(ft__block_take(block), -EPERM);
	assert_int_equal(ft__block_taken(block), -EPERM);

	assert_int_equal(ft__block_give(block, home), 0);
	assert_int_equal(block->word, ft__word(FT__BLOCK_GIVING, me, generation));
	assert_int_equal(block->home, home);
	assert_int_equal(ft_block_free(p), -EPERM);
	assert_int_equal(ft__block_give(block, home), -EPERM);
	assert_int_equal(ft__block_count(me), 1);
	clean();

	assert_int_equal(ft__block_given(block), 0);
	assert_int_equal(block->word, ft__word(FT__BLOCK_HELD, 0, generation));
	assert_int_equal(ft_block_free(p), -EPERM);
	assert_int_equal(ft__block_assign(block, me), -EPERM);
	assert_int_equal(ft__block_count(me), 0);
	assert_int_equal(ft__block_count(0), 1);
	clean();

	assert_int_equal(ft__block_take(block), 0);
	assert_int_equal(block->word, ft__word(FT__BLOCK_TAKING, me, generation));
	assert_int_equal(ft__block_take(block), -EPERM);
	assert_int_equal(ft__block_taken(block), 0);
	assert_int_equal(block->word, ft__word(FT__BLOCK_OWNED, me, generation));

	/* Linked, but its giver came no further: it may be taken. */
	assert_int_equal(ft__block_give(block, home), 0);
	assert_int_equal(ft__block_take(block), 0);
	assert_int_equal(block->word, ft__word(FT__BLOCK_TAKING, me, generation));
	assert_int_equal(ft__block_given(block), -EPERM);
	assert_int_equal(ft__block_taken(block), 0);
	assert_int_equal(ft_block_free(p), 0);
}

static void assigning(void **state)
{
	void *p = get(40), *q;
	uint32_t you = ft__slot_reserve("you");
	uint64_t handle = ft_block_handle(p);

	(void)state;
	assert_int_equal(ft__block_assign(header(p), 0), -EINVAL);
	assert_int_equal(ft__block_assign(header(p), you), 0);
	assert_int_equal(header(p)->word,
			 ft__word(FT__BLOCK_OWNED, you, FT__WORD_GENERATION(header(p)->word)));
	assert_int_equal(ft_block_at(handle, &q), 0); /* the name stays */
	assert_int_equal(ft_block_free(p), -EPERM);
	assert_int_equal(ft__block_assign(header(p), ft__process()), -EPERM);
	assert_int_equal(ft__block_sweep(you, NULL), 1);
	ft__slot_free(you);
	assert_int_equal(ft_block_at(handle, &q), -ESTALE);
}

/* ---- memory ---------------------------------------------------------------- */

static uint64_t pages_in_use(void)
{
	struct stat st;

	REQUIRE(fstat(ft_arena_fd(), &st) == 0);
	return (uint64_t)st.st_blocks * 512;
}

/* Freed runs keep 256 MiB of pages, not more. */
static int mode_warm(void)
{
	enum { BLOCKS = 10 };
	void *blocks[BLOCKS], *q;
	uint64_t handles[BLOCKS];

	for (int i = 0; i < BLOCKS; i++) {
		REQUIRE(ft_block_alloc(40 * MIB, &blocks[i]) == 0);
		handles[i] = ft_block_handle(blocks[i]);
		memset(blocks[i], 1, 40 * MIB);
	}
	REQUIRE(pages_in_use() >= 400 * MIB);
	for (int i = 0; i < BLOCKS; i++)
		REQUIRE(ft_block_free(blocks[i]) == 0);
	REQUIRE(pages_in_use() >= 200 * MIB && pages_in_use() < 260 * MIB);
	REQUIRE(ft__arena.header->warm <= FT__WARM_MAX && ft__arena.header->warm > 3000);
	REQUIRE(ft_arena_check(NULL) == 0);
	for (int round = 0; round < 2; round++) {
		for (int i = 0; i < BLOCKS; i++) {
			REQUIRE(ft_block_alloc(40 * MIB, &blocks[i]) == 0);
			/* Names do not come back with the pages. */
			for (int k = 0; k < BLOCKS; k++)
				REQUIRE(ft_block_at(handles[k], &q) == -ESTALE);
		}
		REQUIRE((int64_t)ft__arena.header->warm == 0);
		for (int i = 0; i < BLOCKS; i++)
			REQUIRE(ft_block_free(blocks[i]) == 0);
	}
	REQUIRE(pages_in_use() < 260 * MIB);
	return 0;
}

static void warm_memory(void **state)
{
	(void)state;
	assert_int_equal(self_run("warm", NULL, NULL), 0);
}

/* ---- threads --------------------------------------------------------------- */

static void *thread_hammer(void *arg)
{
	void *kept[100] = { 0 };
	uint32_t seed = *(uint32_t *)arg;

	for (int n = 0; n < 30000; n++) {
		uint32_t i = next_random(&seed) % 100;

		if (ft_block_free(kept[i]) != 0)
			return NULL;
		if (ft_block_alloc(random_size(&seed), &kept[i]) != 0)
			return NULL;
	}
	for (int i = 0; i < 100; i++)
		if (ft_block_free(kept[i]) != 0)
			return NULL;
	return arg;
}

static void threads_share(void **state)
{
	uint32_t seeds[4] = { 1, 2, 3, 4 };
	pthread_t threads[4];
	void *rc;

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, thread_hammer, &seeds[i]), 0);
	for (int i = 0; i < 4; i++) {
		pthread_join(threads[i], &rc);
		assert_non_null(rc);
	}
	clean();
	assert_int_equal(ft__block_count(ft__process()), 0);
}

/* Threads that come and go leave what they cached to others: the tenth that does
 * the same finds all it needs.  (Nothing depends on chance: one at a time.) */
static void threads_leave_their_caches(void **state)
{
	uint32_t seed = 5;
	uint64_t settled = 0;

	(void)state;
	for (int round = 0; round < 10; round++) {
		pthread_t thread;
		void *rc;

		assert_int_equal(pthread_create(&thread, NULL, thread_hammer, &seed), 0);
		pthread_join(thread, &rc);
		assert_non_null(rc);
		if (round == 1)
			settled = ft__spans_high();
	}
	printf("%llu spans after 2 threads, %llu after 10\n", (unsigned long long)settled,
	       (unsigned long long)ft__spans_high());
	assert_true(ft__spans_high() <= settled + 4);
}

static void *free_it(void *arg)
{
	return ft_block_free(arg) == 0 ? arg : NULL;
}

/* Of many frees of one block exactly one gets through. */
static void double_frees_race(void **state)
{
	(void)state;
	for (int round = 0; round < 200; round++) {
		void *p = get(round % 2 ? 100 : 100000), *rc;
		pthread_t threads[4];
		int done = 0;

		for (int i = 0; i < 4; i++)
			pthread_create(&threads[i], NULL, free_it, p);
		for (int i = 0; i < 4; i++) {
			pthread_join(threads[i], &rc);
			done += rc != NULL;
		}
		assert_int_equal(done, 1);
	}
	clean();
}

static void figures(void **state)
{
	static const size_t sizes[] = { 32, 500, 4000, 30000, 60000, 1000000 };

	(void)state;
	for (size_t s = 0; s < sizeof(sizes) / sizeof(sizes[0]); s++) {
		ft_deadline start = ft_now(), end = start + INT64_C(50000000);
		uint64_t pairs = 0;

		do {
			for (int i = 0; i < 1000; i++)
				ft_block_free(get(sizes[s]));
			pairs += 1000;
		} while (!ft__passed(end));
		printf("%8zu bytes: %.1f ns for an allocation and its free\n", sizes[s],
		       (double)(ft_now() - start) / (double)pairs);
	}
}

/* By handle: the block that it names, and no later one in the same place. */
static void seizing_and_releasing(void **state)
{
	uint32_t me = ft__process();
	uint64_t handle, again;
	void *p, *q;

	(void)state;
	assert_int_equal(ft_block_alloc(3000, &p), 0);
	handle = ft_block_handle(p);
	assert_int_equal(ft__block_seize(handle, me + 1), -EPERM);
	assert_int_equal(ft__block_seize(handle, me), 0);
	assert_int_equal(ft__block_assign(ft__block_of(p), me + 1), 0);
	assert_int_equal(ft__block_release(handle), -EPERM);
	assert_int_equal(ft__block_seize(handle, me), -EPERM);
	assert_int_equal(ft__block_seize(handle, me + 1), 0);
	assert_int_equal(ft__block_release(handle), 0);
	assert_int_equal(ft__block_release(handle), -ESTALE);
	assert_int_equal(ft__block_seize(handle, me), -ESTALE);
	/* Freed last is found first. */
	assert_int_equal(ft_block_alloc(3000, &q), 0);
	again = ft_block_handle(q);
	assert_ptr_equal(q, p);
	assert_int_not_equal(again, handle);
	assert_int_equal(ft__block_release(handle), -ESTALE);
	assert_int_equal(ft__block_release(again), 0);
	assert_int_equal(ft__block_release(0), -EINVAL);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = { { "recut", mode_recut }, { "warm", mode_warm } };
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(sizes_and_places),
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(handles),
		cmocka_unit_test(generations_come_round),
		cmocka_unit_test(recutting),
		cmocka_unit_test(runs),
		cmocka_unit_test(giving_and_taking),
		cmocka_unit_test(assigning),
		cmocka_unit_test(seizing_and_releasing),
		cmocka_unit_test(threads_share),
		cmocka_unit_test(threads_leave_their_caches),
		cmocka_unit_test(double_frees_race),
		cmocka_unit_test(warm_memory),
		cmocka_unit_test(figures),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
