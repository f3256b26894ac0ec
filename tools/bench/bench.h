/* SPDX-License-Identifier: MIT */
/*
 * ft-bench-c: the rows of ft-bench(1) that are measured in C.
 *
 * A row is one operation, done in turn by several subjects: freethreading
 * first, then its peers.  A subject is opened once, told again and again to do
 * the operation `count` times, which gives one sample, and closed.
 */
#ifndef FT_BENCH_H
#define FT_BENCH_H

#include <freethreading.h>

#include <stdint.h>
#include <stdnoreturn.h>
#include <string.h>
#include <time.h>

struct bench_row;
struct bench_crew;

/* One subject of a row that is being measured. */
struct bench_job {
	const struct bench_row *row;
	const struct bench_subject *subject;
	struct bench_crew *crew; /* whoever takes part besides the caller, or NULL */
	void *object;            /* what is measured */
	void *more;              /* the subject's own */
};

struct bench_subject {
	const char *name;
	const char *off; /* why it cannot be measured here; NULL: it can */
	void (*open)(struct bench_job *job);
	/* Does the operation `count` times; returns the nanoseconds it took. */
	int64_t (*run)(struct bench_job *job, long count);
	void (*close)(struct bench_job *job);
	const void *detail; /* for subjects that share their functions */
};

struct bench_row {
	const char *name;
	const char *group;
	const char *title;
	const struct bench_subject *subjects; /* up to the one without a name */
	unsigned workers;                     /* that take part, the caller included */
	uint32_t kind;                        /* enum ft_worker_kind of the others */
	int64_t sample;                       /* ns that a sample lasts at least; 0: default */
	long count;                           /* operations in a sample; 0: see above */
	const char *policy;                   /* FT_WAIT_POLICY while it is measured, or NULL */
};

/* Tables of rows, each up to the one without a name; one a noun. */
extern const struct bench_row bench_barrier_rows[];
extern const struct bench_row bench_condition_rows[];
extern const struct bench_row bench_limit_rows[];
extern const struct bench_row bench_lock_rows[];
extern const struct bench_row bench_pool_rows[];
extern const struct bench_row bench_queue_rows[];
extern const struct bench_row bench_semaphore_rows[];
extern const struct bench_row bench_worker_rows[];

/* ---- tools ---- */

/* Says what went wrong and ends the program: a measurement has no remedy. */
noreturn void bench_fail(const char *what, int error);

/* For calls that answer 0 or -errno, and for those that answer 0 or errno. */
#define BENCH_NEED(call)                                                                           \
	do {                                                                                       \
		int bench_rc = (call);                                                             \
		if (bench_rc)                                                                      \
			bench_fail(#call, bench_rc);                                               \
	} while (0)

static inline int64_t bench_now(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64_C(1000000000) + now.tv_nsec;
}

static inline void bench_pause(void)
{
#if defined(__x86_64__) || defined(__i386__)
	__builtin_ia32_pause();
#elif defined(__aarch64__)
	__asm__ volatile("yield");
#endif
}

/* Memory that process workers share with the caller. */
void *bench_shared(size_t size);
void bench_shared_free(void *memory);

/* The bare futex, without any library.  Shared between processes. */
void bench_futex_wait(uint32_t *word, uint32_t value);
void bench_futex_wake(uint32_t *word, int count);

/* ---- crew: workers that do their part of an operation together ---- */

/* What worker `index` of the crew does; the caller is index 0. */
typedef void bench_role(void *object, unsigned index, long count);

/* Starts workers-1 workers; they sleep between samples. */
struct bench_crew *bench_crew_open(uint32_t kind, unsigned workers, bench_role *role, void *object);

/* All do their role; from when they start until the last one is through. */
int64_t bench_crew_run(struct bench_crew *crew, long count);
void bench_crew_close(struct bench_crew *crew);

/* As bench_subject.run, for a job with a crew. */
int64_t bench_run_crew(struct bench_job *job, long count);

/* ---- limits that other rows compare with ---- */

void bench_line_open(struct bench_job *job);
void bench_futex_open(struct bench_job *job);
void bench_close_shared(struct bench_job *job);
int64_t bench_fork_run(struct bench_job *job, long count);
int64_t bench_thread_run(struct bench_job *job, long count);

#define BENCH_BARE_LINE                                                                            \
	{ "bare cache line", NULL, bench_line_open, bench_run_crew, bench_close_shared, NULL }
#define BENCH_BARE_FUTEX                                                                           \
	{ "bare futex", NULL, bench_futex_open, bench_run_crew, bench_close_shared, NULL }

#endif
