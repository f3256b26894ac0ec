/* SPDX-License-Identifier: MIT */
/* The journal: its entries after each step, when it is full, and settling. */
#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>

#include "sync/event.h"
#include "sync/lock.h"

static struct ft__self *self;

static uint64_t entry(enum ft__note kind, const void *object)
{
	return (uint64_t)kind << 56 | ft__offset(object);
}

static void assert_empty(void)
{
	assert_int_equal(self->slot->noted, 0);
	for (int i = 0; i < FT__JOURNAL; i++)
		assert_int_equal(self->slot->journal[i], 0);
}

static int setup(void **state)
{
	(void)state;
	return ft__self(&self);
}

static void entries_at_each_step(void **state)
{
	char *a = shared_alloc(64), *b = a + 16, *c = a + 32;
	const uint64_t *journal = self->slot->journal;

	(void)state;
	assert_empty();
	assert_true(ft__note(self, FT__NOTE_LOCK, a));
	assert_true(ft__note(self, FT__NOTE_LOCK, b));
	assert_true(ft__note(self, FT__NOTE_EVENT, c));
	assert_int_equal(self->slot->noted, 3);
	assert_int_equal(journal[0], entry(FT__NOTE_LOCK, a));
	assert_int_equal(journal[1], entry(FT__NOTE_LOCK, b));
	assert_int_equal(journal[2], entry(FT__NOTE_EVENT, c));
	/* The last takes the place of one in the middle. */
	ft__unnote(self, FT__NOTE_LOCK, a);
	assert_int_equal(self->slot->noted, 2);
	assert_int_equal(journal[0], entry(FT__NOTE_EVENT, c));
	assert_int_equal(journal[1], entry(FT__NOTE_LOCK, b));
	assert_int_equal(journal[2], 0);
	/* What is not there is not dropped: neither another kind, nor a stranger. */
	ft__unnote(self, FT__NOTE_EVENT, b);
	ft__unnote(self, FT__NOTE_LOCK, a);
	assert_int_equal(self->slot->noted, 2);
	/* Twice noted is there twice. */
	assert_true(ft__note(self, FT__NOTE_LOCK, b));
	ft__unnote(self, FT__NOTE_LOCK, b);
	assert_int_equal(self->slot->noted, 2);
	ft__unnote(self, FT__NOTE_LOCK, b);
	ft__unnote(self, FT__NOTE_EVENT, c);
	assert_empty();
	assert_false(ft__note(self, FT__NOTE_LOCK, &setup));
	assert_false(ft__note(self, FT__NOTE_LOCK, NULL));
	assert_empty();
	ft_block_free(a);
}

static void room_for_each_kind(void **state)
{
	struct ft_lock *locks = shared_alloc(FT__JOURNAL * sizeof(*locks));
	uint32_t held = FT__JOURNAL - 4;

	(void)state;
	for (uint32_t i = 0; i < held; i++) {
		locks[i].word = self->owner;
		assert_true(ft__note(self, FT__NOTE_LOCK, &locks[i]));
	}
	assert_false(ft__note(self, FT__NOTE_LOCK, &locks[held]));
	for (uint32_t i = held; i < FT__JOURNAL - 1; i++)
		assert_true(ft__note(self, FT__NOTE_EVENT, &locks[i]));
	assert_false(ft__note(self, FT__NOTE_EVENT, locks));
	assert_true(ft__note(self, FT__NOTE_QUEUE, locks));
	assert_false(ft__note(self, FT__NOTE_QUEUE, locks));
	ft__unnote(self, FT__NOTE_QUEUE, locks);
	for (uint32_t i = held; i < FT__JOURNAL - 1; i++)
		ft__unnote(self, FT__NOTE_EVENT, &locks[i]);
	/* Locks that others released make room: these two. */
	locks[3].word = 0;
	locks[7].word = self->owner ^ 1;
	assert_true(ft__note(self, FT__NOTE_LOCK, &locks[held]));
	assert_int_equal(self->slot->noted, held - 1);
	for (uint32_t i = 0; i <= held; i++)
		ft__unnote(self, FT__NOTE_LOCK, &locks[i]);
	assert_empty();
	ft_block_free(locks);
}

/* ---- locks that went with their block ----------------------------------- */

static struct ft_lock *lock_new(size_t size, size_t at, uint32_t flags)
{
	struct ft_lock *lock = (struct ft_lock *)((char *)shared_alloc(size) + at);

