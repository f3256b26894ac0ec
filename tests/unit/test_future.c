/* SPDX-License-Identifier: MIT */
/* Futures: what they say when, who may wait, and what outlives what. */
#include "pool_tools.h"

static struct own_seat own;

static int setup(void **state)
{
	(void)state;
	own_open(&own, 1);
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	own_close(&own);
	return 0;
}

static struct ft_future *give(uint32_t flags, void *user)
{
	struct ft_call call = { .flags = flags, .user = user };
	struct ft_future *future;

	assert_int_equal(ft_pool_submit(own.pool, &call, &future), 0);
	return future;
}

static void work(int status)
{
	struct ft_task *task;

	assert_int_equal(ft_seat_next(own.seat, &task, ft_after(20 * SECOND)), 0);
	assert_int_equal(ft_task_reply(task, &status, sizeof(status)), 0);
	assert_int_equal(ft_task_end(task, status), 0);
}

static void says_what_is(void **state)
{
	struct ft_worker_exit how;
	const void *data;
	size_t size = 1;
	int mark;

	(void)state;
	struct ft_future *future = give(0, &mark);
	assert_ptr_equal(ft_future_user(future), &mark);
	assert_int_equal(ft_future_id(future), 1);
	assert_int_equal(ft_future_done(future), 0);
	assert_int_equal(ft_future_worker(future), 0);
	assert_int_equal(ft_future_result(future, &data, &size), -EAGAIN);
	assert_null(data);
	assert_int_equal(size, 0);
	assert_int_equal(ft_future_wait(future, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_future_wait(future, ft_after(MS)), -ETIMEDOUT);
	struct ft_task *task;
	assert_int_equal(ft_seat_next(own.seat, &task, FT_NOW), 0);
	assert_int_equal(ft_future_worker(future), ft_pool_worker_pid(own.pool, 0));
	assert_int_equal(ft_task_end(task, -5), 0);
	assert_int_equal(ft_future_wait(future, FT_NOW), 0);
	assert_int_equal(ft_future_done(future), 1);
	assert_int_equal(ft_future_result(future, &data, &size), -5);
	assert_int_equal(ft_future_result(future, NULL, NULL), -5);
	assert_int_equal(ft_future_death(future, &how), -EINVAL);
	assert_int_equal(ft_future_worker(future), ft_pool_worker_pid(own.pool, 0));
	ft_future_free(future);
}

static void bad_arguments(void **state)
{
	struct ft_call call = { .flags = 2 };
	struct ft_future *future = NULL;

	(void)state;
	assert_int_equal(ft_future_wait(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_future_done(NULL), -EINVAL);
	assert_int_equal(ft_future_cancel(NULL), -EINVAL);
	assert_int_equal(ft_future_result(NULL, NULL, NULL), -EINVAL);
	assert_int_equal(ft_future_death(NULL, NULL), -EINVAL);
	assert_int_equal(ft_future_worker(NULL), -EINVAL);
	assert_int_equal(ft_future_id(NULL), 0);
	assert_null(ft_future_user(NULL));
	ft_future_free(NULL);
	assert_int_equal(ft_pool_submit(own.pool, &call, &future), -EINVAL);
	call = (struct ft_call){ .arg_size = 1 };
	assert_int_equal(ft_pool_submit(own.pool, &call, &future), -EINVAL);
	assert_int_equal(ft_pool_submit(own.pool, NULL, &future), -EINVAL);
	assert_int_equal(ft_pool_submit(own.pool, &call, NULL), -EINVAL);
	assert_int_equal(ft_pool_submit(NULL, &call, &future), -EINVAL);
	assert_null(future);
}

static void *work_off(void *count)
{
	for (int i = *(int *)count; i > 0; i--)
		work(0);
	return NULL;
}

static void waits_for_all(void **state)
{
	struct ft_future *all[4];
	pthread_t thread;
	int count = 3;

	(void)state;
	assert_int_equal(ft_future_wait_all(NULL, 0, FT_NOW), 0);
	assert_int_equal(ft_future_wait_all(NULL, 1, FT_NOW), -EINVAL);
	for (int i = 0; i < 4; i++)
		all[i] = give(0, NULL);
	assert_int_equal(ft_future_wait_all(all, 4, FT_NOW), -ETIMEDOUT);
	assert_int_equal(pthread_create(&thread, NULL, work_off, &count), 0);
	assert_int_equal(ft_future_wait_all(all, 3, ft_after(20 * SECOND)), 0);
	assert_int_equal(pthread_join(thread, NULL), 0);
	for (int i = 0; i < 3; i++)
		assert_int_equal(ft_future_result(all[i], NULL, NULL), 0);
	assert_int_equal(ft_future_wait_all(all, 4, SOON), -ETIMEDOUT);
	assert_int_equal(ft_future_cancel(all[3]), 0);
	assert_int_equal(ft_future_wait_all(all, 4, FT_NOW), 0);
	for (int i = 0; i < 4; i++)
		ft_future_free(all[i]);
}

/* Each pool's futures are waited for in turn, whatever the order. */
static void waits_for_several_pools(void **state)
{
	struct own_seat other;
	struct ft_future *all[3] = { give(0, NULL), NULL, NULL };
	struct ft_call call = { 0 };

	(void)state;
	own_open(&other, 1);
	assert_int_equal(ft_pool_submit(other.pool, &call, &all[1]), 0);
	all[2] = give(0, NULL);
	work(0);
	work(0);
	assert_int_equal(ft_future_wait_all(all, 3, SOON), -ETIMEDOUT);
	assert_int_equal(ft_future_cancel(all[1]), 0);
	assert_int_equal(ft_future_wait_all(all, 3, SOON), 0);
	for (int i = 0; i < 3; i++)
		ft_future_free(all[i]);
	own_close(&other);
}

static void next_in_order_of_completion(void **state)
{
	struct ft_future *a = give(FT_CALL_NOTIFY, "a"), *b = give(0, "b"),
			 *c = give(FT_CALL_NOTIFY, "c"), *d = give(FT_CALL_NOTIFY, "d"), *got;

	(void)state;
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_future_cancel(c), 0);
	for (int i = 0; i < 3; i++)
		work(0);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), 0);
	assert_ptr_equal(got, c);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), 0);
	assert_ptr_equal(got, a);
	/* One that is freed is not handed over any more. */
	ft_future_free(d);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_pool_close(own.pool), 0);
	assert_int_equal(ft_pool_next(own.pool, &got, SOON), -EPIPE);
	ft_future_free(a);
	ft_future_free(b);
	ft_future_free(c);
}

