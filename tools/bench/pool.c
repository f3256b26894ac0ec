/* SPDX-License-Identifier: MIT */
/* ft_pool with empty tasks, against GLib's thread pool and an OpenMP loop. */
#include "bench.h"

#include <errno.h>
#include <stdlib.h>

#ifdef HAVE_GLIB
#include <glib.h>
#define GLIB_OFF NULL
#else
#define GLIB_OFF "configure did not find GLib (Debian: libglib2.0-dev)"
#endif

#ifdef HAVE_OPENMP
#include <omp.h>
#define OPENMP_OFF NULL
#else
#define OPENMP_OFF "the compiler has no -fopenmp"
#endif

#define WORKERS 2
#define BATCH 1000 /* futures at a time */

/* ---- ft_pool ---- */

static int empty_task(struct ft_task *task)
{
	(void)task;
	return 0;
}

static void ours_open(struct bench_job *job)
{
	struct ft_pool_options options = {
		.size = sizeof(options),
		.kind = job->row->kind,
		.workers = WORKERS,
	};
	struct ft_pool *pool;

	BENCH_NEED(ft_pool_open(&pool, &options));
	job->object = pool;
}

static int64_t ours_map(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	BENCH_NEED(ft_pool_map(job->object, empty_task, NULL, 0, NULL, 0, (size_t)count));
	return bench_now() - start;
}

static void submit_and_wait(struct ft_pool *pool, long count)
{
	struct ft_future *futures[BATCH];
	struct ft_call call = { .main = empty_task };

	for (long i = 0; i < count; i++)
		BENCH_NEED(ft_pool_submit(pool, &call, &futures[i]));
	BENCH_NEED(ft_future_wait_all(futures, (size_t)count, FT_FOREVER));
	for (long i = 0; i < count; i++)
		ft_future_free(futures[i]);
}

static int64_t ours_submit(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	for (long left = count; left > 0; left -= BATCH)
		submit_and_wait(job->object, left < BATCH ? left : BATCH);
	return bench_now() - start;
}

static int64_t ours_trip(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	for (long i = 0; i < count; i++)
		submit_and_wait(job->object, 1);
	return bench_now() - start;
}

static void ours_close(struct bench_job *job)
{
	BENCH_NEED(ft_pool_close(job->object));
	BENCH_NEED(ft_pool_join(job->object, FT_FOREVER));
	BENCH_NEED(ft_pool_free(job->object));
}

/* ---- GLib ---- */

#ifdef HAVE_GLIB
struct glib {
	GThreadPool *pool;
	GMutex lock;
	GCond through;
	gint left; /* tasks of this sample; the one that ends it signals */
};

static void glib_task(gpointer data, gpointer user)
{
	struct glib *glib = user;

	(void)data;
	if (!g_atomic_int_dec_and_test(&glib->left))
		return;
	g_mutex_lock(&glib->lock);
	g_cond_signal(&glib->through);
	g_mutex_unlock(&glib->lock);
}

static void glib_open(struct bench_job *job)
{
	struct glib *glib = calloc(1, sizeof(*glib));

	if (!glib)
		bench_fail("glib", ENOMEM);
	g_mutex_init(&glib->lock);
	g_cond_init(&glib->through);
	glib->pool = g_thread_pool_new(glib_task, glib, WORKERS, TRUE, NULL);
	if (!glib->pool)
		bench_fail("g_thread_pool_new", EAGAIN);
	job->object = glib;
}

static void glib_push(struct glib *glib, long count)
{
	g_atomic_int_set(&glib->left, (gint)count);
	for (long i = 0; i < count; i++)
		g_thread_pool_push(glib->pool, glib, NULL);
	g_mutex_lock(&glib->lock);
	while (g_atomic_int_get(&glib->left))
		g_cond_wait(&glib->through, &glib->lock);
	g_mutex_unlock(&glib->lock);
}

static int64_t glib_run(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	glib_push(job->object, count);
	return bench_now() - start;
}

static int64_t glib_trip(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	for (long i = 0; i < count; i++)
		glib_push(job->object, 1);
	return bench_now() - start;
}

static void glib_close(struct bench_job *job)
{
	struct glib *glib = job->object;

	g_thread_pool_free(glib->pool, FALSE, TRUE);
	g_mutex_clear(&glib->lock);
	g_cond_clear(&glib->through);
	free(glib);
}
#define GLIB(run) { "GLib", NULL, glib_open, run, glib_close, NULL }
#else
#define GLIB(run) { "GLib", GLIB_OFF, NULL, NULL, NULL, NULL }
#endif

/* ---- OpenMP ---- */

#ifdef HAVE_OPENMP
static __attribute__((noinline)) void empty_body(long i)
{
	__asm__ volatile("" : : "r"(i));
}

static int64_t openmp_run(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	(void)job;
#pragma omp parallel for num_threads(WORKERS) schedule(dynamic, 1)
	for (long i = 0; i < count; i++)
		empty_body(i);
	return bench_now() - start;
}
#define OPENMP { "OpenMP loop", NULL, NULL, openmp_run, NULL, NULL }
#else
#define OPENMP { "OpenMP loop", OPENMP_OFF, NULL, NULL, NULL, NULL }
#endif

#define OURS(run) { "freethreading", NULL, ours_open, run, ours_close, NULL }

static const struct bench_subject map_processes[] = { OURS(ours_map), { 0 } };
static const struct bench_subject submit_processes[] = { OURS(ours_submit), { 0 } };
static const struct bench_subject trip_processes[] = { OURS(ours_trip), BENCH_BARE_LINE, { 0 } };
static const struct bench_subject map_threads[] = { OURS(ours_map), GLIB(glib_run), OPENMP, { 0 } };
static const struct bench_subject submit_threads[] = { OURS(ours_submit), GLIB(glib_run), { 0 } };
static const struct bench_subject trip_threads[] = { OURS(ours_trip), GLIB(glib_trip), { 0 } };

#define ROW(id, text, who, sort, number)                                                           \
	{                                                                                          \
		.name = id, .group = "C: a pool of two, empty tasks", .title = text,               \
		.subjects = who, .workers = 2, .kind = sort, .count = number                       \
	}

const struct bench_row bench_pool_rows[] = {
	ROW("c.pool.map", "ft_pool_map, processes, a task", map_processes, FT_WORKER_PROCESS,
	    20000),
	ROW("c.pool.submit", "ft_pool_submit, processes, a task", submit_processes,
	    FT_WORKER_PROCESS, 10000),
	ROW("c.pool.trip", "ft_pool, processes, round trip", trip_processes, FT_WORKER_PROCESS, 0),
	ROW("c.pool.map.threads", "ft_pool_map, threads, a task", map_threads, FT_WORKER_THREAD,
	    20000),
	ROW("c.pool.submit.threads", "ft_pool_submit, threads, a task", submit_threads,
	    FT_WORKER_THREAD, 10000),
	ROW("c.pool.trip.threads", "ft_pool, threads, round trip", trip_threads, FT_WORKER_THREAD,
	    0),
	{ 0 },
};
