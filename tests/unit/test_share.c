/* SPDX-License-Identifier: MIT */
/* Shared blocks: words and holds at each step, who frees, races. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <freethreading/simple_queue.h>

#include "block_tools.h"
#include "mem/hold.h"
#include "mem/share.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync_tools.h"

#define NOBODY UINT64_C(0x7fffffff)

static void count_one(void *ctx, struct ft__block *block, uint64_t room)
{
	(void)room;
	*(uint32_t *)ctx += FT__WORD_STATE(ft__load64_relaxed(&block->word)) != FT__BLOCK_FREE;
}

/* Pages too. */
static uint32_t blocks_now(void)
{
	uint32_t count = 0;

	assert_int_equal(ft__arena_ready(), 0);
	ft__block_walk(count_one, &count);
	return count;
}

static void *get_shared(void)
{
	void *p = get(16);

	assert_int_equal(ft_block_share(p), 0);
	return p;
}

static bool is_gone(uint64_t handle)
{
	void *p;

	return ft_block_at(handle, &p) == -ESTALE && ft_block_hold(handle, &p) == -ESTALE;
}

static uint32_t joins(const void *p)
{
	return FT__WORD_OWNER(header((void *)(uintptr_t)p)->word);
}

/* The one hold in the first page. */
static uint64_t the_hold(void *p)
{
	struct ft__block *page = ft__block_at_offset(header(p)->link);
	uint64_t words[12], found = 0;

	assert_int_equal(ft_block_size(ft__block_payload(page)), sizeof(words));
	memcpy(words, ft__block_payload(page), sizeof(words));
	for (int i = 1; i < 12; i++) {
		assert_true(!found || !words[i]);
		found |= words[i];
	}
	return found;
}

static void words(void **state)
{
	uint32_t before = blocks_now(), me = ft__process();
	void *p = get(16), *q = NULL;
	uint64_t handle = ft_block_handle(p);

	(void)state;
	assert_int_equal(ft_block_share(p), 0);
	assert_int_equal(FT__WORD_STATE(header(p)->word), FT__BLOCK_SHARED);
	assert_int_equal(joins(p), 0);
	assert_int_equal(the_hold(p), UINT64_C(1) << 30 | me);
	assert_int_equal(ft_block_handle(p), handle);
	assert_int_equal(ft_block_size(p), 16);
	assert_int_equal(blocks_now(), before + 2);

	assert_int_equal(ft_block_hold(handle, &q), 0);
	assert_ptr_equal(q, p);
	assert_int_equal(joins(p), 1);
	assert_int_equal(the_hold(p), UINT64_C(2) << 30 | me);
	assert_int_equal(ft__self_tls.slot->joining, 0);
	clean();

	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(the_hold(p), UINT64_C(1) << 30 | me);
	assert_int_equal(FT__WORD_STATE(header(p)->word), FT__BLOCK_SHARED);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(FT__WORD_STATE(header(p)->word), FT__BLOCK_FREE);
	assert_true(is_gone(handle));
	assert_int_equal(blocks_now(), before);
}

static void refusals(void **state)
{
	void *p = get(16), *q;
	uint64_t handle = ft_block_handle(p), nobody = NOBODY;
	char outside[64];

	(void)state;
	assert_int_equal(ft_block_share(NULL), -EINVAL);
	assert_int_equal(ft_block_share(outside), -EINVAL);
	assert_int_equal(ft_block_hold(handle, NULL), -EINVAL);
	assert_int_equal(ft_block_hold(nobody, &q), -EINVAL);
	assert_int_equal(ft_block_hold(handle, &q), -EPERM);
	assert_int_equal(ft_block_drop(p), -EPERM);
	assert_int_equal(ft_block_drop(NULL), -EINVAL);
	assert_int_equal(ft_block_drop(outside), -EINVAL);
	assert_int_equal(ft_block_carry(NULL, 0, &handle, 1), -EINVAL);
	assert_int_equal(ft_block_carry(p, 17, NULL, 0), -EINVAL);
	assert_int_equal(ft_block_carry(p, 0, NULL, 1), -EINVAL);
	assert_int_equal(ft_block_carry(p, 1, &handle, 1), -EPERM);
	assert_int_equal(ft_block_share(p), 0);
	assert_int_equal(ft_block_share(p), -EPERM);
	assert_int_equal(ft_block_free(p), -EPERM);
	assert_int_equal(ft_block_carry(p, 1, NULL, 0), -EPERM);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_drop(p), -EINVAL);
	assert_int_equal(ft_block_hold(handle, &q), -ESTALE);
}