static void next_waits_for_what_is_left(void **state)
{
	struct ft_future *a = give(FT_CALL_NOTIFY, NULL), *got;

	(void)state;
	assert_int_equal(ft_pool_close(own.pool), 0);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), -ETIMEDOUT);
	work(0);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_NOW), 0);
	assert_ptr_equal(got, a);
	assert_int_equal(ft_pool_next(own.pool, &got, FT_FOREVER), -EPIPE);
	ft_future_free(a);
}

/* Freed before its end: the task runs, the result is dropped. */
static void freed_early(void **state)
{
	struct ft_arena_info before, after;
	struct ft_future *waiting = give(0, NULL), *running = give(0, NULL);
	struct ft_task *task;
	void *block;

	(void)state;
	ft_arena_info(&before);
	ft_future_free(waiting);
	assert_int_equal(ft_seat_next(own.seat, &task, FT_NOW), 0);
	assert_int_equal(ft_task_id(task), 1);
	assert_int_equal(ft_block_alloc(1000, &block), 0);
	assert_int_equal(ft_task_reply_block(task, block, 1000), 0);
	ft_task_end(task, 0);
	assert_int_equal(ft_seat_next(own.seat, &task, FT_NOW), 0);
	ft_future_free(running);
	ft_task_end(task, 0);
	assert_int_equal(ft_pool_poll(own.pool), 0);
	assert_int_equal(own.pool->live, 0);
	assert_int_equal(own.pool->refs, 1);
	ft_arena_info(&after);
	assert_int_equal(after.blocks, before.blocks);
}

