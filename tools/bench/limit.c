/* SPDX-License-Identifier: MIT */
/* What the machine itself takes: the floor under everything else. */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)
#define FAR_MIB 256 /* beyond any cache */

/* ---- a word that two workers hand to each other ---- */

/* Worker i waits for the word to say i, and makes it say the other one. */
static void line_role(void *object, unsigned index, long count)
{
	uint32_t *word = object;

	for (long i = 0; i < count; i++) {
		while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != index)
			bench_pause();
		__atomic_store_n(word, !index, __ATOMIC_RELEASE);
	}
}

static void futex_role(void *object, unsigned index, long count)
{
	uint32_t *word = object;

	for (long i = 0; i < count; i++) {
		while (__atomic_load_n(word, __ATOMIC_ACQUIRE) != index)
			bench_futex_wait(word, !index);
		__atomic_store_n(word, !index, __ATOMIC_RELEASE);
		bench_futex_wake(word, 1);
	}
}

static void word_open(struct bench_job *job, bench_role *role)
{
	job->object = bench_shared(sizeof(uint32_t));
	job->crew = bench_crew_open(job->row->kind, 2, role, job->object);
}

void bench_line_open(struct bench_job *job)
{
	word_open(job, line_role);
}

void bench_futex_open(struct bench_job *job)
{
	word_open(job, futex_role);
}

void bench_close_shared(struct bench_job *job)
{
	if (job->crew)
		bench_crew_close(job->crew);
	bench_shared_free(job->object);
}

/* ---- memory ---- */

static void copy_open(struct bench_job *job)
{
	size_t size = *(const size_t *)job->subject->detail;

	job->object = malloc(size);
	job->more = malloc(size);
	if (!job->object || !job->more)
		bench_fail("memcpy", ENOMEM);
	memset(job->object, 1, size);
	memset(job->more, 2, size);
}

static int64_t copy_run(struct bench_job *job, long count)
{
	size_t size = *(const size_t *)job->subject->detail;
	int64_t start = bench_now();

	for (long i = 0; i < count; i++) {
		memcpy(job->object, job->more, size);
		__asm__ volatile("" : : "r"(job->object) : "memory");
	}
	return bench_now() - start;
}

/* One operation is a MiB, as in the other row. */
static int64_t copy_far_run(struct bench_job *job, long count)
{
	int64_t taken = copy_run(job, (count + FAR_MIB - 1) / FAR_MIB);

	return taken * count / ((count + FAR_MIB - 1) / FAR_MIB * FAR_MIB);
}

static void copy_close(struct bench_job *job)
{
	free(job->object);
	free(job->more);
}

/* ---- processes and threads ---- */

int64_t bench_fork_run(struct bench_job *job, long count)
{
	int64_t start = bench_now();

	(void)job;
	for (long i = 0; i < count; i++) {
		pid_t pid = fork();

		if (pid == 0)
			_exit(0);
		if (pid < 0 || waitpid(pid, NULL, 0) != pid)
			bench_fail("fork", errno);
	}
	return bench_now() - start;
}

static void *nothing(void *arg)
{
	return arg;
}

int64_t bench_thread_run(struct bench_job *job, long count)
{
	int64_t start = bench_now();
	pthread_t thread;

	(void)job;
	for (long i = 0; i < count; i++) {
		BENCH_NEED(pthread_create(&thread, NULL, nothing, NULL));
		BENCH_NEED(pthread_join(thread, NULL));
	}
	return bench_now() - start;
}

static const size_t near_size = MIB, far_size = FAR_MIB * MIB;

static const struct bench_subject line[] = { BENCH_BARE_LINE, { 0 } };
static const struct bench_subject futex[] = { BENCH_BARE_FUTEX, { 0 } };
static const struct bench_subject copy_near[] = {
	{ "memcpy", NULL, copy_open, copy_run, copy_close, &near_size },
	{ 0 },
};
static const struct bench_subject copy_far[] = {
	{ "memcpy", NULL, copy_open, copy_far_run, copy_close, &far_size },
	{ 0 },
};
static const struct bench_subject fork_wait[] = {
	{ "fork", NULL, NULL, bench_fork_run, NULL, NULL },
	{ 0 },
};
static const struct bench_subject thread_join[] = {
	{ "pthread_create", NULL, NULL, bench_thread_run, NULL, NULL },
	{ 0 },
};

#define GROUP "The machine"

const struct bench_row bench_limit_rows[] = {
	{ .name = "c.limit.line",
	  .group = GROUP,
	  .title = "cache-line ping-pong, round trip",
	  .subjects = line,
	  .workers = 2,
	  .kind = FT_WORKER_PROCESS },
	{ .name = "c.limit.futex",
	  .group = GROUP,
	  .title = "futex ping-pong, round trip",
	  .subjects = futex,
	  .workers = 2,
	  .kind = FT_WORKER_PROCESS },
	{ .name = "c.limit.copy.near",
	  .group = GROUP,
	  .title = "memcpy, the same MiB again",
	  .subjects = copy_near },
	{ .name = "c.limit.copy.far",
	  .group = GROUP,
	  .title = "memcpy, a MiB of 256",
	  .subjects = copy_far },
	{ .name = "c.limit.fork",
	  .group = GROUP,
	  .title = "fork, exit, wait",
	  .subjects = fork_wait },
	{ .name = "c.limit.thread",
	  .group = GROUP,
	  .title = "pthread_create, pthread_join",
	  .subjects = thread_join },
	{ 0 },
};
