/* SPDX-License-Identifier: MIT */
/*
 * 14_simple_queue.c - a worker process that answers in capitals.
 *
 *     cc -std=c11 14_simple_queue.c -lfreethreading -o 14_simple_queue && ./14_simple_queue
 *
 * The answer is the block that the question came in: nothing is copied on the
 * way back.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <freethreading.h>

struct shared {
	struct ft_simple_queue questions, answers;
};

static void check(int rc, const char *what)
{
	if (rc >= 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

static int answer(void *arg)
{
	struct shared *shared = arg;
	size_t size;
	void *item;

	while (ft_simple_queue_get(&shared->questions, &item, &size, FT_FOREVER) == 0) {
		char *text = item;

		for (size_t i = 0; i < size; i++)
			text[i] = (char)toupper((unsigned char)text[i]);
		check(ft_simple_queue_put_block(&shared->answers, item), "put");
	}
	return 0;
}

int main(void)
{
	static const char *const words[] = {"first", "second", "third"};
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_PROCESS};
	struct ft_worker *worker;
	struct shared *shared;
	void *block, *item;
	size_t size;

	check(ft_block_alloc(sizeof(*shared), &block), "block");
	shared = block;
	check(ft_simple_queue_init(&shared->questions, FT_SHARED), "questions");
	check(ft_simple_queue_init(&shared->answers, FT_SHARED), "answers");
	check(ft_worker_start(&worker, &options, answer, shared), "start");
	for (int i = 0; i < 3; i++) {
		size = strlen(words[i]) + 1;
		check(ft_simple_queue_put(&shared->questions, words[i], size), "put");
	}
	/* No more questions: the worker ends after the last one. */
	check(ft_simple_queue_close(&shared->questions), "close");
	for (int i = 0; i < 3; i++) {
		check(ft_simple_queue_get(&shared->answers, &item, &size, FT_FOREVER), "get");
		printf("%s: %s\n", words[i], (char *)item);
		if (size != strlen(words[i]) + 1)
			return 1;
		check(ft_block_free(item), "free item");
	}
	check(ft_worker_join(worker, FT_FOREVER), "join");
	check(ft_worker_free(worker), "free");
	return 0;
}
