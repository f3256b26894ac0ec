/* SPDX-License-Identifier: MIT */
/* Slots: the words at each step, generations, threads, processes, the dead. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "mem/slot.h"
#include "os/atomic.h"

static uint32_t state_of(uint32_t owner)
{
	return ft__slot_of(owner)->word & FT__SLOT_STATE;
}

static void the_main_thread_is_the_process(void **state)
{
	struct ft__self *self;

	(void)state;
	assert_int_equal(ft__self(&self), 0);
	assert_int_not_equal(self->owner, 0);
	assert_int_equal(self->owner, ft__process());
	assert_ptr_equal(self->slot, ft__slot_of(self->owner));
	assert_int_equal(state_of(self->owner), FT__SLOT_LIVE);
	assert_int_equal(self->slot->word & FT__SLOT_GENERATION,
			 self->owner & FT__SLOT_GENERATION);
	assert_int_equal(self->slot->process, self->owner);
	assert_int_equal(self->slot->parent, 0);
	assert_int_equal(self->slot->pid, getpid());
	assert_int_equal(self->slot->tid, getpid());
	assert_true(self->slot->name[0] != 0);
	assert_true(ft__slot_alive(self->owner));
}

static void words_at_each_step(void **state)
{
	uint32_t owner = ft__slot_reserve("a name that is too long for it");
	struct ft__slot *slot = ft__slot_of(owner);
	uint32_t generation = owner & FT__SLOT_GENERATION;

	(void)state;
	assert_int_not_equal(owner, 0);
	assert_int_equal(slot->word, generation | FT__SLOT_RESERVED);
	assert_int_equal(slot->process, ft__process());
	assert_int_equal(slot->parent, ft__process());
	assert_int_equal(slot->pid, 0);
	assert_string_equal(slot->name, "a name that is ");
	assert_true(ft__slot_alive(owner));

	ft__slot_free(owner);
	assert_int_equal(slot->word, generation | FT__SLOT_FREE);
	assert_int_equal(slot->process, 0);
	assert_false(ft__slot_alive(owner));
	ft__slot_free(owner);
	assert_int_equal(slot->word, generation | FT__SLOT_FREE);
	assert_int_equal(ft__slot_adopt(owner), -ESTALE);
}

static void generations_come_round(void **state)
{
	uint32_t owner = ft__slot_reserve("x"), index = owner & FT__SLOT_INDEX;
	struct ft__slot *slot = ft__slot_of(owner);

	(void)state;
	ft__slot_free(owner);
	slot->word = FT__SLOT_GENERATION; /* 65535, free */

	uint32_t next = 0;

	/* Slots are taken in turn: this one's comes. */
	while ((next & FT__SLOT_INDEX) != index || !next) {
		ft__slot_free(next);
		next = ft__slot_reserve("x");
		assert_int_not_equal(next, 0);
	}
	assert_int_equal(next & FT__SLOT_GENERATION, FT__SLOT_INDEX + 1); /* 1, never 0 */
	assert_false(ft__slot_alive(index | FT__SLOT_GENERATION));
	ft__slot_free(index | FT__SLOT_GENERATION); /* a stale id frees nothing */
	assert_true(ft__slot_alive(next));
	ft__slot_free(next);
}

static void wrong_ids(void **state)
{
	(void)state;
	assert_null(ft__slot_of(0));
	assert_false(ft__slot_alive(0));
	assert_false(ft__slot_alive(UINT32_MAX));
	ft__slot_free(0);
	ft__slot_free(FT__SLOT_INDEX | FT__SLOT_GENERATION);
	assert_int_equal(ft__slot_adopt(0), -EINVAL);
}

struct seen {
	uint32_t owners[64];
	int count;
};

static void see(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	struct seen *seen = ctx;

	assert_ptr_equal(slot, ft__slot_of(owner));
	if (seen->count < 64)
		seen->owners[seen->count++] = owner;
}

static uint32_t leavers;

static void leaving(uint32_t owner)
{
	assert_true(ft__slot_alive(owner));
	ft__add32_seq_cst(&leavers, 1);
}

static void *register_and_leave(void *arg)
{
	struct ft__self *self;

	if (ft__self(&self) != 0)
		return NULL;
	if (self->slot->process != ft__process() || self->owner == ft__process() ||
	    self->slot->tid != (pid_t)syscall(SYS_gettid) || self->slot->pid != getpid())
		return NULL;
	*(uint32_t *)arg = self->owner;
	return arg;
}

