/* SPDX-License-Identifier: MIT */
/*
 * Process workers that are copies of the program.  The program runs itself
 * again where clone3, or raw clone at all, is refused: the same must hold.
 */
#include "worker_tools.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <pthread.h>
#include <sched.h>

#include "os/atomic.h"
#include "os/probe.h"

static uint32_t *shared;

static int setup(void **state)
{
	(void)state;
	shared = shared_page();
	return 0;
}

static int teardown(void **state)
{
	(void)state;
	return munmap(shared, 4096);
}

static struct ft_worker *start(ft_worker_main *main, void *arg)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;

	assert_int_equal(ft_worker_start(&worker, &o, main, arg), 0);
	return worker;
}

/* Spins, yielding, until a shared word has a value: no sleep decides. */
static void await_word(uint32_t *word, uint32_t value)
{
	while (ft__load32_acquire(word) < value) /* partner: announce */
		sched_yield();
}

static void announce(uint32_t *word)
{
	ft__add32_seq_cst(word, 1); /* partner: await_word */
}

static int sleep_for_ever(void *arg)
{
	announce(arg);
	while (pause() < 0)
		;
	return 0;
}

static int return_arg(void *arg)
{
	return (int)(intptr_t)arg;
}

static void the_code_is_a_byte(void **state)
{
	struct ft_worker_exit how;
	struct ft_worker *worker = start(return_arg, (void *)7);
	pid_t pid = ft_worker_pid(worker);

	(void)state;
	assert_true(pid > 0 && pid != getpid());
	join_free(worker, &how);
	assert_int_equal(how.code, 7);
	assert_int_equal(how.signo, 0);
	assert_int_equal(how.known, 1);
	assert_int_equal(how.pid, pid);
	join_free(start(return_arg, (void *)0x1fe), &how);
	assert_int_equal(how.code, 0xfe);
	join_free(start(return_arg, (void *)-1), &how);
	assert_int_equal(how.code, 255);
}

static int leave_by_exit(void *arg)
{
	_exit(*(int *)arg);
}

static void leaving_by_oneself_is_known_too(void **state)
{
	struct ft_worker_exit how;
	int code = 9;

	(void)state;
	join_free(start(leave_by_exit, &code), &how);
	assert_int_equal(how.code, 9);
	assert_int_equal(how.known, 1);
}

static void signals_are_told(void **state)
{
	static const int signals[] = { SIGKILL, SIGTERM, SIGUSR1, SIGABRT };
	struct ft_worker_exit how;

	(void)state;
	for (uint32_t i = 0; i < 4; i++) {
		struct ft_worker *worker = start(sleep_for_ever, shared);

		await_word(shared, i + 1);
		assert_int_equal(ft_worker_kill(worker, -1), -EINVAL);
		assert_int_equal(ft_worker_kill(worker, 1000), -EINVAL);
		assert_int_equal(ft_worker_kill(worker, 0), 0);
		assert_int_equal(ft_worker_kill(worker, signals[i]), 0);
		assert_int_equal(ft_worker_join(worker, ft_after(20 * SECOND)), 0);
		assert_int_equal(ft_worker_kill(worker, SIGTERM), -ESRCH);
		assert_int_equal(ft_worker_is_alive(worker), 0);
		join_free(worker, &how);
		assert_int_equal(how.signo, signals[i]);
		assert_int_equal(how.code, 0);
		assert_int_equal(how.known, 1);
	}
}

static void stopped_is_not_dead(void **state)
{
	struct ft_worker *worker = start(sleep_for_ever, shared);
	char what[64];

	(void)state;
	await_word(shared, 1);
	assert_int_equal(ft_worker_kill(worker, SIGSTOP), 0);
	do
		proc_status(ft_worker_pid(worker), "State", what, sizeof(what));
	while (what[0] != 'T');
	assert_int_equal(ft_worker_is_alive(worker), 1);
	assert_int_equal(ft_worker_join(worker, ft_after(SECOND / 20)), -ETIMEDOUT);
	assert_int_equal(ft_worker_free(worker), -EBUSY);
	assert_int_equal(ft_worker_kill(worker, SIGCONT), 0);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, NULL);
}

