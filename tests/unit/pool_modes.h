/* SPDX-License-Identifier: MIT */
/*
 * Tests of whole pools: threads and processes, on each of the collector's
 * ladders.  A program runs itself once for each, and once more in a sandbox that
 * refuses what Docker refuses.
 */
#ifndef TESTS_POOL_MODES_H
#define TESTS_POOL_MODES_H

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "pool_tools.h"

static uint32_t kind; /* of the pools, in a mode */

/* ---- what tasks do ---- */

static inline int task_square(struct ft_task *task)
{
	const long *x = ft_task_arg(task, NULL);
	long y = *x * *x;

	return ft_task_reply(task, &y, sizeof(y));
}

static inline int task_empty(struct ft_task *task)
{
	(void)task;
	return 0;
}

/* Adds what a plain process would count in shared memory. */
static uint32_t *counter;

static inline int task_count(struct ft_task *task)
{
	(void)task;
	ft__add32_seq_cst(counter, 1);
	return 0;
}

static inline int task_fail(struct ft_task *task)
{
	const int *status = ft_task_arg(task, NULL);

	return *status;
}

static inline int task_large(struct ft_task *task)
{
	const size_t *size = ft_task_arg(task, NULL);
	void *block;
	int rc = ft_block_alloc(*size, &block);

	if (rc)
		return rc;
	memset(block, (int)(*size & 0xff), *size);
	return ft_task_reply_block(task, block, *size);
}

/* Runs until `gate` opens. */
static uint32_t *gate;

static inline int task_long(struct ft_task *task)
{
	(void)task;
	ft__add32_seq_cst(counter, 1);
	while (!ft__load32_seq_cst(gate))
		usleep(200);
	return 0;
}

static inline int task_die(struct ft_task *task)
{
	(void)task;
	raise(SIGKILL);
	return 0;
}

static inline int task_exit(struct ft_task *task)
{
	(void)task;
	_exit(3);
}

static inline int setup(void **state)
{
	(void)state;
	counter = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	gate = counter + 32;
	return counter == MAP_FAILED;
}

static inline int teardown(void **state)
{
	(void)state;
	return munmap(counter, 4096);
}

static inline void await_count(uint32_t count)
{
	ft_deadline deadline = SOON;

	while (ft__load32_seq_cst(counter) < count) {
		assert_true(ft_now() < deadline);
		usleep(200);
	}
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)

/* ---- modes ---- */

#define REFUSE(call, error)                                                                   \
	BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, call, 0, 1),                                      \
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (error))

static inline int confine(void)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		REFUSE(SYS_io_uring_setup, EPERM),
		REFUSE(SYS_clone3, ENOSYS),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = { sizeof(filter) / sizeof(filter[0]), filter };

	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return -errno;
	return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) ? -errno : 0;
}

/* Each program has these two: cmocka's answer. */
static int run_threads(void);
static int run_processes(void);

static inline int run_mode(uint32_t which)
{
	kind = which;
	print_message("--- %s, %s\n", which == FT_WORKER_THREAD ? "threads" : "processes",
		      ft__collector_name());
	return which == FT_WORKER_THREAD ? run_threads() : run_processes();
}

static int mode_threads(void)
{
	return run_mode(FT_WORKER_THREAD);
}

static int mode_processes(void)
{
	return run_mode(FT_WORKER_PROCESS);
}

static int mode_confined(void)
{
	if (confine() || strcmp(ft__collector_name(), "epoll") != 0)
		return 96;
	return mode_threads() || mode_processes();
}

static inline void ladders(const char *mode)
{
	assert_int_equal(self_run(mode, NULL, NULL), 0);
	assert_int_equal(self_run(mode, "FT_PROBE", "-io_uring-futex"), 0);
	assert_int_equal(self_run(mode, "FT_PROBE", "-io_uring"), 0);
}

static void threads(void **state)
{
	(void)state;
	ladders("threads");
}

static void processes(void **state)
{
	(void)state;
	ladders("processes");
}

static void in_a_sandbox(void **state)
{
	(void)state;
	assert_int_equal(self_run("confined", NULL, NULL), 0);
}

static inline int pool_main(int argc, char **argv)
{
	const struct mode modes[] = {
		{ "threads", mode_threads },
		{ "processes", mode_processes },
		{ "confined", mode_confined },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(threads),
		cmocka_unit_test(processes),
		cmocka_unit_test(in_a_sandbox),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}

#endif
