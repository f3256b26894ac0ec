/* SPDX-License-Identifier: MIT */
/* Thread workers that leave their OS threads to each other. */
#include "worker_tools.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>

#include "mem/slot.h"
#include "os/atomic.h"
#include "os/traits.h"
#include "work/worker.h"

#ifdef __SANITIZE_ADDRESS__
/* It gives each thread a signal stack of its own, with which none is used again. */
__attribute__((visibility("default"))) const char *__asan_default_options(void);
const char *__asan_default_options(void)
{
	return "use_sigaltstack=0";
}
#endif

#define LIMIT (20 * SECOND)

static struct ft_worker *start(ft_worker_main *main, void *arg)
{
	struct ft_worker_options o = thread_options();
	struct ft_worker *worker;

	o.flags = FT_WORKER_REUSE;
	assert_int_equal(ft_worker_start(&worker, &o, main, arg), 0);
	return worker;
}

/* The thread id of a worker that has run main(arg). */
static pid_t run(ft_worker_main *main, void *arg)
{
	struct ft_worker_exit how;

	join_free(start(main, arg), &how);
	assert_int_equal(how.code, 0);
	return how.pid;
}

static int nothing(void *arg)
{
	(void)arg;
	return 0;
}

/* A parked thread leaves after a moment, so it may take more than one try. */
static void reuse_main(ft_worker_main *main, void *arg)
{
	ft_deadline end = ft_after(LIMIT);
	pid_t before = run(nothing, NULL), now = run(main, arg);

	while (now != before && ft_now() < end) {
		before = run(nothing, NULL);
		now = run(main, arg);
	}
	assert_int_equal(now, before);
}

static unsigned threads; /* before the first worker; const */

static void no_thread_is_left(void)
{
	for (ft_deadline end = ft_after(LIMIT); count_threads() > threads && ft_now() < end;)
		sched_yield();
	assert_int_equal(count_threads(), threads);
}

static void a_thread_is_used_again(void **state)
{
	(void)state;
	reuse_main(nothing, NULL);
	no_thread_is_left();
}

struct seen {
	pthread_t self;
	char comm[32];
	sigset_t mask;
	struct ft__traits traits;
};

static int see(void *arg)
{
	struct seen *seen = arg;

	seen->self = pthread_self();
	prctl(PR_GET_NAME, seen->comm);
	pthread_sigmask(SIG_BLOCK, NULL, &seen->mask);
	return !ft__traits_get(&seen->traits);
}

static void it_is_as_a_new_one_would_be(void **state)
{
	struct ft_worker_options o = thread_options();
	struct ft__traits mine;
	struct seen seen;
	struct ft_worker *worker;
	pthread_t thread;
	sigset_t mask, before;

	(void)state;
	assert_true(ft__traits_get(&mine));
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR1);
	for (int blocked = 0; blocked < 2; blocked++) {
		run(nothing, NULL);
		pthread_sigmask(blocked ? SIG_BLOCK : SIG_UNBLOCK, &mask, &before);
		o.flags = FT_WORKER_REUSE;
		o.name = blocked ? "blocked" : "open";
		assert_int_equal(ft_worker_start(&worker, &o, see, &seen), 0);
		pthread_sigmask(SIG_SETMASK, &before, NULL);
		assert_int_equal(ft_worker_thread(worker, &thread), 0);
		join_free(worker, NULL);
		assert_true(pthread_equal(thread, seen.self));
		assert_string_equal(seen.comm, o.name);
		assert_int_equal(sigismember(&seen.mask, SIGUSR1), blocked);
		assert_false(sigismember(&seen.mask, SIGTERM));
		assert_true(ft__traits_equal(&mine, &seen.traits));
	}
}

static int be_nice(void *arg)
{
	return setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), *(int *)arg);
}

static int stay_on_one(void *arg)
{
	cpu_set_t one;

	(void)arg;
	CPU_ZERO(&one);
	CPU_SET((size_t)sched_getcpu(), &one);
	return sched_setaffinity(0, sizeof(one), &one);
}

static int have_a_signal_stack(void *arg)
{
	stack_t stack = { .ss_sp = arg, .ss_size = 65536 };

	return sigaltstack(&stack, NULL);
}

/* What a worker has changed about its thread is nobody else's. */
static void a_changed_thread_is_let_go(void **state)
{
	static char stack[65536];
	int nice = getpriority(PRIO_PROCESS, 0) + 1;
	ft_worker_main *const changes[] = { be_nice, stay_on_one, have_a_signal_stack };
	void *const args[] = { &nice, NULL, stack };
	struct ft__traits mine;
	struct seen seen;

	(void)state;
	assert_true(ft__traits_get(&mine));
	for (int i = 0; i < 3; i++) {
		reuse_main(changes[i], args[i]);
		run(see, &seen);
		assert_true(ft__traits_equal(&mine, &seen.traits));
	}
}

static void *start_nicer(void *seen)
{
	int nice = getpriority(PRIO_PROCESS, 0) + 1;

	be_nice(&nice);
	run(see, seen);
	return NULL;
}

static void another_starter_gives_what_it_has(void **state)
{
	struct seen seen;
	pthread_t other;

	(void)state;
	run(nothing, NULL);
	assert_int_equal(pthread_create(&other, NULL, start_nicer, &seen), 0);
	pthread_join(other, NULL);
	assert_int_equal(seen.traits.schedule.nice, getpriority(PRIO_PROCESS, 0) + 1);
}

