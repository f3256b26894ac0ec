/* SPDX-License-Identifier: MIT */
/* The lock: its word after each step, waiting, dying, forking, many at once. */
#include <setjmp.h>
#include <stdarg.h>

#include "sync_tools.h"

#include <cmocka.h>

#include "sync/lock.h"

#define W FT_LOCK_WAITERS
#define D FT_LOCK_DIED

static uint32_t word(const struct ft_lock *lock)
{
	return ft__load32_seq_cst(&lock->word);
}

static uint32_t my_owner(void)
{
	struct ft__self *self;

	assert_int_equal(ft__self(&self), 0);
	return self->owner;
}

static struct ft_lock *shared_lock(uint32_t flags)
{
	struct ft_lock *lock = shared_alloc(sizeof(*lock));

	assert_int_equal(ft_lock_init(lock, FT_SHARED | flags), 0);
	return lock;
}

static int acquire(void *lock)
{
	return ft_lock_acquire(lock, FT_FOREVER);
}

static int acquire_and_release(void *lock)
{
	int rc = ft_lock_acquire(lock, FT_FOREVER);

	if (rc == 0 || rc == -EOWNERDEAD)
		REQUIRE(ft_lock_release(lock) == 0);
	return rc;
}

static int try(void *lock)
{
	int rc = ft_lock_acquire(lock, FT_NOW);

	if (rc == 0)
		REQUIRE(ft_lock_release(lock) == 0);
	return rc;
}

static int try_late(void *lock)
{
	return ft_lock_acquire(lock, 5);
}

static int release(void *lock)
{
	return ft_lock_release(lock);
}

static int elsewhere(int (*run)(void *), void *lock)
{
	struct helper helper;

	helper_start(&helper, run, lock);
	return helper_join(&helper);
}

/* ---- arguments and the plain way --------------------------------------- */

static void bad_arguments(void **state)
{
	struct ft_lock lock;

	(void)state;
	assert_int_equal(ft_lock_init(NULL, 0), -EINVAL);
	assert_int_equal(ft_lock_init(&lock, 0x4), -EINVAL);
	assert_int_equal(ft_lock_init(&lock, 0x200), -EINVAL);
	assert_int_equal(ft_lock_init((void *)((char *)&lock + 1), 0), -EINVAL);
	assert_int_equal(ft_lock_acquire(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_lock_release(NULL), -EINVAL);
	assert_int_equal(ft_lock_held(NULL), 0);
	assert_int_equal(ft_lock_mine(NULL), 0);
	assert_int_equal(ft_lock_owner(NULL), 0);
	assert_int_equal(ft_lock_died(NULL), 0);
}

static void plain(struct ft_lock *lock, uint32_t me)
{
	assert_int_equal(word(lock), 0);
	assert_int_equal(ft_lock_held(lock), 0);
	assert_int_equal(ft_lock_mine(lock), 0);
	assert_int_equal(ft_lock_owner(lock), 0);
	assert_int_equal(ft_lock_release(lock), -EPERM);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
	assert_int_equal(word(lock), me);
	assert_int_equal(ft_lock_held(lock), 1);
	assert_int_equal(ft_lock_mine(lock), 1);
	assert_int_equal(ft_lock_owner(lock), getpid());
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -EDEADLK);
	assert_int_equal(ft_lock_acquire(lock, FT_FOREVER), -EDEADLK);
	assert_int_equal(elsewhere(try, lock), -ETIMEDOUT);
	assert_int_equal(elsewhere(release, lock), -EPERM);
	assert_int_equal(word(lock), me);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(word(lock), 0);
	assert_int_equal(ft_lock_died(lock), 0);
	/* Free, and somebody may be parked. */
	lock->word = W;
	assert_int_equal(ft_lock_held(lock), 0);
	assert_int_equal(ft_lock_release(lock), -EPERM);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
	assert_int_equal(word(lock), me | W);
	/* Nobody was: WAITERS goes. */
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(word(lock), 0);
}

static void words_of_a_private_lock(void **state)
{
	struct ft_lock lock;

	(void)state;
	assert_int_equal(ft_lock_init(&lock, FT_PRIVATE), 0);
	plain(&lock, ft__thread_number());
}

static void words_and_notes_of_a_shared_lock(void **state)
{
	struct ft_lock *lock = shared_lock(0);
	struct ft__slot *slot = ft__slot_of(my_owner());

	(void)state;
	plain(lock, my_owner());
	assert_int_equal(slot->noted, 0);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
	assert_int_equal(slot->noted, 1);
	assert_int_equal(slot->journal[0], (uint64_t)FT__NOTE_LOCK << 56 | ft__offset(lock));
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(slot->noted, 0);
	assert_int_equal(slot->journal[0], 0);
	assert_int_equal(ft_block_free(lock), 0);
}