static void room_for_cargo(void **state)
{
	void *p = get_shared(), *q = get_shared(), *carrier = get(32);
	uint64_t handles[4] = { ft_block_handle(p), ft_block_handle(q), ft_block_handle(p),
				ft_block_handle(q) };

	(void)state;
	/* 32 bytes of room: what is left after 8 is 3 words. */
	assert_int_equal(ft_block_carry(carrier, 9, handles, 2), -ENOSPC);
	assert_int_equal(ft_block_size(carrier), 32);
	assert_int_equal(ft_block_carry(carrier, 8, handles, 3), -ENOSPC);
	assert_int_equal(ft_block_carry(carrier, 8, handles, 2), 0);
	assert_int_equal(ft_block_size(carrier), 8);
	assert_int_equal(ft__hold_count(header(p)), 2);
	/* Something else instead. */
	assert_int_equal(ft_block_carry(carrier, 7, handles, 1), 0);
	assert_int_equal(ft__hold_count(header(p)), 2);
	assert_int_equal(ft__hold_count(header(q)), 1);
	assert_int_equal(ft_block_carry(carrier, 7, NULL, 0), 0);
	assert_int_equal(ft__hold_count(header(p)), 1);
	assert_int_equal(ft_block_free(carrier), 0);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_drop(q), 0);
}

/* One that is gone: the others are not carried either. */
static void all_or_none(void **state)
{
	uint32_t before = blocks_now();
	void *p = get_shared(), *gone = get_shared(), *carrier = get(100);
	uint64_t handles[2] = { ft_block_handle(p), ft_block_handle(gone) };

	(void)state;
	assert_int_equal(ft_block_drop(gone), 0);
	assert_int_equal(ft_block_carry(carrier, 10, handles, 2), -ESTALE);
	assert_int_equal(ft__hold_count(header(p)), 1);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_free(carrier), 0);
	assert_int_equal(blocks_now(), before);
}

static void *get_carrier(uint64_t handle)
{
	void *p = get(64);

	assert_int_equal(ft_block_carry(p, 10, &handle, 1), 0);
	return p;
}

static void a_carrier_holds(void **state)
{
	uint32_t before = blocks_now();
	void *p = get_shared(), *q;
	uint64_t handle = ft_block_handle(p);
	void *carrier = get_carrier(handle);

	(void)state;
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(the_hold(p), ft_block_handle(carrier));
	assert_int_equal(ft_block_hold(handle, &q), 0);
	assert_int_equal(ft_block_free(carrier), 0);
	assert_int_equal(ft_block_drop(q), 0);
	assert_true(is_gone(handle));
	assert_int_equal(blocks_now(), before);
}

/* Far more than a page has room for, and places are used again. */
static void many_holders(void **state)
{
	uint32_t before = blocks_now(), most;
	void *p = get_shared(), *carriers[300];
	uint64_t handle = ft_block_handle(p);

	(void)state;
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 300; i++)
			carriers[i] = get_carrier(handle);
		assert_int_equal(ft__hold_count(header(p)), 301);
		clean();
		for (int i = 0; i < 300; i++)
			assert_int_equal(ft_block_free(carriers[i]), 0);
		if (round == 0)
			most = blocks_now();
		assert_int_equal(blocks_now(), most);
	}
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(blocks_now(), before);
}

/* Where the first page's cursor points. */
static uint64_t at_cursor(void *p)
{
	struct ft__block *page = ft__block_at_offset(header(p)->link);
	uint64_t cursor = *(uint64_t *)ft__block_payload(page);

	for (uint64_t i = 0; i < cursor >> 32; i++)
		page = ft__block_at_offset(page->link);
	return ((uint64_t *)ft__block_payload(page))[1 + (cursor & UINT32_MAX)];
}

/* The one that is likely to stay longest is looked at first. */
static void the_last_carrier(void **state)
{
	void *p = get_shared(), *q, *carriers[300];
	uint64_t handle = ft_block_handle(p);

	(void)state;
	for (int i = 0; i < 300; i++) {
		carriers[i] = get_carrier(handle);
		assert_int_equal(at_cursor(p), ft_block_handle(carriers[i]));
		/* Not who comes and goes. */
		assert_int_equal(ft_block_hold(handle, &q), 0);
		assert_int_equal(ft_block_drop(q), 0);
		assert_int_equal(at_cursor(p), ft_block_handle(carriers[i]));
	}
	assert_int_equal(ft_block_drop(p), 0);
	for (int i = 0; i < 300; i++) {
		assert_int_equal(at_cursor(p), ft_block_handle(carriers[299]));
		assert_int_equal(ft_block_free(carriers[i]), 0);
	}
	assert_true(is_gone(handle));
	clean();
}

