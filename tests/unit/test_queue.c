/* SPDX-License-Identifier: MIT */
/* The queue: its fields after each step, waiting, deaths. */
#include <sched.h>

#include "holder.h"
#include "queue_tools.h"

#include "sync/lock.h"

static struct ft__block *block_at(uint64_t offset)
{
	struct ft__block *block = ft__block_at_offset(offset);

	assert_non_null(block);
	return block;
}

/* ---- arguments --------------------------------------------------------- */

static void bad_arguments(void **state)
{
	struct ft_queue local, *queue = shared_queue(0);
	void *item, *block;
	size_t size;

	(void)state;
	assert_int_equal(ft_queue_init(NULL, 0, 0), -EINVAL);
	assert_int_equal(ft_queue_init(&local, 0, 0x100), -EINVAL);
	assert_int_equal(ft_queue_init(&local, 0, FT_SHARED), -EINVAL);
	memset(&local, 0, sizeof(local));
	assert_int_equal(ft_queue_put(&local, "x", 1, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_get(&local, &item, &size, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_destroy(&local), -EINVAL);
	assert_int_equal(ft_queue_put(NULL, "x", 1, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_put(queue, NULL, 1, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_put(queue, "x", SIZE_MAX / 2, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_put_block(queue, &local, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_put_block(queue, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_get(queue, NULL, &size, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_get(queue, &item, NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_get(NULL, &item, &size, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_task_done(NULL), -EINVAL);
	assert_int_equal(ft_queue_task_done(queue), -EINVAL);
	assert_int_equal(ft_queue_join(NULL, FT_NOW), -EINVAL);
	assert_int_equal(ft_queue_close(NULL), -EINVAL);
	assert_int_equal(ft_queue_size(NULL), 0);
	/* A block that was given away is not the caller's. */
	assert_int_equal(ft_block_alloc(8, &block), 0);
	assert_int_equal(ft_queue_put_block(queue, block, FT_NOW), 0);
	assert_int_equal(ft_queue_put_block(queue, block, FT_NOW), -EPERM);
	assert_int_equal(ft_block_free(block), -EPERM);
	assert_int_equal(queue->size, 1);
	done_with(queue);
}

/* ---- the fields at each step ------------------------------------------- */

static void fields(struct ft_queue *queue, uint32_t held_state)
{
	struct ft__self *self;
	uint64_t first, number;

	assert_int_equal(ft__self(&self), 0);
	assert_int_equal(ft_queue_size(queue), 0);
	assert_int_equal(queue->head | queue->tail | queue->unfinished, 0);
	assert_int_equal(get_number(queue, &number, FT_NOW), -ETIMEDOUT);
	assert_int_equal(queue->not_empty.tokens, 0);

	assert_int_equal(put_number(queue, 11, FT_NOW), 0);
	first = queue->head;
	assert_int_equal(queue->tail, first);
	assert_int_equal(queue->size, 1);
	assert_int_equal(queue->unfinished, 1);
	assert_int_equal(queue->not_empty.seq, 0);
	assert_int_equal(FT__WORD_STATE(block_at(first)->word), held_state);
	assert_int_equal(block_at(first)->link, 0);

	assert_int_equal(put_number(queue, 22, FT_FOREVER), 0);
	assert_int_equal(queue->head, first);
	assert_int_equal(block_at(first)->link, queue->tail);
	assert_int_not_equal(queue->tail, first);
	assert_int_equal(queue->size, 2);
	assert_int_equal(queue->lock.word, 0);
	assert_int_equal(self->slot->noted, 0);

	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 11);
	assert_int_equal(queue->head, queue->tail);
	assert_int_equal(queue->size, 1);
	assert_int_equal(queue->unfinished, 2);
	assert_int_equal(get_number(queue, &number, FT_FOREVER), 0);
	assert_int_equal(number, 22);
	assert_int_equal(queue->head | queue->tail | queue->size, 0);

	assert_int_equal(ft_queue_join(queue, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_queue_task_done(queue), 0);
	assert_int_equal(ft_queue_task_done(queue), 0);
	assert_int_equal(ft_queue_task_done(queue), -EINVAL);
	assert_int_equal(ft_queue_join(queue, FT_NOW), 0);
	assert_int_equal(self->slot->noted, 0);
}

static void fields_at_each_step(void **state)
{
	struct ft_queue local, *queue = shared_queue(0);

	(void)state;
	fields(queue, FT__BLOCK_HELD);
	done_with(queue);
	assert_int_equal(ft_queue_init(&local, 0, FT_PRIVATE), 0);
	fields(&local, FT__BLOCK_OWNED);
	assert_int_equal(ft_queue_destroy(&local), 0);
	assert_int_equal(ft_queue_put(&local, "x", 1, FT_NOW), -EINVAL);
}

static void items_of_any_size(void **state)
{
	static const size_t sizes[] = { 0, 1, 31, 32, 33, 4096, 65536, 3 << 20 };
	struct ft_queue *queue = shared_queue(0);
	char *data = malloc(3 << 20);
	void *item;
	size_t size;

	(void)state;
	memset(data, 'x', 3 << 20);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++)
		assert_int_equal(ft_queue_put(queue, data, sizes[i], FT_NOW), 0);
	assert_int_equal(ft_queue_put(queue, NULL, 0, FT_NOW), 0);
	for (size_t i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
		assert_int_equal(ft_queue_get(queue, &item, &size, FT_NOW), 0);
		assert_int_equal(size, sizes[i]);
		assert_int_equal(memcmp(item, data, size), 0);
		assert_int_equal(ft_block_free(item), 0);
	}
	free(data);
	done_with(queue); /* with one item left */
}

/* ---- waiting ----------------------------------------------------------- */

struct wait {
	struct ft_queue *queue;
	int64_t ns, took;
	uint64_t number;
};

static ft_deadline until(const struct wait *wait, ft_deadline start)
{
	return wait->ns < 0 ? FT_FOREVER : start + wait->ns;
}

static int getting(void *arg)
{
	struct wait *wait = arg;
	ft_deadline start = ft_now();
	int rc = get_number(wait->queue, &wait->number, until(wait, start));

	wait->took = ft_now() - start;
	return rc;
}

static int putting(void *arg)
{
	struct wait *wait = arg;

	return put_number(wait->queue, wait->number, until(wait, ft_now()));
}

static int joining(void *arg)
{
	struct wait *wait = arg;

	return ft_queue_join(wait->queue, until(wait, ft_now()));
}

static void tokens_at_each_step(void **state)
{
	struct ft_queue *queue = shared_queue(1);
	struct wait wait = { .queue = queue, .ns = -1, .number = 7 };
	struct helper helper;
	uint64_t number;

	(void)state;
	helper_start(&helper, getting, &wait);
	UNTIL(helper_asleep(&helper) && ft__load32_seq_cst(&queue->not_empty.tokens) == 1);
	assert_int_equal(put_number(queue, 5, FT_NOW), 0);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(wait.number, 5);
	assert_int_equal(queue->not_empty.tokens, 0);
	assert_int_equal(queue->not_empty.seq, 1);

	/* Who gives up takes its token back. */
	assert_int_equal(get_number(queue, &number, ft_after(5 * MS)), -ETIMEDOUT);
	assert_int_equal(queue->not_empty.tokens, 0);
	assert_int_equal(queue->not_empty.seq, 1);

	/* Full. */
	assert_int_equal(put_number(queue, 6, FT_NOW), 0);
	assert_int_equal(put_number(queue, 6, FT_NOW), -ETIMEDOUT);
	assert_int_equal(put_number(queue, 6, ft_after(5 * MS)), -ETIMEDOUT);
	assert_int_equal(queue->not_full.tokens, 0);
	wait.number = 7;
	helper_start(&helper, putting, &wait);
	UNTIL(helper_asleep(&helper) && ft__load32_seq_cst(&queue->not_full.tokens) == 1);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 6);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(queue->not_full.tokens, 0);
	assert_int_equal(queue->not_full.seq, 1);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 7);

	/* Tokens of the dead go with the first wake that finds nobody. */
	queue->not_empty.tokens = 5;
	assert_int_equal(put_number(queue, 8, FT_NOW), 0);
	assert_int_equal(queue->not_empty.tokens, 0);
	done_with(queue);
}

static void join_waits_for_the_last(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	struct wait wait = { .queue = queue, .ns = -1 };
	struct helper helpers[2];
	uint64_t number;

	(void)state;
	assert_int_equal(put_number(queue, 1, FT_NOW), 0);
	assert_int_equal(put_number(queue, 2, FT_NOW), 0);
	helper_start(&helpers[0], joining, &wait);
	helper_start(&helpers[1], joining, &wait);
	UNTIL(ft__load32_seq_cst(&queue->all_done.tokens) == 2);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(ft_queue_task_done(queue), 0);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(ft__load32_seq_cst(&helpers[0].done), 0);
	assert_int_equal(ft_queue_task_done(queue), 0);
	assert_int_equal(helper_join(&helpers[0]), 0);
	assert_int_equal(helper_join(&helpers[1]), 0);
	done_with(queue);
}

static void closing(void **state)
{
	struct ft_queue *queue = shared_queue(1);
	struct wait wait = { .queue = queue, .ns = -1 };
	struct helper getter, putter;
	uint64_t number;

	(void)state;
	helper_start(&getter, getting, &wait);
	UNTIL(helper_asleep(&getter));
	assert_int_equal(ft_queue_close(queue), 0);
	assert_int_equal(helper_join(&getter), -EPIPE);
	assert_int_equal(put_number(queue, 1, FT_NOW), -EPIPE);
	assert_int_equal(get_number(queue, &number, FT_FOREVER), -EPIPE);
	done_with(queue);

	queue = shared_queue(1);
	wait.queue = queue;
	assert_int_equal(put_number(queue, 1, FT_NOW), 0);
	helper_start(&putter, putting, &wait);
	UNTIL(helper_asleep(&putter));
	assert_int_equal(ft_queue_close(queue), 0);
	assert_int_equal(helper_join(&putter), -EPIPE);
	/* What is there can still be had. */
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 1);
	assert_int_equal(get_number(queue, &number, FT_NOW), -EPIPE);
	done_with(queue);
}

static void signals_do_not_move_a_deadline(void **state)
{
	struct ft_queue queue;
	struct wait wait = { .queue = &queue, .ns = 200 * MS };
	uint32_t before = storm_signals;

	(void)state;
	assert_int_equal(ft_queue_init(&queue, 0, FT_PRIVATE), 0);

	timer_t storm = storm_start(SIGUSR1);

	assert_int_equal(getting(&wait), -ETIMEDOUT);
	assert_true(STORM_CAME(before));
	assert_true(wait.took >= 200 * MS && wait.took < 5000 * MS);
	ft_queue_destroy(&queue);

	assert_int_equal(ft_queue_init(&queue, 0, FT_PRIVATE | FT_INTERRUPTIBLE), 0);
	wait.ns = -1;
	assert_int_equal(getting(&wait), -EINTR);
	timer_delete(storm);
	assert_int_equal(queue.not_empty.tokens, 0);
	ft_queue_destroy(&queue);
}

/* ---- deaths and forks -------------------------------------------------- */

static int get_and_die(void *arg)
{
	uint64_t number;

	(void)!get_number(arg, &number, FT_FOREVER);
	return 1;
}

/* Killed in its sleep, or just after it was woken: the other one gets the item. */
static void a_consumer_that_dies_asleep(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	struct wait wait = { .queue = queue, .ns = -1 };
	struct helper helper;
	uint32_t dead;

	(void)state;
	pid_t pid = worker_start(get_and_die, queue, &dead);

	UNTIL(asleep(pid, pid) && ft__load32_seq_cst(&queue->not_empty.tokens) == 1);
	helper_start(&helper, getting, &wait);
	UNTIL(helper_asleep(&helper) && ft__load32_seq_cst(&queue->not_empty.tokens) == 2);
	kill(pid, SIGSTOP);
	UNTIL(!asleep(pid, pid));
	/* This wakes the stopped one, which will never look. */
	assert_int_equal(put_number(queue, 3, FT_NOW), 0);
	kill(pid, SIGKILL);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	settle_death(dead);
	assert_int_equal(helper_join(&helper), 0);
	assert_int_equal(wait.number, 3);
	done_with(queue);
}

/* As if it had died between two stores of an append, or of a shift. */
struct cut {
	struct ft_queue *queue;
	bool append;
	bool committed;
};

static void cut_append(const struct cut *cut)
{
	struct ft_queue *queue = cut->queue;
	struct ft__block *block;
	void *payload;

	REQUIRE(ft_block_alloc(8, &payload) == 0);
	*(uint64_t *)payload = 33;
	block = ft__block_of(payload);
	REQUIRE(ft__block_give(block, ft__offset(queue)) == 0);
	block->link = 0;
	queue->intent = queue->unfinished + 1;
	if (cut->committed)
		block_at(queue->tail)->link = ft__offset(block);
}

static void cut_shift(const struct cut *cut)
{
	struct ft__block *block = block_at(cut->queue->head);

	REQUIRE(ft__block_take(block) == 0);
	if (cut->committed)
		cut->queue->head = block->link;
}

static int die_inside(void *arg)
{
	const struct cut *cut = arg;
	struct ft__self *self;

	REQUIRE(ft__self(&self) == 0);
	REQUIRE(ft__note(self, FT__NOTE_QUEUE, cut->queue));
	REQUIRE(ft__lock_enter(&cut->queue->lock, FT_FOREVER) == 0);
	if (cut->append)
		cut_append(cut);
	else
		cut_shift(cut);
	kill(getpid(), SIGKILL);
	return 1;
}

/* Two items, one of them 22, and what the dead left of its own. */
static void cut_short(bool append, bool committed)
{
	struct ft_queue *queue = shared_queue(0);
	struct cut cut = { .queue = queue, .append = append, .committed = committed };
	uint64_t number, left = 2 + (append && committed) - (!append && committed);
	uint32_t dead;

	assert_int_equal(put_number(queue, 11, FT_NOW), 0);
	assert_int_equal(put_number(queue, 22, FT_NOW), 0);
	assert_int_equal(child_end(worker_start(die_inside, &cut, &dead)), 256 + SIGKILL);
	assert_int_equal(queue->lock.word, dead);
	assert_int_equal(queue->size, 2);
	settle_death(dead);
	assert_int_equal(queue->lock.word, 0);
	assert_int_equal(ft_queue_size(queue), left);
	assert_int_equal(queue->unfinished, append ? left : 2);
	assert_int_equal(ft__block_count(0), left);
	/* A user never hears of it. */
	if (append || !committed)
		assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 22);
	if (append && committed) {
		assert_int_equal(get_number(queue, &number, FT_NOW), 0);
		assert_int_equal(number, 33);
	}
	assert_int_equal(get_number(queue, &number, FT_NOW), -ETIMEDOUT);
	done_with(queue);
}

static void operations_cut_short(void **state)
{
	(void)state;
	cut_short(true, false);
	cut_short(true, true);
	cut_short(false, false);
	cut_short(false, true);
}

/* The same, but a user comes before the supervisor is through. */
static void a_user_repairs(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	struct cut cut = { .queue = queue, .append = true, .committed = true };
	uint64_t number;
	uint32_t dead;

	(void)state;
	assert_int_equal(put_number(queue, 11, FT_NOW), 0);
	assert_int_equal(child_end(worker_start(die_inside, &cut, &dead)), 256 + SIGKILL);
	ft__lock_settle(&queue->lock, dead);
	assert_int_equal(put_number(queue, 44, FT_NOW), 0);
	assert_int_equal(ft_queue_size(queue), 3);
	assert_int_equal(queue->unfinished, 3);
	settle_death(dead);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 11);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 33);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 44);
	done_with(queue);
}

/* Its lock is held by a process that is dead too, but not settled yet. */
static void two_deaths(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	struct cut cut = { .queue = queue, .append = true, .committed = true };
	uint32_t asleep_one, inside_one;

	(void)state;
	pid_t pid = worker_start(get_and_die, queue, &asleep_one);

	UNTIL(asleep(pid, pid) && ft__load32_seq_cst(&queue->not_empty.tokens) == 1);
	kill(pid, SIGSTOP);
	UNTIL(!asleep(pid, pid));
	assert_int_equal(put_number(queue, 11, FT_NOW), 0);
	assert_int_equal(child_end(worker_start(die_inside, &cut, &inside_one)), 256 + SIGKILL);
	kill(pid, SIGKILL);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	assert_int_equal(ft__journal_settle(asleep_one), -EAGAIN);
	assert_int_equal(queue->lock.word & FT_LOCK_OWNER_MASK, inside_one);
	settle_death(inside_one);
	settle_death(asleep_one);
	assert_int_equal(ft_queue_size(queue), 2);
	done_with(queue);
}

/* Links that lead nowhere, or round in a circle: a repair comes to an end. */
static void scribbled_links(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	uint32_t dead = ft__slot_reserve("dead");
	struct ft__block *first;

	(void)state;
	assert_int_equal(put_number(queue, 1, FT_NOW), 0);
	assert_int_equal(put_number(queue, 2, FT_NOW), 0);
	first = block_at(queue->head);

	uint64_t second = first->link;

	first->link = UINT64_MAX - 31;
	queue->lock.word = dead | FT_LOCK_DIED;
	assert_int_equal(ft__queue_settle(queue), 0);
	assert_int_equal(queue->size, 1);
	assert_int_equal(queue->tail, queue->head);
	first->link = ft__offset(first);
	queue->lock.word = dead | FT_LOCK_DIED;
	assert_int_equal(ft__queue_settle(queue), 0);
	assert_int_equal(queue->size, 2);
	first->link = second;
	queue->lock.word = dead | FT_LOCK_DIED;
	assert_int_equal(ft__queue_settle(queue), 0);
	assert_int_equal(queue->size, 2);
	assert_int_equal(queue->tail, second);
	assert_int_equal(queue->unfinished, 2);
	ft__slot_free(dead);
	done_with(queue);
}

static int plain_child(void *arg)
{
	struct ft_queue *queue = arg;
	uint64_t number;

	REQUIRE(put_number(queue, 1, FT_NOW) == -ECHILD);
	REQUIRE(get_number(queue, &number, FT_NOW) == -ECHILD);
	REQUIRE(ft_queue_task_done(queue) == -ECHILD);
	REQUIRE(ft_queue_join(queue, FT_NOW) == -ECHILD);
	REQUIRE(ft_queue_close(queue) == -ECHILD);
	REQUIRE(ft_queue_init(queue, 0, FT_SHARED) == -ECHILD);
	return 0;
}

static void plain_fork(void **state)
{
	struct ft_queue *queue = shared_queue(0);

	(void)state;
	assert_int_equal(child_run(plain_child, queue), 0);
	done_with(queue);
}

/* ---- a stopped holder of the inner lock: a thread that does not go on ---- */

/* Calls end without it, with nothing put, taken or lost. */
static void a_holder_that_is_stopped(void **state)
{
	struct ft_queue *queue = shared_queue(1);
	struct holder holder;
	uint64_t number = 0;

	(void)state;
	hold(&holder, &queue->lock);
	assert_int_equal(put_number(queue, 1, FT_NOW), -ETIMEDOUT);
	assert_int_equal(get_number(queue, &number, ft_after(1000)), -ETIMEDOUT);
	assert_int_equal(ft_queue_join(queue, FT_NOW), -ETIMEDOUT);
	let_go(&holder);
	assert_int_equal(put_number(queue, 7, FT_NOW), 0);
	assert_int_equal(put_number(queue, 8, FT_NOW), -ETIMEDOUT);
	hold(&holder, &queue->lock);
	assert_int_equal(get_number(queue, &number, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_queue_destroy(queue), -EBUSY);
	let_go(&holder);
	assert_int_equal(get_number(queue, &number, FT_NOW), 0);
	assert_int_equal(number, 7);
	assert_int_equal(ft_queue_size(queue), 0);
	done_with(queue);
}

struct sleeper {
	struct ft_queue *queue;
	ft_deadline deadline;
	pthread_t thread;
	uint64_t number;
	int rc;
};

static void *sleep_in(void *arg)
{
	struct sleeper *sleeper = arg;

	sleeper->rc = get_number(sleeper->queue, &sleeper->number, sleeper->deadline);
	return NULL;
}

static void fall_asleep(struct sleeper *sleeper, struct ft_queue *queue, ft_deadline deadline)
{
	uint32_t before = ft__load32_acquire(&queue->not_empty.tokens);

	*sleeper = (struct sleeper){ .queue = queue, .deadline = deadline };
	assert_int_equal(pthread_create(&sleeper->thread, NULL, sleep_in, sleeper), 0);
	while (ft__load32_acquire(&queue->not_empty.tokens) == before)
		sched_yield();
}

/* One whose time is over while it sleeps leaves a token behind: the others are
 * woken as ever. */
static void a_sleeper_that_cannot_come_back(void **state)
{
	struct ft_queue *queue = shared_queue(0);
	struct sleeper first, second;
	struct holder holder;

	(void)state;
	fall_asleep(&first, queue, ft_after(INT64_C(3000000000)));
	fall_asleep(&second, queue, FT_FOREVER);
	hold(&holder, &queue->lock);
	assert_int_equal(pthread_join(first.thread, NULL), 0);
	assert_int_equal(first.rc, -ETIMEDOUT);
	let_go(&holder);
	assert_int_equal(put_number(queue, 9, FT_NOW), 0);
	assert_int_equal(pthread_join(second.thread, NULL), 0);
	assert_int_equal(second.rc, 0);
	assert_int_equal(second.number, 9);
	assert_int_equal(put_number(queue, 10, FT_NOW), 0);
	assert_int_equal(get_number(queue, &second.number, FT_NOW), 0);
	done_with(queue);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bad_arguments),
		cmocka_unit_test(fields_at_each_step),
		cmocka_unit_test(items_of_any_size),
		cmocka_unit_test(tokens_at_each_step),
		cmocka_unit_test(join_waits_for_the_last),
		cmocka_unit_test(closing),
		cmocka_unit_test(signals_do_not_move_a_deadline),
		cmocka_unit_test(a_consumer_that_dies_asleep),
		cmocka_unit_test(operations_cut_short),
		cmocka_unit_test(a_user_repairs),
		cmocka_unit_test(two_deaths),
		cmocka_unit_test(scribbled_links),
		cmocka_unit_test(a_holder_that_is_stopped),
		cmocka_unit_test(a_sleeper_that_cannot_come_back),
		cmocka_unit_test(plain_fork),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
