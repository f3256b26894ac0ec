/* SPDX-License-Identifier: MIT */
/*
 * Processes are killed inside ft_condition: a notifier at every point while three
 * others wait, a waiter at every point while two others wait behind it, and
 * random ones of a crowd of producers and consumers.  A notification may get lost
 * only with who had consumed it, nobody may sleep on one, and all who wait stay
 * in line.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "victim.h"
#include "os/atomic.h"
#include "sync/condition.h"

#define GUESTS 3
#define REPEATS 4
#define STORM_KILLS (400 * effort(5))

struct stage {
	struct ft_lock lock;
	struct ft_condition condition;
	uint32_t told;      /* guests that were notified */
	uint32_t ready;     /* the victim is about to wait */
	uint32_t consumed;  /* the victim came back from its wait */
	uint32_t items;     /* of the crowd; under the lock */
	uint32_t leave;
	uint32_t pause, still; /* the producer stops; has stopped */
	uint64_t taken[GUESTS];
};
static struct stage *stage;

static void stage_new(void)
{
	void *block;

	REQUIRE(ft_block_alloc(sizeof(*stage), &block) == 0);
	stage = block;
	memset(stage, 0, sizeof(*stage));
	REQUIRE(ft_lock_init(&stage->lock, FT_SHARED) == 0);
	REQUIRE(ft_condition_init(&stage->condition, FT_SHARED) == 0);
}

/* 1: as the next owner of a dead one. */
static int enter(void)
{
	int rc = ft_lock_acquire(&stage->lock, FT_FOREVER);

	REQUIRE(rc == 0 || rc == -EOWNERDEAD);
	return rc != 0;
}

static void leave(void)
{
	REQUIRE(ft_lock_release(&stage->lock) == 0);
}

static int notify(uint32_t n)
{
	enter();

	int rc = ft_condition_notify(&stage->condition, n);

	REQUIRE(rc >= 0);
	leave();
	return rc;
}

static uint32_t told(void)
{
	return ft__load32_acquire(&stage->told);
}

/* ---- at every point ---------------------------------------------------- */

struct guest {
	uint32_t tid, owner;
};

static int guest_run(void *unused)
{
	(void)unused;
	enter();

	int rc = ft_condition_wait(&stage->condition, &stage->lock, FT_FOREVER);

	REQUIRE(rc == 0 || rc == -EOWNERDEAD);
	ft__add32_seq_cst(&stage->told, 1);
	leave();
	return 0;
}

static uint32_t word_of(uint32_t owner)
{
	return ft__load32_acquire(&ft__slot_of(owner)->waiter.word);
}

static void guest_start(struct guest *guest)
{
	guest->tid = (uint32_t)worker_start(guest_run, NULL, &guest->owner);
	WAIT_FOR(word_of(guest->owner) == FT_CONDITION_SLEEPING);
	wait_asleep(&guest->tid);
}

/* Each guest was told, or sleeps and was not notified. */
static bool quiet(const struct guest *guests, int count)
{
	uint32_t waiting = 0;

	for (int i = 0; i < count; i++)
		waiting += word_of(guests[i].owner) == FT_CONDITION_SLEEPING &&
			   asleep(guests[i].tid);
	return waiting + told() == (uint32_t)count;
}

/* Everybody who was not told is still in line, once. */
static void all_go(const struct guest *guests, int count)
{
	int waiting = count - (int)told();

	REQUIRE(notify(UINT32_MAX) == waiting);
	for (int i = 0; i < count; i++) {
		REQUIRE(child_end((pid_t)guests[i].tid) == 0);
		settle(guests[i].owner);
	}
	REQUIRE(told() == (uint32_t)count);
	REQUIRE(stage->condition.head == 0 && stage->condition.tail == 0);
	REQUIRE(stage->condition.busy == 0);
	REQUIRE(ft_block_free(stage) == 0);
}

static int notify_two(void *unused)
{
	(void)unused;
	REQUIRE(notify(2) == 2);
	return 0;
}

static bool kill_notifier(long at)
{
	struct victim victim = { notify_two, NULL, at };
	struct guest guests[GUESTS];
	uint32_t owner;

	stage_new();
	for (int i = 0; i < GUESTS; i++)
		guest_start(&guests[i]);

	pid_t pid = victim_start(&victim, &owner);

	victim_end(pid, owner);
	REQUIRE(COMES_TRUE(quiet(guests, GUESTS)));
	REQUIRE(told() <= 2 && (!kills->finished || told() == 2));
	bool finished = kills->finished;

	all_go(guests, GUESTS);
	return finished;
}