/* Every place of every page: what is `from` is `to` then. */
static void fill(void *p, uint64_t from, uint64_t to)
{
	struct ft__block *page;

	for (uint64_t at = header(p)->link; at; at = page->link) {
		page = ft__block_at_offset(at);

		uint64_t *words = ft__block_payload(page);

		for (size_t i = 1; i < ft_block_size(words) / sizeof(*words); i++)
			if (words[i] == from)
				words[i] = to;
	}
}

/* When no page has room, and there may be no further one, who comes is refused. */
static void too_many_holders(void **state)
{
	uint32_t before = blocks_now();
	void *p = get_shared(), *q, *carriers[FT__PAGES_MOST], *late = get(64);
	uint64_t handle = ft_block_handle(p), fake = UINT64_C(1) << 30 | NOBODY;

	(void)state;
	for (uint32_t i = 1; i < FT__PAGES_MOST; i++) {
		fill(p, 0, fake);
		carriers[i] = get_carrier(handle);
	}
	fill(p, 0, fake);
	assert_int_equal(blocks_now(), before + 1 + FT__PAGES_MOST + FT__PAGES_MOST);
	assert_int_equal(ft_block_carry(late, 10, &handle, 1), -ENOSPC);
	assert_int_equal(ft__self_tls.slot->joining, 0);
	/* Who has a place can count on it. */
	assert_int_equal(ft_block_hold(handle, &q), 0);
	assert_int_equal(ft_block_drop(q), 0);

	fill(p, fake, 0);
	assert_int_equal(ft_block_carry(late, 10, &handle, 1), 0);
	assert_int_equal(ft__hold_count(header(p)), FT__PAGES_MOST + 1);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_free(late), 0);
	for (uint32_t i = 1; i < FT__PAGES_MOST; i++)
		assert_int_equal(ft_block_free(carriers[i]), 0);
	assert_true(is_gone(handle));
	assert_int_equal(blocks_now(), before);
	clean();
}

/* More often than a hold counts: one more place. */
static void many_times(void **state)
{
	void *p = get_shared(), *q;
	uint64_t handle = ft_block_handle(p);

	(void)state;
	for (uint32_t i = 0; i < FT__HOLDS_MOST + 1; i++)
		assert_int_equal(ft_block_hold(handle, &q), 0);
	assert_int_equal(ft__hold_count(header(p)), 2);
	for (uint32_t i = 0; i < FT__HOLDS_MOST + 1; i++)
		assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft__hold_count(header(p)), 1);
	assert_int_equal(ft_block_drop(p), 0);
	assert_true(is_gone(handle));
}

static struct ft_queue *get_own_queue(void)
{
	struct ft_queue *queue = get(sizeof(*queue));

	assert_int_equal(ft_queue_init(queue, 0, FT_SHARED), 0);
	return queue;
}

static struct ft_queue *get_queue(void)
{
	struct ft_queue *queue = get_own_queue();

	assert_int_equal(ft_block_share(queue), 0);
	return queue;
}

static void put_carrier(struct ft_queue *queue, uint64_t handle)
{
	assert_int_equal(ft_queue_put_block(queue, get_carrier(handle), FT_NOW), 0);
}

/* A queue that nobody destroyed goes with its block. */
static void a_block_with_a_queue(void **state)
{
	uint32_t before = blocks_now();
	struct ft_queue *queue = get_own_queue();
	void *p = get_shared();
	uint64_t handle = ft_block_handle(p);

	(void)state;
	for (int i = 0; i < 3; i++)
		put_carrier(queue, handle);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_free(queue), 0);
	assert_true(is_gone(handle));
	assert_int_equal(blocks_now(), before);
	/* Who gets the block next, and dies at once, leaves no queue. */
	assert_int_equal(header(queue)->size, sizeof(*queue));

	/* One that was destroyed leaves a block like any other. */
	queue = get_own_queue();
	assert_int_equal(ft_queue_destroy(queue), 0);
	assert_int_equal(header(queue)->size, sizeof(*queue));
	assert_int_equal(ft_block_free(queue), 0);
	assert_int_equal(blocks_now(), before);
}

