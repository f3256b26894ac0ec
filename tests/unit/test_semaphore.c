/* SPDX-License-Identifier: MIT */
/* ft_semaphore: the word at every step, limits, wake-ups, signals, processes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>
#include <sys/mman.h>

#include "child.h"
#include "os/atomic.h"
#include "sync/journal.h"
#include "sync/semaphore.h"
#include "wait_tools.h"

#define W FT_SEMAPHORE_WAITERS

static void bad_arguments(void **state)
{
	struct ft_semaphore s;

	(void)state;
	assert_int_equal(ft_semaphore_init(NULL, 0, 0, 0), -EINVAL);
	assert_int_equal(ft_semaphore_init((void *)((char *)&s + 1), 0, 0, 0), -EINVAL);
	assert_int_equal(ft_semaphore_init(&s, 0, 0, 0x100), -EINVAL);
	assert_int_equal(ft_semaphore_init(&s, 3, 2, 0), -EINVAL);
	assert_int_equal(ft_semaphore_init(&s, 0, FT_SEMAPHORE_MAX + 1, 0), -EINVAL);
	assert_int_equal(ft_semaphore_init(&s, FT_SEMAPHORE_MAX + 1, 0, 0), -EINVAL);
	assert_int_equal(ft_semaphore_acquire(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_semaphore_release(NULL, 1), -EINVAL);
	assert_int_equal(ft_semaphore_value(NULL), 0);
	assert_int_equal(ft_semaphore_init(&s, 0, 0, 0), 0);
	assert_int_equal(ft_semaphore_release(&s, 0), -EINVAL);
	assert_int_equal(s.word, 0);
}

static void words(void **state)
{
	struct ft_semaphore s;

	(void)state;
	assert_int_equal(ft_semaphore_init(&s, 2, 3, FT_PRIVATE), 0);
	assert_int_equal(s.word, 2);
	assert_int_equal(ft_semaphore_acquire(&s, FT_NOW), 0);
	assert_int_equal(s.word, 1);
	assert_int_equal(ft_semaphore_acquire(&s, FT_FOREVER), 0);
	assert_int_equal(s.word, 0);
	/* A try leaves no trace, a wait leaves WAITERS. */
	assert_int_equal(ft_semaphore_acquire(&s, FT_NOW), -ETIMEDOUT);
	assert_int_equal(s.word, 0);
	assert_int_equal(ft_semaphore_acquire(&s, ft_after(1000000)), -ETIMEDOUT);
	assert_int_equal(s.word, W);
	/* Nobody is parked: the release drops it. */
	assert_int_equal(ft_semaphore_release(&s, 1), 0);
	assert_int_equal(s.word, 1);
	s.word |= W;
	assert_int_equal(ft_semaphore_acquire(&s, FT_NOW), 0);
	assert_int_equal(s.word, W);
	assert_int_equal(ft_semaphore_release(&s, 3), 0);
	assert_int_equal(s.word, 3);
	assert_int_equal(ft_semaphore_value(&s), 3);
}

static void limits(void **state)
{
	struct ft_semaphore s;

	(void)state;
	assert_int_equal(ft_semaphore_init(&s, 1, 2, 0), 0);
	assert_int_equal(ft_semaphore_release(&s, 2), -EOVERFLOW);
	assert_int_equal(s.word, 1);
	assert_int_equal(ft_semaphore_release(&s, 1), 0);
	assert_int_equal(ft_semaphore_release(&s, 1), -EOVERFLOW);
	assert_int_equal(ft_semaphore_release(&s, UINT32_MAX), -EOVERFLOW);
	assert_int_equal(s.word, 2);
	assert_int_equal(ft_semaphore_init(&s, FT_SEMAPHORE_MAX - 1, 0, 0), 0);
	assert_int_equal(ft_semaphore_release(&s, 2), -EOVERFLOW);
	assert_int_equal(ft_semaphore_release(&s, 1), 0);
	assert_int_equal(s.word, FT_SEMAPHORE_MAX);
	assert_int_equal(ft_semaphore_acquire(&s, FT_NOW), 0);
}