static int wait_once(void *give_up)
{
	enter();
	ft__store32_release(&stage->ready, 1);

	int rc = ft_condition_wait(&stage->condition, &stage->lock,
				   give_up ? FT_NOW : FT_FOREVER);

	ft__store32_release(&stage->consumed, 1);
	REQUIRE(rc == 0 || (give_up && rc == -ETIMEDOUT));
	leave();
	return 0;
}

/* The victim is the first in line, gets the notification, and dies. */
static bool kill_waiter(long at, bool gives_up)
{
	struct victim victim = { wait_once, gives_up ? &victim : NULL, at };
	struct guest guests[GUESTS - 1];
	uint32_t owner;

	stage_new();

	pid_t pid = victim_start(&victim, &owner);

	wait_asleep_or_dead(pid);
	for (int i = 0; i < GUESTS - 1; i++) {
		/* A guest must get the lock, so the dead must be settled by then. */
		if (i == 0 && !asleep((uint32_t)pid)) {
			victim_end(pid, owner);
			pid = 0;
		}
		guest_start(&guests[i]);
	}
	REQUIRE(notify(1) == 1);
	if (pid)
		victim_end(pid, owner);
	REQUIRE(COMES_TRUE(quiet(guests, GUESTS - 1)));
	/* Exactly one got it: a guest, or the victim before it died. */
	REQUIRE(told() == 1 || (pid && told() == 0));
	REQUIRE(!(pid && kills->finished) || told() == 0);
	bool finished = kills->finished;

	all_go(guests, GUESTS - 1);
	return finished;
}

/* As the handler of a signal waits in the middle of a wait. */
static int wait_in_a_wait(void *unused)
{
	struct ft_condition_hold hold;

	(void)unused;
	enter();
	REQUIRE(ft_condition_arm(&stage->condition, &stage->lock, NULL, &hold) == 0);
	enter();
	REQUIRE(ft_condition_wait(&stage->condition, &stage->lock, FT_FOREVER) == 0);
	leave();
	REQUIRE(ft_condition_park(&hold, FT_FOREVER) == 0);
	REQUIRE(ft_condition_disarm(&hold) == 0);
	leave();
	return 0;
}

static void count_left(void *count, uint32_t owner, struct ft__slot *slot)
{
	uint32_t word = word_of(owner);

	if (word != FT_CONDITION_NOTIFIED && word != FT_CONDITION_FORWARDED)
		return;
	if (ft__load64_acquire(&slot->waiter.condition))
		++*(uint32_t *)count;
}

/* How many notifications it had not consumed when it died. */
static uint32_t victim_leaves(pid_t pid, uint32_t owner)
{
	uint32_t left = 0;

	REQUIRE(child_end(pid) == (kills->finished ? 0 : 256 + SIGKILL));
	ft__slot_each(owner, count_left, &left);
	settle(owner);
	return left;
}

/* The victim stands in line twice, before all others, and gets a notification
 * for each.  Guests get what it had not consumed. */
static bool kill_nested(long at)
{
	struct victim victim = { wait_in_a_wait, NULL, at };
	uint32_t owner, left = 2, slots = ft__slot_count();
	struct guest guests[GUESTS - 1];

	stage_new();

	pid_t pid = victim_start(&victim, &owner);

	wait_asleep_or_dead(pid);
	if (!asleep((uint32_t)pid)) {
		victim_end(pid, owner);
		pid = 0;
	}
	for (int i = 0; i < GUESTS - 1; i++)
		guest_start(&guests[i]);
	REQUIRE(notify(2) == 2);
	if (pid)
		left = victim_leaves(pid, owner);
	REQUIRE(COMES_TRUE(quiet(guests, GUESTS - 1)));
	REQUIRE(told() == left);
	REQUIRE(!(pid && kills->finished) || left == 0);
	bool finished = kills->finished;

	all_go(guests, GUESTS - 1);
	REQUIRE(ft__slot_count() == slots);
	return finished;
}

static void nested_waiters(void **state)
{
	long at;

	(void)state;
	for (int i = 0; i < REPEATS / 2; i++)
		for (at = 1; !kill_nested(at); at++)
			;
	printf("wait in a wait at each of %ld points, ", at - 1);
	kills_report("all told");
}

static void notifiers(void **state)
{
	long at;

	(void)state;
	for (int i = 0; i < REPEATS * 2; i++)
		for (at = 1; !kill_notifier(at); at++)
			;
	printf("notify of 2 at each of %ld points, ", at - 1);
	kills_report("all told");
}

static void waiters(void **state)
{
	long at;

	(void)state;
	for (int how = 0; how < 2; how++) {
		for (int i = 0; i < REPEATS; i++)
			for (at = 1; !kill_waiter(at, how); at++)
				;
		printf("wait%s at each of %ld points, ", how ? " that gives up" : "", at - 1);
		kills_report("all told");
	}
}

