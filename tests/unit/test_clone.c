/* SPDX-License-Identifier: MIT */
/* Processes made by clone3, clone and fork, and new programs. */
#include <errno.h>
#include <dirent.h>
#include <fcntl.h>
#include <linux/filter.h>
#include <linux/futex.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cmocka.h>

#include "child.h"
#include "os/clone.h"
#include "os/compiler.h"
#include "os/pidfd.h"
#include "os/probe.h"

static int sigchlds;

static void count_sigchld(int signo)
{
	(void)signo;
	sigchlds++;
}

static int atforks;

static void count_atfork(void)
{
	atforks++;
}

/* Waits for the end by pidfd; the exit status or 256 + signal. */
static int end_of(const struct ft__child *child)
{
	struct pollfd p = { .fd = child->pidfd, .events = POLLIN };
	struct ft__wait_status status;

	if (poll(&p, 1, 20000) != 1 || ft__pidfd_reap(child->pidfd, &status) != 1)
		return -1;
	close(child->pidfd);
	return status.signo ? 256 + status.signo : status.code;
}

/* In the child: libc's idea of this thread must be the kernel's. */
static int check_child(pid_t parent)
{
	pthread_mutexattr_t attr;
	pthread_mutex_t mutex;
	struct robust_list_head *head = NULL;
	size_t size;
	sigset_t mask;

	REQUIRE(getppid() == parent);
	REQUIRE(syscall(SYS_gettid) == getpid());
	pthread_mutexattr_init(&attr);
	pthread_mutexattr_settype(&attr, PTHREAD_MUTEX_ERRORCHECK);
	pthread_mutex_init(&mutex, &attr);
	REQUIRE(pthread_mutex_lock(&mutex) == 0);
	REQUIRE(mutex.__data.__owner == getpid());
	REQUIRE(pthread_mutex_unlock(&mutex) == 0);
	REQUIRE(syscall(SYS_get_robust_list, 0, &head, &size) == 0);
	REQUIRE(head != NULL && head->list.next == &head->list);
	REQUIRE(sigprocmask(SIG_SETMASK, NULL, &mask) == 0);
	REQUIRE(sigismember(&mask, SIGTERM) == 0 && sigismember(&mask, SIGUSR2) == 1);
	free(malloc(100));
	return 42;
}

/* Modes run in a process of their own: cmocka's is not to be cloned. */
static int mode_clone(void)
{
	struct ft__child child = { 7, 7 };
	pid_t parent = getpid();
	sigset_t usr2;

	REQUIRE(pthread_atfork(count_atfork, NULL, count_atfork) == 0);
	signal(SIGCHLD, count_sigchld);
	sigemptyset(&usr2);
	sigaddset(&usr2, SIGUSR2);
	REQUIRE(sigprocmask(SIG_SETMASK, &usr2, NULL) == 0);

	int rc = ft__clone(false, &child);

	REQUIRE(rc == 0);
	if (child.pid == 0) {
		REQUIRE(child.pidfd == -1 && atforks == 0);
		_exit(check_child(parent));
	}
	REQUIRE(child.pid > 0 && fcntl(child.pidfd, F_GETFD) == FD_CLOEXEC);
	/* It is no concern of the user's wait(). */
	REQUIRE(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	REQUIRE(end_of(&child) == 42);
	REQUIRE(sigchlds == 0 && atforks == 0);
	REQUIRE(syscall(SYS_gettid) == getpid());
	return check_child(getppid()) == 42 ? 0 : 1;
}

/* A helper clones a sibling: it is our child. */
static int mode_sibling(void)
{
	struct ft__child helper, sibling;
	pid_t pid = 0, parent = getpid();
	int fds[2], go[2];

	REQUIRE(pipe(fds) == 0 && pipe(go) == 0);
	REQUIRE(ft__clone(false, &helper) == 0);
	if (helper.pid == 0) {
		REQUIRE(ft__clone(true, &sibling) == 0);
		if (sibling.pid == 0) {
			char byte;

			REQUIRE(getppid() == parent);
			_exit(read(go[0], &byte, 1) == 1 ? 43 : 1);
		}
		REQUIRE(write(fds[1], &sibling.pid, sizeof(pid)) == sizeof(pid));
		_exit(0);
	}
	REQUIRE(end_of(&helper) == 0);
	REQUIRE(read(fds[0], &pid, sizeof(pid)) == sizeof(pid));
	sibling = (struct ft__child){ .pid = pid, .pidfd = ft__pidfd_open(pid) };
	REQUIRE(sibling.pidfd >= 0);
	REQUIRE(waitpid(-1, NULL, 0) == -1 && errno == ECHILD);
	REQUIRE(write(go[1], "x", 1) == 1);
	REQUIRE(end_of(&sibling) == 43);
	return 0;
}

static int mode_refused(void)
{
	struct ft__child child;

	REQUIRE(ft__clone(false, &child) == -ENOSYS);
	REQUIRE(ft__fork(&child) == 0);
	if (child.pid == 0)
		_exit(3);
	REQUIRE(end_of(&child) == 3);
	return 0;
}

/* A sandbox that answers `error` to clone3, as Docker's and podman's do. */
static void forbid_clone3(int error)
{
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_clone3, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | (unsigned)error),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog prog = { .len = 4, .filter = code };

	REQUIRE(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
	REQUIRE(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) == 0);
}

