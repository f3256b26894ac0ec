/* SPDX-License-Identifier: MIT */
/*
 * A process is killed at every store to shared pages, one after the other, while
 * it registers, allocates, frees, gives, takes, or sweeps for another dead one.
 * After each kill its survivor sweeps, and nothing may be left or wrong.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>

#include <cmocka.h>

#include "../unit/child.h"
#include "mem/block.h"
#include "mem/span.h"
#include "os/atomic.h"
#include "os/clock.h"

/* What test and victims share, apart from the arena. */
struct stage {
	uint64_t home;  /* an offset that stands for a queue */
	uint64_t block; /* handle of the block that is given or taken */
	uint32_t linked, finished, dead;
};

static struct stage *stage;
static long points_left; /* in the victim: it dies at 0 */

static void count_down(const char *file, int line)
{
	(void)file;
	(void)line;
	if (--points_left == 0)
		kill(getpid(), SIGKILL);
}

struct victim {
	int (*act)(void);
	long at;
};

static int die_at(void *arg)
{
	struct victim *victim = arg;

	points_left = victim->at;
	ft__point = count_down;

	int rc = victim->act();

	ft__point = NULL;
	stage->finished = 1;
	return rc;
}

static bool is_linked(uint64_t home, struct ft__block *block)
{
	/* A block in such a state always names its home. */
	assert_non_null(block);
	assert_int_equal(home, stage->home);
	return stage->linked;
}

static void free_slot(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	(void)slot;
	ft__slot_free(owner);
}

static void settle(uint32_t dead)
{
	ft__block_sweep(dead, is_linked);
	if (ft__block_count(dead))
		fail_msg("blocks of the dead are left");
	ft__slot_each(dead, free_slot, NULL);
	ft__slot_free(dead);
}

static uint64_t blocks_now(void)
{
	struct ft_arena_info info;

	assert_int_equal(ft_arena_info(&info), 0);
	return info.blocks;
}

static void check_all(const char *name, long at, uint64_t blocks, uint32_t slots)
{
	uint64_t where;

	if (ft_arena_check(&where) != 0)
		fail_msg("%s killed at %ld: wrong at %#llx, span %#llx", name, at,
			 (unsigned long long)where,
			 (unsigned long long)ft__arena.span[(where - ft__offset(ft__arena.data)) >>
							    FT__SPAN_SHIFT]);
	if (blocks_now() != blocks || ft__slot_count() != slots)
		fail_msg("%s killed at %ld: %llu blocks instead of %llu, %u slots instead of %u",
			 name, at, (unsigned long long)blocks_now(), (unsigned long long)blocks,
			 ft__slot_count(), slots);
}

/* Runs `act` in a victim again and again, one point further each time.
 * `before` prepares, `after` says what else must hold (and cleans up). */
static void at_every_point(const char *name, int (*act)(void), void (*before)(void),
			   void (*after)(void))
{
	struct victim victim = { .act = act };
	long at = 0;

	ft__process();
	for (bool done = false; !done; done = stage->finished) {
		uint32_t owner, slots = ft__slot_count();
		uint64_t blocks = blocks_now();

		victim.at = ++at;
		*stage = (struct stage){ .home = ft__offset(ft__arena.data) };
		if (before)
			before();

		int rc = child_end(worker_start(die_at, &victim, &owner));

		assert_int_equal(rc, stage->finished ? 0 : 256 + SIGKILL);
		if (stage->dead)
			settle(stage->dead);
		settle(owner);
		if (after)
			after();
		check_all(name, at, blocks, slots);
	}
	printf("%-24s %4ld points\n", name, at - 1);
	assert_true(at > 2);
}

/* ---- what victims do ------------------------------------------------------- */

static void *get(size_t size)
{
	void *p = NULL;

	REQUIRE(ft_block_alloc(size, &p) == 0);
	return p;
}

static int alloc_small(void)
{
	get(10);
	get(3000);
	return 0;
}

static int alloc_and_free_small(void)
{
	void *p = get(10), *q = get(20);

	REQUIRE(ft_block_free(p) == 0 && ft_block_free(q) == 0);
	return 0;
}

/* Enough frees to spill the cache's hints. */
static int spill(void)
{
	void *blocks[40];

	for (int i = 0; i < 40; i++)
		blocks[i] = get(10000);
	for (int i = 0; i < 40; i++)
		REQUIRE(ft_block_free(blocks[i]) == 0);
	return 0;
}

static int alloc_run(void)
{
	get(3 * FT__SPAN);
	return 0;
}

static int alloc_and_free_run(void)
{
	REQUIRE(ft_block_free(get(3 * FT__SPAN)) == 0);
	REQUIRE(ft_block_free(get(2 * FT__SPAN)) == 0);
	return 0;
}

/* Too much is warm already: pages are given back in between. */
static int free_cold(void)
{
	void *p = get(2 * FT__SPAN);

	memset(p, 1, 2 * FT__SPAN);
	ft__arena.header->warm = 2 * FT__WARM_MAX;
	REQUIRE(ft_block_free(p) == 0);
	return 0;
}

static void warm_again(void)
{
	ft__block_sweep(FT__SLOT_GENERATION, NULL); /* nobody: only recounts */
}

static struct ft__block *header_of(void *p)
{
	return (struct ft__block *)p - 1;
}

static struct ft__block *staged(void)
{
	void *p;

	REQUIRE(ft_block_at(stage->block, &p) == 0);
	return header_of(p);
}

