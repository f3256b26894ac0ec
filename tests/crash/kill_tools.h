/* SPDX-License-Identifier: MIT */
/*
 * For tests that kill a process at every store to shared pages, while others
 * contend with it: victims, survivors, and the accounts of both.
 *
 * A victim counts the points it passes and kills itself at one of them; all
 * others, and the victim until then, are delayed at random points, so that each
 * kill meets another schedule.  FT_SEED chooses the random numbers.
 */
#ifndef TESTS_KILL_TOOLS_H
#define TESTS_KILL_TOOLS_H

#include "../unit/sync_tools.h"

#define SURVIVORS 2
#define PATIENCE (2000 * MS) /* survivors must go on within this */

static _Thread_local uint64_t seed = 1;
static long points_left; /* in a victim: it dies at 0 */

static inline uint32_t random_number(void)
{
	seed = seed * UINT64_C(6364136223846793005) + 1442695040888963407;
	return (uint32_t)(seed >> 33);
}

static inline void delay_at_random(const char *file, int line)
{
	struct timespec nap = { .tv_nsec = 20000 };
	uint32_t r = random_number() % 256;

	(void)file;
	(void)line;
	if (r < 16)
		sched_yield();
	else if (r == 16)
		nanosleep(&nap, NULL);
}

/* Where victims died, in shared pages; each victim writes one entry: the address
 * behind the point, as a point in an inline function is in many places. */
#define SITES 65536
static void **sites;
static uint32_t *site_count;

static inline void count_down(const char *file, int line)
{
	if (--points_left == 0) {
		uint32_t i;

		ft__point = NULL; /* the count has points itself */
		i = ft__add32_seq_cst(site_count, 1);
		if (i < SITES)
			sites[i] = __builtin_return_address(0);
		kill(getpid(), SIGKILL);
	}
	delay_at_random(file, line);
}

/* Where nobody else is around: the same schedule each time. */
static inline void die_alone(const char *file, int line)
{
	(void)file;
	(void)line;
	if (--points_left == 0)
		kill(getpid(), SIGKILL);
}

/* Does what is to be done, and dies at one of its points, or says that it ended. */
static inline int die_at(long at, int (*act)(void), uint32_t *finished)
{
	int rc;

	points_left = at;
	ft__point = die_alone;
	rc = act();
	ft__point = NULL;
	*finished = 1;
	return rc;
}

static inline void sites_open(void)
{
	sites = outside_alloc(SITES * sizeof(*sites));
	site_count = outside_alloc(sizeof(*site_count));
}

/* Tells at how many different points victims died since the last time. */
static inline int sites_different(void)
{
	uint32_t count = *site_count < SITES ? *site_count : SITES;
	int different = 0;

	for (uint32_t i = 0; i < count; i++) {
		uint32_t j = 0;

		while (j < i && sites[j] != sites[i])
			j++;
		different += j == i;
	}
	*site_count = 0;
	return different;
}

static inline void seed_from_environment(void)
{
	const char *text = getenv("FT_SEED");

	seed = text ? strtoull(text, NULL, 0) : (uint64_t)getpid();
	sites_open();
	printf("FT_SEED=%llu\n", (unsigned long long)seed);
	fflush(stdout);
}

/* A process that goes on for as long as `stop` is 0; progress is its own. */
struct survivor {
	int (*run)(void *stage, struct survivor *self);
	void *stage;
	uint32_t progress, stop; /* atomic */
	uint32_t owner;
	uint64_t seed;
	pid_t pid;
};

static inline int survivor_main(void *arg)
{
	struct survivor *survivor = arg;

	seed = survivor->seed;
	ft__point = delay_at_random;
	return survivor->run(survivor->stage, survivor);
}

/* In pages that are shared already. */
static inline void survivor_start(struct survivor *survivor,
				  int (*run)(void *, struct survivor *), void *stage)
{
	*survivor = (struct survivor){ .run = run, .stage = stage, .seed = random_number() };

	uint32_t owner;

	survivor->pid = worker_start(survivor_main, survivor, &owner);
	survivor->owner = owner;
	REQUIRE(survivor->pid > 0);
}

static inline void survivor_end(struct survivor *survivor)
{
	REQUIRE(child_end(survivor->pid) == 0);
	settle_death(survivor->owner);
}

/* Long enough for others to come and park. */
static inline void linger(void)
{
	struct timespec nap = { .tv_nsec = random_number() % 4 * 20000 };

	if (nap.tv_nsec)
		nanosleep(&nap, NULL);
}

static inline bool going_on(const struct survivor *survivor)
{
	return !ft__load32_seq_cst(&survivor->stop);
}

/* Every survivor must get on by `steps`. */
static inline bool survivors_go_on(struct survivor *survivors, uint32_t steps)
{
	ft_deadline late = ft_after(PATIENCE);
	uint32_t from[SURVIVORS];

	for (int i = 0; i < SURVIVORS; i++)
		from[i] = ft__load32_seq_cst(&survivors[i].progress);
	for (int i = 0; i < SURVIVORS; i++) {
		while (ft__load32_seq_cst(&survivors[i].progress) - from[i] < steps) {
			if (ft__passed(late))
				return false;
			sched_yield();
		}
	}
	return true;
}

struct victim {
	int (*run)(void *stage);
	void *stage;
	long at; /* the point to die at */
	uint64_t seed;
};

static inline int victim_main(void *arg)
{
	struct victim *victim = arg;

	seed = victim->seed;
	points_left = victim->at;
	ft__point = count_down;
	return victim->run(victim->stage);
}

#define VICTIMS 2

/* Two at a time, so that deaths meet each other: the first dies at point `at`,
 * the second at one of the first `most`. */
struct deaths {
	pid_t pids[VICTIMS];
	uint32_t owners[VICTIMS];
	bool died[VICTIMS];
};

static inline bool ended(struct deaths *deaths, int i)
{
	int status;
	pid_t pid = waitpid(deaths->pids[i], &status, WNOHANG);

	if (pid != deaths->pids[i])
		return false;
	deaths->died[i] = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
	REQUIRE(deaths->died[i] || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
	return true;
}

/* The supervisor's part, in any order: one may be held up by the other. */
static inline void settle_deaths(struct deaths *deaths)
{
	bool dead[VICTIMS] = { false }, settled[VICTIMS] = { false };
	ft_deadline late = ft_after(LONG);

	for (int left = VICTIMS; left > 0; sched_yield()) {
		int i = (int)(random_number() % VICTIMS);

		REQUIRE(!ft__passed(late));
		dead[i] = dead[i] || ended(deaths, i);
		if (settled[i] || !dead[i] || ft__journal_settle(deaths->owners[i]) != 0)
			continue;
		settle_death(deaths->owners[i]);
		settled[i] = true;
		left--;
	}
}

static inline void victims_run(int (*run)(void *), void *stage, long at, long most,
			       struct deaths *deaths)
{
	struct victim victim = { .run = run, .stage = stage };

	for (int i = 0; i < VICTIMS; i++) {
		victim.at = i ? random_number() % most + 1 : at;
		victim.seed = random_number();
		deaths->pids[i] = worker_start(victim_main, &victim, &deaths->owners[i]);
		REQUIRE(deaths->pids[i] > 0);
	}
	settle_deaths(deaths);
}

#endif
