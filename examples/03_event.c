/* SPDX-License-Identifier: MIT */
/*
 * 03_event.c - worker threads that wait for a start signal, and a wait that
 * gives up.
 *
 *     cc -std=c11 03_event.c -lfreethreading -o 03_event && ./03_event
 *
 * The event is FT_PRIVATE: all who use it are threads of this process, so it
 * may be an ordinary variable.
 */
#include <errno.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

#include <freethreading.h>

#define WORKERS	    3
#define MILLISECOND 1000000 /* in ns */

static struct ft_event go;
static atomic_int started;

static int wait_for_go(void *arg)
{
	(void)arg;
	if (ft_event_wait(&go, FT_FOREVER))
		return 1;
	atomic_fetch_add(&started, 1);
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
	struct ft_worker_options options = {.size = sizeof(options), .kind = FT_WORKER_THREAD};
	struct ft_worker *workers[WORKERS];
	ft_deadline before = ft_now();
	int rc;

	check(ft_event_init(&go, FT_PRIVATE), "event");
	for (int i = 0; i < WORKERS; i++)
		check(ft_worker_start(&workers[i], &options, wait_for_go, NULL), "start");

	rc = ft_event_wait(&go, ft_after(20 * MILLISECOND));
	printf("nobody has set it: %s, after %lld ms\n", ft_strerror(rc),
	       (long long)(ft_now() - before) / MILLISECOND);
	if (rc != -ETIMEDOUT || ft_event_is_set(&go) || atomic_load(&started))
		return 1;

	check(ft_event_set(&go), "set");
	for (int i = 0; i < WORKERS; i++) {
		check(ft_worker_join(workers[i], FT_FOREVER), "join");
		check(ft_worker_free(workers[i]), "free");
	}
	printf("%d workers went\n", atomic_load(&started));
	return atomic_load(&started) == WORKERS ? 0 : 1;
}
