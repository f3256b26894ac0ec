/* SPDX-License-Identifier: MIT */
/*
 * A process is killed at every store to shared pages, one after the other, while
 * it shares blocks, holds and drops them, carries them through a queue, ends
 * them, or sweeps for another dead one.  After each kill the sweep leaves what
 * others hold, and when these let go, nothing at all.
 *
 * Every kill happens in a program of its own, whose arena is new.
 */
#include <setjmp.h>
#include <stdarg.h>

#include "kill_tools.h"

#include <cmocka.h>

#include "mem/hold.h"
#include "mem/share.h"

/* What test and victims share, apart from the arena. */
struct stage {
	uint64_t block, queue; /* handles */
	uint32_t finished, dead;
};

static struct stage *stage;

struct scenario {
	const char *name;
	void (*before)(void); /* in the survivor */
	int (*act)(void);     /* the victim's part */
	void (*after)(void);  /* in the survivor, after the sweep: lets go of all */
	long at;              /* the point to die at */
};

static int die(void *arg)
{
	struct scenario *scenario = arg;

	return die_at(scenario->at, scenario->act, &stage->finished);
}

static void count_one(void *ctx, struct ft__block *block, uint64_t room)
{
	(void)room;
	*(uint32_t *)ctx += FT__WORD_STATE(ft__load64_relaxed(&block->word)) != FT__BLOCK_FREE;
}

/* Pages too, which ft_arena_info() does not tell of. */
static uint32_t blocks_now(void)
{
	uint32_t count = 0;

	ft__block_walk(count_one, &count);
	return count;
}

static int program(void *arg)
{
	struct scenario *scenario = arg;
	uint32_t owner, blocks;

	REQUIRE(ft__process() != 0);
	blocks = blocks_now();
	if (scenario->before)
		scenario->before();

	pid_t pid = worker_start(die, scenario, &owner);

	int rc = child_end(pid);

	REQUIRE(rc == (stage->finished ? 0 : 256 + SIGKILL));
	if (stage->dead)
		settle_death(stage->dead);
	settle_death(owner);
	REQUIRE(ft_arena_check(NULL) == 0);
	if (scenario->after)
		scenario->after();
	REQUIRE(ft_arena_check(NULL) == 0);
	REQUIRE(blocks_now() == blocks);
	return 0;
}

/* ---- what is done ---------------------------------------------------------- */

static void *get(size_t size)
{
	void *p = NULL;

	REQUIRE(ft_block_alloc(size, &p) == 0);
	return p;
}

static void *get_shared(void)
{
	void *p = get(16);

	REQUIRE(ft_block_share(p) == 0);
	return p;
}

/* Known to its maker only. */
static struct ft_queue *get_own_queue(void)
{
	struct ft_queue *queue = get(sizeof(*queue));

	REQUIRE(ft_queue_init(queue, 0, FT_SHARED) == 0);
	return queue;
}

static struct ft_queue *get_queue(void)
{
	struct ft_queue *queue = get_own_queue();

	REQUIRE(ft_block_share(queue) == 0);
	return queue;
}

static void *get_carrier(uint64_t handle)
{
	void *p = get(64);

	REQUIRE(ft_block_carry(p, 10, &handle, 1) == 0);
	return p;
}

static void put(struct ft_queue *queue, uint64_t handle)
{
	REQUIRE(ft_queue_put_block(queue, get_carrier(handle), FT_NOW) == 0);
}

static void *hold(uint64_t handle)
{
	void *p = NULL;

	REQUIRE(ft_block_hold(handle, &p) == 0);
	return p;
}

static void drop(void *p)
{
	REQUIRE(ft_block_drop(p) == 0);
}

static int share(void)
{
	get_shared();
	drop(get_shared());
	return 0;
}

static void have_shared(void)
{
	stage->block = ft_block_handle(get_shared());
}

static int hold_and_drop(void)
{
	void *p = hold(stage->block);

	REQUIRE(hold(stage->block) == p);
	drop(p);
	drop(p);
	return 0;
}

/* Nobody else has it: it is there, and held once. */
static void drop_ours(void)
{
	void *p;

	REQUIRE(ft_block_at(stage->block, &p) == 0);
	REQUIRE(ft__hold_count(ft__block_of(p)) == 1);
	drop(p);
	REQUIRE(ft_block_at(stage->block, &p) == -ESTALE);
}

/* More holds than there are on one page. */
static int crowd(void)
{
	void *carriers[20];

	for (int i = 0; i < 20; i++)
		carriers[i] = get_carrier(stage->block);
	for (int i = 0; i < 20; i++)
		REQUIRE(ft_block_free(carriers[i]) == 0);
	return 0;
}

/* A queue whose one item carries the one hold on a block. */
static void have_item(void)
{
	struct ft_queue *queue = get_queue();
	void *p = get_shared();

	stage->queue = ft_block_handle(queue);
	stage->block = ft_block_handle(p);
	put(queue, stage->block);
	drop(p);
}

static int take_item(void)
{
	struct ft_queue *queue = hold(stage->queue);
	void *item, *p;
	size_t size;

	REQUIRE(ft_queue_get(queue, &item, &size, FT_NOW) == 0 && size == 10);
	p = hold(stage->block);
	REQUIRE(ft_block_free(item) == 0);
	drop(p);
	drop(queue);
	return 0;
}

