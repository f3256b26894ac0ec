/* SPDX-License-Identifier: MIT */
/* Blocks: the words at each step, refusals, and what the dead leave. */
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

#include "child.h"
#include "mem/block.h"
#include "mem/span.h"
#include "os/atomic.h"
#include "os/clock.h"

#define MIB (UINT64_C(1) << 20)

static void *get(size_t size)
{
	void *p = NULL;

	if (ft_block_alloc(size, &p) != 0)
		fail_msg("alloc of %zu", size);
	return p;
}

static struct ft__block *header(void *p)
{
	return (struct ft__block *)p - 1;
}

static uint64_t span_of(const void *p)
{
	return (uint64_t)((const char *)p - ft__arena.data) >> FT__SPAN_SHIFT;
}

static uint64_t owned(uint64_t word)
{
	return ft__word(FT__BLOCK_OWNED, ft__process(), FT__WORD_GENERATION(word));
}

static void clean(void)
{
	uint64_t where = 0;

	if (ft_arena_check(&where) != 0)
		fail_msg("the arena is wrong at %#llx", (unsigned long long)where);
}

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

/* ---- the dead -------------------------------------------------------------- */

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

static uint32_t next_random(uint32_t *seed)
{
	*seed = *seed * 1664525u + 1013904223u;
	return *seed >> 8;
}

static size_t random_size(uint32_t *seed)
{
	uint32_t kind = next_random(seed) % 64;

	if (kind == 0)
		return 32769 + next_random(seed) % 500000;
	return 1 + next_random(seed) % (kind < 8 ? 32000 : 300);
}

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
	uint32_t seed = (uint32_t)(uintptr_t)&kept;

	for (int n = 0; n < 60000; n++) {
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
	pthread_t threads[4];
	uint64_t first = 0;

	(void)state;
	/* Threads that come and go leave their caches to others. */
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 4; i++)
			assert_int_equal(
				pthread_create(&threads[i], NULL, thread_hammer, threads), 0);
		for (int i = 0; i < 4; i++) {
			void *rc;

			pthread_join(threads[i], &rc);
			assert_non_null(rc);
		}
		clean();
		assert_int_equal(ft__block_count(ft__process()), 0);
		first = first ? first : ft__spans_high();
	}
	/* Memory is found again: no growth beyond what chance explains. */
	assert_true(ft__spans_high() <= first + first / 2);
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
		enum { PAIRS = 200000 };
		ft_deadline start = ft_now();

		for (int i = 0; i < PAIRS; i++)
			ft_block_free(get(sizes[s]));
		printf("%8zu bytes: %.1f ns for an allocation and its free\n", sizes[s],
		       (double)(ft_now() - start) / PAIRS);
	}
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
		cmocka_unit_test(states_of_the_dead),
		cmocka_unit_test(runs_of_the_dead),
		cmocka_unit_test(the_living_keep_theirs),
		cmocka_unit_test(threads_share),
		cmocka_unit_test(double_frees_race),
		cmocka_unit_test(warm_memory),
		cmocka_unit_test(figures),
		cmocka_unit_test(four_processes),
		cmocka_unit_test(killed_processes),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