/* ---- sleepers ---------------------------------------------------------- */

#define SLEEPERS 8

struct sleeper {
	struct ft_semaphore *semaphore;
	pthread_t thread;
	uint32_t tid, done;
	ft_deadline deadline;
	int rc;
};

static void *sleeper_run(void *arg)
{
	struct sleeper *sleeper = arg;

	ft__store32_release(&sleeper->tid, (uint32_t)gettid());
	sleeper->rc = ft_semaphore_acquire(sleeper->semaphore, sleeper->deadline);
	ft__store32_release(&sleeper->done, 1);
	return NULL;
}

static void start(struct sleeper *sleeper, struct ft_semaphore *semaphore, ft_deadline deadline)
{
	*sleeper = (struct sleeper){ .semaphore = semaphore, .deadline = deadline };
	assert_int_equal(pthread_create(&sleeper->thread, NULL, sleeper_run, sleeper), 0);
	wait_asleep(&sleeper->tid);
}

static uint32_t done(struct sleeper *sleepers)
{
	uint32_t count = 0;

	for (int i = 0; i < SLEEPERS; i++)
		count += ft__load32_acquire(&sleepers[i].done);
	return count;
}

static void wakes_as_many(void **state)
{
	struct sleeper sleepers[SLEEPERS];
	struct ft_semaphore s;

	(void)state;
	assert_int_equal(ft_semaphore_init(&s, 0, 0, FT_PRIVATE), 0);
	for (int i = 0; i < SLEEPERS; i++) {
		start(&sleepers[i], &s, FT_FOREVER);
		assert_int_equal(ft__load32_relaxed(&s.word), W);
	}
	for (uint32_t n = 1, sum = 1; n <= 3; n++, sum += n) {
		assert_int_equal(ft_semaphore_release(&s, n), 0);
		WAIT_FOR(done(sleepers) >= sum);
		/* All the others sleep on. */
		for (int i = 0; i < SLEEPERS; i++)
			if (!ft__load32_acquire(&sleepers[i].done))
				wait_asleep(&sleepers[i].tid);
		assert_int_equal(done(sleepers), sum);
		assert_int_equal(ft__load32_relaxed(&s.word), W);
	}
	assert_int_equal(ft_semaphore_release(&s, 5), 0);
	for (int i = 0; i < SLEEPERS; i++) {
		pthread_join(sleepers[i].thread, NULL);
		assert_int_equal(sleepers[i].rc, 0);
	}
	assert_int_equal(ft_semaphore_value(&s), 3);
}

static void deadline_passes(void **state)
{
	struct ft_semaphore s;
	ft_deadline until = ft_after(20000000);

	(void)state;
	assert_int_equal(ft_semaphore_init(&s, 0, 0, FT_PRIVATE), 0);
	assert_int_equal(ft_semaphore_acquire(&s, until), -ETIMEDOUT);
	assert_true(ft_now() >= until);
	assert_int_equal(ft_semaphore_acquire(&s, until), -ETIMEDOUT);
	assert_int_equal(ft_semaphore_acquire(&s, -1), -ETIMEDOUT);
	assert_int_equal(ft_semaphore_release(&s, 1), 0);
	assert_int_equal(ft_semaphore_acquire(&s, -1), 0);
}

