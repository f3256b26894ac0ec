/* SPDX-License-Identifier: MIT */
/* What the dead leave: every state, by hand; and processes killed at work. */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cmocka.h>

#include "block_tools.h"
#include "os/clock.h"

static struct ft__block *in_home;

static bool linked(uint64_t home, struct ft__block *block)
{
	return home == 4096 && block == in_home;
}

/* Each state, as a process that was killed in it leaves it. */
static void states_of_the_dead(void **state)
{
	uint32_t dead = ft__slot_reserve("dead"), other = ft__slot_reserve("other");
	uint32_t states[] = { FT__BLOCK_OWNED, FT__BLOCK_GIVING, FT__BLOCK_GIVING,
			      FT__BLOCK_TAKING, FT__BLOCK_TAKING };
	uint64_t sizes[] = { 10, 3000, 100000 };

	(void)state;
	for (int s = 0; s < 3; s++) {
		for (int i = 0; i < 5; i++) {
			void *p = get(sizes[s]), *bystander = get(sizes[s]);
			struct ft__block *block = header(p);
			uint32_t generation = FT__WORD_GENERATION(block->word);
			uint64_t handle = ft_block_handle(p);
			bool held = i == 2 || i == 4;

			in_home = held ? block : NULL;
			block->home = 4096;
			block->word = ft__word(states[i], dead, generation);
			header(bystander)->word = ft__word(
				states[i], other, FT__WORD_GENERATION(header(bystander)->word));
			header(bystander)->home = 4096;
			assert_int_equal(ft__block_count(dead), 1);
			assert_int_equal(ft__block_sweep(dead, linked), held ? 0 : 1);
			assert_int_equal(ft__block_count(dead), 0);
			assert_int_equal(ft__block_count(other), 1);
			assert_int_equal(ft__block_sweep(dead, linked), 0);
			assert_int_equal(ft__block_sweep(other, linked), 1);
			if (held) {
				assert_int_equal(block->word,
						 ft__word(FT__BLOCK_HELD, 0, generation));
				assert_int_equal(ft__block_take(block), 0);
				assert_int_equal(ft__block_taken(block), 0);
				assert_int_equal(ft_block_free(p), 0);
			}
			assert_int_equal(ft_block_at(handle, &p), -ESTALE);
			clean();
		}
	}
	ft__slot_free(dead);
	ft__slot_free(other);
}

/* A run of three spans, in every state that its maker can die in. */
static void runs_of_the_dead(void **state)
{
	uint32_t dead = ft__slot_reserve("dead");
	enum { CLAIMED, ONE_REST, ALL_RESTS, FREED, TAKEN_APART, RESTS_GONE, CASES };

	(void)state;
	for (int c = 0; c < CASES; c++) {
		void *p = get(3 * FT__SPAN - 32);
		uint64_t at = span_of(p), *span = &ft__arena.span[at];
		uint32_t g = FT__WORD_GENERATION(span[0]), used = 0;
		uint64_t handle = ft_block_handle(p);
		uint64_t claim = ft__word(FT__SPAN_CLAIM, dead, g);

		if (c != FREED)
			span[0] = claim;
		if (c == CLAIMED || c == ONE_REST)
			span[2] = claim;
		if (c == CLAIMED)
			span[1] = claim;
		if (c == RESTS_GONE)
			span[2] = ft__word(FT__SPAN_FREE, 0, g + 1);
		header(p)->word = c == FREED || c == TAKEN_APART
					  ? ft__word(FT__BLOCK_FREE, 0, g + 1)
					  : ft__word(FT__BLOCK_OWNED, dead, g);
		assert_int_equal(ft_arena_check(NULL), -EUCLEAN);
		assert_int_equal(ft__block_sweep(dead, NULL), 0);
		clean();
		for (int i = 0; i < 3; i++)
			used += FT__WORD_STATE(span[i]) != FT__SPAN_FREE;
		assert_int_equal(used, 0);
		assert_int_equal(ft_block_at(handle, &p), -ESTALE);
		/* And the place is found again. */
		p = get(3 * FT__SPAN - 32);
		assert_int_equal(span_of(p), at);
		assert_int_not_equal(ft_block_handle(p), handle);
		assert_int_equal(ft_block_free(p), 0);
	}
	ft__slot_free(dead);
}