static void outlives_the_pool(void **state)
{
	struct own_seat other;
	const void *data;
	size_t size;

	(void)state;
	own_open(&other, 1);
	struct ft_call call = { .flags = FT_CALL_NOTIFY };
	struct ft_future *future;
	struct ft_task *task;
	assert_int_equal(ft_pool_submit(other.pool, &call, &future), 0);
	assert_int_equal(ft_seat_next(other.seat, &task, FT_NOW), 0);
	assert_int_equal(ft_task_reply(task, "still here", 11), 0);
	ft_task_end(task, -3);
	own_close(&other);
	assert_int_equal(ft_future_done(future), 1);
	assert_int_equal(ft_future_wait(future, FT_NOW), 0);
	assert_int_equal(ft_future_cancel(future), -EBUSY);
	assert_int_equal(ft_future_result(future, &data, &size), -3);
	assert_string_equal(data, "still here");
	ft_future_free(future);
}

/* ---- threads that wait ---- */

static void *wait_for(void *arg)
{
	struct ft_future *future = arg;

	return (void *)(intptr_t)ft_future_wait(future, ft_after(20 * SECOND));
}

/* How many threads wait for the pool, as seen under its lock. */
static unsigned waiters(struct ft_pool *pool)
{
	unsigned count = 0;

	ft__pool_lock(pool);
	for (struct ft__vigil *waiter = pool->waiters; waiter; waiter = waiter->next)
		count++;
	ft__pool_unlock(pool);
	return count;
}

static void await_waiters(unsigned count)
{
	while (waiters(own.pool) != count)
		sched_yield();
}

static void two_wait_for_different_ones(void **state)
{
	pthread_t threads[2];
	void *rc;

	(void)state;
	for (int i = 0; i < 50; i++) {
		struct ft_future *first = give(0, NULL), *second = give(0, NULL);

		/* In turn the leader is the one who is served first, or last. */
		pthread_create(&threads[0], NULL, wait_for, i % 2 ? first : second);
		await_waiters(1);
		pthread_create(&threads[1], NULL, wait_for, i % 2 ? second : first);
		await_waiters(2);
		work(-1);
		assert_int_equal(pthread_join(threads[!(i % 2)], &rc), 0);
		assert_int_equal((intptr_t)rc, 0);
		assert_int_equal(waiters(own.pool), 1);
		assert_int_equal(ft_future_result(first, NULL, NULL), -1);
		assert_int_equal(ft_future_result(second, NULL, NULL), -EAGAIN);
		work(-2);
		assert_int_equal(pthread_join(threads[i % 2], &rc), 0);
		assert_int_equal((intptr_t)rc, 0);
		assert_int_equal(waiters(own.pool), 0);
		ft_future_free(first);
		ft_future_free(second);
	}
}

#define CROWD 12
static void a_crowd_waits(void **state)
{
	struct ft_future *futures[CROWD];
	pthread_t threads[CROWD];
	void *rc;

	(void)state;
	for (int round = 0; round < 10; round++) {
		for (int i = 0; i < CROWD; i++) {
			futures[i] = give(0, NULL);
			pthread_create(&threads[i], NULL, wait_for, futures[i]);
		}
		await_waiters(CROWD);
		for (int i = 0; i < CROWD; i++)
			work(0);
		for (int i = 0; i < CROWD; i++) {
			pthread_join(threads[i], &rc);
			assert_int_equal((intptr_t)rc, 0);
			ft_future_free(futures[i]);
		}
	}
}

static void cancelled_while_awaited(void **state)
{
	pthread_t threads[2];
	void *rc;

	(void)state;
	struct ft_future *led = give(0, NULL), *followed = give(0, NULL);
	pthread_create(&threads[0], NULL, wait_for, led);
	await_waiters(1);
	pthread_create(&threads[1], NULL, wait_for, followed);
	await_waiters(2);
	assert_int_equal(ft_future_cancel(followed), 0);
	pthread_join(threads[1], &rc);
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(ft_future_cancel(led), 0);
	pthread_join(threads[0], &rc);
	assert_int_equal((intptr_t)rc, 0);
	ft_future_free(led);
	ft_future_free(followed);
}

