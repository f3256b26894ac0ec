/* SPDX-License-Identifier: MIT */
/*
 * 05_pool.c - a pool of process workers: a map, and a task whose worker dies.
 *
 *     cc -std=c11 05_pool.c -lfreethreading -o 05_pool && ./05_pool
 *
 * The death ends one task, with an error that names the worker.  The pool puts
 * another worker in its place and goes on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define COUNT 1000

static int square(struct ft_task *task)
{
	const long *x = ft_task_arg(task, NULL);
	long y = *x * *x;

	return ft_task_reply(task, &y, sizeof(y));
}

static int die_at_work(struct ft_task *task)
{
	(void)task;
	raise(SIGKILL);
	return 0;
}

static void check(int rc, const char *what)
{
	if (rc == 0)
		return;
	fprintf(stderr, "%s: %s\n", what, ft_strerror(rc));
	exit(1);
}

static void map(struct ft_pool *pool)
{
	long in[COUNT], out[COUNT];

	for (long i = 0; i < COUNT; i++)
		in[i] = i;
	check(ft_pool_map(pool, square, in, sizeof(in[0]), out, sizeof(out[0]), COUNT), "map");
	for (long i = 0; i < COUNT; i++)
		if (out[i] != i * i)
			check(-EILSEQ, "a square");
	printf("%d squares, the last is %ld\n", COUNT, out[COUNT - 1]);
}

static void lose_one(struct ft_pool *pool)
{
	struct ft_call call = {.main = die_at_work};
	struct ft_worker_exit how;
	struct ft_future *future;
	int rc;

	check(ft_pool_submit(pool, &call, &future), "submit");
	check(ft_future_wait(future, FT_FOREVER), "wait");
	rc = ft_future_result(future, NULL, NULL);
	printf("task %llu: %s\n", (unsigned long long)ft_future_id(future), ft_strerror(rc));
	if (rc != -EOWNERDEAD)
		exit(1);
	check(ft_future_death(future, &how), "death");
	printf("worker %s, pid %d, was killed by signal %d\n", how.name, (int)how.pid, how.signo);
	ft_future_free(future);
	if (how.signo != SIGKILL)
		exit(1);
}

int main(void)
{
	struct ft_pool_options options = {
	    .size = sizeof(options),
	    .kind = FT_WORKER_PROCESS,
	    .workers = 2,
	    .name = "squares",
	};
	struct ft_pool *pool;

	check(ft_pool_open(&pool, &options), "open");
	map(pool);
	lose_one(pool);
	map(pool);
	check(ft_pool_close(pool), "close");
	check(ft_pool_join(pool, FT_FOREVER), "join");
	check(ft_pool_free(pool), "free");
	return 0;
}
