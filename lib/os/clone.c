/* SPDX-License-Identifier: MIT */
/* Copies of this process: clone3, clone, fork. */
#include "os/clone.h"

#include <errno.h>
#include <linux/futex.h>
#include <linux/sched.h>
#include <sched.h>
#include <signal.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <fcntl.h>
#include <unistd.h>

#include "os/pidfd.h"
#include "os/probe.h"
#include "os/sigmask.h"

#ifndef PR_GET_TID_ADDRESS
#define PR_GET_TID_ADDRESS 40
#endif

struct request {
	uint64_t flags;
	int *tid;  /* where libc keeps the thread's id */
	int pidfd; /* answer */
};

static long by_clone3(struct request *request)
{
	/* exit_signal 0: the user's SIGCHLD handler and wait() see nothing. */
	struct clone_args args = {
		.flags = request->flags,
		.pidfd = (uint64_t)(uintptr_t)&request->pidfd,
		.child_tid = (uint64_t)(uintptr_t)request->tid,
	};
	long pid = syscall(SYS_clone3, &args, sizeof(args));

	return pid < 0 ? -errno : pid;
}

/* The low byte of the flags is the exit signal: 0 here too. */
static long by_clone(struct request *request)
{
#if defined(__x86_64__)
	long pid = syscall(SYS_clone, request->flags, NULL, &request->pidfd, request->tid, 0);
#elif defined(__aarch64__) || defined(__riscv) || defined(__powerpc64__)
	/* CONFIG_CLONE_BACKWARDS: the last two change places. */
	long pid = syscall(SYS_clone, request->flags, NULL, &request->pidfd, 0, request->tid);
#else
	long pid = -1;

	(void)request;
	errno = ENOSYS;
#endif
	return pid < 0 ? -errno : pid;
}

/* The kernel forgets a child's robust list; glibc's mutexes rely on it. */
static void restore_robust_list(struct robust_list_head *head, size_t size)
{
	if (!head)
		return;
	head->list.next = &head->list;
	head->list_op_pending = NULL;
	syscall(SYS_set_robust_list, head, size);
}

static long clone_either(struct request *request)
{
	long pid = -ENOSYS;

	if (ft__have(FT__CLONE3))
		pid = by_clone3(request);
	if (pid == -ENOSYS || pid == -EPERM)
		pid = by_clone(request);
	return pid;
}

int ft__clone(bool sibling, struct ft__child *child)
{
	struct request request = {
		.flags = CLONE_PIDFD | CLONE_CHILD_SETTID | CLONE_CHILD_CLEARTID |
			 (sibling ? CLONE_PARENT : 0),
		.pidfd = -1,
	};
	struct robust_list_head *head = NULL;
	size_t size = 0;
	uint64_t mask;

	if (!child)
		return -EINVAL;
	if (!ft__have(FT__CLONE) || !ft__have(FT__TID_ADDRESS) || !ft__have(FT__PIDFD))
		return -ENOSYS;
	if (prctl(PR_GET_TID_ADDRESS, &request.tid) != 0)
		return -errno;
	if (syscall(SYS_get_robust_list, 0, &head, &size) != 0)
		head = NULL;

	/* A handler must not run in the child before it is whole. */
	ft__sigmask_block_all(&mask);

	long pid = clone_either(&request);

	if (pid == 0)
		restore_robust_list(head, size);
	ft__sigmask_restore(&mask);
	if (pid < 0)
		return (int)pid;
	*child = (struct ft__child){ .pid = (pid_t)pid, .pidfd = pid ? request.pidfd : -1 };
	return 0;
}

/* In the forked child: goes on when the parent has its pidfd, and leaves if
 * the parent says otherwise or is gone. */
static void await_go(int fd)
{
	char go = 0;
	ssize_t n;

	do
		n = read(fd, &go, 1);
	while (n < 0 && errno == EINTR);
	if (n != 1)
		_exit(127);
}

static void reap_by_pid(pid_t pid)
{
	while (waitpid(pid, NULL, __WALL) < 0 && errno == EINTR)
		;
}

/* A child that is held at a pipe cannot end before its pidfd is open (its
 * number could be reused), nor run when there is no descriptor left for it. */
static int fork_held(int pipe_fds[2], struct ft__child *child)
{
	pid_t pid = fork();

	if (pid < 0)
		return -errno;
	if (pid == 0) {
		close(pipe_fds[1]);
		await_go(pipe_fds[0]);
		*child = (struct ft__child){ .pid = 0, .pidfd = -1 };
		return 0;
	}

	int pidfd = ft__pidfd_open(pid);

	if (pidfd < 0 || write(pipe_fds[1], "g", 1) != 1) {
		int rc = pidfd < 0 ? pidfd : -errno;

		kill(pid, SIGKILL);
		reap_by_pid(pid);
		if (pidfd >= 0)
			close(pidfd);
		return rc;
	}
	*child = (struct ft__child){ .pid = pid, .pidfd = pidfd };
	return 0;
}

int ft__fork(struct ft__child *child)
{
	int fds[2];

	if (!child)
		return -EINVAL;
	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;

	int rc = fork_held(fds, child);

	close(fds[0]);
	if (rc != 0 || child->pid != 0)
		close(fds[1]);
	return rc;
}

int ft__thread_count(void)
{
	struct stat st;

	/* One link for each thread, "." and the entry in the parent. */
	if (stat("/proc/self/task", &st) != 0 || st.st_nlink < 3)
		return 0;
	return (int)st.st_nlink - 2;
}
