/* SPDX-License-Identifier: MIT */
/* What the tests of conditions share: a condition with its lock, and threads
 * that wait on it. */
#ifndef FT_TESTS_CONDITION_TOOLS_H
#define FT_TESTS_CONDITION_TOOLS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <pthread.h>

#include "child.h"
#include "os/atomic.h"
#include "sync/condition.h"
#include "sync/journal.h"
#include "sync/node.h"
#include "wait_tools.h"

struct both {
	struct ft_lock lock;
	struct ft_condition condition;
};

static inline struct both *both_new(uint32_t flags)
{
	struct both *both;
	void *block;

	assert_int_equal(ft_block_alloc(sizeof(*both), &block), 0);
	both = block;
	assert_int_equal(ft_lock_init(&both->lock, flags), 0);
	assert_int_equal(ft_condition_init(&both->condition, flags & ~FT_LOCK_UNOWNED), 0);
	return both;
}

struct waiter {
	struct both *both;
	pthread_t thread;
	uint32_t tid, order;
	int rc;
};

static uint32_t woken; /* under the lock */

static inline void *waiter_run(void *arg)
{
	struct waiter *waiter = arg;
	struct both *both = waiter->both;

	if (ft_lock_acquire(&both->lock, FT_FOREVER))
		return waiter;
	ft__store32_release(&waiter->tid, (uint32_t)gettid());
	waiter->rc = ft_condition_wait(&both->condition, &both->lock, FT_FOREVER);
	ft__store32_release(&waiter->order, ++woken);
	return ft_lock_release(&both->lock) ? waiter : NULL;
}

static inline void waiter_start(struct waiter *waiter, struct both *both)
{
	*waiter = (struct waiter){ .both = both };
	assert_int_equal(pthread_create(&waiter->thread, NULL, waiter_run, waiter), 0);
	wait_asleep(&waiter->tid);
}

static inline void waiter_end(struct waiter *waiter, int rc)
{
	void *wrong;

	pthread_join(waiter->thread, &wrong);
	assert_null(wrong);
	assert_int_equal(waiter->rc, rc);
}

static inline void notify(struct both *both, uint32_t n, int want)
{
	assert_int_equal(ft_lock_acquire(&both->lock, FT_FOREVER), 0);
	assert_int_equal(ft_condition_notify(&both->condition, n), want);
	assert_int_equal(ft_lock_release(&both->lock), 0);
}

#endif
