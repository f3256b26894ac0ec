/* SPDX-License-Identifier: MIT */
/*
 * 11_semaphore.c - four worker processes, of which two may be at work at a time.
 *
 *     cc -std=c11 11_semaphore.c -lfreethreading -o 11_semaphore && ./11_semaphore
 */
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define WORKERS 4
#define SEATS	2

struct shared {
	struct ft_semaphore seats;
	struct ft_lock lock; /* over the two below */
	int inside, most;
};

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

static void count(struct shared *shared, int step)
{
	check(ft_lock_acquire(&shared->lock, FT_FOREVER), "lock");
	shared->inside += step;
	if (shared->inside > shared->most)
		shared->most = shared->inside;
	check(ft_lock_release(&shared->lock), "unlock");
}

static int work(void *arg)
{
	struct shared *shared = arg;

	for (int i = 0; i < 200; i++) {
		check(ft_semaphore_acquire(&shared->seats, FT_FOREVER), "acquire");
		count(shared, 1);
		sched_yield(); /* this is the work */
		count(shared, -1);
		check(ft_semaphore_release(&shared->seats, 1), "release");
	}
	return 0;
}

int main(void)
{
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_PROCESS};
	struct ft_worker *workers[WORKERS];
	struct shared *shared;
	void *block;

	check(ft_block_alloc(sizeof(*shared), &block), "block");
	shared = block;
	shared->inside = shared->most = 0;
	check(ft_lock_init(&shared->lock, FT_SHARED), "lock");
	/* As many as there are, and never more: a release too much is -EOVERFLOW. */
	check(ft_semaphore_init(&shared->seats, SEATS, SEATS, FT_SHARED), "semaphore");
	for (int i = 0; i < WORKERS; i++)
		check(ft_worker_start(&workers[i], &options, work, shared), "start");
	for (int i = 0; i < WORKERS; i++) {
		check(ft_worker_join(workers[i], FT_FOREVER), "join");
		check(ft_worker_free(workers[i]), "free");
	}
	printf("%d workers, at most %d of them at a time\n", WORKERS, shared->most);
	return shared->most <= SEATS && ft_semaphore_value(&shared->seats) == SEATS ? 0 : 1;
}
