/* SPDX-License-Identifier: MIT */
/* Sleeping and waking: every answer, the one-call store and wake, both keys. */
#include <errno.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/atomic.h"
#include "os/clock.h"
#include "os/futex.h"

#define MS INT64_C(1000000)
#define WAITERS 3

struct waiter {
	pthread_t thread;
	uint32_t *word;
	uint32_t expected;
	bool shared;
	uint32_t tid; /* set right before it sleeps */
	int rc;
};

static void *wait_once(void *arg)
{
	struct waiter *w = arg;

	ft__store32_seq_cst(&w->tid, (uint32_t)syscall(SYS_gettid));
	w->rc = ft__futex_wait(w->word, w->expected, w->shared, ft_after(20000 * MS));
	return NULL;
}

/* Until the thread sleeps; after it announced itself it does so nowhere else. */
static void await_parked(struct waiter *w)
{
	char path[64], line[256], state = 0;

	while (!ft__load32_seq_cst(&w->tid))
		sched_yield();
	snprintf(path, sizeof(path), "/proc/self/task/%u/stat", w->tid);
	while (state != 'S') {
		FILE *f = fopen(path, "r");

		assert_non_null(f);
		assert_non_null(fgets(line, sizeof(line), f));
		fclose(f);
		state = strrchr(line, ')')[2];
		sched_yield();
	}
}

static void start(struct waiter *w, uint32_t *word, uint32_t expected, bool shared)
{
	*w = (struct waiter){ .word = word, .expected = expected, .shared = shared, .rc = 1 };
	assert_int_equal(pthread_create(&w->thread, NULL, wait_once, w), 0);
	await_parked(w);
}

static void another_value_is_eagain(void **state)
{
	uint32_t word = 7;

	(void)state;
	assert_int_equal(ft__futex_wait(&word, 8, false, FT_FOREVER), -EAGAIN);
	assert_int_equal(ft__futex_wait(&word, 8, true, FT_NOW), -EAGAIN);
}

static void deadlines_are_absolute(void **state)
{
	uint32_t word = 7;
	ft_deadline until = ft_after(20 * MS);

	(void)state;
	assert_int_equal(ft__futex_wait(&word, 7, false, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft__futex_wait(&word, 7, true, -1), -ETIMEDOUT);
	assert_int_equal(ft__futex_wait(&word, 7, false, until), -ETIMEDOUT);
	assert_true(ft_now() >= until);
	assert_int_equal(ft__futex_wait(&word, 7, false, until), -ETIMEDOUT);
}

static void wakes_are_counted(void **state)
{
	(void)state;
	for (int shared = 0; shared < 2; shared++) {
		struct waiter w[WAITERS];
		uint32_t word = 5;

		for (int i = 0; i < WAITERS; i++)
			start(&w[i], &word, 5, shared);
		assert_int_equal(ft__futex_wake(&word, 0, !shared), 0); /* the other key */
		assert_int_equal(ft__futex_wake(&word, 1, shared), 1);
		assert_int_equal(ft__futex_wake(&word, INT32_MAX, shared), WAITERS - 1);
		assert_int_equal(ft__futex_wake(&word, INT32_MAX, shared), 0);
		for (int i = 0; i < WAITERS; i++) {
			pthread_join(w[i].thread, NULL);
			assert_int_equal(w[i].rc, 0);
		}
	}
}

static void keys_differ(void **state)
{
	struct waiter w;
	uint32_t word = 5;

	(void)state;
	start(&w, &word, 5, true);
	assert_int_equal(ft__futex_wake(&word, INT32_MAX, false), 0);
	assert_int_equal(ft__futex_wake(&word, INT32_MAX, true), 1);
	pthread_join(w.thread, NULL);
	assert_int_equal(w.rc, 0);
}

/* Values: nothing, each single bit, and one that takes two steps. */
static void store_and_wake(void **state)
{
	uint32_t word;

	(void)state;
	for (int shared = 0; shared < 2; shared++) {
		for (int bit = 0; bit < 32; bit++) {
			word = 0xdeadbeef;
			assert_int_equal(ft__futex_store_wake(&word, UINT32_C(1) << bit, 1, shared),
					 0);
			assert_int_equal(word, UINT32_C(1) << bit);
		}
		assert_int_equal(ft__futex_store_wake(&word, 0, 1, shared), 0);
		assert_int_equal(word, 0);
		assert_int_equal(ft__futex_store_wake(&word, 0x12345, 1, shared), 0);
		assert_int_equal(word, 0x12345);
	}
}

/* One sleeper of two, whatever the word held: no second wake on the sly. */
static void store_wakes_as_many_as_asked(void **state)
{
	static const uint32_t old[] = { 0, 5, 0x80000000, 0x80004001, 0x7fffffff };

	(void)state;
	for (size_t i = 0; i < sizeof(old) / sizeof(old[0]); i++) {
		struct waiter w[2];
		uint32_t word = old[i];

		start(&w[0], &word, old[i], true);
		start(&w[1], &word, old[i], true);
		assert_int_equal(ft__futex_store_wake(&word, 0x80000000, 1, true), 1);
		assert_int_equal(word, 0x80000000);
		assert_int_equal(ft__futex_wake(&word, INT32_MAX, true), 1);
		pthread_join(w[0].thread, NULL);
		pthread_join(w[1].thread, NULL);
	}
}

static void gone_pages_wake_nobody(void **state)
{
	uint32_t *word = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
			      0);

	(void)state;
	assert_true(word != MAP_FAILED);
	munmap(word, 4096);
	assert_int_equal(ft__futex_wake(word, 1, true), 0);
	assert_int_equal(ft__futex_store_wake(word, 0, 1, true), 0);
	assert_int_equal(ft__futex_store_wake(word, 1, 1, true), 0);
}