static void signals(void **state)
{
	struct sleeper sleeper;
	struct ft_semaphore s;

	(void)state;
	catch_signal(SIGUSR1);
	assert_int_equal(ft_semaphore_init(&s, 0, 0, FT_INTERRUPTIBLE), 0);
	start(&sleeper, &s, FT_FOREVER);
	pthread_kill(sleeper.thread, SIGUSR1);
	pthread_join(sleeper.thread, NULL);
	assert_int_equal(sleeper.rc, -EINTR);

	/* Without the flag it sleeps on. */
	assert_int_equal(ft_semaphore_init(&s, 0, 0, FT_PRIVATE), 0);
	start(&sleeper, &s, FT_FOREVER);
	pthread_kill(sleeper.thread, SIGUSR1);
	WAIT_FOR(delivered(sleeper.tid));
	wait_asleep(&sleeper.tid);
	assert_int_equal(ft_semaphore_release(&s, 1), 0);
	pthread_join(sleeper.thread, NULL);
	assert_int_equal(sleeper.rc, 0);
}

/* ---- storms ------------------------------------------------------------ */

#define THREADS 4
#define TURNS 30000

struct storm {
	struct ft_semaphore semaphore;
	uint32_t inside, worst;
	uint64_t taken;
	int turns;
	bool timed;
};

static int storm_turns(void *arg)
{
	struct storm *storm = arg;

	for (int i = 0; i < storm->turns; i++) {
		ft_deadline deadline = storm->timed && i % 3 ? ft_after(i % 50 * 1000) : FT_FOREVER;
		int rc = ft_semaphore_acquire(&storm->semaphore, deadline);

		if (rc == -EINTR || rc == -ETIMEDOUT)
			continue;
		if (rc)
			return 1;
		if (ft__add32_seq_cst(&storm->inside, 1) >= storm->worst)
			return 2;
		ft__add64_seq_cst(&storm->taken, 1);
		ft__add32_seq_cst(&storm->inside, (uint32_t)-1);
		if (ft_semaphore_release(&storm->semaphore, 1))
			return 3;
	}
	return 0;
}

static void *storm_thread(void *arg)
{
	return (void *)(intptr_t)storm_turns(arg);
}

static void run_threads(struct storm *storm)
{
	pthread_t threads[THREADS];
	void *wrong;

	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, storm_thread, storm), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	assert_int_equal(ft_semaphore_value(&storm->semaphore), storm->worst);
}

static void threads_storm(void **state)
{
	(void)state;
	for (uint32_t units = 1; units <= 3; units++) {
		struct storm storm = { .worst = units, .turns = TURNS };

		assert_int_equal(ft_semaphore_init(&storm.semaphore, units, units, 0), 0);
		run_threads(&storm);
		assert_int_equal(storm.taken, THREADS * TURNS);
	}
}

static void timer_storm(void **state)
{
	struct storm storm = { .worst = 2, .turns = TURNS / 3, .timed = true };

	(void)state;
	assert_int_equal(ft_semaphore_init(&storm.semaphore, 2, 2, FT_INTERRUPTIBLE), 0);
	assert_true(storm_begin());
	run_threads(&storm);
	/* Interrupted sleeps must neither end early nor late. */
	assert_int_equal(ft_semaphore_init(&storm.semaphore, 0, 0, 0), 0);

	ft_deadline until = ft_after(50000000);

	assert_int_equal(ft_semaphore_acquire(&storm.semaphore, until), -ETIMEDOUT);
	assert_true(ft_now() >= until);
	assert_true(ft_now() < until + SECOND);
	storm_end();
	printf("%lu units taken under a 1 kHz timer\n", (unsigned long)storm.taken);
}

static void processes(void **state)
{
	uint32_t owner[THREADS];
	pid_t pid[THREADS];
	struct storm *storm;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*storm), &block), 0);
	storm = block;
	*storm = (struct storm){ .worst = 2, .turns = 5000 };
	assert_int_equal(ft_semaphore_init(&storm->semaphore, 2, 2, FT_SHARED), 0);
	for (int i = 0; i < THREADS; i++)
		pid[i] = worker_start(storm_turns, storm, &owner[i]);
	for (int i = 0; i < THREADS; i++) {
		assert_int_equal(child_end(pid[i]), 0);
		assert_int_equal(ft__slot_of(owner[i])->noted, 0);
		ft__slot_free(owner[i]);
	}
	assert_int_equal(storm->taken, THREADS * 5000);
	assert_int_equal(ft_semaphore_value(&storm->semaphore), 2);
	assert_int_equal(ft_block_free(block), 0);
}