/* ---- in a crowd -------------------------------------------------------- */

/* The application's part after a death: items may be there that nobody was told
 * of, so everybody looks. */
static void enter_and_repair(void)
{
	if (enter())
		REQUIRE(ft_condition_notify_all(&stage->condition) >= 0);
}

static bool consume(int turns, ft_deadline patience, uint64_t *taken)
{
	for (int i = 0; i < turns; i++) {
		enter_and_repair();
		while (!stage->items && !stage->leave) {
			ft_deadline until = patience ? ft_after(patience) : FT_FOREVER;
			int rc = ft_condition_wait(&stage->condition, &stage->lock, until);

			if (rc == -EOWNERDEAD)
				rc = ft_condition_notify_all(&stage->condition) < 0;
			REQUIRE(rc == 0 || (patience && rc == -ETIMEDOUT));
			if (rc)
				break;
		}
		if (stage->items) {
			ft__store32_release(&stage->items, stage->items - 1);
			ft__store64_release(taken, *taken + 1);
		}
		leave();
		if (ft__load32_acquire(&stage->leave))
			return false;
	}
	return true;
}

static int consumer(void *arg)
{
	while (consume(1000, 0, &stage->taken[(intptr_t)arg]))
		;
	return 0;
}

static void produce(int turns, uint32_t most)
{
	for (int i = 0; i < turns; i++) {
		enter_and_repair();
		if (stage->items < most) {
			ft__store32_release(&stage->items, stage->items + 1);
			REQUIRE(ft_condition_notify(&stage->condition, 1) >= 0);
		}
		leave();
	}
}

static int producer(void *unused)
{
	(void)unused;
	while (!ft__load32_acquire(&stage->leave)) {
		if (ft__load32_acquire(&stage->pause)) {
			ft__store32_release(&stage->still, 1);
			WAIT_FOR(!ft__load32_acquire(&stage->pause));
			ft__store32_release(&stage->still, 0);
		}
		produce(1, 4);
		sched_yield();
	}
	return 0;
}

static int victim_consumes(void *unused)
{
	uint64_t taken = 0;

	(void)unused;
	consume(5, 1000000, &taken);
	return 0;
}

static int victim_produces(void *unused)
{
	(void)unused;
	produce(5, 8);
	return 0;
}

static bool drained(const struct guest *consumers)
{
	for (int i = 0; i < 2 * (GUESTS - 1); i++)
		if (ft__load32_acquire(&stage->items) || !asleep(consumers[i / 2].tid))
			return false;
	return true;
}

/* Everything that was produced is consumed, and all wait for more. */
static void come_to_rest(const struct guest *consumers)
{
	ft__store32_release(&stage->pause, 1);
	REQUIRE(COMES_TRUE(ft__load32_acquire(&stage->still)));
	/* As the next owner we may be the only one to hear of a death. */
	enter_and_repair();
	leave();
	REQUIRE(COMES_TRUE(drained(consumers)));
	ft__store32_release(&stage->pause, 0);
	REQUIRE(COMES_TRUE(!ft__load32_acquire(&stage->still)));
}

static void crowd(void **state)
{
	struct guest crowd[GUESTS];
	uint64_t seed = 3;
	uint32_t owner;

	(void)state;
	stage_new();
	for (int i = 0; i < GUESTS; i++)
		crowd[i].tid = (uint32_t)worker_start(i < GUESTS - 1 ? consumer : producer,
						      (void *)(intptr_t)i, &crowd[i].owner);
	while (kills->died < STORM_KILLS) {
		struct victim victim = { dice(&seed, 2) ? victim_consumes : victim_produces, NULL,
					 1 + dice(&seed, 120) };
		pid_t pid = victim_start(&victim, &owner);

		victim_end(pid, owner);
		come_to_rest(crowd);
	}
	ft__store32_release(&stage->leave, 1);
	notify(UINT32_MAX);
	for (int i = 0; i < GUESTS; i++) {
		REQUIRE(child_end((pid_t)crowd[i].tid) == 0);
		settle(crowd[i].owner);
		printf("%lu ", (unsigned long)stage->taken[i]);
	}
	REQUIRE(stage->taken[0] > 0 && stage->taken[1] > 0);
	REQUIRE(stage->condition.head == 0 && stage->condition.tail == 0);
	REQUIRE(ft_block_free(stage) == 0);
	kills_report("items taken, in a crowd of which");
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(notifiers),
		cmocka_unit_test(waiters),
		cmocka_unit_test(nested_waiters),
		cmocka_unit_test(crowd),
	};

	alarm(2 * CHILD_SECONDS * effort(5));
	kills_begin();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
