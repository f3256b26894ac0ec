/* SPDX-License-Identifier: MIT */
/* What tests of lib/sync share: waiting for a state instead of for a time,
 * threads that report, and the supervisor's part after a death. */
#ifndef TESTS_SYNC_TOOLS_H
#define TESTS_SYNC_TOOLS_H

#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>

#include "child.h"
#include "mem/block.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "sync/journal.h"
#include "sync/lock.h"
#include "sync/queue.h"

#define MS INT64_C(1000000)
#define LONG (20000 * MS) /* far more than any step takes on a busy machine */

/* Waits until something is so; a test whose step never comes fails here. */
#define UNTIL(what)                                                                           \
	do {                                                                                  \
		ft_deadline until_ = ft_after(LONG);                                          \
		bool so_;                                                                     \
		while (!(so_ = (what)) && !ft__passed(until_))                                \
			sched_yield();                                                        \
		REQUIRE(so_ && #what);                                                        \
	} while (0)

/* Does the thread sleep in the kernel? */
static inline bool asleep(pid_t pid, pid_t tid)
{
	char path[64], text[256];
	bool sleeps = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/task/%d/stat", pid, tid);
	file = fopen(path, "r");
	if (file && fgets(text, sizeof(text), file)) {
		const char *name_end = strrchr(text, ')');

		sleeps = name_end && strncmp(name_end, ") S", 3) == 0;
	}
	if (file)
		fclose(file);
	return sleeps;
}

static inline void *shared_alloc(size_t size)
{
	void *p = NULL;

	REQUIRE(ft_block_alloc(size, &p) == 0);
	memset(p, 0, size);
	return p;
}

/* Pages that processes share, outside the arena. */
static inline void *outside_alloc(size_t size)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	REQUIRE(p != MAP_FAILED);
	return p;
}

static inline void free_slot(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	(void)slot;
	ft__slot_free(owner);
}

/* What the supervisor does after a death that the kernel proved. */
static inline void settle_death(uint32_t dead)
{
	UNTIL(ft__journal_settle(dead) == 0);
	ft__block_sweep(dead, NULL);
	REQUIRE(ft__block_count(dead) == 0);
	ft__slot_each(dead, free_slot, NULL);
	ft__slot_free(dead);
}

/* A thread that runs one call and keeps its answer. */
struct helper {
	pthread_t thread;
	int (*run)(void *arg);
	void *arg;
	int rc;
	uint32_t tid, owner, number, done; /* atomic */
};

static inline void *helper_main(void *arg)
{
	struct helper *helper = arg;

	ft__store32_seq_cst(&helper->tid, (uint32_t)syscall(SYS_gettid));
	helper->rc = helper->run(helper->arg);
	ft__store32_seq_cst(&helper->owner, ft__self_tls.owner);
	ft__store32_seq_cst(&helper->number, ft__thread_number());
	ft__store32_seq_cst(&helper->done, 1);
	return NULL;
}

static inline void helper_start(struct helper *helper, int (*run)(void *), void *arg)
{
	*helper = (struct helper){ .run = run, .arg = arg };
	REQUIRE(pthread_create(&helper->thread, NULL, helper_main, helper) == 0);
}

static inline bool helper_asleep(const struct helper *helper)
{
	uint32_t tid = ft__load32_seq_cst(&helper->tid);

	return tid && asleep(getpid(), (pid_t)tid);
}

static inline int helper_join(struct helper *helper)
{
	REQUIRE(pthread_join(helper->thread, NULL) == 0);
	return helper->rc;
}

/* A signal every millisecond, to this process, while it is on.  The thread
 * sanitizer runs a handler only when the thread calls into libc next, so that
 * there the count says nothing about how often a wait was interrupted. */
#ifdef FT__TSAN
#define STORM_CAME(before) ((void)(before), true)
#else
#define STORM_CAME(before) (ft__load32_seq_cst(&storm_signals) != (before))
#endif
static uint32_t storm_signals; /* atomic */

static inline void storm_handler(int signo)
{
	(void)signo;
	ft__add32_seq_cst(&storm_signals, 1);
}

static inline timer_t storm_start(int signo)
{
	struct sigaction action = { .sa_handler = storm_handler };
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = signo };
	struct itimerspec every = { .it_value.tv_nsec = MS, .it_interval.tv_nsec = MS };
	timer_t timer;

	REQUIRE(sigaction(signo, &action, NULL) == 0);
	REQUIRE(timer_create(CLOCK_MONOTONIC, &event, &timer) == 0);
	REQUIRE(timer_settime(timer, 0, &every, NULL) == 0);
	return timer;
}

#endif
