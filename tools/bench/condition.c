/* SPDX-License-Identifier: MIT */
/* ft_condition against pthread_cond_t: two workers take turns. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

struct ours {
	struct ft_lock lock;
	struct ft_condition condition;
	unsigned turn; /* under the lock */
};

struct glibc {
	pthread_mutex_t lock;
	pthread_cond_t condition;
	unsigned turn; /* under the lock */
};

static void ours_role(void *object, unsigned index, long count)
{
	struct ours *ours = object;

	for (long i = 0; i < count; i++) {
		BENCH_NEED(ft_lock_acquire(&ours->lock, FT_FOREVER));
		while (ours->turn != index)
			BENCH_NEED(ft_condition_wait(&ours->condition, &ours->lock, FT_FOREVER));
		ours->turn = !index;
		ft_condition_notify(&ours->condition, 1);
		ft_lock_release(&ours->lock);
	}
}

static void ours_open(struct bench_job *job)
{
	struct ours *ours = bench_shared(sizeof(*ours));

	BENCH_NEED(ft_lock_init(&ours->lock, FT_SHARED));
	BENCH_NEED(ft_condition_init(&ours->condition, FT_SHARED));
	job->object = ours;
	job->crew = bench_crew_open(job->row->kind, 2, ours_role, ours);
}

static void glibc_role(void *object, unsigned index, long count)
{
	struct glibc *glibc = object;

	for (long i = 0; i < count; i++) {
		pthread_mutex_lock(&glibc->lock);
		while (glibc->turn != index)
			pthread_cond_wait(&glibc->condition, &glibc->lock);
		glibc->turn = !index;
		pthread_cond_signal(&glibc->condition);
		pthread_mutex_unlock(&glibc->lock);
	}
}

static void glibc_open(struct bench_job *job)
{
	struct glibc *glibc = bench_shared(sizeof(*glibc));
	pthread_mutexattr_t lock;
	pthread_condattr_t condition;

	pthread_mutexattr_init(&lock);
	pthread_condattr_init(&condition);
	BENCH_NEED(pthread_mutexattr_setpshared(&lock, PTHREAD_PROCESS_SHARED));
	BENCH_NEED(pthread_condattr_setpshared(&condition, PTHREAD_PROCESS_SHARED));
	BENCH_NEED(pthread_mutex_init(&glibc->lock, &lock));
	BENCH_NEED(pthread_cond_init(&glibc->condition, &condition));
	pthread_mutexattr_destroy(&lock);
	pthread_condattr_destroy(&condition);
	job->object = glibc;
	job->crew = bench_crew_open(job->row->kind, 2, glibc_role, glibc);
}

#define OURS { "freethreading", NULL, ours_open, bench_run_crew, bench_close_shared, NULL }
#define GLIBC { "glibc", NULL, glibc_open, bench_run_crew, bench_close_shared, NULL }

static const struct bench_subject spinning[] = { OURS, BENCH_BARE_LINE, GLIBC, { 0 } };
static const struct bench_subject parked[] = { OURS, BENCH_BARE_FUTEX, GLIBC, { 0 } };

const struct bench_row bench_condition_rows[] = {
	{ .name = "c.condition.handoff",
	  .group = "C: barriers and conditions",
	  .title = "ft_condition hand-off, round trip",
	  .subjects = spinning,
	  .workers = 2,
	  .kind = FT_WORKER_PROCESS },
	{ .name = "c.condition.parked",
	  .group = "C: barriers and conditions",
	  .title = "ft_condition hand-off, parked",
	  .subjects = parked,
	  .workers = 2,
	  .kind = FT_WORKER_PROCESS,
	  .policy = "passive" },
	{ 0 },
};