static void contended(struct ft_lock *lock, bool is_shared)
{
	struct helper helper;
	uint32_t me, other;

	assert_int_equal(ft_lock_acquire(lock, FT_FOREVER), 0);
	me = word(lock);
	helper_start(&helper, acquire, lock);
	UNTIL(word(lock) == (me | W) && helper_asleep(&helper));
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(helper_join(&helper), 0);
	other = is_shared ? helper.owner : helper.number;
	/* It was parked, so it keeps WAITERS: somebody else may be, too. */
	if (!is_shared)
		assert_int_equal(word(lock), other | W);
	else /* its thread ended holding it */
		assert_int_equal(word(lock), other | W | D);
	lock->word = 0;
}

static void words_under_contention(void **state)
{
	struct ft_lock lock, *shared = shared_lock(0);

	(void)state;
	assert_int_equal(ft_lock_init(&lock, FT_PRIVATE), 0);
	contended(&lock, false);
	contended(shared, true);
	ft_block_free(shared);
}

/* ---- time and signals -------------------------------------------------- */

struct wait {
	struct ft_lock *lock;
	int64_t ns;
	int64_t took;
};

static int timed(void *arg)
{
	struct wait *wait = arg;
	ft_deadline start = ft_now();
	int rc = ft_lock_acquire(wait->lock, wait->ns < 0 ? FT_FOREVER : start + wait->ns);

	wait->took = ft_now() - start;
	return rc;
}

static void deadlines(void **state)
{
	struct ft_lock lock;
	struct wait wait = { .lock = &lock, .ns = 30 * MS };
	struct helper helper;
	uint32_t me = ft__thread_number();

	(void)state;
	ft_lock_init(&lock, FT_PRIVATE);
	assert_int_equal(ft_lock_acquire(&lock, 5), 0); /* long past, and free */
	helper_start(&helper, timed, &wait);
	assert_int_equal(helper_join(&helper), -ETIMEDOUT);
	assert_true(wait.took >= 30 * MS);
	/* Who gave up leaves WAITERS behind; the release finds nobody. */
	assert_int_equal(word(&lock), me | W);
	assert_int_equal(ft_lock_release(&lock), 0);
	assert_int_equal(word(&lock), 0);
	/* A try, or a deadline that passed, does not touch the word. */
	assert_int_equal(ft_lock_acquire(&lock, FT_NOW), 0);
	assert_int_equal(elsewhere(try, &lock), -ETIMEDOUT);
	assert_int_equal(elsewhere(try_late, &lock), -ETIMEDOUT);
	assert_int_equal(word(&lock), me);
	ft_lock_release(&lock);
}

static void signals_do_not_move_a_deadline(void **state)
{
	struct ft_lock lock;
	struct wait wait = { .lock = &lock, .ns = 300 * MS };
	struct helper helper;
	uint32_t before = storm_signals;

	(void)state;
	ft_lock_init(&lock, FT_PRIVATE);
	assert_int_equal(ft_lock_acquire(&lock, FT_NOW), 0);

	timer_t storm = storm_start(SIGUSR1);
	sigset_t set;

	/* They shall go to the waiter. */
	helper_start(&helper, timed, &wait);
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, NULL);
	assert_int_equal(helper_join(&helper), -ETIMEDOUT);
	timer_delete(storm);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
	print_message("%u signals, deadline 300 ms, took %.1f ms\n", storm_signals - before,
		      (double)wait.took / 1e6);
	assert_true(STORM_CAME(before));
	assert_true(wait.took >= 300 * MS && wait.took < 5000 * MS);
	ft_lock_release(&lock);
}

static void interruptible(void **state)
{
	struct sigaction action = { .sa_handler = storm_handler, .sa_flags = SA_RESTART };
	struct ft_lock lock;
	struct wait wait = { .lock = &lock, .ns = -1 };
	struct helper helper;

	(void)state;
	sigaction(SIGUSR1, &action, NULL);
	ft_lock_init(&lock, FT_PRIVATE | FT_INTERRUPTIBLE);
	assert_int_equal(ft_lock_acquire(&lock, FT_NOW), 0);
	helper_start(&helper, timed, &wait);
	while (!ft__load32_seq_cst(&helper.done)) {
		if (helper_asleep(&helper))
			pthread_kill(helper.thread, SIGUSR1);
		sched_yield();
	}
	assert_int_equal(helper_join(&helper), -EINTR);
	assert_int_equal(ft_lock_release(&lock), 0);
}

