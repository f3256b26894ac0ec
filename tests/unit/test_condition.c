/* SPDX-License-Identifier: MIT */
/* ft_condition: a node's word at every step, who is woken and in which order,
 * locks, signals. */
#include "condition_tools.h"

static uint32_t my_word(void)
{
	return ft__self_tls.slot->waiter.word;
}

static void bad_arguments(void **state)
{
	struct ft_condition_hold hold = { 0 };
	struct ft_condition c;
	struct ft_rlock rlock;
	struct ft_lock lock;

	(void)state;
	assert_int_equal(ft_condition_init(NULL, 0), -EINVAL);
	assert_int_equal(ft_condition_init((void *)((char *)&c + 4), 0), -EINVAL);
	assert_int_equal(ft_condition_init(&c, 0x100), -EINVAL);
	assert_int_equal(ft_condition_init(&c, FT_SHARED), -EINVAL);
	memset(&c, 0, sizeof(c));
	assert_int_equal(ft_lock_init(&lock, 0), 0);
	assert_int_equal(ft_rlock_init(&rlock, 0), 0);
	assert_int_equal(ft_lock_acquire(&lock, FT_NOW), 0);
	assert_int_equal(ft_condition_wait(&c, &lock, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_notify(&c, 1), -EINVAL);
	assert_int_equal(ft_condition_init(&c, 0), 0);
	assert_int_equal(ft_condition_wait(NULL, &lock, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_wait(&c, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_wait_rlock(&c, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_notify(NULL, 1), -EINVAL);
	assert_int_equal(ft_condition_notify_all(NULL), -EINVAL);
	assert_int_equal(ft_condition_arm(&c, &lock, &rlock, &hold), -EINVAL);
	assert_int_equal(ft_condition_arm(&c, NULL, NULL, &hold), -EINVAL);
	assert_int_equal(ft_condition_arm(&c, &lock, NULL, NULL), -EINVAL);
	assert_int_equal(ft_condition_park(&hold, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_disarm(&hold), -EINVAL);
	assert_int_equal(ft_lock_mine(&lock), 1);
	assert_int_equal(ft_lock_release(&lock), 0);
}

static void steps(void **state)
{
	struct both *b = both_new(FT_SHARED);
	struct ft_condition_hold hold;

	(void)state;
	assert_int_equal(ft_condition_notify(&b->condition, 1), 0);
	assert_int_equal(ft_lock_acquire(&b->lock, FT_NOW), 0);
	assert_int_equal(my_word(), FT_CONDITION_IDLE);
	assert_int_equal(ft_condition_arm(&b->condition, &b->lock, NULL, &hold), 0);
	assert_int_equal(my_word(), FT_CONDITION_ARMED);
	assert_int_equal(b->condition.head, ft__self_tls.owner);
	assert_int_equal(b->condition.tail, ft__self_tls.owner);
	assert_int_equal(b->condition.busy, 0);
	assert_int_equal(b->lock.word, 0);
	assert_int_equal(ft_condition_park(&hold, FT_NOW), -ETIMEDOUT);
	assert_int_equal(my_word(), FT_CONDITION_SLEEPING);

	/* In line: nobody notifies without the lock. */
	assert_int_equal(ft_condition_notify(&b->condition, 1), -EPERM);
	assert_int_equal(ft_lock_acquire(&b->lock, FT_NOW), 0);
	assert_int_equal(ft_condition_notify(&b->condition, 0), 0);
	assert_int_equal(ft_condition_notify(&b->condition, 3), 1);
	assert_int_equal(ft_condition_notify(&b->condition, 3), 0);
	assert_int_equal(b->condition.head, 0);
	assert_int_equal(b->condition.tail, 0);
	assert_int_equal(my_word(), FT_CONDITION_NOTIFIED);
	assert_int_equal(ft_lock_release(&b->lock), 0);

	assert_int_equal(ft_condition_park(&hold, FT_FOREVER), 0);
	assert_int_equal(ft_condition_disarm(&hold), 0);
	assert_int_equal(my_word(), FT_CONDITION_IDLE);
	assert_int_equal(ft__self_tls.slot->waiter.condition, 0);
	assert_int_equal(ft_lock_mine(&b->lock), 1);
	assert_int_equal(ft_condition_disarm(&hold), -EINVAL);

	/* Given up: out of line. */
	assert_int_equal(ft_condition_wait(&b->condition, &b->lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_lock_mine(&b->lock), 1);
	assert_int_equal(b->condition.head, 0);
	assert_int_equal(ft_condition_arm(&b->condition, &b->lock, NULL, &hold), 0);
	assert_int_equal(ft_condition_disarm(&hold), -ECANCELED);
	assert_int_equal(my_word(), FT_CONDITION_IDLE);
	assert_int_equal(b->condition.tail, 0);
	assert_int_equal(ft_lock_release(&b->lock), 0);
	assert_int_equal(ft_block_free(b), 0);
}

static void who_may(void **state)
{
	struct both *b = both_new(FT_SHARED | FT_LOCK_UNOWNED);
	struct ft_condition private;
	struct ft_lock lock, other;

	(void)state;
	assert_int_equal(ft_condition_wait(&b->condition, &b->lock, FT_NOW), -EPERM);
	assert_int_equal(ft_lock_acquire(&b->lock, FT_NOW), 0);
	assert_int_equal(ft_condition_wait(&b->condition, &b->lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_lock_release(&b->lock), 0);
	assert_int_equal(ft_condition_notify(&b->condition, 1), -EPERM);

	/* Shared conditions need shared locks, in the arena. */
	assert_int_equal(ft_lock_init(&lock, FT_PRIVATE), 0);
	assert_int_equal(ft_lock_acquire(&lock, FT_NOW), 0);
	assert_int_equal(ft_condition_wait(&b->condition, &lock, FT_NOW), -EINVAL);
	assert_int_equal(ft_lock_init(&other, FT_SHARED), 0);
	assert_int_equal(ft_lock_acquire(&other, FT_NOW), 0);
	assert_int_equal(ft_condition_wait(&b->condition, &other, FT_NOW), -EINVAL);

	/* The other way round is good, and locks may change while nobody waits. */
	assert_int_equal(ft_condition_init(&private, FT_PRIVATE), 0);
	assert_int_equal(ft_condition_wait(&private, &other, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_condition_wait(&private, &lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_lock_release(&other), 0);
	assert_int_equal(ft_lock_release(&lock), 0);
	assert_int_equal(ft_block_free(b), 0);
}

/* ---- several waiters --------------------------------------------------- */

#define WAITERS 8

static uint32_t woken_now(struct both *both)
{
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);

	uint32_t count = woken;

	assert_int_equal(ft_lock_release(&both->lock), 0);
	return count;
}

static void exactly_n_in_order(uint32_t flags)
{
	struct both *both = both_new(flags);
	struct waiter waiters[WAITERS];
	uint32_t sum = 0;

	woken = 0;
	for (int i = 0; i < WAITERS; i++)
		waiter_start(&waiters[i], both);
	for (uint32_t n = 1; n <= 3; n++) {
		notify(both, n, (int)n);
		for (uint32_t i = 0; i < n; i++)
			waiter_end(&waiters[sum + i], 0);
		sum += n;
		/* The rest sleeps on. */
		for (uint32_t i = sum; i < WAITERS; i++) {
			wait_asleep(&waiters[i].tid);
			assert_int_equal(ft__load32_acquire(&waiters[i].order), 0);
		}
		assert_int_equal(woken_now(both), sum);
	}
	notify(both, 1, 1);
	waiter_end(&waiters[6], 0);
	assert_int_equal(waiters[6].order, 7);
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);
	assert_int_equal(ft_condition_notify_all(&both->condition), 1);
	assert_int_equal(ft_lock_release(&both->lock), 0);
	waiter_end(&waiters[7], 0);
	notify(both, UINT32_MAX, 0);
	assert_int_equal(both->condition.head, 0);
	assert_int_equal(both->condition.tail, 0);
	assert_int_equal(ft_block_free(both), 0);
}

static void exactly_n_private(void **state)
{
	(void)state;
	exactly_n_in_order(FT_PRIVATE);
}

static void exactly_n_shared(void **state)
{
	(void)state;
	exactly_n_in_order(FT_SHARED);
}

/* Who has gone is passed over, wherever it stood. */
static void gone_in_between(uint32_t flags)
{
	struct both *both = both_new(flags);
	struct waiter waiters[5];

	catch_signal(SIGUSR1);
	for (int gone = 0; gone < 5; gone++) {
		for (int i = 0; i < 5; i++)
			waiter_start(&waiters[i], both);
		pthread_kill(waiters[gone].thread, SIGUSR1);
		waiter_end(&waiters[gone], -EINTR);
		notify(both, 4, 4);
		for (int i = 0; i < 5; i++)
			if (i != gone)
				waiter_end(&waiters[i], 0);
		assert_int_equal(both->condition.head, 0);
		assert_int_equal(both->condition.tail, 0);
	}
	assert_int_equal(ft_block_free(both), 0);
}

static void gone_private(void **state)
{
	(void)state;
	gone_in_between(FT_INTERRUPTIBLE);
}

static void gone_shared(void **state)
{
	(void)state;
	gone_in_between(FT_SHARED | FT_INTERRUPTIBLE);
}

static void one_lock_for_all(void **state)
{
	struct both *both = both_new(FT_SHARED), *other = both_new(FT_SHARED);
	struct waiter waiter;

	(void)state;
	waiter_start(&waiter, both);
	assert_int_equal(ft_lock_acquire(&other->lock, FT_NOW), 0);
	assert_int_equal(ft_condition_wait(&both->condition, &other->lock, FT_NOW), -EINVAL);
	assert_int_equal(ft_condition_notify(&both->condition, 1), -EPERM);
	assert_int_equal(ft_lock_release(&other->lock), 0);
	notify(both, 1, 1);
	waiter_end(&waiter, 0);
	assert_int_equal(ft_block_free(both), 0);
	assert_int_equal(ft_block_free(other), 0);
}

/* ---- who is woken when the lock is released ---------------------------- */

#define MY_NOTES (ft__self_tls.slot->noted)

static void woken_by_release(uint32_t flags)
{
	struct both *both = both_new(flags);
	struct waiter waiters[3];
	uint32_t notes = flags & FT_SHARED ? 2 : 0, before = MY_NOTES;

	for (int i = 0; i < 3; i++)
		waiter_start(&waiters[i], both);
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);
	assert_int_equal(ft_condition_notify(&both->condition, 1), 1);
	assert_ptr_equal(ft__self_tls.owed.lock, &both->lock);
	assert_int_equal(MY_NOTES, before + notes);
	/* One at a time; what else there is to do is done at once. */
	assert_int_equal(ft_condition_notify(&both->condition, 2), 2);
	assert_int_equal(MY_NOTES, before + notes);
	assert_int_equal(ft_lock_release(&both->lock), 0);
	assert_null(ft__self_tls.owed.lock);
	assert_int_equal(MY_NOTES, before);
	for (int i = 0; i < 3; i++)
		waiter_end(&waiters[i], 0);
	assert_int_equal(ft_block_free(both), 0);
}

static void woken_private(void **state)
{
	(void)state;
	woken_by_release(FT_PRIVATE);
}

static void woken_shared(void **state)
{
	(void)state;
	woken_by_release(FT_SHARED);
}

/* Anybody may release it: it may never be us. */
static void woken_at_once(void **state)
{
	struct both *both = both_new(FT_SHARED | FT_LOCK_UNOWNED);
	struct waiter waiter;

	(void)state;
	waiter_start(&waiter, both);
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);
	assert_int_equal(ft_condition_notify(&both->condition, 1), 1);
	assert_null(ft__self_tls.owed.lock);
	assert_int_equal(ft_lock_release(&both->lock), 0);
	waiter_end(&waiter, 0);
	assert_int_equal(ft_block_free(both), 0);
}

/* Too many locks are held: the last notes are for what cannot do without. */
static void no_room_to_owe(void **state)
{
	struct both *both = both_new(FT_SHARED);
	struct both *held[FT__JOURNAL];
	uint32_t count = 0, most = ft__journal_room(FT__NOTE_LOCK);
	struct waiter waiter;

	(void)state;
	waiter_start(&waiter, both);
	while (MY_NOTES < most - 1) {
		held[count] = both_new(FT_SHARED);
		assert_int_equal(ft_lock_acquire(&held[count++]->lock, FT_NOW), 0);
	}
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);
	assert_int_equal(MY_NOTES, most);
	assert_int_equal(ft_condition_notify(&both->condition, 1), 1);
	assert_null(ft__self_tls.owed.lock);
	assert_int_equal(MY_NOTES, most);
	assert_int_equal(ft_lock_release(&both->lock), 0);
	waiter_end(&waiter, 0);
	while (count-- > 0) {
		assert_int_equal(ft_lock_release(&held[count]->lock), 0);
		assert_int_equal(ft_block_free(held[count]), 0);
	}
	assert_int_equal(ft_block_free(both), 0);
}

/* ---- rlocks ------------------------------------------------------------ */

struct deep {
	struct ft_rlock rlock;
	struct ft_condition condition;
	uint32_t tid;
};

static void *deep_run(void *arg)
{
	struct deep *deep = arg;
	intptr_t wrong = 0;

	for (int i = 0; i < 7; i++)
		wrong |= ft_rlock_acquire(&deep->rlock, FT_FOREVER) != 0;
	ft__store32_release(&deep->tid, (uint32_t)gettid());
	wrong |= ft_condition_wait_rlock(&deep->condition, &deep->rlock, FT_FOREVER) != 0;
	wrong |= ft_rlock_depth(&deep->rlock) != 7;
	for (int i = 0; i < 7; i++)
		wrong |= ft_rlock_release(&deep->rlock) != 0;
	wrong |= ft_rlock_release(&deep->rlock) != -EPERM;
	return (void *)wrong;
}

static void any_depth(void **state)
{
	struct deep deep = { .tid = 0 };
	pthread_t thread;
	void *wrong;

	(void)state;
	assert_int_equal(ft_rlock_init(&deep.rlock, FT_PRIVATE), 0);
	assert_int_equal(ft_condition_init(&deep.condition, FT_PRIVATE), 0);
	assert_int_equal(ft_condition_wait_rlock(&deep.condition, &deep.rlock, FT_NOW), -EPERM);
	assert_int_equal(pthread_create(&thread, NULL, deep_run, &deep), 0);
	wait_asleep(&deep.tid);
	assert_int_equal(ft__load32_relaxed(&deep.rlock.lock.word), 0);
	assert_int_equal(ft_rlock_acquire(&deep.rlock, FT_FOREVER), 0);
	assert_int_equal(ft_rlock_acquire(&deep.rlock, FT_FOREVER), 0);
	assert_int_equal(ft_condition_notify(&deep.condition, 1), 1);
	assert_int_equal(ft_rlock_release(&deep.rlock), 0);
	assert_int_equal(ft_rlock_release(&deep.rlock), 0);
	pthread_join(thread, &wrong);
	assert_null(wrong);
}

/* ---- signals ----------------------------------------------------------- */

static void signals(void **state)
{
	struct both *both = both_new(FT_INTERRUPTIBLE);
	struct waiter waiter;

	(void)state;
	catch_signal(SIGUSR1);
	waiter_start(&waiter, both);
	pthread_kill(waiter.thread, SIGUSR1);
	waiter_end(&waiter, -EINTR);
	notify(both, 1, 0);
	assert_int_equal(ft_block_free(both), 0);

	both = both_new(FT_PRIVATE);
	waiter_start(&waiter, both);
	pthread_kill(waiter.thread, SIGUSR1);
	WAIT_FOR(delivered(waiter.tid));
	wait_asleep(&waiter.tid);
	notify(both, 1, 1);
	waiter_end(&waiter, 0);
	assert_int_equal(ft_block_free(both), 0);
}

/* What a binding does: handlers run in the middle, and the place is kept. */
struct patient {
	struct both *both;
	uint32_t tid, interrupted;
	int rc;
};

static void *patient_run(void *arg)
{
	struct patient *patient = arg;
	struct ft_condition_hold hold;

	ft__store32_release(&patient->tid, (uint32_t)gettid());
	if (ft_lock_acquire(&patient->both->lock, FT_FOREVER) ||
	    ft_condition_arm(&patient->both->condition, &patient->both->lock, NULL, &hold))
		return patient;
	while ((patient->rc = ft_condition_park(&hold, FT_FOREVER)) == -EINTR)
		ft__add32_seq_cst(&patient->interrupted, 1);
	patient->rc = ft_condition_disarm(&hold);
	return ft_lock_release(&patient->both->lock) ? patient : NULL;
}

static void keeps_its_place(void **state)
{
	struct both *both = both_new(FT_INTERRUPTIBLE);
	struct patient patient = { .both = both };
	struct waiter second;
	pthread_t thread;
	void *wrong;

	(void)state;
	catch_signal(SIGUSR1);
	assert_int_equal(pthread_create(&thread, NULL, patient_run, &patient), 0);
	wait_asleep(&patient.tid);
	waiter_start(&second, both);
	for (uint32_t i = 1; i <= 3; i++) {
		pthread_kill(thread, SIGUSR1);
		WAIT_FOR(ft__load32_acquire(&patient.interrupted) == i);
		wait_asleep(&patient.tid);
	}
	notify(both, 1, 1);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	assert_int_equal(patient.rc, 0);
	notify(both, 1, 1);
	waiter_end(&second, 0);
	assert_int_equal(ft_block_free(both), 0);
}

/* ---- ping-pong, under a timer ------------------------------------------ */

#define TURNS 5000

struct game {
	struct both *both;
	uint32_t turn;  /* whose it is; under the lock */
	uint32_t early; /* waits that ended by timeout or signal */
};

static bool play(struct game *game, uint32_t me, int turns)
{
	struct both *both = game->both;

	for (int i = 0; i < turns; i++) {
		if (ft_lock_acquire(&both->lock, FT_FOREVER))
			return false;
		while (game->turn != me) {
			/* The timed ones must do no harm; the other waits show that
			 * no notification is lost. */
			ft_deadline deadline = i % 4 ? FT_FOREVER : ft_after(i % 100 * 100);
			int rc = ft_condition_wait(&both->condition, &both->lock, deadline);

			game->early += rc == -ETIMEDOUT || rc == -EINTR;
			if (rc && rc != -ETIMEDOUT && rc != -EINTR)
				return false;
		}
		game->turn = 1 - me;
		if (ft_condition_notify(&both->condition, 1) < 0 || ft_lock_release(&both->lock))
			return false;
	}
	return true;
}

static void *play_second(void *arg)
{
	return play(arg, 1, TURNS) ? NULL : arg;
}

static void ping_pong(uint32_t flags, bool storm)
{
	struct game game = { .both = both_new(flags) };
	pthread_t thread;
	void *wrong;

	assert_true(!storm || storm_begin());
	assert_int_equal(pthread_create(&thread, NULL, play_second, &game), 0);
	assert_true(play(&game, 0, TURNS));
	pthread_join(thread, &wrong);
	if (storm)
		storm_end();
	assert_null(wrong);
	printf("%d turns, %u waits ended early\n", 2 * TURNS, game.early);
	assert_int_equal(ft_block_free(game.both), 0);
}

static void ping_pong_private(void **state)
{
	(void)state;
	ping_pong(FT_PRIVATE, false);
}

static void ping_pong_shared(void **state)
{
	(void)state;
	ping_pong(FT_SHARED, false);
}

static void ping_pong_storm(void **state)
{
	(void)state;
	ping_pong(FT_SHARED | FT_INTERRUPTIBLE, true);
}

static void deadline_under_storm(void **state)
{
	struct both *both = both_new(FT_PRIVATE);
	ft_deadline until;

	(void)state;
	assert_true(storm_begin());
	assert_int_equal(ft_lock_acquire(&both->lock, FT_NOW), 0);
	until = ft_after(50000000);
	assert_int_equal(ft_condition_wait(&both->condition, &both->lock, until), -ETIMEDOUT);
	assert_true(ft_now() >= until && ft_now() < until + SECOND);
	assert_int_equal(ft_lock_release(&both->lock), 0);
	storm_end();
	assert_int_equal(ft_block_free(both), 0);
}

static int in_fork(void *arg)
{
	struct both *both = arg;
	struct ft_condition private;
	struct ft_lock lock;

	REQUIRE(ft_condition_wait(&both->condition, &both->lock, FT_NOW) == -ECHILD);
	REQUIRE(ft_condition_notify(&both->condition, 1) == -ECHILD);
	REQUIRE(ft_lock_init(&lock, FT_PRIVATE) == 0);
	REQUIRE(ft_condition_init(&private, FT_PRIVATE) == 0);
	REQUIRE(ft_lock_acquire(&lock, FT_NOW) == 0);
	REQUIRE(ft_condition_wait(&private, &lock, ft_after(1000)) == -ETIMEDOUT);
	REQUIRE(ft_condition_notify(&private, 1) == 0);
	return ft_lock_release(&lock);
}

static void plain_fork(void **state)
{
	struct both *both = both_new(FT_SHARED);

	(void)state;
	assert_int_equal(child_run(in_fork, both), 0);
	assert_int_equal(ft_block_free(both), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments), cmocka_unit_test(steps),
		cmocka_unit_test(who_may), cmocka_unit_test(exactly_n_private),
		cmocka_unit_test(exactly_n_shared), cmocka_unit_test(gone_private),
		cmocka_unit_test(gone_shared), cmocka_unit_test(one_lock_for_all),
		cmocka_unit_test(woken_private), cmocka_unit_test(woken_shared),
		cmocka_unit_test(woken_at_once), cmocka_unit_test(no_room_to_owe),
		cmocka_unit_test(any_depth), cmocka_unit_test(signals),
		cmocka_unit_test(keeps_its_place), cmocka_unit_test(ping_pong_private),
		cmocka_unit_test(ping_pong_shared), cmocka_unit_test(ping_pong_storm),
		cmocka_unit_test(deadline_under_storm), cmocka_unit_test(plain_fork),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