/* A living process's claims are not the dead one's. */
static void the_living_keep_theirs(void **state)
{
	uint32_t dead = ft__slot_reserve("dead"), living = ft__slot_reserve("living");
	void *p = get(3 * FT__SPAN - 32);
	uint64_t *span = &ft__arena.span[span_of(p)], head = span[0];

	(void)state;
	span[0] = ft__word(FT__SPAN_CLAIM, living, FT__WORD_GENERATION(head));
	ft__block_sweep(dead, NULL);
	assert_int_equal(FT__WORD_STATE(span[0]), FT__SPAN_CLAIM);
	assert_int_equal(FT__WORD_STATE(span[1]), FT__SPAN_REST);
	assert_int_equal(FT__WORD_STATE(span[2]), FT__SPAN_REST);
	span[0] = head;
	assert_int_equal(ft_block_free(p), 0);
	clean();
	ft__slot_free(dead);
	ft__slot_free(living);
}

struct hammer {
	uint32_t stop, started;
	uint64_t pairs[4];
	uint64_t given[4]; /* a handle that process i may adopt: a mailbox */
	uint32_t owners[4];
};

struct hammerer {
	struct hammer *shared;
	int number;
	bool until_killed;
};

/* Gives a block to another process, through its mailbox; what lay there before
 * is its reader's, so it must not be overwritten. */
static bool post(struct hammerer *me, void *p, uint32_t *seed)
{
	int to = (int)(next_random(seed) % 4);
	uint64_t none = 0, handle = ft_block_handle(p);
	uint32_t owner = ft__load32_seq_cst(&me->shared->owners[to]);

	if (to == me->number || !owner || ft__load64_seq_cst(&me->shared->given[to]))
		return false;
	REQUIRE(ft__block_assign(header(p), owner) == 0);
	/* Lost if the box filled up meanwhile: its new owner sweeps it one day. */
	ft__cas64_seq_cst(&me->shared->given[to], &none, handle);
	return true;
}

static void *take_post(struct hammerer *me)
{
	uint64_t handle = ft__load64_seq_cst(&me->shared->given[me->number]);
	void *p;

	if (!handle)
		return NULL;
	ft__store64_seq_cst(&me->shared->given[me->number], 0);
	/* Refused: it was for the one who had this number before us and died. */
	return ft_block_at(handle, &p) == 0 ? p : NULL;
}

static int hammer(void *arg)
{
	enum { KEPT = 200 };
	struct hammerer *me = arg;
	void *kept[KEPT] = { 0 };
	uint32_t seed = (uint32_t)getpid();
	uint64_t pairs = 0;

	ft__store32_seq_cst(&me->shared->owners[me->number], ft__process());
	ft__add32_seq_cst(&me->shared->started, 1);
	while (me->until_killed || !ft__load32_relaxed(&me->shared->stop)) {
		uint32_t i = next_random(&seed) % KEPT;
		void *posted = take_post(me);
		size_t size;

		if (posted && ft_block_free(posted) != 0)
			REQUIRE(me->until_killed);
		if (kept[i] && (next_random(&seed) % 8 || !post(me, kept[i], &seed))) {
			size = ft_block_size(kept[i]);
			/* Two blocks at one place would show here. */
			REQUIRE(memcmp(kept[i], &size, size < sizeof(size) ? size : sizeof(size)) ==
				0);
			REQUIRE(ft_block_free(kept[i]) == 0);
		}
		size = random_size(&seed);
		REQUIRE(ft_block_alloc(size, &kept[i]) == 0);
		REQUIRE(ft_block_size(kept[i]) == size);
		memcpy(kept[i], &size, size < sizeof(size) ? size : sizeof(size));
		ft__store64_relaxed(&me->shared->pairs[me->number], ++pairs);
	}
	for (int i = 0; i < KEPT; i++)
		REQUIRE(ft_block_free(kept[i]) == 0);
	return 0;
}

static struct hammer *hammer_new(struct hammerer *hammerers)
{
	struct hammer *shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE,
				     MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_true(shared != MAP_FAILED);
	for (int i = 0; i < 4; i++)
		hammerers[i] = (struct hammerer){ .shared = shared, .number = i };
	return shared;
}

