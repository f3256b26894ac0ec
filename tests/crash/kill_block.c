/* SPDX-License-Identifier: MIT */
/*
 * A process is killed at every store to shared pages, one after the other, while
 * it registers, allocates, frees, gives, takes, or sweeps for another dead one.
 * After each kill its survivor sweeps, and nothing may be left or wrong.
 *
 * Every kill happens in a program of its own, whose arena is new, or was used
 * once: otherwise what one victim left would change the next one's way.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "kill_tools.h"

#include <cmocka.h>

#include "mem/span.h"

/* What test and victims share, apart from the arena. */
struct stage {
	uint64_t home;  /* an offset that stands for a queue */
	uint64_t block; /* handle of the block that is given or taken */
	uint32_t linked, finished, dead;
};

static struct stage *stage;

struct scenario {
	const char *name;
	int (*act)(void);     /* the victim's part */
	void (*before)(void); /* prepares, in the survivor */
	void (*after)(void);  /* what else must hold, and cleans up */
	int (*first)(void);   /* who used the arena before did this; NULL: the same */
	long at;              /* the point to die at */
	bool used;            /* somebody used the arena before */
};

static int die(void *arg)
{
	struct scenario *scenario = arg;

	return die_at(scenario->at, scenario->act, &stage->finished);
}

static bool is_linked(uint64_t home, struct ft__block *block)
{
	/* A block in such a state always names its home. */
	REQUIRE(block && home == stage->home);
	return stage->linked;
}

static void settle(uint32_t dead)
{
	ft__block_sweep(dead, is_linked);
	REQUIRE(ft__block_count(dead) == 0);
	ft__slot_each(dead, free_slot, NULL);
	ft__slot_free(dead);
	REQUIRE(!ft__slot_alive(dead));
}

static uint64_t blocks_now(void)
{
	struct ft_arena_info info;

	REQUIRE(ft_arena_info(&info) == 0);
	return info.blocks;
}

/* One victim, from its birth to its sweep. */
static void kill_one(struct scenario *scenario)
{
	uint64_t blocks = blocks_now();
	uint32_t owner, slots = ft__slot_count();

	*stage = (struct stage){ .home = ft__offset(ft__arena.data) };
	if (scenario->before)
		scenario->before();

	int rc = child_end(worker_start(die, scenario, &owner));

	REQUIRE(rc == (stage->finished ? 0 : 256 + SIGKILL));
	if (stage->dead)
		settle(stage->dead);
	settle(owner);
	if (scenario->after)
		scenario->after();
	REQUIRE(ft_arena_check(NULL) == 0);
	REQUIRE(blocks_now() == blocks);
	REQUIRE(ft__slot_count() == slots);
}

static int program(void *arg)
{
	struct scenario first = *(struct scenario *)arg;

	REQUIRE(ft__process() != 0);
	first.at = 0; /* never */
	if (first.first) {
		first.act = first.first;
		first.before = NULL;
		first.after = NULL;
	}
	if (first.used)
		kill_one(&first);
	kill_one(arg);
	return 0;
}

static void at_every_point(struct scenario *scenario)
{
	*stage = (struct stage){ 0 };
	for (scenario->at = 1; !stage->finished; scenario->at++)
		if (child_run(program, scenario) != 0)
			fail_msg("%s: killed at point %ld, %s arena", scenario->name, scenario->at,
				 scenario->used ? "used" : "new");
	printf("%-24s %4ld points, %s arena\n", scenario->name, scenario->at - 2,
	       scenario->used ? "used" : "new");
	assert_true(scenario->at > 3);
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
	get(FT__SPAN - sizeof(struct ft__block));
	get(3 * FT__SPAN);
	return 0;
}

/* Old contents where spans begin, that look like no word of ours. */
static int litter(void)
{
	size_t size = 9 * FT__SPAN - sizeof(struct ft__block);

	memset(get(size), 0xff, size);
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
		REQUIRE(FT__WORD_STATE(staged()->word) == FT__BLOCK_HELD);
		REQUIRE(ft__block_take(staged()) == 0);
		REQUIRE(ft__block_taken(staged()) == 0);
		p = ft__block_payload(staged());
		REQUIRE(ft_block_free(p) == 0);
	} else if (stage->block) {
		REQUIRE(ft_block_at(stage->block, &p) == -ESTALE);
	}
}

static void put_one(void)
{
	void *p = get(50);

	stage->block = ft_block_handle(p);
	stage->linked = 1;
	REQUIRE(ft__block_give(staged(), stage->home) == 0);
	REQUIRE(ft__block_given(staged()) == 0);
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
				REQUIRE(ft_block_free(p) == 0);
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
	uint64_t at = (uint64_t)((char *)run - ft__arena.data) >> FT__SPAN_SHIFT;
	uint64_t *span = &ft__arena.span[at];

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
	REQUIRE(child_end(worker_start(leave_a_mess, NULL, &stage->dead)) == 0);
}

static int sweep(void)
{
	ft__block_sweep(stage->dead, is_linked);
	ft__slot_each(stage->dead, free_slot, NULL);
	return 0;
}

/* ---- tests ----------------------------------------------------------------- */

static struct scenario scenarios[] = {
	{ .name = "alloc small", .act = alloc_small },
	{ .name = "alloc small in litter", .act = alloc_small, .first = litter },
	{ .name = "alloc, free small", .act = alloc_and_free_small },
	{ .name = "spill the cache", .act = spill },
	{ .name = "alloc run", .act = alloc_run },
	{ .name = "alloc run in litter", .act = alloc_run, .first = litter },
	{ .name = "alloc, free run", .act = alloc_and_free_run },
	{ .name = "give pages back", .act = free_cold, .after = warm_again },
	{ .name = "give", .act = give, .after = given_or_free },
	{ .name = "take", .act = take, .before = put_one, .after = given_or_free },
	{ .name = "assign", .act = assign, .after = free_assigned },
	{ .name = "reserve a slot", .act = reserve },
	{ .name = "sweep", .act = sweep, .before = kill_one_before, .after = given_or_free },
};

static void new_arenas(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		at_every_point(&scenarios[i]);
}

static void used_arenas(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++) {
		scenarios[i].used = true;
		at_every_point(&scenarios[i]);
	}
}

/* Killed while it becomes part of the program. */
static int birth(void *arg)
{
	uint32_t owner = ft__slot_reserve("born");
	pid_t pid = fork();

	if (pid == 0) {
		points_left = *(long *)arg;
		ft__point = die_alone;
		REQUIRE(ft__arena_adopt(owner) == 0);
		REQUIRE(ft__slot_of(owner)->process == owner);
		ft__point = NULL;
		stage->finished = 1;
		_exit(0);
	}

	int rc = child_end(pid);

	REQUIRE(rc == (stage->finished ? 0 : 256 + SIGKILL));
	settle(owner);
	REQUIRE(ft__slot_count() == 1);
	return 0;
}

static void births(void **state)
{
	long at = 1;

	(void)state;
	*stage = (struct stage){ 0 };
	for (; !stage->finished; at++)
		assert_int_equal(child_run(birth, &at), 0);
	printf("%-24s %4ld points\n", "adopt", at - 2);
	assert_true(at > 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(births),
		cmocka_unit_test(new_arenas),
		cmocka_unit_test(used_arenas),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	/* A small arena, so that looking it over after each kill takes no time. */
	setenv("FT_ARENA_SIZE", "16M", 1);
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
