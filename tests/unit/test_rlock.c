/* SPDX-License-Identifier: MIT */
/* ft_rlock: the word and the depth at every step, owners, deaths, limits. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/rlock.h"

static void words_and_depth(void **state)
{
	struct ft_rlock rlock;

	(void)state;
	assert_int_equal(ft_rlock_init(&rlock, FT_PRIVATE), 0);
	assert_int_equal(rlock.lock.word, 0);
	assert_int_equal(ft_rlock_release(&rlock), -EPERM);
	for (uint32_t depth = 1; depth <= 3; depth++) {
		assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), 0);
		assert_int_equal(rlock.depth, depth);
		assert_int_equal(ft_rlock_depth(&rlock), depth);
		assert_int_equal(rlock.lock.word, ft__thread_number());
	}
	assert_int_equal(ft_rlock_held(&rlock), 1);
	assert_int_equal(ft_rlock_mine(&rlock), 1);
	for (uint32_t depth = 2; depth + 1 > 0; depth--) {
		assert_int_equal(ft_rlock_release(&rlock), 0);
		assert_int_equal(rlock.depth, depth);
		assert_int_equal(rlock.lock.word, depth ? ft__thread_number() : 0);
	}
	assert_int_equal(ft_rlock_held(&rlock), 0);
	assert_int_equal(ft_rlock_depth(&rlock), 0);
	assert_int_equal(ft_rlock_release(&rlock), -EPERM);
}

static void bad_arguments(void **state)
{
	struct ft_rlock rlock;

	(void)state;
	assert_int_equal(ft_rlock_init(NULL, 0), -EINVAL);
	assert_int_equal(ft_rlock_init(&rlock, FT_LOCK_UNOWNED), -EINVAL);
	assert_int_equal(ft_rlock_init(&rlock, 0x8000), -EINVAL);
	assert_int_equal(ft_rlock_acquire(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_rlock_release(NULL), -EINVAL);
	assert_int_equal(ft_rlock_held(NULL), 0);
	assert_int_equal(ft_rlock_mine(NULL), 0);
	assert_int_equal(ft_rlock_depth(NULL), 0);
	assert_int_equal(ft_rlock_died(NULL), 0);
}

static void depth_has_an_end(void **state)
{
	struct ft_rlock rlock;

	(void)state;
	assert_int_equal(ft_rlock_init(&rlock, FT_PRIVATE), 0);
	assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), 0);
	rlock.depth = UINT32_MAX - 1;
	assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), 0);
	assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), -EAGAIN);
	assert_int_equal(rlock.depth, UINT32_MAX);
	rlock.depth = 1;
	assert_int_equal(ft_rlock_release(&rlock), 0);
}

static void *foreign(void *arg)
{
	struct ft_rlock *rlock = arg;
	intptr_t wrong = 0;

	wrong |= ft_rlock_acquire(rlock, FT_NOW) != -ETIMEDOUT;
	wrong |= ft_rlock_release(rlock) != -EPERM;
	wrong |= ft_rlock_depth(rlock) != 0;
	wrong |= ft_rlock_mine(rlock) || !ft_rlock_held(rlock);
	return (void *)wrong;
}

static void others_stay_out(void **state)
{
	struct ft_rlock rlock;
	pthread_t thread;
	void *wrong;

	(void)state;
	assert_int_equal(ft_rlock_init(&rlock, FT_PRIVATE), 0);
	assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), 0);
	assert_int_equal(pthread_create(&thread, NULL, foreign, &rlock), 0);
	pthread_join(thread, &wrong);
	assert_null(wrong);
	assert_int_equal(rlock.depth, 1);
	assert_int_equal(ft_rlock_release(&rlock), 0);
}

#define THREADS 4
#define TURNS 20000

struct counted {
	struct ft_rlock rlock;
	long count;
};

static void *count(void *arg)
{
	struct counted *counted = arg;

	for (int i = 0; i < TURNS; i++) {
		if (ft_rlock_acquire(&counted->rlock, FT_FOREVER) ||
		    ft_rlock_acquire(&counted->rlock, FT_FOREVER))
			return counted;
		counted->count++;
		if (ft_rlock_release(&counted->rlock) || ft_rlock_release(&counted->rlock))
			return counted;
	}
	return NULL;
}

static void excludes(void **state)
{
	struct counted counted = { .count = 0 };
	pthread_t threads[THREADS];
	void *wrong;

	(void)state;
	assert_int_equal(ft_rlock_init(&counted.rlock, FT_PRIVATE), 0);
	for (int i = 0; i < THREADS; i++)
		assert_int_equal(pthread_create(&threads[i], NULL, count, &counted), 0);
	for (int i = 0; i < THREADS; i++) {
		pthread_join(threads[i], &wrong);
		assert_null(wrong);
	}
	assert_int_equal(counted.count, THREADS * TURNS);
	assert_int_equal(counted.rlock.lock.word & ~FT_LOCK_WAITERS, 0);
}

static void saved_and_restored(void **state)
{
	struct ft_rlock rlock;

	(void)state;
	assert_int_equal(ft_rlock_init(&rlock, FT_PRIVATE), 0);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ft_rlock_acquire(&rlock, FT_NOW), 0);
	assert_int_equal(ft__rlock_release_all(&rlock), 5);
	assert_int_equal(rlock.lock.word, 0);
	assert_int_equal(ft__rlock_restore(&rlock, 5, FT_NOW), 0);
	assert_int_equal(ft_rlock_depth(&rlock), 5);
	for (int i = 0; i < 5; i++)
		assert_int_equal(ft_rlock_release(&rlock), 0);
	assert_int_equal(rlock.lock.word, 0);
}

static int die_deep(void *arg)
{
	struct ft_rlock *rlock = arg;

	for (int i = 0; i < 3; i++)
		REQUIRE(ft_rlock_acquire(rlock, FT_NOW) == 0);
	raise(SIGKILL);
	return 0;
}

static void owner_dies(void **state)
{
	struct ft_rlock *rlock;
	uint32_t owner;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*rlock), &block), 0);
	rlock = block;
	assert_int_equal(ft_rlock_init(rlock, FT_SHARED), 0);

	pid_t pid = worker_start(die_deep, rlock, &owner);

	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(rlock->depth, 3);
	assert_int_equal(ft__journal_settle(owner), 0);
	ft__slot_free(owner);
	assert_int_equal(ft_rlock_died(rlock), pid);
	assert_int_equal(ft_rlock_acquire(rlock, FT_NOW), -EOWNERDEAD);
	assert_int_equal(ft_rlock_depth(rlock), 1);
	assert_int_equal(ft_rlock_release(rlock), 0);
	assert_int_equal(ft_rlock_acquire(rlock, FT_NOW), 0);
	assert_int_equal(ft_rlock_release(rlock), 0);
	assert_int_equal(ft_block_free(block), 0);
}

static int in_fork(void *arg)
{
	struct ft_rlock *shared = arg, private;

	REQUIRE(ft_rlock_acquire(shared, FT_NOW) == -ECHILD);
	REQUIRE(ft_rlock_init(&private, FT_PRIVATE) == 0);
	REQUIRE(ft_rlock_acquire(&private, FT_NOW) == 0);
	REQUIRE(ft_rlock_acquire(&private, FT_NOW) == 0);
	REQUIRE(ft_rlock_release(&private) == 0 && ft_rlock_release(&private) == 0);
	return 0;
}

static void plain_fork(void **state)
{
	struct ft_rlock *rlock;
	void *block;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*rlock), &block), 0);
	rlock = block;
	assert_int_equal(ft_rlock_init(rlock, FT_SHARED), 0);
	assert_int_equal(child_run(in_fork, rlock), 0);
	assert_int_equal(ft_block_free(block), 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(words_and_depth), cmocka_unit_test(bad_arguments),
		cmocka_unit_test(depth_has_an_end), cmocka_unit_test(others_stay_out),
		cmocka_unit_test(excludes), cmocka_unit_test(saved_and_restored),
		cmocka_unit_test(owner_dies), cmocka_unit_test(plain_fork),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