static int mode_enosys(void)
{
	forbid_clone3(ENOSYS);
	return mode_clone();
}

static int mode_eperm(void)
{
	forbid_clone3(EPERM);
	return mode_sibling();
}

/* The sandbox comes after the probe's answer: the call itself falls back. */
static int mode_late(void)
{
	REQUIRE(ft__have(FT__CLONE3));
	forbid_clone3(EPERM);
	return mode_clone();
}

static int mode_no_files(void)
{
	struct rlimit limit = { 0 };
	struct ft__child child;
	int fds[3], lowest;

	/* What the probe asks needs descriptors too. */
	for (int f = 0; f < FT__FEATURES; f++)
		ft__have(f);
	lowest = dup(0);
	REQUIRE(getrlimit(RLIMIT_NOFILE, &limit) == 0);
	limit.rlim_cur = (rlim_t)lowest;
	close(lowest);
	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);
	if (ft__have(FT__CLONE))
		REQUIRE(ft__clone(false, &child) == -EMFILE);
	REQUIRE(ft__fork(&child) == -EMFILE);
	/* Room for the pipe, none for the pidfd: the child must not run. */
	limit.rlim_cur += 2;
	REQUIRE(setrlimit(RLIMIT_NOFILE, &limit) == 0);

	int rc = ft__fork(&child);

	REQUIRE(rc != 0 || child.pid != 0);
	REQUIRE(rc == -EMFILE);
	REQUIRE(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
	REQUIRE(pipe(fds) == 0);
	limit.rlim_cur = limit.rlim_max; /* LeakSanitizer needs files at exit */
	return setrlimit(RLIMIT_NOFILE, &limit);
}

static int mode_fork(void)
{
	struct ft__child child;

	REQUIRE(pthread_atfork(count_atfork, NULL, count_atfork) == 0);
	REQUIRE(ft__fork(&child) == 0);
	if (child.pid == 0)
		_exit(child.pidfd == -1 && atforks == 2 ? 44 : 1);
	REQUIRE(atforks == 1);
	REQUIRE(fcntl(child.pidfd, F_GETFD) == FD_CLOEXEC);
	REQUIRE(end_of(&child) == 44);
	/* One whose end nobody waits for is seen dead all the same. */
	signal(SIGCHLD, SIG_IGN);
	REQUIRE(ft__fork(&child) == 0);
	if (child.pid == 0)
		_exit(45);

	struct pollfd p = { .fd = child.pidfd, .events = POLLIN };

	REQUIRE(poll(&p, 1, 20000) == 1);
	REQUIRE(ft__pidfd_dead(child.pidfd) == 1);
	return 0;
}

static int open_descriptors(void)
{
	DIR *dir = opendir("/proc/self/fd");
	struct dirent *entry;
	int count = 0;

	REQUIRE(dir != NULL);
	while ((entry = readdir(dir)) != NULL)
		count += entry->d_name[0] != '.' && atoi(entry->d_name) != dirfd(dir);
	closedir(dir);
	return count;
}

/* The new program: 0, 1, 2, 7 and 9 are open and nothing else, signals are as
 * promised, and the environment is what was given. */
