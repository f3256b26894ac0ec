/* SPDX-License-Identifier: MIT */
/* ft_condition: what becomes of its waiters, its list and its lock when somebody
 * dies. */
#include "condition_tools.h"

/* A process that waits, and says so when it was notified. */
struct guest {
	struct both *both;
	uint32_t told; /* in the arena */
};

static int guest_run(void *arg)
{
	struct guest *guest = arg;
	struct both *both = guest->both;

	REQUIRE(ft_lock_acquire(&both->lock, FT_FOREVER) == 0);
	REQUIRE(ft_condition_wait(&both->condition, &both->lock, FT_FOREVER) == 0);
	ft__store32_release(&guest->told, 1);
	REQUIRE(ft_lock_release(&both->lock) == 0);
	return 0;
}

#define GUESTS 4

struct party {
	struct both *both;
	struct guest *guests;
	uint32_t owner[GUESTS], tid[GUESTS];
};

static void invite(struct party *party, int i)
{
	party->guests[i] = (struct guest){ .both = party->both };
	party->tid[i] = (uint32_t)worker_start(guest_run, &party->guests[i], &party->owner[i]);
	WAIT_FOR(ft__slot_of(party->owner[i])->waiter.word == FT_CONDITION_SLEEPING);
	wait_asleep(&party->tid[i]);
}

static struct party party_of(int count)
{
	struct party party = { .both = both_new(FT_SHARED) };
	void *block;

	assert_int_equal(ft_block_alloc(GUESTS * sizeof(struct guest), &block), 0);
	party.guests = block;
	for (int i = 0; i < count; i++)
		invite(&party, i);
	return party;
}

static void dies(struct party *party, int i)
{
	assert_int_equal(kill((pid_t)party->tid[i], SIGKILL), 0);
	assert_int_equal(child_end((pid_t)party->tid[i]), 256 + SIGKILL);
}

static void buried(struct party *party, int i)
{
	assert_int_equal(ft__journal_settle(party->owner[i]), 0);
	assert_int_equal(ft__slot_of(party->owner[i])->waiter.word, FT_CONDITION_IDLE);
	assert_int_equal(ft__slot_of(party->owner[i])->waiter.condition, 0);
	ft__slot_free(party->owner[i]);
}

static void goes_home(struct party *party, int i)
{
	assert_int_equal(child_end((pid_t)party->tid[i]), 0);
	assert_int_equal(party->guests[i].told, 1);
	ft__slot_free(party->owner[i]);
}

static void party_ends(struct party *party)
{
	assert_int_equal(party->both->condition.head, 0);
	assert_int_equal(party->both->condition.tail, 0);
	assert_int_equal(ft_block_free(party->both), 0);
	assert_int_equal(ft_block_free(party->guests), 0);
}

/* Wherever it stood, and although its slot is in use again. */
static void dead_waiter(void **state)
{
	(void)state;
	for (int dead = 0; dead < 3; dead++) {
		struct party party = party_of(3);
		uint32_t before = party.owner[dead];

		dies(&party, dead);
		buried(&party, dead);
		/* Used slots are taken in turn: until it is the dead one's. */
		do {
			party.owner[3] = ft__slot_reserve("again");
			ft__slot_free(party.owner[3]);
		} while (((party.owner[3] ^ before) & FT__SLOT_INDEX) != 0);
		invite(&party, 3);
		notify(party.both, 2, 2);
		for (int i = 0; i < 3; i++)
			if (i != dead)
				goes_home(&party, i);
		assert_int_equal(ft__load32_acquire(&party.guests[3].told), 0);
		notify(party.both, 2, 1);
		goes_home(&party, 3);
		party_ends(&party);
	}
}

/* A notifier comes before the supervisor does: it cannot know, so one of both
 * gets it, and the other gets it from there. */
static void dead_and_notified(void **state)
{
	struct party party = party_of(2);

	(void)state;
	dies(&party, 0);
	notify(party.both, 1, 1);
	assert_int_equal(ft__slot_of(party.owner[0])->waiter.word, FT_CONDITION_NOTIFIED);
	assert_int_equal(ft__slot_of(party.owner[1])->waiter.word, FT_CONDITION_SLEEPING);
	buried(&party, 0);
	goes_home(&party, 1);
	party_ends(&party);
}

/* Forwarded twice, and with nobody left it is gone. */
static void all_dead(void **state)
{
	struct party party = party_of(2);

	(void)state;
	dies(&party, 0);
	dies(&party, 1);
	notify(party.both, 1, 1);
	buried(&party, 0);
	assert_int_equal(ft__slot_of(party.owner[1])->waiter.word, FT_CONDITION_FORWARDED);
	buried(&party, 1);
	invite(&party, 2);
	assert_int_equal(ft__load32_acquire(&party.guests[2].told), 0);
	notify(party.both, 1, 1);
	goes_home(&party, 2);
	party_ends(&party);
}

/* A list that was cut short, as a dead owner of the lock leaves it. */
static void list_in_pieces(void **state)
{
	struct party party = party_of(3);
	struct ft_condition *condition = &party.both->condition;

	(void)state;
	assert_int_equal(ft_lock_acquire(&party.both->lock, FT_FOREVER), 0);
	condition->busy = 1;
	condition->head = party.owner[2];
	condition->tail = 0;
	assert_int_equal(ft_condition_notify(condition, 1), 1);
	assert_int_equal(condition->busy, 0);
	assert_int_equal(condition->head, party.owner[1]);
	assert_int_equal(condition->tail, party.owner[2]);
	assert_int_equal(ft_lock_release(&party.both->lock), 0);
	goes_home(&party, 0);
	/* What was scribbled over is no reason to crash, or to go round for ever. */
	assert_int_equal(ft_lock_acquire(&party.both->lock, FT_FOREVER), 0);
	condition->head = UINT64_MAX;
	condition->tail = UINT64_MAX / 3;
	assert_int_equal(ft_condition_wait(condition, &party.both->lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_condition_notify(condition, 1), 1);
	assert_int_equal(ft_lock_release(&party.both->lock), 0);
	goes_home(&party, 1);
	notify(party.both, 9, 1);
	goes_home(&party, 2);
	party_ends(&party);
}

static int notify_and_die(void *arg)
{
	struct both *both = arg;

	REQUIRE(ft_lock_acquire(&both->lock, FT_FOREVER) == 0);
	REQUIRE(ft_condition_notify(&both->condition, 1) == 1);
	raise(SIGKILL);
	return 0;
}

static void lock_with_a_dead_owner(void **state)
{
	struct both *both = both_new(FT_SHARED);
	struct waiter waiter;
	uint32_t owner;

	(void)state;
	waiter_start(&waiter, both);
	assert_int_equal(child_end(worker_start(notify_and_die, both, &owner)), 256 + SIGKILL);
	assert_int_equal(ft__journal_settle(owner), 0);
	ft__slot_free(owner);
	waiter_end(&waiter, -EOWNERDEAD);
	assert_int_equal(both->condition.head, 0);
	assert_int_equal(ft_block_free(both), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(dead_waiter),
		cmocka_unit_test(dead_and_notified),
		cmocka_unit_test(all_dead),
		cmocka_unit_test(list_in_pieces),
		cmocka_unit_test(lock_with_a_dead_owner),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