static int give(void)
{
	void *p = get(50);

	header_of(p)->home = 1; /* of an earlier use */
	stage->block = ft_block_handle(p);
	REQUIRE(ft__block_give(staged(), stage->home) == 0);
	ft__store32_seq_cst(&stage->linked, 1);
	REQUIRE(ft__block_given(staged()) == 0);
	return 0;
}

/* Linked means HELD, not linked means FREE. */
static void given_or_free(void)
{
	void *p;

	if (stage->linked) {
		assert_int_equal(FT__WORD_STATE(staged()->word), FT__BLOCK_HELD);
		assert_int_equal(ft__block_take(staged()), 0);
		assert_int_equal(ft__block_taken(staged()), 0);
		p = ft__block_payload(staged());
		assert_int_equal(ft_block_free(p), 0);
	} else if (stage->block) {
		assert_int_equal(ft_block_at(stage->block, &p), -ESTALE);
	}
}

static void put_one(void)
{
	void *p = get(50);

	stage->block = ft_block_handle(p);
	stage->linked = 1;
	assert_int_equal(ft__block_give(staged(), stage->home), 0);
	assert_int_equal(ft__block_given(staged()), 0);
}

static int take(void)
{
	struct ft__block *block = staged();

	REQUIRE(ft__block_take(block) == 0);
	ft__store32_seq_cst(&stage->linked, 0);
	REQUIRE(ft__block_taken(block) == 0);
	REQUIRE(ft_block_free(ft__block_payload(block)) == 0);
	return 0;
}

static int assign(void)
{
	struct ft__block *block = header_of(get(50));

	REQUIRE(ft__block_assign(block, ft__slot_of(ft__process())->parent) == 0);
	stage->block = ft_block_handle(block + 1);
	return 0;
}

/* Assigned and named, or not assigned and swept, or in between: assigned to us,
 * and nobody tells us its name. */
static void free_assigned(void)
{
	for (uint64_t span = 0; span < ft__spans_high(); span++) {
		uint64_t word = ft__arena.span[span], size;

		if (FT__WORD_STATE(word) != FT__SPAN_CLASS)
			continue;
		size = ft__class_size(FT__WORD_OWNER(word));
		for (uint64_t at = 0; at < FT__SPAN; at += size) {
			char *p = ft__span_data(span) + at + sizeof(struct ft__block);

			if (ft_block_size(p) == 50)
				assert_int_equal(ft_block_free(p), 0);
		}
	}
}

static int reserve(void)
{
	REQUIRE(ft__slot_reserve("never born") != 0);
	return 0;
}

/* Leaves work for the sweeper: all sorts of blocks of a process that is dead. */
static int leave_a_mess(void *arg)
{
	void *run = get(3 * FT__SPAN);
	uint64_t *span = &ft__arena.span[(uint64_t)((char *)run - ft__arena.data) >> FT__SPAN_SHIFT];

	(void)arg;
	get(10);
	get(2 * FT__SPAN);
	*span = ft__word(FT__SPAN_CLAIM, ft__process(), FT__WORD_GENERATION(*span));
	put_one();
	REQUIRE(ft__block_take(staged()) == 0);
	return 0;
}

static void kill_one_before(void)
{
	assert_int_equal(child_end(worker_start(leave_a_mess, NULL, &stage->dead)), 0);
}

static int sweep(void)
{
	ft__block_sweep(stage->dead, is_linked);
	ft__slot_each(stage->dead, free_slot, NULL);
	return 0;
}

/* ---- tests ----------------------------------------------------------------- */

static void blocks(void **state)
{
	(void)state;
	at_every_point("alloc small", alloc_small, NULL, NULL);
	at_every_point("alloc, free small", alloc_and_free_small, NULL, NULL);
	at_every_point("spill the cache", spill, NULL, NULL);
	at_every_point("alloc run", alloc_run, NULL, NULL);
	at_every_point("alloc, free run", alloc_and_free_run, NULL, NULL);
	at_every_point("give pages back", free_cold, NULL, warm_again);
}

static void homes(void **state)
{
	(void)state;
	at_every_point("give", give, NULL, given_or_free);
	at_every_point("take", take, put_one, given_or_free);
	at_every_point("assign", assign, NULL, free_assigned);
}

static void slots(void **state)
{
	(void)state;
	at_every_point("reserve a slot", reserve, NULL, NULL);
}

static void sweepers(void **state)
{
	(void)state;
	at_every_point("sweep", sweep, kill_one_before, given_or_free);
}

/* Killed while it becomes part of the program. */
static void births(void **state)
{
	uint32_t before;
	long at = 0;

	(void)state;
	ft__process();
	before = ft__slot_count();
	for (bool done = false; !done; done = stage->finished) {
		uint32_t owner = ft__slot_reserve("born");
		pid_t pid;

		*stage = (struct stage){ 0 };
		at++;
		pid = fork();
		if (pid == 0) {
			points_left = at;
			ft__point = count_down;
			REQUIRE(ft__arena_adopt(owner) == 0);
			ft__point = NULL;
			stage->finished = 1;
			_exit(0);
		}

		int rc = child_end(pid);

		assert_int_equal(rc, stage->finished ? 0 : 256 + SIGKILL);
		settle(owner);
		assert_int_equal(ft__slot_count(), before);
	}
	printf("%-24s %4ld points\n", "adopt", at - 1);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(births),   cmocka_unit_test(slots), cmocka_unit_test(blocks),
		cmocka_unit_test(homes),    cmocka_unit_test(sweepers),
	};

	alarm(CHILD_SECONDS);
	/* A small arena, so that looking it over after each kill takes no time. */
	setenv("FT_ARENA_SIZE", "64M", 1);
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
