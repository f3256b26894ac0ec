/* SPDX-License-Identifier: MIT */
/* ft_queue against POSIX message queues, with items of 64 bytes. */
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define ITEM 64
#define DEPTH 10 /* of a message queue: more needs privileges */

/* Two queues: a stream uses the first, a round trip both. */
struct queues {
	struct ft_queue *ours[2];
	mqd_t posix[2];
};

/* ---- ft_queue ---- */

static void ours_put(struct queues *queues, int which)
{
	char item[ITEM] = { 1 };
	int rc = ft_queue_put(queues->ours[which], item, sizeof(item), FT_FOREVER);

	if (rc)
		bench_fail("ft_queue_put", rc);
}

static void ours_get(struct queues *queues, int which)
{
	void *item;
	size_t size;
	int rc = ft_queue_get(queues->ours[which], &item, &size, FT_FOREVER);

	if (rc)
		bench_fail("ft_queue_get", rc);
	ft_block_free(item);
}

/* ---- POSIX message queues ---- */

static void posix_put(struct queues *queues, int which)
{
	char item[ITEM] = { 1 };

	if (mq_send(queues->posix[which], item, sizeof(item), 0))
		bench_fail("mq_send", errno);
}

static void posix_get(struct queues *queues, int which)
{
	char item[ITEM];

	if (mq_receive(queues->posix[which], item, sizeof(item), NULL) != ITEM)
		bench_fail("mq_receive", errno);
}

/* ---- what is done with either ---- */

#define ROLES(who)                                                                                 \
	static void who##_stream(void *object, unsigned index, long count)                         \
	{                                                                                          \
		for (long i = 0; i < count; i++)                                                   \
			if (index)                                                                 \
				who##_get(object, 0);                                              \
			else                                                                       \
				who##_put(object, 0);                                              \
	}                                                                                          \
                                                                                                   \
	static void who##_alone(void *object, unsigned index, long count)                          \
	{                                                                                          \
		(void)index;                                                                       \
		for (long i = 0; i < count; i++) {                                                 \
			who##_put(object, 0);                                                      \
			who##_get(object, 0);                                                      \
		}                                                                                  \
	}                                                                                          \
                                                                                                   \
	static void who##_trip(void *object, unsigned index, long count)                           \
	{                                                                                          \
		for (long i = 0; i < count; i++) {                                                 \
			if (index)                                                                 \
				who##_get(object, 0);                                              \
			who##_put(object, (int)index);                                             \
			if (!index)                                                                \
				who##_get(object, 1);                                              \
		}                                                                                  \
	}

ROLES(ours)
ROLES(posix)

static void with_crew(struct bench_job *job, struct queues *queues)
{
	job->object = queues;
	job->more = NULL;
	job->crew = bench_crew_open(job->row->kind, job->row->workers,
				    *(bench_role *const *)job->subject->detail, queues);
}

static void ours_open(struct bench_job *job)
{
	struct queues *queues = bench_shared(sizeof(*queues));

	for (int i = 0; i < 2; i++) {
		queues->ours[i] = bench_shared(sizeof(struct ft_queue));
		BENCH_NEED(ft_queue_init(queues->ours[i], 0, FT_SHARED));
	}
	with_crew(job, queues);
}

static void ours_close(struct bench_job *job)
{
	struct queues *queues = job->object;

	bench_crew_close(job->crew);
	for (int i = 0; i < 2; i++) {
		BENCH_NEED(ft_queue_destroy(queues->ours[i]));
		bench_shared_free(queues->ours[i]);
	}
	bench_shared_free(queues);
}

/* Workers inherit the descriptors; the name is gone at once. */
static void posix_open(struct bench_job *job)
{
	struct queues *queues = bench_shared(sizeof(*queues));
	struct mq_attr attr = { .mq_maxmsg = DEPTH, .mq_msgsize = ITEM };
	char name[64];

	for (int i = 0; i < 2; i++) {
		snprintf(name, sizeof(name), "/ft-bench-%d-%d", (int)getpid(), i);
		queues->posix[i] = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
		if (queues->posix[i] == (mqd_t)-1)
			bench_fail("mq_open", errno);
		mq_unlink(name);
	}
	with_crew(job, queues);
}

static void posix_close(struct bench_job *job)
{
	struct queues *queues = job->object;

	bench_crew_close(job->crew);
	for (int i = 0; i < 2; i++)
		mq_close(queues->posix[i]);
	bench_shared_free(queues);
}

static bench_role *const ours_roles[] = { ours_alone, ours_stream, ours_trip };
static bench_role *const posix_roles[] = { posix_alone, posix_stream, posix_trip };

#define OURS(role) { "freethreading", NULL, ours_open, bench_run_crew, ours_close, role }
#define POSIX(role) { "POSIX mq", NULL, posix_open, bench_run_crew, posix_close, role }

static const struct bench_subject alone[] = { OURS(&ours_roles[0]), POSIX(&posix_roles[0]), { 0 } };
static const struct bench_subject stream[] = {
	OURS(&ours_roles[1]),
	POSIX(&posix_roles[1]),
	{ 0 },
};
static const struct bench_subject trip[] = {
	OURS(&ours_roles[2]),
	POSIX(&posix_roles[2]),
	BENCH_BARE_LINE,
	{ 0 },
};
static const struct bench_subject trip_parked[] = {
	OURS(&ours_roles[2]),
	BENCH_BARE_FUTEX,
	POSIX(&posix_roles[2]),
	{ 0 },
};

#define ROW(id, text, who, number, items, wait)                                                    \
	{                                                                                          \
		.name = id, .group = "C: queues of 64-byte items", .title = text, .subjects = who, \
		.workers = number, .kind = FT_WORKER_PROCESS, .count = items, .policy = wait       \
	}

const struct bench_row bench_queue_rows[] = {
	ROW("c.queue.alone", "ft_queue put+get, same worker", alone, 1, 0, NULL),
	ROW("c.queue.stream", "ft_queue stream, an item", stream, 2, 10000, NULL),
	ROW("c.queue.trip", "ft_queue round trip", trip, 2, 0, NULL),
	ROW("c.queue.trip.parked", "ft_queue round trip, parked", trip_parked, 2, 0, "passive"),
	{ 0 },
};
