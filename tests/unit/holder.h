/* SPDX-License-Identifier: MIT */
/* A stopped holder of an object's inner lock: a thread that does not go on. */
#ifndef TESTS_HOLDER_H
#define TESTS_HOLDER_H

#include <pthread.h>

#include <freethreading/event.h>

#include "child.h"
#include "sync/lock.h"

struct holder {
	struct ft_lock *lock;
	pthread_t thread;
	struct ft_event held, go_on;
};

static inline void *hold_on(void *arg)
{
	struct holder *holder = arg;

	REQUIRE(ft_lock_acquire(holder->lock, FT_FOREVER) == 0);
	ft_event_set(&holder->held);
	REQUIRE(ft_event_wait(&holder->go_on, FT_FOREVER) == 0);
	REQUIRE(ft_lock_release(holder->lock) == 0);
	return NULL;
}

/* Back when it has the lock. */
static inline void hold(struct holder *holder, struct ft_lock *lock)
{
	*holder = (struct holder){ .lock = lock };
	ft_event_init(&holder->held, FT_PRIVATE);
	ft_event_init(&holder->go_on, FT_PRIVATE);
	REQUIRE(pthread_create(&holder->thread, NULL, hold_on, holder) == 0);
	REQUIRE(ft_event_wait(&holder->held, FT_FOREVER) == 0);
}

static inline void let_go(struct holder *holder)
{
	ft_event_set(&holder->go_on);
	REQUIRE(pthread_join(holder->thread, NULL) == 0);
}

#endif