/* What no link leads to any more is found. */
static void a_queue_with_a_broken_list(void **state)
{
	uint32_t before = blocks_now();
	struct ft_queue *queue = get_queue(), *other = get_queue();
	void *p = get_shared();
	uint64_t handle = ft_block_handle(p);

	(void)state;
	for (int i = 0; i < 3; i++)
		put_carrier(queue, handle);
	put_carrier(other, handle);
	queue->head = 12345;
	assert_int_equal(ft_block_drop(queue), 0);
	assert_int_equal(ft__hold_count(header(p)), 2);
	assert_int_equal(ft_queue_size(other), 1);
	assert_int_equal(ft_block_drop(other), 0);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(blocks_now(), before);
	clean();
}

/* The end of a queue is that of what is in it; however deep. */
static void queues_in_queues(void **state)
{
	uint32_t before = blocks_now();
	struct ft_queue *outer = get_queue();

	(void)state;
	for (int i = 0; i < 100000; i++) {
		struct ft_queue *next = get_queue();

		put_carrier(next, ft_block_handle(outer));
		assert_int_equal(ft_block_drop(outer), 0);
		outer = next;
	}
	assert_int_equal(ft_block_drop(outer), 0);
	assert_int_equal(blocks_now(), before);
	clean();
}

/* ---- other processes ------------------------------------------------------- */

struct stage {
	uint64_t block, queue;
	uint32_t go, rounds, lost;
};
static struct stage *stage;

static int make_and_put(void *unused)
{
	struct ft_queue *queue;
	void *p = NULL, *carrier = NULL;
	uint64_t handle;

	(void)unused;
	REQUIRE(ft_block_hold(stage->queue, (void **)&queue) == 0);
	REQUIRE(ft_block_alloc(16, &p) == 0 && ft_block_share(p) == 0);
	handle = ft_block_handle(p);
	REQUIRE(ft_block_alloc(64, &carrier) == 0);
	REQUIRE(ft_block_carry(carrier, 8, &handle, 1) == 0);
	memcpy(carrier, &handle, sizeof(handle));
	REQUIRE(ft_queue_put_block(queue, carrier, FT_NOW) == 0);
	return 0;
}

/* What a worker made and sent outlives it, until its last holder lets go. */
static void the_maker_dies(void **state)
{
	uint32_t before = blocks_now(), owner;
	struct ft_queue *queue = get_queue();
	void *item, *p;
	size_t size;

	(void)state;
	stage->queue = ft_block_handle(queue);
	assert_int_equal(child_end(worker_start(make_and_put, NULL, &owner)), 0);
	settle_death(owner);
	assert_int_equal(ft_queue_get(queue, &item, &size, FT_NOW), 0);
	assert_int_equal(size, 8);

	uint64_t handle;

	memcpy(&handle, item, sizeof(handle));
	assert_int_equal(ft_block_hold(handle, &p), 0);
	assert_int_equal(ft_block_free(item), 0);
	assert_int_equal(ft__hold_count(header(p)), 1);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_drop(queue), 0);
	assert_int_equal(blocks_now(), before);
}

static int hold_and_leave(void *unused)
{
	void *p;

	(void)unused;
	REQUIRE(ft_block_hold(stage->block, &p) == 0);
	REQUIRE(ft_block_free(p) == -EPERM);
	ft__store32_seq_cst(&stage->go, 1);
	UNTIL(ft__load32_seq_cst(&stage->go) == 2);
	return 0;
}

/* A dead holder holds nothing, and it may have been the last. */
static void the_holder_dies(void **state)
{
	uint32_t before = blocks_now(), owner;
	void *p = get_shared();

	(void)state;
	*stage = (struct stage){ .block = ft_block_handle(p) };

	pid_t pid = worker_start(hold_and_leave, NULL, &owner);

	UNTIL(ft__load32_seq_cst(&stage->go) == 1);
	assert_int_equal(ft_block_drop(p), 0);
	assert_int_equal(ft_block_at(stage->block, &p), 0);
	ft__store32_seq_cst(&stage->go, 2);
	assert_int_equal(child_end(pid), 0);
	assert_int_equal(ft_block_at(stage->block, &p), 0);
	settle_death(owner);
	assert_true(is_gone(stage->block));
	assert_int_equal(blocks_now(), before);
}

static int use_in_fork(void *p)
{
	uint64_t handle = stage->block;
	void *q;

	REQUIRE(ft_block_hold(handle, &q) == -ECHILD);
	REQUIRE(ft_block_drop(p) == -ECHILD);
	REQUIRE(ft_block_share(p) == -ECHILD);
	REQUIRE(ft_block_carry(p, 1, NULL, 0) == -ECHILD);
	return 0;
}

