/* SPDX-License-Identifier: MIT */
/*
 * 01_worker.c - a thread and a process that run the same function.
 *
 *     cc -std=c11 01_worker.c -lfreethreading -o 01_worker && ./01_worker
 *
 * A thread worker shares this program's memory: what it counts is seen here.  A
 * process worker counts in a copy; only its exit status comes back.
 */
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

static int counted;

static int count(void *arg)
{
	const int *to = arg;

	while (counted < *to)
		counted++;
	return counted;
}

static void check(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

/* Runs count(to) in a worker of that kind and returns its exit status. */
static int run(enum ft_worker_kind kind, const char *name, int to)
{
	struct ft_worker_options options = {.size = sizeof(options), .kind = kind, .name = name};
	struct ft_worker_exit how;
	struct ft_worker *worker;

	check(ft_worker_start(&worker, &options, count, &to), "start");
	check(ft_worker_join(worker, FT_FOREVER), "join");
	check(ft_worker_exit_status(worker, &how), "exit status");
	printf("%s (id %d) returned %d, counted is %d here\n", how.name, (int)how.pid, how.code,
	       counted);
	check(ft_worker_free(worker), "free");
	return how.code;
}

int main(void)
{
	if (run(FT_WORKER_PROCESS, "process", 7) != 7 || counted != 0)
		return 1;
	if (run(FT_WORKER_THREAD, "thread", 42) != 42 || counted != 42)
		return 1;
	puts("ok");
	return 0;
}
