/* SPDX-License-Identifier: MIT */
/*
 * A new program without a copy of this one: the child borrows our memory, on a
 * stack of its own, until it execs; we sleep meanwhile (CLONE_VFORK).  What it
 * does there is system calls only: no libc function that could take a lock or
 * that a sanitizer follows.
 */
#include "os/clone.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/close_range.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/compiler.h"
#include "os/pidfd.h"
#include "os/probe.h"
#include "os/sigmask.h"

#define STACK_SIZE (256 * 1024)
#define GUARD_SIZE (64 * 1024) /* a page on every architecture */
#define KEEP_MAX 64
#define SIGNALS 64

struct plan {
	const char *path;
	const char *const *argv, *const *envp;
	int keep[KEEP_MAX + 1]; /* ascending */
	int nkeep;
	int report; /* one of them, for the child's last word; -1: none */
	bool ignore_sigint;
	unsigned limit; /* descriptors to close where close_range is missing */
	int error;      /* written by the child, read after it left our memory */
};

/* As large as any kernel's struct sigaction; the handler comes first on every
 * architecture that we know how to clone on, and SIG_DFL is all zeros. */
struct kernel_sigaction {
	void (*handler)(int);
	unsigned long rest[7];
};

FT__NO_SANITIZE static void reset_signals(const struct plan *plan)
{
	for (int signo = 1; signo <= SIGNALS; signo++) {
		struct kernel_sigaction action = { .handler = SIG_DFL };

		if (signo == SIGINT && plan->ignore_sigint)
			action.handler = SIG_IGN;
		syscall(SYS_rt_sigaction, signo, &action, NULL, (size_t)8);
	}
}

/* Marks [from, to] to be closed by exec, as `path` may name one of them. */
FT__NO_SANITIZE static void close_between(const struct plan *plan, unsigned from, unsigned to)
{
	if (from > to)
		return;
	if (syscall(SYS_close_range, from, to, CLOSE_RANGE_CLOEXEC) == 0)
		return;
	/* 5.10 knows close_range but not the flag. */
	if (syscall(SYS_close_range, from, to, 0) == 0)
		return;
	for (unsigned fd = from; fd <= to && fd < plan->limit; fd++)
		syscall(SYS_close, fd);
}

FT__NO_SANITIZE static void close_others(const struct plan *plan)
{
	unsigned from = 3;

	for (int i = 0; i < plan->nkeep; i++) {
		unsigned fd = (unsigned)plan->keep[i];

		syscall(SYS_fcntl, fd, F_SETFD, (int)fd == plan->report ? FD_CLOEXEC : 0);
		if (fd < from)
			continue;
		close_between(plan, from, fd - 1);
		from = fd + 1;
	}
	close_between(plan, from, UINT_MAX);
}

FT__NO_SANITIZE static int become(void *arg)
{
	struct plan *plan = arg;

	reset_signals(plan);
	close_others(plan);
	ft__sigmask_clear();
	syscall(SYS_execve, plan->path, plan->argv, plan->envp);
	plan->error = errno;
	return 127; /* glibc's clone makes it the exit status */
}

static int compare(const void *a, const void *b)
{
	int x = *(const int *)a, y = *(const int *)b;

	return (x > y) - (x < y);
}

static void keep_too(struct plan *plan, int fd)
{
	plan->keep[plan->nkeep++] = fd;
	qsort(plan->keep, (size_t)plan->nkeep, sizeof(int), compare);
}

static int check_keep(struct plan *plan, const int *keep, int nkeep)
{
	if (nkeep < 0 || nkeep > KEEP_MAX || (nkeep && !keep))
		return -EINVAL;
	for (int i = 0; i < nkeep; i++) {
		if (fcntl(keep[i], F_GETFD) < 0)
			return -errno;
		plan->keep[i] = keep[i];
	}
	plan->nkeep = nkeep;
	qsort(plan->keep, (size_t)nkeep, sizeof(int), compare);
	return 0;
}

/* A user's wait() for any child may be faster: then there is nothing to do. */
static void reap(int pidfd)
{
	siginfo_t info;

	while (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | __WALL) < 0 &&
	       errno == EINTR)
		;
}

/* glibc's clone() calls a function on another stack; its fork() cannot borrow
 * memory.  The exit signal stays 0 until exec makes it SIGCHLD. */
static int borrow(struct plan *plan, struct ft__child *child)
{
	char *stack = mmap(NULL, GUARD_SIZE + STACK_SIZE, PROT_READ | PROT_WRITE,
			   MAP_PRIVATE | MAP_ANONYMOUS | MAP_STACK, -1, 0);
	uint64_t mask;

	if (stack == MAP_FAILED)
		return -errno;
	mprotect(stack, GUARD_SIZE, PROT_NONE);
	ft__sigmask_block_all(&mask);
	child->pid = clone(become, stack + GUARD_SIZE + STACK_SIZE,
			   CLONE_VM | CLONE_VFORK | CLONE_PIDFD, plan, &child->pidfd);

	int rc = child->pid < 0 ? -errno : 0;

	ft__sigmask_restore(&mask);
	munmap(stack, GUARD_SIZE + STACK_SIZE);
	return rc;
}

/* Where a raw clone is not wanted.  The pipe ends without a word when exec, or a
 * death, closes it. */
static int copy(struct plan *plan, struct ft__child *child)
{
	uint64_t mask;
	int fds[2];
	ssize_t n;

	if (pipe2(fds, O_CLOEXEC) != 0)
		return -errno;
	keep_too(plan, fds[1]);
	plan->report = fds[1];
	ft__sigmask_block_all(&mask);

	int rc = ft__fork(child);

	if (rc == 0 && child->pid == 0) {
		become(plan);
		n = write(fds[1], &plan->error, sizeof(plan->error));
		_exit(n < 0 ? 126 : 127);
	}
	ft__sigmask_restore(&mask);
	close(fds[1]);
	do
		n = rc == 0 ? read(fds[0], &plan->error, sizeof(plan->error)) : 0;
	while (n < 0 && errno == EINTR);
	close(fds[0]);
	return rc;
}

int ft__clone_exec(const char *path, const char *const *argv, const char *const *envp,
		   const int *keep, int nkeep, bool ignore_sigint, struct ft__child *child)
{
	struct plan plan = {
		.path = path,
		.argv = argv,
		.envp = envp,
		.ignore_sigint = ignore_sigint,
		.report = -1,
	};
	struct rlimit limit = { 0 };

	if (!path || !argv || !envp || !child)
		return -EINVAL;

	int rc = check_keep(&plan, keep, nkeep);

	if (rc != 0)
		return rc;
	if (!ft__have(FT__PIDFD))
		return -ENOSYS;
	getrlimit(RLIMIT_NOFILE, &limit);
	plan.limit = limit.rlim_cur > INT_MAX ? INT_MAX : (unsigned)limit.rlim_cur;

	struct ft__child made = { 0, -1 };

	rc = ft__have(FT__CLONE) ? borrow(&plan, &made) : copy(&plan, &made);
	if (rc != 0)
		return rc;
	if (plan.error) {
		reap(made.pidfd);
		close(made.pidfd);
		return -plan.error;
	}
	*child = made;
	return 0;
}