static void four_processes(void **state)
{
	struct hammerer hammerers[4];
	struct hammer *shared = hammer_new(hammerers);
	uint32_t owners[4];
	uint64_t pairs = 0, left = 0;
	pid_t pids[4];

	(void)state;
	for (int i = 0; i < 4; i++)
		pids[i] = worker_start(hammer, &hammerers[i], &owners[i]);

	ft_deadline end = ft_after(INT64_C(2000000000));

	while (!ft__passed(end))
		usleep(10000);
	ft__store32_seq_cst(&shared->stop, 1);
	for (int i = 0; i < 4; i++)
		assert_int_equal(child_end(pids[i]), 0);
	clean();
	/* What is left was posted to somebody who had gone. */
	for (int i = 0; i < 4; i++) {
		left += ft__block_count(owners[i]);
		pairs += shared->pairs[i];
	}
	for (int i = 0; i < 4; i++) {
		ft__block_sweep(owners[i], NULL);
		ft__slot_free(owners[i]);
	}
	clean();
	assert_int_equal(ft__block_count(ft__process()), 0);
	printf("4 processes: %.1f M allocations and frees a second, %llu left in the post\n",
	       (double)pairs / 2e6, (unsigned long long)left);

	struct ft_arena_info info;

	assert_int_equal(ft_arena_info(&info), 0);
	assert_int_equal(info.blocks, 0);
	munmap(shared, sizeof(*shared));
}

/* Killed at any moment, again and again: each time everything comes back. */
static void killed_processes(void **state)
{
	enum { ROUNDS = 150, ROUNDS_AT_LEAST = 20 };
	struct hammerer hammerers[4];
	struct hammer *shared = hammer_new(hammerers);
	uint32_t owners[4], seed = 7;
	pid_t pids[4];
	uint64_t freed = 0;
	ft_deadline sweeping = 0, enough = ft_after(INT64_C(8000000000));
	int round = 0;

	(void)state;
	for (int i = 0; i < 4; i++) {
		hammerers[i].until_killed = true;
		pids[i] = worker_start(hammer, &hammerers[i], &owners[i]);
	}
	for (; round < ROUNDS && (round < ROUNDS_AT_LEAST || !ft__passed(enough)); round++) {
		int i = round % 4;
		uint64_t seen = ft__load64_relaxed(&shared->pairs[i]);

		/* It is at work, and somewhere else each time. */
		while (ft__load64_relaxed(&shared->pairs[i]) == seen)
			sched_yield();
		usleep(next_random(&seed) % 3000);
		kill(pids[i], SIGKILL);
		assert_int_equal(child_end(pids[i]), 256 + SIGKILL);
		ft__store32_seq_cst(&shared->owners[i], 0);

		ft_deadline start = ft_now();

		freed += ft__block_sweep(owners[i], NULL);
		sweeping += ft_now() - start;
		/* Others may have assigned to it before they saw it gone. */
		ft__block_sweep(owners[i], NULL);
		pids[i] = worker_start(hammer, &hammerers[i], &owners[i]);
	}
	for (int i = 0; i < 4; i++) {
		kill(pids[i], SIGKILL);
		assert_int_equal(child_end(pids[i]), 256 + SIGKILL);
	}
	/* Slots are kept to the end: late assignments name the dead. */
	struct ft_arena_info info;

	for (uint32_t index = 0; index < FT__SLOTS; index++) {
		uint32_t word = ft__slot_of(index | 0x4000)->word;
		uint32_t owner = index | (word & FT__SLOT_GENERATION);

		if (!ft__slot_alive(owner) || owner == ft__process())
			continue;
		ft__block_sweep(owner, NULL);
		ft__slot_free(owner);
	}
	clean();
	assert_int_equal(ft_arena_info(&info), 0);
	assert_int_equal(info.blocks, 0);
	for (uint64_t i = 0; i < ft__spans_high(); i++)
		assert_true(FT__WORD_STATE(ft__arena.span[i]) == FT__SPAN_FREE ||
			    FT__WORD_STATE(ft__arena.span[i]) == FT__SPAN_CLASS);
	printf("%d kills, %llu blocks swept, %.2f ms a sweep of %llu spans\n", round,
	       (unsigned long long)freed, (double)sweeping / round / 1e6,
	       (unsigned long long)ft__spans_high());
	munmap(shared, sizeof(*shared));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(states_of_the_dead),
		cmocka_unit_test(runs_of_the_dead),
		cmocka_unit_test(the_living_keep_theirs),
		cmocka_unit_test(four_processes),
		cmocka_unit_test(killed_processes),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
