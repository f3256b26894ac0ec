/* SPDX-License-Identifier: MIT */
/*
 * 04_queue.c - process workers that take numbers from one bounded queue and
 * put answers into another.
 *
 *     cc -std=c11 04_queue.c -lfreethreading -o 04_queue && ./04_queue
 *
 * Closing the first queue is the end mark: the workers empty it, then their
 * next get says -EPIPE.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define WORKERS 2
#define NUMBERS 1000

struct shared {
	struct ft_queue numbers, squares;
};

/* Takes one long; *number is untouched if there is none. */
static int take(struct ft_queue *queue, long *number)
{
	size_t size;
	void *item;
	int rc = ft_queue_get(queue, &item, &size, FT_FOREVER);

	if (rc)
		return rc;
	if (size == sizeof(*number))
		*number = *(const long *)item;
	else
		rc = -EPROTO;
	ft_block_free(item); /* what was got is ours */
	return rc;
}

static int square(void *arg)
{
	struct shared *shared = arg;
	long number;
	int rc;

	while ((rc = take(&shared->numbers, &number)) == 0) {
		number *= number;
		rc = ft_queue_put(&shared->squares, &number, sizeof(number), FT_FOREVER);
		if (rc)
			break;
	}
	return rc == -EPIPE ? 0 : 1;
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
	long sum = 0, expected = 0, number = 0;
	struct shared *shared;
	void *block;

	check(ft_block_alloc(sizeof(*shared), &block), "block");
	shared = block;
	check(ft_queue_init(&shared->numbers, 16, FT_SHARED), "queue");
	check(ft_queue_init(&shared->squares, 0, FT_SHARED), "queue");
	for (int i = 0; i < WORKERS; i++)
		check(ft_worker_start(&workers[i], &options, square, shared), "start");

	for (long i = 1; i <= NUMBERS; i++) {
		check(ft_queue_put(&shared->numbers, &i, sizeof(i), FT_FOREVER), "put");
		expected += i * i;
	}
	check(ft_queue_close(&shared->numbers), "close");
	for (int i = 0; i < NUMBERS; i++) {
		check(take(&shared->squares, &number), "get");
		sum += number;
	}
	for (int i = 0; i < WORKERS; i++) {
		check(ft_worker_join(workers[i], FT_FOREVER), "join");
		check(ft_worker_free(workers[i]), "free");
	}
	check(ft_queue_destroy(&shared->numbers), "destroy");
	check(ft_queue_destroy(&shared->squares), "destroy");
	check(ft_block_free(block), "free");
	printf("the sum of %d squares is %ld\n", NUMBERS, sum);
	return sum == expected ? 0 : 1;
}