static void *wait_a_little(void *arg)
{
	return (void *)(intptr_t)ft_future_wait(arg, ft_after(30 * MS));
}

/* A leader whose time is up hands over. */
static void leader_times_out(void **state)
{
	pthread_t threads[2];
	void *rc;

	(void)state;
	struct ft_future *future = give(0, NULL);
	pthread_create(&threads[0], NULL, wait_a_little, future);
	await_waiters(1);
	pthread_create(&threads[1], NULL, wait_for, future);
	pthread_join(threads[0], &rc);
	assert_int_equal((intptr_t)rc, -ETIMEDOUT);
	await_waiters(1);
	work(0);
	pthread_join(threads[1], &rc);
	assert_int_equal((intptr_t)rc, 0);
	ft_future_free(future);
}

static void *join_pool(void *arg)
{
	return (void *)(intptr_t)ft_pool_join(arg, ft_after(20 * SECOND));
}

/* A LAZY leader must not make an EACH follower wait. */
static void each_behind_lazy(void **state)
{
	struct own_seat other;
	pthread_t lazy, each;
	struct ft_call call = { 0 };
	struct ft_future *a, *b;
	struct ft_task *task;
	void *rc;

	(void)state;
	own_open(&other, 1);
	assert_int_equal(ft_pool_submit(other.pool, &call, &a), 0);
	assert_int_equal(ft_pool_submit(other.pool, &call, &b), 0);
	assert_int_equal(ft_pool_close(other.pool), 0);
	pthread_create(&lazy, NULL, join_pool, other.pool);
	while (ft__load32_seq_cst(&other.pool->board.control->bell.asleep) != FT__BELL_LAZY)
		sched_yield();
	pthread_create(&each, NULL, wait_for, a);
	while (ft__load32_seq_cst(&other.pool->board.control->bell.asleep) != FT__BELL_EACH)
		sched_yield();
	/* The worker still has another task: a lazy bell would not ring. */
	assert_int_equal(ft_seat_next(other.seat, &task, FT_NOW), 0);
	ft_task_end(task, 0);
	pthread_join(each, &rc);
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(ft_seat_next(other.seat, &task, FT_NOW), 0);
	ft_task_end(task, 0);
	assert_int_equal(ft_seat_next(other.seat, &task, FT_NOW), -EPIPE);
	assert_int_equal(ft_seat_close(other.seat), 0);
	ft_event_set(&other.over);
	pthread_join(lazy, &rc);
	assert_int_equal((intptr_t)rc, 0);
	assert_int_equal(ft_pool_free(other.pool), 0);
	ft_future_free(a);
	ft_future_free(b);
}

/* ---- fork ---- */

static int use_in_child(void *arg)
{
	struct ft_future *future = arg, *got;
	struct ft_pool_stats stats;
	struct ft_call call = { 0 };

	REQUIRE(ft_future_wait(future, FT_NOW) == -ECHILD);
	REQUIRE(ft_future_done(future) == -ECHILD);
	REQUIRE(ft_future_cancel(future) == -ECHILD);
	REQUIRE(ft_future_result(future, NULL, NULL) == -ECHILD);
	REQUIRE(ft_future_worker(future) == -ECHILD);
	ft_future_free(future);
	REQUIRE(ft_pool_submit(own.pool, &call, &got) == -ECHILD);
	REQUIRE(ft_pool_next(own.pool, &got, FT_NOW) == -ECHILD);
	REQUIRE(ft_pool_poll(own.pool) == -ECHILD);
	REQUIRE(ft_pool_close(own.pool) == -ECHILD);
	REQUIRE(ft_pool_terminate(own.pool, 0) == -ECHILD);
	REQUIRE(ft_pool_join(own.pool, FT_NOW) == -ECHILD);
	REQUIRE(ft_pool_free(own.pool) == -ECHILD);
	REQUIRE(ft_pool_stats(own.pool, &stats) == -ECHILD);
	REQUIRE(ft_pool_worker_pid(own.pool, 0) == -ECHILD);
	return 0;
}

