/* SPDX-License-Identifier: MIT */
/* ft_lock against glibc's mutexes and nsync's. */
#include "bench.h"

#include <errno.h>
#include <pthread.h>
#include <stdlib.h>

#ifdef HAVE_NSYNC
#include <nsync.h>
#define NSYNC_OFF NULL
#else
#define NSYNC_OFF "configure did not find nsync (Debian: libnsync-dev)"
#endif

/* What a section guards, and the lock, on lines of their own. */
struct guarded {
	_Alignas(64) volatile long counter;
	_Alignas(64) unsigned char lock[64];
};

/* How a sort of lock is made, and `count` sections under it. */
struct lock_sort {
	void (*init)(void *lock, int shared);
	bench_role *sections;
};

#define SECTIONS(name, type, acquire, release)                                                     \
	static void name(void *object, unsigned index, long count)                                 \
	{                                                                                          \
		struct guarded *guarded = object;                                                  \
		type *lock = (type *)guarded->lock;                                                \
                                                                                                   \
		_Static_assert(sizeof(type) <= sizeof(guarded->lock), "the lock's line");          \
		(void)index;                                                                       \
		for (long i = 0; i < count; i++) {                                                 \
			acquire(lock);                                                             \
			guarded->counter = guarded->counter + 1;                                   \
			release(lock);                                                             \
		}                                                                                  \
	}

static inline void ours_acquire(struct ft_lock *lock)
{
	int rc = ft_lock_acquire(lock, FT_FOREVER);

	if (rc)
		bench_fail("ft_lock_acquire", rc);
}

SECTIONS(ours_sections, struct ft_lock, ours_acquire, ft_lock_release)
SECTIONS(glibc_sections, pthread_mutex_t, pthread_mutex_lock, pthread_mutex_unlock)

static void ours_init(void *lock, int shared)
{
	BENCH_NEED(ft_lock_init(lock, shared ? FT_SHARED : FT_PRIVATE));
}

static void mutex_init(void *lock, int shared, int robust)
{
	pthread_mutexattr_t attr;

	pthread_mutexattr_init(&attr);
	if (shared)
		BENCH_NEED(pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED));
	if (robust)
		BENCH_NEED(pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST));
	BENCH_NEED(pthread_mutex_init(lock, &attr));
	pthread_mutexattr_destroy(&attr);
}

static void glibc_init(void *lock, int shared)
{
	mutex_init(lock, shared, 0);
}

static void robust_init(void *lock, int shared)
{
	mutex_init(lock, shared, 1);
}

static const struct lock_sort ours = { ours_init, ours_sections };
static const struct lock_sort glibc = { glibc_init, glibc_sections };
static const struct lock_sort robust = { robust_init, glibc_sections };

#ifdef HAVE_NSYNC
SECTIONS(nsync_sections, nsync_mu, nsync_mu_lock, nsync_mu_unlock)

static void nsync_init(void *lock, int shared)
{
	(void)shared;
	nsync_mu_init(lock);
}

static const struct lock_sort nsync = { nsync_init, nsync_sections };
#else
static const struct lock_sort nsync;
#endif

static void lock_open(struct bench_job *job)
{
	const struct lock_sort *sort = job->subject->detail;
	unsigned char *room = bench_shared(sizeof(struct guarded) + _Alignof(struct guarded));
	uintptr_t line = (uintptr_t)(room + _Alignof(struct guarded) - 1);
	struct guarded *guarded = (struct guarded *)(line & -_Alignof(struct guarded));

	job->more = room;
	job->object = guarded;
	sort->init(guarded->lock, job->row->kind == FT_WORKER_PROCESS);
	if (job->row->workers > 1)
		job->crew = bench_crew_open(job->row->kind, job->row->workers, sort->sections,
					    guarded);
}

/* `count` sections in all, whoever does them. */
static int64_t lock_run(struct bench_job *job, long count)
{
	const struct lock_sort *sort = job->subject->detail;
	struct guarded *guarded = job->object;
	long each = (count + job->row->workers - 1) / job->row->workers;
	int64_t start = bench_now(), taken;

	guarded->counter = 0;
	if (job->crew) {
		taken = bench_crew_run(job->crew, each);
	} else {
		sort->sections(guarded, 0, each);
		taken = bench_now() - start;
	}
	if (guarded->counter != each * (long)job->row->workers)
		bench_fail(job->subject->name, -EUCLEAN);
	return taken * count / guarded->counter;
}

static void lock_close(struct bench_job *job)
{
	if (job->crew)
		bench_crew_close(job->crew);
	bench_shared_free(job->more);
}

#define SUBJECT(name, off, sort) { name, off, lock_open, lock_run, lock_close, sort }

/* nsync's locks work in one process only. */
static const struct bench_subject between_processes[] = {
	SUBJECT("freethreading", NULL, &ours),
	SUBJECT("glibc", NULL, &glibc),
	SUBJECT("glibc robust", NULL, &robust),
	{ 0 },
};

static const struct bench_subject between_threads[] = {
	SUBJECT("freethreading", NULL, &ours),
	SUBJECT("glibc", NULL, &glibc),
	SUBJECT("nsync", NSYNC_OFF, &nsync),
	{ 0 },
};

#define LOCK_ROW(id, text, who, number, sort, least)                                               \
	{                                                                                          \
		.name = id, .group = "C: locks", .title = text, .subjects = who,                   \
		.workers = number, .kind = sort, .sample = least                                   \
	}
#define PROCESSES between_processes
#define THREADS between_threads
#define MS INT64_C(1000000)

const struct bench_row bench_lock_rows[] = {
	LOCK_ROW("c.lock.alone", "ft_lock, nobody else, shared", PROCESSES, 1, FT_WORKER_PROCESS,
		 0),
	LOCK_ROW("c.lock.alone.private", "ft_lock, nobody else, private", THREADS, 1,
		 FT_WORKER_THREAD, 0),
	LOCK_ROW("c.lock.2", "ft_lock, 2 processes, a section", PROCESSES, 2, FT_WORKER_PROCESS,
		 5 * MS),
	LOCK_ROW("c.lock.16", "ft_lock, 16 processes, a section", PROCESSES, 16, FT_WORKER_PROCESS,
		 20 * MS),
	LOCK_ROW("c.lock.2.threads", "ft_lock, 2 threads, a section", THREADS, 2, FT_WORKER_THREAD,
		 5 * MS),
	LOCK_ROW("c.lock.16.threads", "ft_lock, 16 threads, a section", THREADS, 16,
		 FT_WORKER_THREAD, 20 * MS),
	{ 0 },
};