/* ---- anybody may release ----------------------------------------------- */

static void unowned(void **state)
{
	struct ft_lock *lock = shared_lock(FT_LOCK_UNOWNED);
	struct ft__slot *slot = ft__slot_of(my_owner());
	uint32_t me = my_owner();

	(void)state;
	assert_int_equal(ft_lock_release(lock), -EPERM);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_lock_acquire(lock, ft_after(MS)), -ETIMEDOUT);
	assert_int_equal(word(lock), me | W);
	assert_int_equal(elsewhere(release, lock), 0);
	assert_int_equal(word(lock), 0);
	/* The note is stale; a journal full of such is cleaned. */
	assert_int_equal(slot->noted, 1);
	for (int i = 0; i < 3 * FT__JOURNAL; i++) {
		assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
		assert_int_equal(elsewhere(release, lock), 0);
	}
	assert_true(slot->noted > 0 && slot->noted < FT__JOURNAL);
	assert_int_equal(lock->polled, 0);
	/* A dead owner's lock is held by nobody. */
	lock->word = me | D;
	assert_int_equal(ft_lock_held(lock), 0);
	assert_int_equal(ft_lock_release(lock), -EPERM);
	memset(slot->journal, 0, sizeof(slot->journal));
	slot->noted = 0;
	ft_block_free(lock);
}

/* ---- deaths ------------------------------------------------------------ */

static void words_of_a_dead_owner(void **state)
{
	struct ft_lock *lock = shared_lock(0);
	uint32_t dead = ft__slot_reserve("dead"), me = my_owner();

	(void)state;
	ft__slot_of(dead)->pid = 4711;
	/* Alive: held.  Without the supervisor's word nobody takes it. */
	lock->word = dead;
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_lock_held(lock), 1);

	ft__lock_settle(lock, me); /* somebody else's death */
	assert_int_equal(word(lock), dead);
	ft__lock_settle(lock, dead);
	assert_int_equal(word(lock), dead | D);
	assert_int_equal(ft_lock_died(lock), 4711);
	assert_int_equal(ft_lock_held(lock), 0);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -EOWNERDEAD);
	assert_int_equal(word(lock), me);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0); /* told once */
	assert_int_equal(ft_lock_release(lock), 0);

	lock->word = dead | W;
	ft__lock_settle(lock, dead);
	assert_int_equal(word(lock), dead | W | D);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -EOWNERDEAD);
	assert_int_equal(word(lock), me | W);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(word(lock), 0);

	/* A slot that is free again says the same as DIED. */
	lock->died = 0;
	lock->word = dead | W;
	ft__slot_free(dead);
	assert_int_equal(ft_lock_held(lock), 0);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -EOWNERDEAD);
	assert_int_equal(word(lock), me | W);
	assert_int_equal(ft_lock_died(lock), 4711);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(ft__slot_of(me)->noted, 0);
	ft_block_free(lock);
}

static void a_thread_that_ends_holding(void **state)
{
	struct ft_lock *lock = shared_lock(0);
	struct wait wait = { .lock = lock, .ns = 20000 * MS };
	struct helper waiter;
	uint32_t me = my_owner();

	(void)state;
	assert_int_equal(elsewhere(acquire, lock), 0);
	assert_int_equal(word(lock) & D, D);
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), -EOWNERDEAD);
	assert_int_equal(ft_lock_died(lock), getpid());
	assert_int_equal(word(lock), me);
	assert_int_equal(ft_lock_release(lock), 0);

	/* And with somebody asleep: at once, not at the next look by the clock. */
	assert_int_equal(ft_lock_acquire(lock, FT_NOW), 0);
	helper_start(&waiter, timed, &wait);
	UNTIL(helper_asleep(&waiter) && word(lock) == (me | W));
	ft__lock_settle(lock, me);
	assert_int_equal(helper_join(&waiter), -EOWNERDEAD);
	ft__slot_of(me)->noted = 0;
	ft__slot_of(me)->journal[0] = 0;
	ft_block_free(lock);
}

static int die_holding(void *lock)
{
	REQUIRE(ft_lock_acquire(lock, FT_FOREVER) == 0);
	kill(getpid(), SIGKILL);
	return 1;
}

