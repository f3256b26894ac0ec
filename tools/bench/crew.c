/* SPDX-License-Identifier: MIT */
/* A crew: workers that wait, asleep, for the word to do their part together. */
#include "bench.h"

#include <errno.h>
#include <linux/futex.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CREW_MAX 64

/* Shared.  A run: the caller raises `round`, all come and raise `ready`, the
 * caller sets `go` to that round, and each raises `done` when it is through. */
struct crew_desk {
	uint32_t round; /* futex; written by the caller */
	uint32_t ready; /* by each worker that is about to start */
	uint32_t go;    /* by the caller */
	uint32_t done;  /* futex; by each worker that is through */
	uint32_t leave; /* by the caller */
	long count;     /* by the caller, before it raises `round` */
	int64_t end[CREW_MAX]; /* each its own, before it raises `done` */
};

struct bench_crew {
	struct crew_desk *desk;
	bench_role *role;
	void *object;
	unsigned workers;
	struct ft_worker *worker[CREW_MAX];
	struct crew_seat {
		struct bench_crew *crew;
		unsigned index;
	} seat[CREW_MAX];
};

void *bench_shared(size_t size)
{
	void *memory;

	BENCH_NEED(ft_block_alloc(size, &memory));
	memset(memory, 0, size);
	return memory;
}

void bench_shared_free(void *memory)
{
	BENCH_NEED(ft_block_free(memory));
}

void bench_futex_wait(uint32_t *word, uint32_t value)
{
	syscall(SYS_futex, word, FUTEX_WAIT, value, NULL, NULL, 0);
}

void bench_futex_wake(uint32_t *word, int count)
{
	syscall(SYS_futex, word, FUTEX_WAKE, count, NULL, NULL, 0);
}

static uint32_t load(uint32_t *word)
{
	return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static void sleep_while(uint32_t *word, uint32_t value)
{
	while (load(word) == value)
		bench_futex_wait(word, value);
}

static void take_part(struct crew_seat *seat, uint32_t round)
{
	struct bench_crew *crew = seat->crew;
	struct crew_desk *desk = crew->desk;

	__atomic_add_fetch(&desk->ready, 1, __ATOMIC_SEQ_CST);
	while (load(&desk->go) != round)
		sched_yield();
	crew->role(crew->object, seat->index, desk->count);
	desk->end[seat->index] = bench_now();
	if (__atomic_add_fetch(&desk->done, 1, __ATOMIC_SEQ_CST) == crew->workers - 1)
		bench_futex_wake(&desk->done, 1);
}

static int worker_main(void *arg)
{
	struct crew_seat *seat = arg;
	struct crew_desk *desk = seat->crew->desk;

	for (uint32_t round = 0;;) {
		sleep_while(&desk->round, round);
		round++;
		if (load(&desk->leave))
			return 0;
		take_part(seat, round);
	}
}

struct bench_crew *bench_crew_open(uint32_t kind, unsigned workers, bench_role *role, void *object)
{
	struct ft_worker_options options = { .size = sizeof(options), .kind = kind };
	struct bench_crew *crew = calloc(1, sizeof(*crew));

	if (!crew || workers > CREW_MAX)
		bench_fail("crew", crew ? EINVAL : ENOMEM);
	crew->desk = bench_shared(sizeof(*crew->desk));
	crew->role = role;
	crew->object = object;
	crew->workers = workers;
	for (unsigned i = 1; i < workers; i++) {
		crew->seat[i] = (struct crew_seat){ crew, i };
		BENCH_NEED(
			ft_worker_start(&crew->worker[i], &options, worker_main, &crew->seat[i]));
	}
	return crew;
}

static void wait_until_done(struct crew_desk *desk, uint32_t others)
{
	for (;;) {
		uint32_t done = load(&desk->done);

		if (done == others)
			return;
		bench_futex_wait(&desk->done, done);
	}
}

int64_t bench_crew_run(struct bench_crew *crew, long count)
{
	struct crew_desk *desk = crew->desk;
	uint32_t others = crew->workers - 1;
	int64_t start, end;

	desk->count = count;
	desk->ready = desk->done = 0;
	__atomic_add_fetch(&desk->round, 1, __ATOMIC_SEQ_CST);
	bench_futex_wake(&desk->round, CREW_MAX);
	while (load(&desk->ready) != others)
		sched_yield();
	start = bench_now();
	__atomic_store_n(&desk->go, desk->round, __ATOMIC_SEQ_CST);
	crew->role(crew->object, 0, count);
	end = bench_now();
	wait_until_done(desk, others);
	for (unsigned i = 1; i <= others; i++)
		end = desk->end[i] > end ? desk->end[i] : end;
	return end - start;
}

int64_t bench_run_crew(struct bench_job *job, long count)
{
	return bench_crew_run(job->crew, count);
}

void bench_crew_close(struct bench_crew *crew)
{
	struct crew_desk *desk = crew->desk;

	__atomic_store_n(&desk->leave, 1, __ATOMIC_SEQ_CST);
	__atomic_add_fetch(&desk->round, 1, __ATOMIC_SEQ_CST);
	bench_futex_wake(&desk->round, CREW_MAX);
	for (unsigned i = 1; i < crew->workers; i++) {
		BENCH_NEED(ft_worker_join(crew->worker[i], FT_FOREVER));
		BENCH_NEED(ft_worker_free(crew->worker[i]));
	}
	bench_shared_free(desk);
	free(crew);
}
