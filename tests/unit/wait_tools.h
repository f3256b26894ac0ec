/* SPDX-License-Identifier: MIT */
/* For tests of what waits: to know that a thread sleeps, and signals in plenty. */
#ifndef TESTS_WAIT_TOOLS_H
#define TESTS_WAIT_TOOLS_H

#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>

#include "os/atomic.h"

#define SECOND INT64_C(1000000000)

/* The test's own alarm ends a wait that never comes true. */
#define WAIT_FOR(what)                 \
	do {                           \
		while (!(what))        \
			sched_yield(); \
	} while (0)

/* Does the thread (of any process of ours) sleep in the kernel, in a futex call? */
static inline bool asleep(uint32_t tid)
{
	char path[64], line[256];
	bool found = false;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/syscall", tid);
	file = fopen(path, "r");
	if (!file)
		return false;
	if (fgets(line, sizeof(line), file))
		found = strtol(line, NULL, 10) == SYS_futex && line[0] != 'r';
	fclose(file);
	return found;
}

/* Until the thread that says its tid there sleeps. */
static inline void wait_asleep(uint32_t *tid)
{
	WAIT_FOR(ft__load32_acquire(tid) && asleep(ft__load32_acquire(tid)));
}

/* Has the thread's signal been taken?  Asked of the kernel, because a sanitizer
 * may put the handler off. */
static inline bool delivered(uint32_t tid)
{
	char path[64], line[256];
	unsigned long pending = 1;
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%u/status", tid);
	file = fopen(path, "r");
	while (file && fgets(line, sizeof(line), file))
		if (strncmp(line, "SigPnd:", 7) == 0)
			pending = strtoul(line + 7, NULL, 16);
	if (file)
		fclose(file);
	return pending == 0;
}

static uint32_t signals_caught;

static inline void count_signal(int signo)
{
	(void)signo;
	__atomic_fetch_add(&signals_caught, 1, __ATOMIC_RELAXED);
}

static inline void catch_signal(int signo)
{
	struct sigaction action = { .sa_handler = count_signal };

	signals_caught = 0;
	sigaction(signo, &action, NULL);
}

/* A signal every millisecond, to any thread; not SIGALRM, which is the limit. */
static timer_t storm_timer;

static inline bool storm_begin(void)
{
	struct sigevent event = { .sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR2 };
	struct itimerspec often = { { 0, 1000000 }, { 0, 1000000 } };

	catch_signal(SIGUSR2);
	return timer_create(CLOCK_MONOTONIC, &event, &storm_timer) == 0 &&
	       timer_settime(storm_timer, 0, &often, NULL) == 0;
}

static inline void storm_end(void)
{
	timer_delete(storm_timer);
}

#endif
