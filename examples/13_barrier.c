/* SPDX-License-Identifier: MIT */
/*
 * 13_barrier.c - threads that compute in rounds, and one of them that sums up
 * while all the others wait.
 *
 *     cc -std=c11 13_barrier.c -lfreethreading -o 13_barrier && ./13_barrier
 */
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define WORKERS 4
#define ROUNDS	5

static struct ft_barrier barrier;
static long cells[WORKERS] = {1};
static long sums[ROUNDS];

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

/* The last one to arrive leads: the others stay until it lets them go. */
static void sum_up(int round)
{
	struct ft_barrier_ticket ticket;

	check(ft_barrier_arrive(&barrier, &ticket, FT_FOREVER), "arrive");
	if (!ticket.last) {
		check(ft_barrier_await(&barrier, &ticket, FT_FOREVER), "await");
		return;
	}
	for (int i = 0; i < WORKERS; i++)
		sums[round] += cells[i];
	check(ft_barrier_release(&barrier, &ticket), "release");
}

static int compute(void *arg)
{
	long *mine = arg, *left = &cells[(mine - cells + 1) % WORKERS];

	for (int round = 0; round < ROUNDS; round++) {
		long next = *mine + *left;

		check(ft_barrier_wait(&barrier, FT_FOREVER), "all have read");
		*mine = next;
		sum_up(round);
	}
	return 0;
}

int main(void)
{
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_THREAD};
	struct ft_worker *workers[WORKERS];
	int wrong = 0;

	check(ft_barrier_init(&barrier, WORKERS, FT_PRIVATE), "barrier");
	for (int i = 0; i < WORKERS; i++)
		check(ft_worker_start(&workers[i], &options, compute, &cells[i]), "start");
	for (int i = 0; i < WORKERS; i++) {
		check(ft_worker_join(workers[i], FT_FOREVER), "join");
		check(ft_worker_free(workers[i]), "free");
	}
	for (int round = 0; round < ROUNDS; round++) {
		printf("round %d: %ld\n", round, sums[round]);
		wrong |= sums[round] != 2L << round; /* each round doubles it */
	}
	return wrong;
}
