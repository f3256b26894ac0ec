/* SPDX-License-Identifier: MIT */
/* ft_semaphore and ft_event against sem_t: units, and hand-offs. */
#include "bench.h"

#include <errno.h>
#include <semaphore.h>
#include <stdlib.h>

/* ---- one that nobody waits for ---- */

static void ours_open(struct bench_job *job)
{
	job->object = bench_shared(sizeof(struct ft_semaphore));
	BENCH_NEED(ft_semaphore_init(job->object, 1, 0, FT_SHARED));
}

static int64_t ours_run(struct bench_job *job, long count)
{
	struct ft_semaphore *semaphore = job->object;
	int64_t start = bench_now();

	for (long i = 0; i < count; i++)
		if (ft_semaphore_acquire(semaphore, FT_FOREVER) ||
		    ft_semaphore_release(semaphore, 1))
			bench_fail("ft_semaphore", EUCLEAN);
	return bench_now() - start;
}

static void glibc_open(struct bench_job *job)
{
	job->object = bench_shared(sizeof(sem_t));
	if (sem_init(job->object, 1, 1))
		bench_fail("sem_init", errno);
}

static int64_t glibc_run(struct bench_job *job, long count)
{
	sem_t *semaphore = job->object;
	int64_t start = bench_now();

	for (long i = 0; i < count; i++)
		if (sem_wait(semaphore) || sem_post(semaphore))
			bench_fail("sem_wait", errno);
	return bench_now() - start;
}

/* ---- a unit that goes to and fro: two semaphores ---- */

static void ours_role(void *object, unsigned index, long count)
{
	struct ft_semaphore *pair = object;

	for (long i = 0; i < count; i++)
		if (ft_semaphore_acquire(&pair[index], FT_FOREVER) ||
		    ft_semaphore_release(&pair[!index], 1))
			bench_fail("ft_semaphore", EUCLEAN);
}

static void ours_pair_open(struct bench_job *job)
{
	struct ft_semaphore *pair = bench_shared(2 * sizeof(*pair));

	BENCH_NEED(ft_semaphore_init(&pair[0], 1, 0, FT_SHARED));
	BENCH_NEED(ft_semaphore_init(&pair[1], 0, 0, FT_SHARED));
	job->object = pair;
	job->crew = bench_crew_open(job->row->kind, 2, ours_role, pair);
}

static void glibc_role(void *object, unsigned index, long count)
{
	sem_t *pair = object;

	for (long i = 0; i < count; i++)
		if (sem_wait(&pair[index]) || sem_post(&pair[!index]))
			bench_fail("sem_wait", errno);
}

static void glibc_pair_open(struct bench_job *job)
{
	sem_t *pair = bench_shared(2 * sizeof(*pair));

	if (sem_init(&pair[0], 1, 1) || sem_init(&pair[1], 1, 0))
		bench_fail("sem_init", errno);
	job->object = pair;
	job->crew = bench_crew_open(job->row->kind, 2, glibc_role, pair);
}

/* ---- the same with two events ---- */

static void event_role(void *object, unsigned index, long count)
{
	struct ft_event *pair = object;

	for (long i = 0; i < count; i++)
		if (ft_event_wait(&pair[index], FT_FOREVER) || ft_event_clear(&pair[index]) ||
		    ft_event_set(&pair[!index]))
			bench_fail("ft_event", EUCLEAN);
}

static void event_open(struct bench_job *job)
{
	struct ft_event *pair = bench_shared(2 * sizeof(*pair));

	BENCH_NEED(ft_event_init(&pair[0], FT_SHARED));
	BENCH_NEED(ft_event_init(&pair[1], FT_SHARED));
	BENCH_NEED(ft_event_set(&pair[0]));
	job->object = pair;
	job->crew = bench_crew_open(job->row->kind, 2, event_role, pair);
}

static const struct bench_subject alone[] = {
	{ "freethreading", NULL, ours_open, ours_run, bench_close_shared, NULL },
	{ "glibc", NULL, glibc_open, glibc_run, bench_close_shared, NULL },
	{ 0 },
};

#define OURS { "freethreading", NULL, ours_pair_open, bench_run_crew, bench_close_shared, NULL }
#define EVENT { "freethreading", NULL, event_open, bench_run_crew, bench_close_shared, NULL }
#define GLIBC { "glibc", NULL, glibc_pair_open, bench_run_crew, bench_close_shared, NULL }

static const struct bench_subject spinning[] = { OURS, BENCH_BARE_LINE, GLIBC, { 0 } };
static const struct bench_subject parked[] = { OURS, BENCH_BARE_FUTEX, GLIBC, { 0 } };
static const struct bench_subject event_spinning[] = { EVENT, BENCH_BARE_LINE, { 0 } };
static const struct bench_subject event_parked[] = { EVENT, BENCH_BARE_FUTEX, { 0 } };

#define ROW(id, text, who, number, wait)                                                           \
	{                                                                                          \
		.name = id, .group = "C: semaphores and events", .title = text, .subjects = who,   \
		.workers = number, .kind = FT_WORKER_PROCESS, .policy = wait                       \
	}

const struct bench_row bench_semaphore_rows[] = {
	ROW("c.semaphore.alone", "ft_semaphore acquire+release", alone, 1, NULL),
	ROW("c.semaphore.handoff", "ft_semaphore hand-off, round trip", spinning, 2, NULL),
	ROW("c.semaphore.parked", "ft_semaphore hand-off, parked", parked, 2, "passive"),
	ROW("c.event.handoff", "ft_event hand-off, round trip", event_spinning, 2, NULL),
	ROW("c.event.parked", "ft_event hand-off, parked", event_parked, 2, "passive"),
	{ 0 },
};