static int mode_fresh(void)
{
	struct sigaction action;
	sigset_t mask;

	REQUIRE(open_descriptors() == 5);
	REQUIRE(fcntl(7, F_GETFD) == 0 && fcntl(9, F_GETFD) == 0);
	REQUIRE(sigprocmask(SIG_SETMASK, NULL, &mask) == 0 && sigisemptyset(&mask));
	REQUIRE(sigaction(SIGINT, NULL, &action) == 0 && action.sa_handler == SIG_IGN);
	REQUIRE(sigaction(SIGPIPE, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	REQUIRE(sigaction(SIGUSR1, NULL, &action) == 0 && action.sa_handler == SIG_DFL);
	REQUIRE(getenv("ONLY") && !getenv("PATH"));
	return 46;
}

static int mode_exec(void)
{
	const char *argv[] = { "test", "fresh", NULL }, *envp[] = { "ONLY=1", NULL };
	int keep[] = { 9, 2, 7, 9 }, before;
	struct ft__child child;
	sigset_t all;

	signal(SIGPIPE, SIG_IGN);
	signal(SIGUSR1, count_sigchld);
	sigfillset(&all);
	REQUIRE(sigprocmask(SIG_SETMASK, &all, NULL) == 0);
	for (int fd = 3; fd < 20; fd++)
		REQUIRE(dup3(0, fd, fd % 2 ? O_CLOEXEC : 0) == fd);
	before = open_descriptors();
	REQUIRE(ft__clone_exec("/proc/self/exe", argv, envp, keep, 4, true, &child) == 0);
	REQUIRE(end_of(&child) == 46);
	REQUIRE(ft__clone_exec("/no/such/file", argv, envp, NULL, 0, true, &child) == -ENOENT);
	REQUIRE(ft__clone_exec("/", argv, envp, keep, 4, false, &child) == -EACCES);
	keep[0] = 500;
	REQUIRE(ft__clone_exec("/proc/self/exe", argv, envp, keep, 4, true, &child) == -EBADF);
	REQUIRE(ft__clone_exec("/proc/self/exe", argv, envp, keep, 65, true, &child) == -EINVAL);
	REQUIRE(ft__clone_exec("/proc/self/exe", argv, envp, NULL, 1, true, &child) == -EINVAL);
	REQUIRE(ft__clone_exec(NULL, argv, envp, NULL, 0, true, &child) == -EINVAL);
	REQUIRE(waitpid(-1, NULL, __WALL) == -1 && errno == ECHILD);
	REQUIRE(open_descriptors() == before);
	/* The caller's own handlers and mask are as they were. */
	REQUIRE(signal(SIGUSR1, SIG_DFL) == count_sigchld);
	REQUIRE(sigprocmask(SIG_SETMASK, NULL, &all) == 0 && sigismember(&all, SIGTERM) == 1);
	return 0;
}

static void *sleep_on_mutex(void *arg)
{
	pthread_mutex_lock(arg);
	return NULL;
}

static int mode_threads(void)
{
	pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
	pthread_t thread;
	int alone = ft__thread_count();

	REQUIRE(alone >= 1);
	pthread_mutex_lock(&mutex);
	REQUIRE(pthread_create(&thread, NULL, sleep_on_mutex, &mutex) == 0);
#ifdef FT__TSAN
	REQUIRE(ft__thread_count() > alone); /* it has a thread of its own */
#else
	REQUIRE(ft__thread_count() == alone + 1);
#endif
	pthread_mutex_unlock(&mutex);
	pthread_join(thread, NULL);
	return 0;
}

static void check(const char *mode, const char *name, const char *value)
{
	int rc = self_run(mode, name, value);

	if (rc != 0)
		fail_msg("%s %s=%s: %d", mode, name ? name : "", value ? value : "", rc);
}

static void clones(void **state)
{
	(void)state;
	if (!ft__have(FT__CLONE)) { /* ThreadSanitizer */
		check("refused", NULL, NULL);
		return;
	}
	check("clone", NULL, NULL);
	check("clone", "FT_PROBE", "-clone3");
	check("enosys", NULL, NULL);
	check("late", NULL, NULL);
}

static void siblings(void **state)
{
	(void)state;
	if (!ft__have(FT__CLONE)) {
		check("refused", NULL, NULL);
		return;
	}
	check("sibling", NULL, NULL);
	check("sibling", "FT_PROBE", "-clone3");
	check("eperm", NULL, NULL);
}

static void refusals(void **state)
{
	(void)state;
	check("refused", "FT_CLONE", "fork");
	check("refused", "FT_PROBE", "-clone");
	check("refused", "FT_PROBE", "-tid_address");
	assert_int_equal(ft__clone(false, NULL), -EINVAL);
	assert_int_equal(ft__fork(NULL), -EINVAL);
}

static void no_descriptors(void **state)
{
	(void)state;
	check("no-files", NULL, NULL);
	check("no-files", "FT_PROBE", "-clone3");
}

static void forks(void **state)
{
	(void)state;
	check("fork", NULL, NULL);
}

static void programs(void **state)
{
	(void)state;
	check("exec", NULL, NULL);
	check("exec", "FT_CLONE", "fork");
}

static void threads(void **state)
{
	(void)state;
	check("threads", NULL, NULL);
}

int main(int argc, char **argv)
{
	static const struct mode modes[] = {
		{ "clone", mode_clone },       { "sibling", mode_sibling },
		{ "refused", mode_refused },   { "enosys", mode_enosys },
		{ "eperm", mode_eperm },       { "late", mode_late },
		{ "no-files", mode_no_files }, { "fork", mode_fork },
		{ "fresh", mode_fresh },       { "exec", mode_exec },
		{ "threads", mode_threads },
	};
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(clones),   cmocka_unit_test(siblings),
		cmocka_unit_test(refusals), cmocka_unit_test(no_descriptors),
		cmocka_unit_test(forks),    cmocka_unit_test(programs),
		cmocka_unit_test(threads),
	};
	int rc = mode_run(modes, sizeof(modes) / sizeof(modes[0]), argc, argv);

	return rc >= 0 ? rc : cmocka_run_group_tests(tests, NULL, NULL);
}
