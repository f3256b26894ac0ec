/* SPDX-License-Identifier: MIT */
/* Victims for crash tests: a worker process that dies at the n-th point
 * (lib/os/point.h) of what it does, and what its supervisor would do then. */
#ifndef TESTS_VICTIM_H
#define TESTS_VICTIM_H

#include <stdbool.h>
#include <stdio.h>
#include <sys/mman.h>

#include "../unit/child.h"
#include "../unit/wait_tools.h"
#include "os/point.h"
#include "sync/journal.h"

/* A survivor that has not moved on by then hangs. */
#define PATIENCE (10 * SECOND)

/* Shared by fork, outside the arena. */
struct kills {
	uint32_t died;     /* by a point, that is */
	uint32_t finished; /* the last victim had no such point */
};
static struct kills *kills;

static long kill_at; /* in the victim */

static inline void kill_count_down(const char *file, int line)
{
	(void)file;
	(void)line;
	if (--kill_at != 0)
		return;
	kills->died++;
	kill(getpid(), SIGKILL);
}

struct victim {
	int (*act)(void *);
	void *arg;
	long at;
};

static inline int victim_run(void *arg)
{
	struct victim *victim = arg;

	kill_at = victim->at;
	ft__point = kill_count_down;

	int rc = victim->act(victim->arg);

	ft__point = NULL;
	kills->finished = 1;
	return rc;
}

static inline void kills_begin(void)
{
	kills = mmap(NULL, sizeof(*kills), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS,
		     -1, 0);
	REQUIRE(kills != MAP_FAILED);
	REQUIRE(ft__process() != 0);
}

static inline void kills_report(const char *what)
{
	printf("%s: %u killed\n", what, kills->died);
	kills->died = 0;
}

static inline void free_one(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	(void)ctx;
	(void)slot;
	ft__slot_free(owner);
}

/* What the supervisor does, but for blocks: nobody here has any. */
static inline void settle(uint32_t owner)
{
	REQUIRE(ft__journal_settle(owner) == 0);
	ft__slot_each(owner, free_one, NULL);
	ft__slot_free(owner);
}

static inline pid_t victim_start(struct victim *victim, uint32_t *owner)
{
	kills->finished = 0;

	pid_t pid = worker_start(victim_run, victim, owner);

	REQUIRE(pid > 0);
	return pid;
}

/* Until it sleeps, or is dead (and not yet waited for). */
static inline void wait_asleep_or_dead(pid_t pid)
{
	siginfo_t info;

	do {
		memset(&info, 0, sizeof(info));
		waitid(P_PID, (id_t)pid, &info, WEXITED | WNOHANG | WNOWAIT);
	} while (!info.si_pid && !asleep((uint32_t)pid) && sched_yield() == 0);
}

static inline void victim_end(pid_t pid, uint32_t owner)
{
	REQUIRE(child_end(pid) == (kills->finished ? 0 : 256 + SIGKILL));
	settle(owner);
}

/* Looks again and again; false: it never came true. */
#define COMES_TRUE(what)                                              \
	({                                                            \
		ft_deadline comes_true_until = ft_after(PATIENCE);    \
		bool comes_true;                                      \
		while (!(comes_true = (what)) && ft_now() < comes_true_until) \
			sched_yield();                                \
		comes_true;                                           \
	})

/* The same numbers in every run. */
static inline uint32_t dice(uint64_t *seed, uint32_t sides)
{
	*seed = *seed * UINT64_C(6364136223846793005) + UINT64_C(1442695040888963407);
	return (uint32_t)(*seed >> 33) % sides;
}

#endif