static int leave_early(void *arg)
{
	pthread_exit(arg);
}

static void pthread_exit_ends_a_thread_in_use_again(void **state)
{
	(void)state;
	reuse_main(leave_early, NULL);
	no_thread_is_left();
}

static int have_a_block(void *arg)
{
	void *block;

	(void)arg;
	return ft_block_alloc(64, &block) || ft_block_free(block);
}

static void one_that_has_shared_something_is_used_again(void **state)
{
	ft_deadline end = ft_after(LIMIT);
	pid_t before = run(have_a_block, NULL), now;
	uint32_t slots = ft__slot_count();

	(void)state;
	do {
		before = run(have_a_block, NULL);
		assert_int_equal(ft__slot_count(), slots);
		now = run(have_a_block, NULL);
	} while (now != before && ft_now() < end);
	assert_int_equal(now, before);
	no_thread_is_left();
	assert_int_equal(ft__slot_count(), slots);
}

/* A worker that held something shared dies with its thread. */
static int hold(void *lock)
{
	return ft_lock_acquire(lock, FT_FOREVER);
}

static void what_it_held_is_handed_on(void **state)
{
	struct ft_lock *lock;

	(void)state;
	assert_int_equal(ft_block_alloc(sizeof(*lock), (void **)&lock), 0);
	assert_int_equal(ft_lock_init(lock, FT_SHARED), 0);
	run(hold, lock);
	assert_int_equal(ft_lock_acquire(lock, ft_after(LIMIT)), -EOWNERDEAD);
	assert_int_equal(ft_lock_release(lock), 0);
	assert_int_equal(ft_block_free(lock), 0);
}

static void released_while_they_run(void **state)
{
	(void)state;
	for (int i = 0; i < 200; i++)
		assert_int_equal(ft_worker_release(start(i % 3 ? nothing : leave_early, NULL)), 0);
	no_thread_is_left();
}

static void a_forked_child_has_none_of_them(void **state)
{
	int status;
	pid_t pid;

	(void)state;
	for (int i = 0; i < 20; i++) {
		run(nothing, NULL);
		pid = fork();
		if (pid == 0)
			_exit(count_threads() != threads);
		assert_int_equal(waitpid(pid, &status, 0), pid);
		assert_int_equal(status, 0);
	}
	reuse_main(nothing, NULL);
	no_thread_is_left();
}

static uint32_t gone; /* atomic; no partner, read after the thread has been joined */

static void note_the_end(void *unused)
{
	(void)unused;
	ft__add32_seq_cst(&gone, 1);
}

static pthread_key_t at_end; /* const after its test has begun */

static int has_a_destructor(void *arg)
{
	return pthread_setspecific(at_end, arg);
}

static void the_dismissed_have_left(void **state)
{
	int any;

	(void)state;
	assert_int_equal(pthread_key_create(&at_end, note_the_end), 0);
	assert_int_equal(ft_worker_dismiss(FT_FOREVER), 0);
	for (uint32_t i = 1; i <= 20; i++) {
		run(has_a_destructor, &any);
		assert_int_equal(ft_worker_dismiss(FT_FOREVER), 0);
		/* One that has left by itself, after a long moment, may be on its way. */
		while (ft__load32_relaxed(&gone) < i && count_threads() > threads)
			sched_yield();
		assert_int_equal(gone, i);
	}
	reuse_main(nothing, NULL);
	assert_int_equal(ft_worker_dismiss(ft_after(LIMIT)), 0);
	no_thread_is_left();
	assert_int_equal(pthread_key_delete(at_end), 0);
}

static uint32_t sum; /* atomic; no partner, read after all have ended */

static int add(void *arg)
{
	(void)arg;
	ft__add32_seq_cst(&sum, 1);
	return 0;
}

static void *start_many(void *arg)
{
	enum { AT_ONCE = 8 };
	struct ft_worker *workers[AT_ONCE];

	for (int i = 0; i < *(int *)arg; i++) {
		for (int j = 0; j < AT_ONCE; j++)
			workers[j] = start(add, NULL);
		for (int j = 0; j < AT_ONCE; j++)
			join_free(workers[j], NULL);
	}
	return NULL;
}

static void many_from_many_threads(void **state)
{
	pthread_t starters[4];
	int rounds = MANY(200);

	(void)state;
	for (int i = 0; i < 4; i++)
		assert_int_equal(pthread_create(&starters[i], NULL, start_many, &rounds), 0);
	for (int i = 0; i < 4; i++)
		pthread_join(starters[i], NULL);
	assert_int_equal(sum, 4 * 8 * rounds);
	no_thread_is_left();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_thread_is_used_again),
		cmocka_unit_test(it_is_as_a_new_one_would_be),
		cmocka_unit_test(a_changed_thread_is_let_go),
		cmocka_unit_test(another_starter_gives_what_it_has),
		cmocka_unit_test(pthread_exit_ends_a_thread_in_use_again),
		cmocka_unit_test(one_that_has_shared_something_is_used_again),
		cmocka_unit_test(what_it_held_is_handed_on),
		cmocka_unit_test(released_while_they_run),
		cmocka_unit_test(a_forked_child_has_none_of_them),
		cmocka_unit_test(the_dismissed_have_left),
		cmocka_unit_test(many_from_many_threads),
	};

	limit_time();
	threads = count_threads();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
