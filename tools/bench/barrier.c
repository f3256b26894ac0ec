/* SPDX-License-Identifier: MIT */
/* ft_barrier against pthread_barrier_t. */
#include "bench.h"

#include <pthread.h>
#include <stdlib.h>

static void ours_role(void *object, unsigned index, long count)
{
	(void)index;
	for (long i = 0; i < count; i++) {
		int rc = ft_barrier_wait(object, FT_FOREVER);

		if (rc < 0)
			bench_fail("ft_barrier_wait", rc);
	}
}

static void ours_open(struct bench_job *job)
{
	job->object = bench_shared(sizeof(struct ft_barrier));
	BENCH_NEED(ft_barrier_init(job->object, job->row->workers, FT_SHARED));
	job->crew = bench_crew_open(job->row->kind, job->row->workers, ours_role, job->object);
}

static void glibc_role(void *object, unsigned index, long count)
{
	(void)index;
	for (long i = 0; i < count; i++) {
		int rc = pthread_barrier_wait(object);

		if (rc && rc != PTHREAD_BARRIER_SERIAL_THREAD)
			bench_fail("pthread_barrier_wait", rc);
	}
}

static void glibc_open(struct bench_job *job)
{
	pthread_barrierattr_t attr;

	job->object = bench_shared(sizeof(pthread_barrier_t));
	pthread_barrierattr_init(&attr);
	BENCH_NEED(pthread_barrierattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	BENCH_NEED(pthread_barrier_init(job->object, &attr, job->row->workers));
	pthread_barrierattr_destroy(&attr);
	job->crew = bench_crew_open(job->row->kind, job->row->workers, glibc_role, job->object);
}

#define OURS { "freethreading", NULL, ours_open, bench_run_crew, bench_close_shared, NULL }
#define GLIBC { "glibc", NULL, glibc_open, bench_run_crew, bench_close_shared, NULL }

static const struct bench_subject two[] = { OURS, BENCH_BARE_LINE, GLIBC, { 0 } };
static const struct bench_subject many[] = { OURS, GLIBC, { 0 } };

const struct bench_row bench_barrier_rows[] = {
	{ .name = "c.barrier.2",
	  .group = "C: barriers and conditions",
	  .title = "ft_barrier of 2, a crossing",
	  .subjects = two,
	  .workers = 2,
	  .kind = FT_WORKER_PROCESS },
	{ .name = "c.barrier.16",
	  .group = "C: barriers and conditions",
	  .title = "ft_barrier of 16, a crossing",
	  .subjects = many,
	  .workers = 16,
	  .kind = FT_WORKER_PROCESS,
	  .sample = 20000000 },
	{ 0 },
};