static void name_and_cpus_are_set(void **state)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	struct ft_cpus usable, asked = { { 0 } };
	char text[512], list[256], own[256];
	unsigned cpu = FT_CPUS_MAX - 1;

	(void)state;
	ft_cpus_usable(&usable);
	while (!(usable.bits[cpu / 64] >> cpu % 64 & 1))
		cpu--;
	asked.bits[cpu / 64] |= UINT64_C(1) << cpu % 64;
	asked.bits[FT_CPUS_MAX / 64 - 1] |= 2; /* a CPU that this machine has not */
	o.cpus = &asked;
	o.name = "pinned \xc3\xa4nd long name";
	assert_int_equal(ft_worker_start(&worker, &o, sleep_for_ever, shared), 0);
	await_word(shared, 1);
	proc_line(ft_worker_pid(worker), "comm", text, sizeof(text));
	assert_string_equal(text, ft_worker_name(worker));
	assert_int_equal(strlen(text), FT_WORKER_NAME_MAX - 1);
	proc_status(ft_worker_pid(worker), "Cpus_allowed_list", text, sizeof(text));
	snprintf(list, sizeof(list), "%u", cpu);
	assert_string_equal(text, list);
	/* The program itself stays where it was. */
	ft_cpus_format(&usable, own, sizeof(own));
	proc_status(getpid(), "Cpus_allowed_list", text, sizeof(text));
	assert_string_equal(text, own);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, NULL);
}

static void masks_are_never_widened(void **state)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	struct ft_cpus all;
	cpu_set_t old, set;
	char text[512];
	int cpu = 0;

	(void)state;
	sched_getaffinity(0, sizeof(old), &old);
	while (!CPU_ISSET(cpu, &old))
		cpu++;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	sched_setaffinity(0, sizeof(set), &set);
	memset(&all, 0xff, sizeof(all));
	o.cpus = &all;
	assert_int_equal(ft_worker_start(&worker, &o, sleep_for_ever, shared), 0);
	sched_setaffinity(0, sizeof(old), &old);
	await_word(shared, 1);
	proc_status(ft_worker_pid(worker), "Cpus_allowed_list", text, sizeof(text));
	assert_int_equal(atoi(text), cpu);
	assert_null(strpbrk(text, "-,"));
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, NULL);
}

static void *join_it(void *worker)
{
	return (void *)(intptr_t)ft_worker_join(worker, ft_after(20 * SECOND));
}

static void two_join_and_deadlines_pass(void **state)
{
	struct ft_worker *worker = start(sleep_for_ever, shared);
	pthread_t other;
	void *rc;

	(void)state;
	assert_int_equal(ft_worker_join(worker, FT_NOW), -ETIMEDOUT);
	assert_int_equal(ft_worker_join(worker, INT64_MIN), -ETIMEDOUT);
	assert_int_equal(ft_worker_join(worker, ft_after(SECOND / 100)), -ETIMEDOUT);
	assert_int_equal(pthread_create(&other, NULL, join_it, worker), 0);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	assert_int_equal(ft_worker_join(worker, FT_FOREVER), 0);
	pthread_join(other, &rc);
	assert_null(rc);
	assert_int_equal(ft_worker_free(worker), 0);
}

static int join_oneself(void *arg)
{
	return ft_worker_join(*(struct ft_worker **)arg, FT_FOREVER) == -EDEADLK;
}

static void joining_oneself_is_refused(void **state)
{
	struct ft_worker_options o = process_options();
	struct ft_worker *worker;
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(ft_worker_start(&worker, &o, join_oneself, &worker), 0);
	join_free(worker, &how);
	assert_int_equal(how.code, 1);
}

static int print_hello(void *arg)
{
	fputs(arg, stdout);
	return 0;
}

/* What is in stdio's buffers is written once: by whoever put it there. */
static void output_is_written_once(void **state)
{
	int fd[2], saved;
	char text[64] = "";

	(void)state;
	fflush(stdout);
	assert_int_equal(pipe(fd), 0);
	saved = dup(1);
	dup2(fd[1], 1);
	fputs("program ", stdout);
	join_free(start(print_hello, "worker "), NULL);
	fflush(stdout);
	dup2(saved, 1);
	assert_true(read(fd[0], text, sizeof(text) - 1) > 0);
	assert_string_equal(text, "worker program ");
	close(fd[0]);
	close(fd[1]);
	close(saved);
}

/* A worker inherits none of our private descriptors, however many there are:
 * it counts its own. */
static int report_fds(void *arg)
{
	shared[2] = count_fds();
	(void)arg;
	return 0;
}