static void a_process_that_dies_holding(void **state)
{
	struct ft_lock *lock = shared_lock(0);
	struct helper waiter;
	uint32_t dead;

	(void)state;
	pid_t pid = worker_start(die_holding, lock, &dead);

	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(word(lock), dead);
	helper_start(&waiter, acquire_and_release, lock);
	UNTIL(helper_asleep(&waiter) && word(lock) == (dead | W));
	settle_death(dead);
	assert_int_equal(helper_join(&waiter), -EOWNERDEAD);
	assert_int_equal(ft_lock_died(lock), pid);
	assert_int_equal(word(lock), 0);
	ft_block_free(lock);
}

/* Nobody can note it: the sleeper looks by the clock. */
static void outside_the_arena(void **state)
{
	struct ft_lock *lock = outside_alloc(sizeof(*lock));
	struct wait wait = { .lock = lock, .ns = 20000 * MS };
	struct helper waiter;
	uint32_t dead;

	(void)state;
	assert_int_equal(ft_lock_init(lock, FT_SHARED), 0);
	plain(lock, my_owner());

	pid_t pid = worker_start(die_holding, lock, &dead);

	assert_int_equal(child_end(pid), 256 + SIGKILL);
	helper_start(&waiter, timed, &wait);
	UNTIL(helper_asleep(&waiter));
	settle_death(dead);
	assert_int_equal(helper_join(&waiter), -EOWNERDEAD);
	assert_true(wait.took < 10000 * MS);
	munmap(lock, sizeof(*lock));
}

/* More locks at a time than a journal has room for. */
static int hold_many_and_die(void *arg)
{
	struct ft_lock *locks = arg;

	for (int i = 0; i < 30; i++)
		REQUIRE(ft_lock_acquire(&locks[i], FT_NOW) == 0);
	kill(getpid(), SIGKILL);
	return 1;
}

static void a_full_journal(void **state)
{
	struct ft_lock *locks = shared_alloc(30 * sizeof(*locks));
	struct wait wait = { .lock = &locks[29], .ns = 20000 * MS };
	struct helper waiter;
	uint32_t dead;

	(void)state;
	for (int i = 0; i < 30; i++)
		ft_lock_init(&locks[i], FT_SHARED);

	pid_t pid = worker_start(hold_many_and_die, locks, &dead);

	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(locks[0].polled, 0);
	assert_int_equal(locks[FT__JOURNAL - 5].polled, 0);
	assert_int_equal(locks[FT__JOURNAL - 4].polled, 1);
	assert_int_equal(locks[29].polled, 1);
	helper_start(&waiter, timed, &wait);
	UNTIL(helper_asleep(&waiter));
	settle_death(dead);
	assert_int_equal(helper_join(&waiter), -EOWNERDEAD);
	for (int i = 0; i < 29; i++) {
		assert_int_equal(ft_lock_acquire(&locks[i], FT_NOW), -EOWNERDEAD);
		assert_int_equal(ft_lock_release(&locks[i]), 0);
	}
	ft_block_free(locks);
}

/* Who cannot note a lock waits all the same, without parking on its word. */
static int hold_many_and_wait(void *arg)
{
	struct ft_lock *locks = arg;

	for (int i = 0; i < FT__JOURNAL - 4; i++)
		REQUIRE(ft_lock_acquire(&locks[i], FT_NOW) == 0);
	REQUIRE(ft_lock_acquire(&locks[29], ft_after(20 * MS)) == -ETIMEDOUT);
	locks[28].died = 1; /* tells that it will wait for good */

	int rc = ft_lock_acquire(&locks[29], FT_FOREVER);

	for (int i = 0; i < FT__JOURNAL - 4; i++)
		REQUIRE(ft_lock_release(&locks[i]) == 0);
	return rc ? 1 : ft_lock_release(&locks[29]);
}

static void waiting_with_a_full_journal(void **state)
{
	struct ft_lock *locks = shared_alloc(30 * sizeof(*locks));
	uint32_t worker;

	(void)state;
	for (int i = 0; i < 30; i++)
		ft_lock_init(&locks[i], FT_SHARED);
	assert_int_equal(ft_lock_acquire(&locks[29], FT_NOW), 0);

	pid_t pid = worker_start(hold_many_and_wait, locks, &worker);

	UNTIL(ft__load32_seq_cst(&locks[28].died));
	UNTIL(asleep(pid, pid));
	assert_int_equal(word(&locks[29]), my_owner());
	assert_int_equal(ft_lock_release(&locks[29]), 0);
	assert_int_equal(child_end(pid), 0);
	assert_int_equal(word(&locks[29]), 0);
	settle_death(worker);
	ft_block_free(locks);
}

