/* SPDX-License-Identifier: MIT */
/*
 * 02_lock.c - four process workers, one counter, one lock in shared memory.
 *
 *     cc -std=c11 02_lock.c -lfreethreading -o 02_lock && ./02_lock
 *
 * The counter lies beside its lock in a block of the arena, which the workers
 * inherit at the same address.
 */
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define WORKERS 4
#define TURNS	25000

struct shared {
	struct ft_lock lock;
	long counter;
};

static int count(void *arg)
{
	struct shared *shared = arg;

	for (int i = 0; i < TURNS; i++) {
		if (ft_lock_acquire(&shared->lock, FT_FOREVER))
			return 1;
		shared->counter++;
		if (ft_lock_release(&shared->lock))
			return 1;
	}
	return 0;
}

static void check(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

int main(void)
{
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_PROCESS};
	struct ft_worker *workers[WORKERS];
	struct shared *shared;
	void *block;
	long counter;

	check(ft_block_alloc(sizeof(*shared), &block), "block");
	shared = block;
	shared->counter = 0;
	check(ft_lock_init(&shared->lock, FT_SHARED), "lock");
	for (int i = 0; i < WORKERS; i++)
		check(ft_worker_start(&workers[i], &options, count, shared), "start");
	for (int i = 0; i < WORKERS; i++) {
		struct ft_worker_exit how;

		check(ft_worker_join(workers[i], FT_FOREVER), "join");
		check(ft_worker_exit_status(workers[i], &how), "exit status");
		if (how.code || how.signo) {
			fprintf(stderr, "%s failed\n", how.name);
			return 1;
		}
		check(ft_worker_free(workers[i]), "free");
	}
	counter = shared->counter;
	check(ft_block_free(block), "free");
	printf("%d workers counted to %ld\n", WORKERS, counter);
	return counter == (long)WORKERS * TURNS ? 0 : 1;
}