	REQUIRE(ft_lock_init(lock, FT_SHARED | flags) == 0);
	REQUIRE(ft_lock_acquire(lock, FT_NOW) == 0);
	return lock;
}

/* Of every kind of block: of a class, a run's first span, and its further ones. */
static void gone_while_held(void **state)
{
	const size_t size[] = { 64, 20000, 300000, 300000, 300000 };
	const size_t at[] = { 0, 19968, 64, 131072, 299008 };

	(void)state;
	for (size_t kind = 0; kind < sizeof(size) / sizeof(*size); kind++) {
		struct ft_lock *kept = lock_new(size[kind], at[kind], 0), *locks[FT__JOURNAL];
		uint32_t held = FT__JOURNAL - 5;

		for (uint32_t i = 0; i < held; i++)
			locks[i] = lock_new(size[kind], at[kind], i % 2 ? FT_LOCK_UNOWNED : 0);
		assert_int_equal(self->slot->noted, held + 1);
		assert_false(ft__note(self, FT__NOTE_BARRIER, kept));
		for (uint32_t i = 0; i < held; i++) {
			assert_false(ft__block_gone(locks[i]));
			assert_int_equal(ft_block_free((char *)locks[i] - at[kind]), 0);
		}
		assert_true(ft__note(self, FT__NOTE_BARRIER, kept));
		assert_int_equal(self->slot->noted, 2);
		assert_int_equal(self->slot->journal[0], entry(FT__NOTE_LOCK, kept));
		ft__unnote(self, FT__NOTE_BARRIER, kept);
		assert_int_equal(ft_lock_release(kept), 0);
		assert_empty();
		ft_block_free((char *)kept - at[kind]);
	}
	assert_false(ft__block_gone(&setup));
	assert_false(ft__block_gone(self->slot));
}

/* In the same place, one after the other: one note is left, of the last one. */
static void another_in_its_place(void **state)
{
	struct ft_lock *lock = NULL, *other;

	(void)state;
	for (uint32_t i = 0; i < FT__JOURNAL - 4; i++) {
		if (lock)
			ft_block_free(lock);
		lock = lock_new(64, 0, FT_LOCK_UNOWNED);
		assert_int_equal(self->slot->journal[i], entry(FT__NOTE_LOCK, lock));
		assert_int_equal(self->slot->journal[i], self->slot->journal[0]);
	}
	other = lock_new(64, 0, 0);
	assert_int_equal(self->slot->noted, 2);
	assert_int_equal(self->slot->journal[0], entry(FT__NOTE_LOCK, lock));
	assert_int_equal(self->slot->journal[1], entry(FT__NOTE_LOCK, other));
	assert_int_equal(other->polled, 0);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(ft_lock_release(other), 0);
	assert_empty();
	ft_block_free(lock);
	ft_block_free(other);
}

static int hold_one(void *arg)
{
	*(struct ft_lock **)arg = lock_new(64, 0, FT_LOCK_UNOWNED);
	return 0;
}

static int hold_one_and_drop_it(void *arg)
{
	hold_one(arg);
	return ft_block_free(*(struct ft_lock **)arg);
}

/* A thread that ends keeps its slot for the locks it holds, not for what is gone. */
static void slots_are_not_kept(void **state)
{
	uint32_t before = ft__slot_count();
	struct ft_lock *lock;
	struct helper helper;

	(void)state;
	helper_start(&helper, hold_one_and_drop_it, &lock);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(ft__slot_count(), before);
	helper_start(&helper, hold_one, &lock);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(ft__slot_count(), before + 1);
	assert_int_equal(ft_block_free(lock), 0);
	/* The next that ends with a note looks at those that are kept. */
	helper_start(&helper, hold_one, &lock);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(ft__slot_count(), before + 1);
	assert_int_equal(ft_lock_release(lock), 0);
	ft_block_free(lock);
}

/* ---- signal handlers --------------------------------------------------- */

static struct ft_event *handled;

static void note_in_a_handler(int signo)
{
	(void)signo;
	if (ft__note(self, FT__NOTE_EVENT, handled))
		ft__unnote(self, FT__NOTE_EVENT, handled);
}