/* The item is there with what it carries, or both are not. */
static void drop_queue(void)
{
	struct ft_queue *queue = hold(stage->queue);
	void *p;

	if (ft_queue_size(queue))
		drop(hold(stage->block));
	else if (stage->block)
		REQUIRE(ft_block_at(stage->block, &p) == -ESTALE);
	drop(queue);
	drop(queue);
	REQUIRE(ft_block_at(stage->queue, &p) == -ESTALE);
}

static void have_queue(void)
{
	stage->queue = ft_block_handle(get_queue());
}

static int put_item(void)
{
	struct ft_queue *queue = hold(stage->queue);
	void *p = get_shared();

	stage->block = ft_block_handle(p);
	put(queue, stage->block);
	drop(p);
	drop(queue);
	return 0;
}

/* The last drop ends a queue whose item is a queue whose item is a block. */
static int end_nested(void)
{
	struct ft_queue *outer = get_queue(), *inner = get_queue();
	void *p = get_shared();

	put(inner, ft_block_handle(p));
	put(outer, ft_block_handle(inner));
	drop(p);
	drop(inner);
	drop(outer);
	return 0;
}

/* Queues that nobody else hears of: what is in them goes with them. */
static int have_own_queues(void)
{
	struct ft_queue *freed = get_own_queue(), *shared = get_own_queue();
	struct ft_queue *left = get_own_queue();
	void *p = get_shared();

	put(freed, ft_block_handle(p));
	put(shared, ft_block_handle(p));
	put(left, ft_block_handle(p));
	put(left, ft_block_handle(p));
	drop(p);
	REQUIRE(ft_block_free(freed) == 0);
	REQUIRE(ft_block_share(shared) == 0);
	put(left, ft_block_handle(shared));
	drop(shared);
	return 0;
}

/* A queue is the item of a queue. */
static void put_queue(struct ft_queue *queue)
{
	struct ft_queue *inner = get_own_queue();
	void *p = get_shared();

	stage->block = ft_block_handle(p);
	put(inner, stage->block);
	drop(p);
	REQUIRE(ft_queue_put_block(queue, inner, FT_NOW) == 0);
}

static int put_own_queue(void)
{
	struct ft_queue *queue = hold(stage->queue);

	put_queue(queue);
	drop(queue);
	return 0;
}

static void have_queue_in_queue(void)
{
	struct ft_queue *queue = get_queue();

	stage->queue = ft_block_handle(queue);
	put_queue(queue);
}

static int take_own_queue(void)
{
	struct ft_queue *queue = hold(stage->queue);
	void *item;
	size_t size;

	REQUIRE(ft_queue_get(queue, &item, &size, FT_NOW) == 0);
	REQUIRE(size == sizeof(struct ft_queue) && ft_queue_size(item) == 1);
	REQUIRE(ft_block_free(item) == 0);
	drop(queue);
	return 0;
}

/* One that dies with everything in its hands that there is. */
static int leave_a_mess(void *unused)
{
	struct ft_queue *queue = get_queue();

	(void)unused;
	have_own_queues();
	get_shared();
	put(queue, ft_block_handle(get_shared()));
	get_carrier(ft_block_handle(queue));
	hold(stage->block);
	get_carrier(stage->block);
	/* As if it had been killed while it joined. */
	ft__store64_seq_cst(&ft__self_tls.slot->joining, stage->block);
	return 0;
}

static void have_a_mess(void)
{
	have_shared();
	REQUIRE(child_end(worker_start(leave_a_mess, NULL, &stage->dead)) == 0);
}

static int sweep(void)
{
	settle_death(stage->dead);
	return 0;
}

/* ---- tests ----------------------------------------------------------------- */

static struct scenario scenarios[] = {
	{ .name = "share", .act = share },
	{ .name = "hold, drop", have_shared, hold_and_drop, drop_ours, 0 },
	{ .name = "many holds", have_shared, crowd, drop_ours, 0 },
	{ .name = "take an item", have_item, take_item, drop_queue, 0 },
	{ .name = "put an item", have_queue, put_item, drop_queue, 0 },
	{ .name = "put a queue", have_queue, put_own_queue, drop_queue, 0 },
	{ .name = "take a queue", have_queue_in_queue, take_own_queue, drop_queue, 0 },
	{ .name = "end nested queues", .act = end_nested },
	{ .name = "own queues", .act = have_own_queues },
	{ .name = "sweep", have_a_mess, sweep, drop_ours, 0 },
};

static void at_every_point(struct scenario *scenario)
{
	*stage = (struct stage){ 0 };
	for (scenario->at = 1; !stage->finished; scenario->at++) {
		*stage = (struct stage){ 0 };
		if (child_run(program, scenario) != 0)
			fail_msg("%s: killed at point %ld", scenario->name, scenario->at);
	}
	printf("%-24s %4ld points\n", scenario->name, scenario->at - 2);
	assert_true(scenario->at > 3);
}

static void all_scenarios(void **state)
{
	(void)state;
	for (size_t i = 0; i < sizeof(scenarios) / sizeof(scenarios[0]); i++)
		at_every_point(&scenarios[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = { cmocka_unit_test(all_scenarios) };

	alarm(2 * CHILD_SECONDS * effort(5));
	/* A small arena, so that looking it over after each kill takes no time. */
	setenv("FT_ARENA_SIZE", "16M", 1);
	stage = mmap(NULL, sizeof(*stage), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		     0);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
