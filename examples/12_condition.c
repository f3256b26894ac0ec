/* SPDX-License-Identifier: MIT */
/*
 * 12_condition.c - a process that hands numbers to another one, one at a time.
 *
 *     cc -std=c11 12_condition.c -lfreethreading -o 12_condition && ./12_condition
 *
 * Who waits looks again after it was notified: it had to wait for the lock, and
 * by then somebody else may have changed the data.
 */
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define NUMBERS 1000

struct slot {
	struct ft_lock lock;
	struct ft_condition changed;
	int number; /* 0: none */
};

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

/* Under the lock. */
static void wait_until(struct slot *slot, int full)
{
	while (!!slot->number != full)
		check(ft_condition_wait(&slot->changed, &slot->lock, FT_FOREVER), "wait");
}

static void put(struct slot *slot, int number)
{
	check(ft_lock_acquire(&slot->lock, FT_FOREVER), "acquire");
	wait_until(slot, 0);
	slot->number = number;
	check(ft_condition_notify(&slot->changed, 1), "notify");
	check(ft_lock_release(&slot->lock), "release");
}

static int get(struct slot *slot)
{
	int number;

	check(ft_lock_acquire(&slot->lock, FT_FOREVER), "acquire");
	wait_until(slot, 1);
	number = slot->number;
	slot->number = 0;
	check(ft_condition_notify(&slot->changed, 1), "notify");
	check(ft_lock_release(&slot->lock), "release");
	return number;
}

static int produce(void *arg)
{
	for (int i = 1; i <= NUMBERS; i++)
		put(arg, i);
	return 0;
}

int main(void)
{
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_PROCESS};
	struct ft_worker *worker;
	struct slot *slot;
	void *block;
	int sum = 0;

	check(ft_block_alloc(sizeof(*slot), &block), "block");
	slot = block;
	slot->number = 0;
	check(ft_lock_init(&slot->lock, FT_SHARED), "lock");
	check(ft_condition_init(&slot->changed, FT_SHARED), "condition");
	check(ft_worker_start(&worker, &options, produce, slot), "start");
	for (int i = 1; i <= NUMBERS; i++)
		sum += get(slot);
	check(ft_worker_join(worker, FT_FOREVER), "join");
	check(ft_worker_free(worker), "free");
	printf("%d numbers, their sum is %d\n", NUMBERS, sum);
	return sum == NUMBERS * (NUMBERS + 1) / 2 ? 0 : 1;
}
