/* SPDX-License-Identifier: MIT */
/* ft_worker against pthread_create and fork. */
#include "bench.h"

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

static int64_t ours_run(struct bench_job *job, long count)
{
	struct ft_worker_options options = {
		.size = sizeof(options),
		.kind = job->row->kind,
		.spawner = job->object,
	};
	int64_t start = bench_now();

	for (long i = 0; i < count; i++) {
		struct ft_worker *worker;

		BENCH_NEED(ft_worker_start(&worker, &options, nothing, NULL));
		BENCH_NEED(ft_worker_join(worker, FT_FOREVER));
		BENCH_NEED(ft_worker_free(worker));
	}
	return bench_now() - start;
}

static void spawner_open(struct bench_job *job)
{
	struct ft_spawner_options options = { .size = sizeof(options) };
	struct ft_spawner *spawner;

	BENCH_NEED(ft_spawner_start(&spawner, &options));
	job->object = spawner;
}

static void spawner_close(struct bench_job *job)
{
	BENCH_NEED(ft_spawner_stop(job->object));
}

static const struct bench_subject process[] = {
	{ "freethreading", NULL, NULL, ours_run, NULL, NULL },
	{ "fork", NULL, NULL, bench_fork_run, NULL, NULL },
	{ 0 },
};
static const struct bench_subject spawned[] = {
	{ "freethreading", NULL, spawner_open, ours_run, spawner_close, NULL },
	{ "fork", NULL, NULL, bench_fork_run, NULL, NULL },
	{ 0 },
};
static const struct bench_subject thread[] = {
	{ "freethreading", NULL, NULL, ours_run, NULL, NULL },
	{ "pthread_create", NULL, NULL, bench_thread_run, NULL, NULL },
	{ 0 },
};

#define ROW(id, text, who, sort)                                                                   \
	{                                                                                          \
		.name = id, .group = "C: workers", .title = text, .subjects = who, .workers = 1,   \
		.kind = sort                                                                       \
	}

const struct bench_row bench_worker_rows[] = {
	ROW("c.worker.process", "ft_worker, process, start+join", process, FT_WORKER_PROCESS),
	ROW("c.worker.spawned", "ft_worker, from a spawner", spawned, FT_WORKER_PROCESS),
	ROW("c.worker.thread", "ft_worker, thread, start+join", thread, FT_WORKER_THREAD),
	{ 0 },
};