static void ignore(int signo)
{
	(void)signo;
}

static void signals_interrupt(void **state)
{
	struct sigaction action = { .sa_handler = ignore }, before;
	struct waiter w;
	uint32_t word = 5;

	(void)state;
	sigaction(SIGUSR1, &action, &before);
	start(&w, &word, 5, false);
	pthread_kill(w.thread, SIGUSR1);
	pthread_join(w.thread, NULL);
	sigaction(SIGUSR1, &before, NULL);
	assert_int_equal(w.rc, -EINTR);
}

static int wait_in_child(void *arg)
{
	uint32_t *word = arg;
	int rc = -EAGAIN;

	ft__store32_seq_cst(&word[1], 1);
	while (ft__load32_seq_cst(word) == 0)
		rc = ft__futex_wait(word, 0, true, ft_after(20000 * MS));
	return rc == 0 || rc == -EAGAIN ? 0 : 1;
}

/* The word lies elsewhere in the other process's memory. */
static void processes_wake_each_other(void **state)
{
	int fd = memfd_create("test", MFD_CLOEXEC);

	(void)state;
	assert_int_equal(ftruncate(fd, 4096), 0);

	uint32_t *mine = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	uint32_t *other = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	pid_t pid = child_start(wait_in_child, other);

	while (!ft__load32_seq_cst(&mine[1]))
		sched_yield();
	ft__futex_store_wake(mine, 1, 1, true);
	assert_int_equal(child_end(pid), 0);
	munmap(mine, 4096);
	munmap(other, 4096);
	close(fd);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(another_value_is_eagain),
		cmocka_unit_test(deadlines_are_absolute),
		cmocka_unit_test(wakes_are_counted),
		cmocka_unit_test(keys_differ),
		cmocka_unit_test(store_and_wake),
		cmocka_unit_test(store_wakes_as_many_as_asked),
		cmocka_unit_test(gone_pages_wake_nobody),
		cmocka_unit_test(signals_interrupt),
		cmocka_unit_test(processes_wake_each_other),
	};

	alarm(CHILD_SECONDS);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