static void forked_child(void **state)
{
	struct ft_future *future = give(0, NULL);

	(void)state;
	/* Even while another thread of the parent holds the lock. */
	ft__pool_lock(own.pool);
	int rc = child_run(use_in_child, future);
	ft__pool_unlock(own.pool);
	assert_int_equal(rc, 0);
	work(0);
	finish(future, 0);
}

static void tells_after_all(void **state)
{
	struct ft_future *early = give(0, NULL), *late = give(0, NULL), *next;

	(void)state;
	assert_int_equal(ft_future_notify(NULL), -EINVAL);
	assert_int_equal(ft_pool_next(own.pool, &next, FT_NOW), -ETIMEDOUT);
	work(0);
	assert_int_equal(ft_future_wait(early, SOON), 0);
	assert_int_equal(ft_future_notify(early), 0);
	assert_int_equal(ft_future_notify(early), -EALREADY);
	assert_int_equal(ft_pool_next(own.pool, &next, FT_NOW), 0);
	assert_ptr_equal(next, early);
	assert_int_equal(ft_future_notify(early), -EALREADY);
	assert_int_equal(ft_future_notify(late), 0);
	assert_int_equal(ft_pool_next(own.pool, &next, FT_NOW), -ETIMEDOUT);
	work(0);
	assert_int_equal(ft_pool_next(own.pool, &next, SOON), 0);
	assert_ptr_equal(next, late);
	assert_int_equal(ft_pool_next(own.pool, &next, FT_NOW), -ETIMEDOUT);
	ft_future_free(early);
	ft_future_free(late);
}

static void *wait_for_news(void *ctx)
{
	struct ft_future **next = ctx;

	assert_int_equal(ft_pool_next(own.pool, next, SOON), 0);
	return NULL;
}

/* A thread that waits for news, of which there are none yet. */
static pthread_t keeper_start(struct ft_future **next)
{
	pthread_t keeper;
	bool there = false;

	assert_int_equal(pthread_create(&keeper, NULL, wait_for_news, next), 0);
	while (!there) {
		ft__pool_lock(own.pool);
		there = own.pool->waiters && own.pool->waiters->aside;
		ft__pool_unlock(own.pool);
		sched_yield();
	}
	return keeper;
}

/* Who stands aside is fetched when there is something to wait for. */
static void fetches_the_keeper(void **state)
{
	struct ft_future *next = NULL, *future;
	pthread_t keeper = keeper_start(&next);

	(void)state;
	future = give(0, NULL);
	assert_int_equal(ft_future_notify(future), 0);
	work(0);
	pthread_join(keeper, NULL);
	assert_ptr_equal(next, future);
	ft_future_free(future);
}

/* Nobody waits for a task, but a keeper is there: what has ended is taken in. */
static void keeps_going(void **state)
{
	struct ft_future *next = NULL, *futures[3];
	pthread_t keeper = keeper_start(&next);

	(void)state;
	for (int i = 0; i < 3; i++)
		futures[i] = give(0, NULL);
	for (int i = 0; i < 3; i++)
		work(0);
	for (int i = 0; i < 3; i++) {
		while (!ft__load32_acquire(&futures[i]->done))
			sched_yield();
	}
	assert_int_equal(ft_future_notify(futures[1]), 0);
	pthread_join(keeper, NULL);
	assert_ptr_equal(next, futures[1]);
	for (int i = 0; i < 3; i++)
		ft_future_free(futures[i]);
}

static bool stands_aside(void)
{
	const struct ft__vigil *first;
	bool aside;

	ft__pool_lock(own.pool);
	first = own.pool->waiters;
	aside = first && first->aside && first->asleep && own.pool->unkept;
	ft__pool_unlock(own.pool);
	return aside;
}

static void *wait_for_it(void *future)
{
	assert_int_equal(ft_future_wait(future, FT_FOREVER), 0);
	return NULL;
}