/* ---- forks ------------------------------------------------------------- */

static struct ft_lock private_lock;

static int in_a_plain_child(void *lock)
{
	REQUIRE(ft_lock_acquire(lock, FT_NOW) == -ECHILD);
	REQUIRE(ft_lock_release(lock) == -ECHILD);
	REQUIRE(!ft_lock_mine(lock));
	/* A private lock was copied with its thread, who holds it here as well. */
	REQUIRE(private_lock.word == ft__thread_number());
	REQUIRE(ft_lock_mine(&private_lock));
	REQUIRE(ft_lock_release(&private_lock) == 0);
	REQUIRE(ft_lock_acquire(&private_lock, FT_NOW) == 0);
	REQUIRE(ft_lock_mine(&private_lock));
	return ft_lock_release(&private_lock);
}

static void plain_fork(void **state)
{
	struct ft_lock *lock = shared_lock(0);

	(void)state;
	assert_int_equal(ft_lock_acquire(&private_lock, FT_NOW), 0);
	assert_int_equal(child_run(in_a_plain_child, lock), 0);
	assert_int_equal(ft_lock_release(&private_lock), 0);
	ft_block_free(lock);
}

/* ---- many at once ------------------------------------------------------ */

#define TURNS 20000
#define CROWD 4

struct crowd {
	struct ft_lock lock;
	long count; /* plain: the lock is all that protects it */
};

static int count_up(void *arg)
{
	struct crowd *crowd = arg;

	for (int i = 0; i < TURNS; i++) {
		ft_deadline deadline = i % 3 ? FT_FOREVER : ft_after(i % 5 * 20000);
		int rc = ft_lock_acquire(&crowd->lock, deadline);

		if (rc == -ETIMEDOUT)
			rc = ft_lock_acquire(&crowd->lock, FT_FOREVER);
		REQUIRE(rc == 0);
		crowd->count++;
		REQUIRE(ft_lock_release(&crowd->lock) == 0);
	}
	return 0;
}

static void crowd_of_threads(struct crowd *crowd)
{
	struct helper helpers[CROWD];
	ft_deadline start = ft_now();

	for (int i = 0; i < CROWD; i++)
		helper_start(&helpers[i], count_up, crowd);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(helper_join(&helpers[i]), 0);
	assert_int_equal(crowd->count, (long)CROWD * TURNS);
	assert_int_equal(word(&crowd->lock), 0);
	print_message("%d threads: %.0f ns a turn\n", CROWD,
		      (double)(ft_now() - start) / CROWD / TURNS);
}

static void threads(void **state)
{
	struct crowd crowd = { .count = 0 }, *shared = shared_alloc(sizeof(*shared));

	(void)state;
	ft_lock_init(&crowd.lock, FT_PRIVATE);
	crowd_of_threads(&crowd);
	ft_lock_init(&shared->lock, FT_SHARED);
	crowd_of_threads(shared);
	ft_block_free(shared);
}

static void processes(void **state)
{
	struct crowd *crowd = shared_alloc(sizeof(*crowd));
	uint32_t owners[CROWD];
	pid_t pids[CROWD];

	(void)state;
	ft_lock_init(&crowd->lock, FT_SHARED);
	for (int i = 0; i < CROWD; i++)
		pids[i] = worker_start(count_up, crowd, &owners[i]);
	for (int i = 0; i < CROWD; i++)
		assert_int_equal(child_end(pids[i]), 0);
	assert_int_equal(crowd->count, (long)CROWD * TURNS);
	assert_int_equal(word(&crowd->lock), 0);
	for (int i = 0; i < CROWD; i++)
		settle_death(owners[i]);
	ft_block_free(crowd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(words_of_a_private_lock),
		cmocka_unit_test(words_and_notes_of_a_shared_lock),
		cmocka_unit_test(words_under_contention),
		cmocka_unit_test(deadlines),
		cmocka_unit_test(signals_do_not_move_a_deadline),
		cmocka_unit_test(interruptible),
		cmocka_unit_test(unowned),
		cmocka_unit_test(words_of_a_dead_owner),
		cmocka_unit_test(a_thread_that_ends_holding),
		cmocka_unit_test(a_process_that_dies_holding),
		cmocka_unit_test(outside_the_arena),
		cmocka_unit_test(a_full_journal),
		cmocka_unit_test(waiting_with_a_full_journal),
		cmocka_unit_test(plain_fork),
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