static int in_fork(void *arg)
{
	struct ft_semaphore *shared = arg, private;

	REQUIRE(ft_semaphore_acquire(shared, FT_NOW) == -ECHILD);
	REQUIRE(ft_semaphore_release(shared, 1) == -ECHILD);
	REQUIRE(ft_semaphore_init(&private, 1, 1, FT_PRIVATE) == 0);
	REQUIRE(ft_semaphore_acquire(&private, FT_NOW) == 0);
	REQUIRE(ft_semaphore_acquire(&private, ft_after(1000)) == -ETIMEDOUT);
	REQUIRE(ft_semaphore_release(&private, 1) == 0);
	return 0;
}

static void plain_fork(void **state)
{
	struct ft_semaphore *shared;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*shared), &block), 0);
	shared = block;
	assert_int_equal(ft_semaphore_init(shared, 1, 1, FT_SHARED), 0);
	assert_int_equal(child_run(in_fork, shared), 0);
	assert_int_equal(shared->word, 1);
	assert_int_equal(ft_block_free(block), 0);
}

/* What the journal says during a sleep, and that it settles. */
static int sleep_for_ever(void *arg)
{
	return ft_semaphore_acquire(arg, FT_FOREVER) == 0 ? 0 : 1;
}

static void dead_sleeper(void **state)
{
	struct ft_semaphore *s;
	uint32_t owner;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*s), &block), 0);
	s = block;
	assert_int_equal(ft_semaphore_init(s, 0, 0, FT_SHARED), 0);

	pid_t pid = worker_start(sleep_for_ever, s, &owner);
	uint32_t tid = (uint32_t)pid;

	wait_asleep(&tid);
	assert_int_equal(s->word, W);
	assert_int_equal(ft__slot_of(owner)->noted, 1);
	assert_int_equal(ft__slot_of(owner)->journal[0],
			 (uint64_t)FT__NOTE_SEMAPHORE << 56 | ft__offset(s));
	assert_int_equal(kill(pid, SIGKILL), 0);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(ft__journal_settle(owner), 0);
	assert_int_equal(ft__slot_of(owner)->journal[0], 0);
	ft__slot_free(owner);
	assert_int_equal(ft_semaphore_release(s, 1), 0);
	assert_int_equal(s->word, 1);
	assert_int_equal(ft_block_free(block), 0);
}

/* Nobody can note a semaphore outside the arena, so a wake-up may die with its
 * releaser; the sleeper finds the unit by itself. */
static void outside_the_arena(void **state)
{
	struct ft_semaphore *s = mmap(NULL, sizeof(*s), PROT_READ | PROT_WRITE,
				      MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	struct sleeper sleeper;

	(void)state;
	assert_true(s != MAP_FAILED);
	assert_int_equal(ft_semaphore_init(s, 0, 0, FT_SHARED), 0);
	start(&sleeper, s, FT_FOREVER);
	ft__store32_release(&s->word, W | 1);
	pthread_join(sleeper.thread, NULL);
	assert_int_equal(sleeper.rc, 0);
	assert_int_equal(ft_semaphore_acquire(s, ft_after(60000000)), -ETIMEDOUT);
	assert_int_equal(ft_semaphore_release(s, 1), 0);
	assert_int_equal(s->word, 1);
	munmap(s, sizeof(*s));
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments), cmocka_unit_test(words),
		cmocka_unit_test(limits), cmocka_unit_test(wakes_as_many),
		cmocka_unit_test(deadline_passes), cmocka_unit_test(signals),
		cmocka_unit_test(threads_storm), cmocka_unit_test(processes),
		cmocka_unit_test(plain_fork), cmocka_unit_test(dead_sleeper),
		cmocka_unit_test(outside_the_arena), cmocka_unit_test(timer_storm),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