static void descriptors_do_not_pile_up(void **state)
{
	struct ft_worker *worker[20];
	uint32_t first;

	(void)state;
	join_free(start(report_fds, NULL), NULL);
	first = shared[2];
	for (int i = 0; i < 20; i++)
		worker[i] = start(sleep_for_ever, shared);
	join_free(start(report_fds, NULL), NULL);
	assert_int_equal(shared[2], first);
	for (int i = 0; i < 20; i++) {
		assert_int_equal(ft_worker_kill(worker[i], SIGKILL), 0);
		assert_int_equal(ft_worker_join(worker[i], FT_FOREVER), 0);
	}
	/* Ended, not freed: their pidfds are open still. */
	join_free(start(report_fds, NULL), NULL);
	assert_int_equal(shared[2], first);
	for (int i = 0; i < 20; i++)
		assert_int_equal(ft_worker_free(worker[i]), 0);
}

static void many_leave_nothing_behind(void **state)
{
	enum { N = MANY(500), AT_ONCE = MANY(50) };
	struct ft_worker *worker[AT_ONCE];
	struct ft_arena_info before, after;
	unsigned fds = count_fds(), children = count_children();

	(void)state;
	assert_int_equal(ft_arena_info(&before), 0);
	for (int i = 0; i < N / AT_ONCE; i++) {
		for (int j = 0; j < AT_ONCE; j++)
			worker[j] = start(return_arg, (void *)(intptr_t)j);
		for (int j = 0; j < AT_ONCE; j++) {
			struct ft_worker_exit how;

			join_free(worker[j], &how);
			assert_int_equal(how.code, j);
		}
	}
	assert_int_equal(count_fds(), fds);
	assert_int_equal(count_children(), children);
	assert_int_equal(ft_arena_info(&after), 0);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(ft_arena_check(NULL), 0);
}

static int take_blocks(void *arg)
{
	void *block;

	for (int i = 0; i < 100; i++)
		if (ft_block_alloc(1000 * (size_t)(i + 1), &block))
			return 1;
	return sleep_for_ever(arg);
}

static void blocks_of_the_dead_come_back(void **state)
{
	struct ft_arena_info before, after;
	struct ft_worker *worker;

	(void)state;
	assert_int_equal(ft_arena_info(&before), 0);
	worker = start(take_blocks, shared);
	await_word(shared, 1);
	assert_int_equal(ft_arena_info(&after), 0);
	assert_int_equal(after.blocks, before.blocks + 100);
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, NULL);
	assert_int_equal(ft_arena_info(&after), 0);
	assert_int_equal(after.blocks, before.blocks);
	assert_int_equal(after.slots, before.slots);
	assert_int_equal(ft_arena_check(NULL), 0);
}

/* Code of the program that waits for any child at all. */
static void a_greedy_wait_does_no_harm(void **state)
{
	struct ft_worker *worker = start(return_arg, (void *)5);
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(dies_within(ft_worker_pidfd(worker), 20000), 1);
	while (waitpid(-1, NULL, __WALL) > 0)
		;
	join_free(worker, &how);
	assert_int_equal(how.code, 5);
	assert_int_equal(how.signo, 0);
}

static void ignoring_sigchld_does_no_harm(void **state)
{
	struct ft_worker_exit how;
	unsigned fds = count_fds();

	(void)state;
	signal(SIGCHLD, SIG_IGN);
	join_free(start(return_arg, (void *)6), &how);
	signal(SIGCHLD, SIG_DFL);
	assert_int_equal(how.code, 6);
	assert_int_equal(count_fds(), fds);
}

/* Workers that are clones are not seen by the program's own wait(). */
static void clones_are_invisible(void **state)
{
	struct ft_worker *worker = start(sleep_for_ever, shared);

	(void)state;
	errno = 0;
	if (ft__have(FT__CLONE)) {
		assert_int_equal(waitpid(-1, NULL, WNOHANG), -1);
		assert_int_equal(errno, ECHILD);
	} else {
		assert_int_equal(waitpid(-1, NULL, WNOHANG), 0);
	}
	assert_int_equal(ft_worker_kill(worker, SIGKILL), 0);
	join_free(worker, NULL);
}

static int malloc_and_leave(void *arg)
{
	for (int i = 0; i < 100; i++)
		free(malloc(1000));
	return (int)(intptr_t)arg;
}

static void *churn(void *stop)
{
	while (!ft__load32_acquire(stop)) /* partner: the store that ends it */
		free(malloc(100));
	return NULL;
}