static void threads_come_and_go(void **state)
{
	uint32_t before = ft__slot_count(), owners[8];
	pthread_t threads[8];

	(void)state;
	ft__slot_leaving = leaving;
	for (int i = 0; i < 8; i++)
		pthread_create(&threads[i], NULL, register_and_leave, &owners[i]);
	for (int i = 0; i < 8; i++) {
		void *rc;

		pthread_join(threads[i], &rc);
		assert_non_null(rc);
		for (int k = 0; k < i; k++)
			assert_int_not_equal(owners[i], owners[k]);
	}
	ft__slot_leaving = NULL;
	assert_int_equal(leavers, 8);
	for (int i = 0; i < 8; i++)
		assert_false(ft__slot_alive(owners[i]));
	assert_int_equal(ft__slot_count(), before);
}

static int be_worker(void *arg)
{
	struct ft__self *self;
	uint32_t owner = *(uint32_t *)arg;
	pthread_t thread;
	uint32_t other;
	struct seen seen = { 0 };
	void *rc;

	REQUIRE(ft__process() == owner);
	REQUIRE(ft__self(&self) == 0 && self->owner == owner);
	REQUIRE(state_of(owner) == FT__SLOT_LIVE);
	REQUIRE(self->slot->process == owner && self->slot->parent != owner);
	REQUIRE(self->slot->pid == getpid() && self->slot->tid == getpid());
	REQUIRE(pthread_create(&thread, NULL, register_and_leave, &other) == 0);
	REQUIRE(pthread_join(thread, &rc) == 0 && rc);
	REQUIRE(!ft__slot_alive(other));
	ft__slot_each(owner, see, &seen);
	REQUIRE(seen.count == 1 && seen.owners[0] == owner);
	/* The slot that a second one would adopt is taken. */
	REQUIRE(ft__slot_adopt(owner) == -ESTALE);
	return 0;
}

static void workers_adopt(void **state)
{
	uint32_t owner, before = ft__slot_count();
	pid_t pid = worker_start(be_worker, &owner, &owner);

	(void)state;
	assert_int_equal(child_end(pid), 0);
	/* Nobody but its supervisor frees a dead worker's slot. */
	assert_true(ft__slot_alive(owner));
	ft__slot_free(owner);
	assert_int_equal(ft__slot_count(), before);
}

static void *register_and_stay(void *arg)
{
	struct ft__self *self;
	int *fds = arg;
	char byte = 'r';

	REQUIRE(ft__self(&self) == 0);
	REQUIRE(write(fds[1], &byte, 1) == 1);
	pause();
	return NULL;
}

static int threads_until_killed(void *arg)
{
	pthread_t thread;

	for (int i = 0; i < 5; i++)
		REQUIRE(pthread_create(&thread, NULL, register_and_stay, arg) == 0);
	/* And one that its own worker never came to adopt. */
	REQUIRE(ft__slot_reserve("unborn") != 0);
	pause();
	return 1;
}

static void free_one(void *ctx, uint32_t owner, struct ft__slot *slot)
{
	see(ctx, owner, slot);
	ft__slot_free(owner);
}

static void the_dead_are_found(void **state)
{
	struct seen seen = { 0 };
	uint32_t owner, before = ft__slot_count();
	int fds[2];
	char bytes[5];

	(void)state;
	assert_int_equal(pipe(fds), 0);

	pid_t pid = worker_start(threads_until_killed, fds, &owner);

	for (size_t got = 0; got < sizeof(bytes);)
		got += (size_t)read(fds[0], bytes, sizeof(bytes) - got);
	/* The unborn one is reserved before or after; wait until it is there. */
	while (ft__slot_count() < before + 7)
		;
	kill(pid, SIGKILL);
	assert_int_equal(child_end(pid), 256 + SIGKILL);
	ft__slot_each(owner, free_one, &seen);
	assert_int_equal(seen.count, 7);
	assert_int_equal(seen.owners[6], owner); /* its own last */
	assert_int_equal(ft__slot_count(), before);
	close(fds[0]);
	close(fds[1]);
}