static void not_in_a_forked_child(void **state)
{
	void *p = get_shared();

	(void)state;
	stage->block = ft_block_handle(p);
	assert_int_equal(child_run(use_in_fork, p), 0);
	assert_int_equal(ft_block_drop(p), 0);
}

static int die_inside(void *unused)
{
	struct ft__self *self;
	struct ft_queue *queue;

	(void)unused;
	REQUIRE(ft_block_at(stage->queue, (void **)&queue) == 0 && ft__self(&self) == 0);
	REQUIRE(ft__note(self, FT__NOTE_QUEUE, queue));
	REQUIRE(ft__lock_enter(&queue->lock, FT_NOW) == 0);
	return 0;
}

/* The death of the one inside is settled last: its place is another block by then. */
static void a_queue_that_somebody_died_in(void **state)
{
	uint32_t before = blocks_now(), owner;
	struct ft_queue *queue = get_own_queue(), copy;
	void *p = get_shared();
	uint64_t handle = ft_block_handle(p);

	(void)state;
	put_carrier(queue, handle);
	assert_int_equal(ft_block_drop(p), 0);
	stage->queue = ft_block_handle(queue);
	assert_int_equal(child_end(worker_start(die_inside, NULL, &owner)), 0);
	assert_int_equal(ft_block_free(queue), 0);
	assert_true(is_gone(handle));
	assert_ptr_equal(get(sizeof(*queue)), queue);
	memcpy(&copy, queue, sizeof(copy));
	settle_death(owner);
	assert_memory_equal(queue, &copy, sizeof(copy));
	assert_int_equal(ft_block_free(queue), 0);
	assert_int_equal(blocks_now(), before);
	clean();
}

/* Joins by a name that nobody keeps, while the only holder drops it. */
static int join_for_ever(void *unused)
{
	void *p;

	(void)unused;
	while (!ft__load32_seq_cst(&stage->go)) {
		uint64_t handle = ft__load64_seq_cst(&stage->block);
		int rc = handle ? ft_block_hold(handle, &p) : -ESTALE;

		REQUIRE(rc == 0 || rc == -ESTALE || rc == -EPERM);
		if (rc != 0)
			continue;
		/* It is that block and no other as long as we hold it. */
		for (int i = 0; i < 3; i++)
			REQUIRE(*(uint64_t *)p == handle);
		REQUIRE(ft_block_drop(p) == 0);
		ft__add32_seq_cst(&stage->rounds, 1);
	}
	return 0;
}

static void races(void **state)
{
	uint32_t before = blocks_now(), owner[2], made = 0;
	pid_t pid[2];

	(void)state;
	*stage = (struct stage){ 0 };
	for (int i = 0; i < 2; i++)
		pid[i] = worker_start(join_for_ever, NULL, &owner[i]);
	while (made < 5000 || ft__load32_seq_cst(&stage->rounds) < 100) {
		void *p = get(16);
		uint64_t handle = ft_block_handle(p);

		memcpy(p, &handle, sizeof(handle));
		assert_int_equal(ft_block_share(p), 0);
		ft__store64_seq_cst(&stage->block, handle);
		if (made++ % 4 == 0)
			sched_yield();
		assert_int_equal(ft_block_drop(p), 0);
	}
	ft__store32_seq_cst(&stage->go, 1);
	for (int i = 0; i < 2; i++) {
		assert_int_equal(child_end(pid[i]), 0);
		settle_death(owner[i]);
	}
	assert_int_equal(blocks_now(), before);
	clean();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words),
		cmocka_unit_test(refusals),
		cmocka_unit_test(room_for_cargo),
		cmocka_unit_test(all_or_none),
		cmocka_unit_test(a_carrier_holds),
		cmocka_unit_test(many_holders),
		cmocka_unit_test(the_last_carrier),
		cmocka_unit_test(too_many_holders),
		cmocka_unit_test(many_times),
		cmocka_unit_test(a_block_with_a_queue),
		cmocka_unit_test(a_queue_with_a_broken_list),
		cmocka_unit_test(queues_in_queues),
		cmocka_unit_test(the_maker_dies),
		cmocka_unit_test(the_holder_dies),
		cmocka_unit_test(a_queue_that_somebody_died_in),
		cmocka_unit_test(not_in_a_forked_child),
		cmocka_unit_test(races),
	};

	alarm(CHILD_SECONDS);
	stage = outside_alloc(sizeof(*stage));
	return cmocka_run_group_tests(tests, NULL, NULL);
}