/* A keeper that has led, and whose news were taken away, leads no more. */
static void the_keeper_hands_over(void **state)
{
	struct ft_future *next = NULL, *future = give(FT_CALL_NOTIFY, NULL), *plain;
	const struct ft__control *control = own.pool->board.control;
	pthread_t keeper, waiter;

	(void)state;
	assert_int_equal(pthread_create(&keeper, NULL, wait_for_news, &next), 0);
	while (!ft__load32_acquire(&control->bell.asleep))
		sched_yield();
	ft_future_free(future);
	work(0);
	while (!stands_aside())
		sched_yield();
	plain = give(0, NULL);
	assert_int_equal(pthread_create(&waiter, NULL, wait_for_it, plain), 0);
	while (!ft__load32_acquire(&control->bell.asleep))
		sched_yield();
	work(0);
	pthread_join(waiter, NULL);
	assert_int_equal(ft_future_notify(plain), 0);
	pthread_join(keeper, NULL);
	assert_ptr_equal(next, plain);
	ft_future_free(plain);
}

static void cancels_all(void **state)
{
	struct ft_future *running = give(0, NULL), *waiting[3];
	struct ft_task *task;

	(void)state;
	assert_int_equal(ft_pool_cancel(NULL), -EINVAL);
	assert_int_equal(ft_seat_next(own.seat, &task, SOON), 0);
	for (int i = 0; i < 3; i++)
		waiting[i] = give(0, NULL);
	assert_int_equal(ft_pool_cancel(own.pool), 0);
	for (int i = 0; i < 3; i++) {
		assert_int_equal(ft_future_result(waiting[i], NULL, NULL), -ECANCELED);
		ft_future_free(waiting[i]);
	}
	assert_int_equal(ft_task_end(task, 0), 0);
	assert_int_equal(ft_future_wait(running, SOON), 0);
	assert_int_equal(ft_future_result(running, NULL, NULL), 0);
	ft_future_free(running);
}

static void gives_its_block(void **state)
{
	struct ft_future *future = give(0, NULL);
	static char large[1000];
	struct ft_task *task;
	const void *data, *rest;
	void *block;
	size_t size;

	(void)state;
	assert_int_equal(ft_future_take(future, NULL), -EINVAL);
	assert_int_equal(ft_future_take(future, &block), -EAGAIN);
	assert_int_equal(ft_seat_next(own.seat, &task, SOON), 0);
	assert_int_equal(ft_task_take(task, &block), -ENOENT);
	memset(large, 5, sizeof(large));
	assert_int_equal(ft_task_reply(task, large, sizeof(large)), 0);
	assert_int_equal(ft_task_end(task, 0), 0);
	assert_int_equal(ft_future_wait(future, SOON), 0);
	assert_int_equal(ft_future_result(future, &data, &size), 0);
	assert_int_equal(ft_future_take(future, &block), 0);
	assert_ptr_equal(block, data);
	assert_int_equal(ft_future_take(future, &block), -ENOENT);
	assert_int_equal(ft_future_result(future, &rest, &size), 0);
	assert_int_equal(size, 0);
	ft_future_free(future);
	assert_memory_equal(data, large, sizeof(large));
	assert_int_equal(ft_block_free((void *)(uintptr_t)data), 0);
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		TEST(says_what_is),
		TEST(bad_arguments),
		TEST(waits_for_all),
		TEST(waits_for_several_pools),
		TEST(next_in_order_of_completion),
		TEST(next_waits_for_what_is_left),
		TEST(freed_early),
		TEST(outlives_the_pool),
		TEST(two_wait_for_different_ones),
		TEST(a_crowd_waits),
		TEST(cancelled_while_awaited),
		TEST(leader_times_out),
		TEST(each_behind_lazy),
		TEST(forked_child),
		TEST(tells_after_all),
		TEST(fetches_the_keeper),
		TEST(keeps_going),
		TEST(the_keeper_hands_over),
		TEST(cancels_all),
		TEST(gives_its_block),
	};

	alarm(50);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