/* With another thread about, the copy has to be a fork that libc knows of. */
static void busy_programs_can_start_workers(void **state)
{
	uint32_t stop = 0;
	pthread_t thread;
	struct ft_worker_exit how;

	(void)state;
	assert_int_equal(pthread_create(&thread, NULL, churn, &stop), 0);
	for (int i = 0; i < MANY(50); i++) {
		join_free(start(malloc_and_leave, (void *)3), &how);
		assert_int_equal(how.code, 3);
	}
	ft__store32_release(&stop, 1); /* partner: churn */
	pthread_join(thread, NULL);
}

static int start_another(void *arg)
{
	struct ft_worker_options o = process_options();
	struct ft_worker_exit how;
	struct ft_worker *worker;

	if (ft_worker_start(&worker, &o, return_arg, arg) ||
	    ft_worker_join(worker, ft_after(10 * SECOND)) || ft_worker_exit_status(worker, &how) ||
	    ft_worker_free(worker))
		return 1;
	return how.code;
}

static void workers_have_workers(void **state)
{
	struct ft_worker_exit how;

	(void)state;
	join_free(start(start_another, (void *)44), &how);
	assert_int_equal(how.code, 44);
}

static void what_it_costs(void **state)
{
	enum { N = MANY(300) };
	ft_deadline begin = ft_now();

	(void)state;
	for (int i = 0; i < N; i++)
		join_free(start(return_arg, NULL), NULL);
	print_message("process worker (%s): start, join, free: %.1f us\n",
		      !ft__have(FT__CLONE)  ? "fork" :
		      ft__have(FT__CLONE3) ? "clone3" :
					     "clone",
		      (double)(ft_now() - begin) / N / 1000);
}

/* ---- again, where the kernel or its keeper refuses ---- */

static void again_without_clone3(void **state)
{
	(void)state;
	pass_self("plain", "FT_PROBE", "-clone3");
}

static void again_with_fork(void **state)
{
	(void)state;
	pass_self("plain", "FT_CLONE", "fork");
}

static void again_under_seccomp(void **state)
{
	(void)state;
	pass_self("seccomp", NULL, NULL);
}

/* As container profiles do it: clone3 is "not there". */
static void refuse_clone3(void)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { .len = 4, .filter = code };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program))
		exit(1);
	if (ft__have(FT__CLONE3))
		exit(1);
}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(the_code_is_a_byte, setup, teardown),
		cmocka_unit_test_setup_teardown(leaving_by_oneself_is_known_too, setup, teardown),
		cmocka_unit_test_setup_teardown(signals_are_told, setup, teardown),
		cmocka_unit_test_setup_teardown(stopped_is_not_dead, setup, teardown),
		cmocka_unit_test_setup_teardown(name_and_cpus_are_set, setup, teardown),
		cmocka_unit_test_setup_teardown(masks_are_never_widened, setup, teardown),
		cmocka_unit_test_setup_teardown(two_join_and_deadlines_pass, setup, teardown),
		cmocka_unit_test_setup_teardown(joining_oneself_is_refused, setup, teardown),
		cmocka_unit_test_setup_teardown(output_is_written_once, setup, teardown),
		cmocka_unit_test_setup_teardown(descriptors_do_not_pile_up, setup, teardown),
		cmocka_unit_test_setup_teardown(many_leave_nothing_behind, setup, teardown),
		cmocka_unit_test_setup_teardown(blocks_of_the_dead_come_back, setup, teardown),
		cmocka_unit_test_setup_teardown(a_greedy_wait_does_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(ignoring_sigchld_does_no_harm, setup, teardown),
		cmocka_unit_test_setup_teardown(clones_are_invisible, setup, teardown),
		cmocka_unit_test_setup_teardown(busy_programs_can_start_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(workers_have_workers, setup, teardown),
		cmocka_unit_test_setup_teardown(what_it_costs, setup, teardown),
	};
	const struct CMUnitTest elsewhere[] = {
		cmocka_unit_test(again_without_clone3),
		cmocka_unit_test(again_with_fork),
		cmocka_unit_test(again_under_seccomp),
	};
	int failed;

	limit_time();
	if (argc > 1 && !strcmp(argv[1], "seccomp"))
		refuse_clone3();
	failed = cmocka_run_group_tests(tests, NULL, NULL);
	if (argc == 1 && ft__have(FT__CLONE))
		failed += cmocka_run_group_tests(elsewhere, NULL, NULL);
	return failed;
}