/* A slot that was taken over between death and birth is not the dead one's. */
static void adopting_too_late(void **state)
{
	uint32_t owner = ft__slot_reserve("x"), before;

	(void)state;
	before = ft__process();
	ft__slot_free(owner);

	pid_t pid = fork();

	if (pid == 0) {
		REQUIRE(ft__arena_adopt(owner) == -ESTALE);
		REQUIRE(ft__process() == 0 && ft_arena_open() == -ECHILD);
		_exit(0);
	}
	assert_int_equal(child_end(pid), 0);
	assert_int_equal(ft__process(), before);
}

static void they_run_out(void **state)
{
	static uint32_t owners[FT__SLOTS];
	uint32_t before = ft__slot_count(), n = 0, owner;

	(void)state;
	while ((owner = ft__slot_reserve("many")) != 0)
		owners[n++] = owner;
	assert_int_equal(n, FT__SLOTS - before);
	assert_int_equal(ft__slot_count(), FT__SLOTS);
	for (uint32_t i = 0; i < n; i++)
		ft__slot_free(owners[i]);
	assert_int_equal(ft__slot_count(), before);
	owner = ft__slot_reserve("one");
	assert_int_not_equal(owner, 0);
	ft__slot_free(owner);
}

/* A thread that is not the main one may come first. */
static int mode_thread_first(void)
{
	pthread_t thread;
	uint32_t other;
	struct ft__self *self;
	void *rc;

	REQUIRE(pthread_create(&thread, NULL, register_and_leave, &other) == 0);
	REQUIRE(pthread_join(thread, &rc) == 0 && rc);
	REQUIRE(ft__slot_count() == 1);
	REQUIRE(ft__self(&self) == 0 && self->owner == ft__process());
	REQUIRE(ft__slot_count() == 1 && self->slot->tid == getpid());
	return 0;
}

static uint32_t first_process;

static void *name_process(void *arg)
{
	uint32_t mine = ft__process(), seen = 0;

	(void)arg;
	if (!ft__cas32_seq_cst(&first_process, &seen, mine) && seen != mine)
		return NULL;
	return &first_process;
}

static int mode_process_race(void)
{
	pthread_t threads[8];

	for (int i = 0; i < 8; i++)
		REQUIRE(pthread_create(&threads[i], NULL, name_process, NULL) == 0);
	for (int i = 0; i < 8; i++) {
		void *rc;

		REQUIRE(pthread_join(threads[i], &rc) == 0 && rc);
	}
	REQUIRE(ft__slot_count() == 1);
	return 0;
}

/* A main thread that left stays behind as a zombie. */
static void await_main_gone(void)
{
	char path[64], line[256], thread_state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", getpid());
	while (thread_state != 'Z') {
		FILE *f = fopen(path, "r");

		REQUIRE(f && fgets(line, sizeof(line), f));
		fclose(f);
		thread_state = strrchr(line, ')')[2];
		sched_yield();
	}
}

static void *outlive_main(void *arg)
{
	struct ft__self *self;

	(void)arg;
	await_main_gone();
	REQUIRE(ft__slot_alive(ft__process()));
	REQUIRE(ft__self(&self) == 0 && ft__slot_count() == 2);
	_exit(0);
}

/* pthread_exit in main(): the process lives on, and so does its slot. */
static int mode_main_leaves(void)
{
	struct ft__self *self;
	pthread_t thread;

	REQUIRE(ft__self(&self) == 0);
	REQUIRE(pthread_create(&thread, NULL, outlive_main, NULL) == 0);
	pthread_exit(NULL);
}

static void fresh_processes(void **state)
{
	(void)state;
	assert_int_equal(self_run("thread-first", NULL, NULL), 0);
	for (int i = 0; i < 20; i++)
		assert_int_equal(self_run("process-race", NULL, NULL), 0);
	assert_int_equal(self_run("main-leaves", NULL, NULL), 0);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = {
		{ "thread-first", mode_thread_first },
		{ "process-race", mode_process_race },
		{ "main-leaves", mode_main_leaves },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_main_thread_is_the_process),
		cmocka_unit_test(words_at_each_step),
		cmocka_unit_test(generations_come_round),
		cmocka_unit_test(wrong_ids),
		cmocka_unit_test(threads_come_and_go),
		cmocka_unit_test(workers_adopt),
		cmocka_unit_test(the_dead_are_found),
		cmocka_unit_test(adopting_too_late),
		cmocka_unit_test(they_run_out),
		cmocka_unit_test(fresh_processes),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