/* Handlers note between any two steps of the thread's own notes. */
static void handlers_between_steps(void **state)
{
	struct sigaction action = { .sa_handler = note_in_a_handler };
	char *a = shared_alloc(64), *b = a + 16;
	ft_deadline end = ft_after(300 * MS);
	long rounds = 0;

	(void)state;
	handled = shared_alloc(sizeof(*handled));

	timer_t storm = storm_start(SIGUSR1);

	sigaction(SIGUSR1, &action, NULL);
	for (; !ft__passed(end); rounds++) {
		assert_true(ft__note(self, FT__NOTE_LOCK, a));
		assert_true(ft__note(self, FT__NOTE_LOCK, b));
		ft__unnote(self, FT__NOTE_LOCK, a);
		assert_int_equal(self->slot->journal[0], entry(FT__NOTE_LOCK, b));
		ft__unnote(self, FT__NOTE_LOCK, b);
		assert_empty();
	}
	timer_delete(storm);
	print_message("%ld rounds of notes under signals\n", rounds);
	ft_block_free(a);
	ft_block_free(handled);
}

/* ---- settling ---------------------------------------------------------- */

struct left {
	struct ft_lock held, wanted;
	struct ft_event event;
	struct ft_queue queue;
};

static int die_with_notes(void *arg)
{
	struct left *left = arg;
	struct ft__self *me;

	REQUIRE(ft__self(&me) == 0);
	REQUIRE(ft_lock_acquire(&left->held, FT_NOW) == 0);
	REQUIRE(ft__note(me, FT__NOTE_LOCK, &left->wanted));
	REQUIRE(ft__note(me, FT__NOTE_EVENT, &left->event));
	REQUIRE(ft__note(me, FT__NOTE_QUEUE, &left->queue));
	REQUIRE(ft__lock_enter(&left->queue.lock, FT_FOREVER) == 0);
	/* Scribbled ones: no kind, no place, a place that ends outside. */
	me->slot->journal[10] = UINT64_MAX;
	me->slot->journal[11] = (uint64_t)FT__NOTE_QUEUE << 56 | (ft__arena.size - 64);
	me->slot->journal[12] = (uint64_t)FT__NOTE_LOCK << 56 | 8;
	me->slot->journal[13] = (uint64_t)FT__NOTE_QUEUE << 56 | ft__offset(&left->held);
	kill(getpid(), SIGKILL);
	return 1;
}

static void settling(void **state)
{
	struct left *left = shared_alloc(sizeof(*left));
	uint32_t dead;

	(void)state;
	ft_lock_init(&left->held, FT_SHARED);
	ft_lock_init(&left->wanted, FT_SHARED);
	ft_event_init(&left->event, FT_SHARED);
	assert_int_equal(ft_queue_init(&left->queue, 0, FT_SHARED), 0);
	assert_int_equal(ft_lock_acquire(&left->wanted, FT_NOW), 0);
	assert_int_equal(child_end(worker_start(die_with_notes, left, &dead)), 256 + SIGKILL);

	/* A queue's lock that a third one holds: everything else is settled. */
	uint32_t third = ft__slot_reserve("third");

	left->queue.lock.word = third;
	assert_int_equal(ft__journal_settle(dead), -EAGAIN);
	assert_int_equal(left->held.word, dead | FT_LOCK_DIED);
	assert_int_equal(left->wanted.word, self->owner);
	assert_int_equal(left->queue.lock.word & FT_LOCK_OWNER_MASK, third);
	left->queue.lock.word = dead;
	assert_int_equal(ft__journal_settle(dead), 0);
	assert_int_equal(left->queue.lock.word, 0);
	assert_int_equal(left->queue.not_empty.seq, 2); /* repair, then settle */
	for (int i = 0; i < FT__JOURNAL; i++)
		assert_int_equal(ft__slot_of(dead)->journal[i], 0);
	assert_int_equal(ft__journal_settle(dead), 0);
	settle_death(dead);
	ft__slot_free(third);
	assert_int_equal(ft_lock_release(&left->wanted), 0);
	assert_empty();
	ft_block_free(left);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(entries_at_each_step),
		cmocka_unit_test(room_for_each_kind),
		cmocka_unit_test(gone_while_held),
		cmocka_unit_test(another_in_its_place),
		cmocka_unit_test(slots_are_not_kept),
		cmocka_unit_test(handlers_between_steps),
		cmocka_unit_test(settling),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, setup, NULL);
}
