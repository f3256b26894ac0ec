/* SPDX-License-Identifier: MIT */
/* What the tests of lib/work have in common. */
#ifndef WORKER_TOOLS_H
#define WORKER_TOOLS_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include <freethreading.h>

#include "os/compiler.h"

/* ThreadSanitizer makes a fork some hundred times as slow, and refuses threads
 * in its children unless told otherwise. */
#ifdef FT__TSAN
#define MANY(n) ((n) / 10)
__attribute__((visibility("default"))) const char *__tsan_default_options(void);
const char *__tsan_default_options(void)
{
	return "die_after_fork=0";
}
#else
#define MANY(n) (n)
#endif

#define SECOND INT64_C(1000000000)
#define TIME_LIMIT 50 /* seconds, for the whole program */

/* The whole program is killed when it takes too long, and what it has started
 * with it: workers by their lifeline, programs by PDEATHSIG. */
static inline void limit_time(void)
{
	alarm(TIME_LIMIT);
}

static inline unsigned count_entries(const char *path)
{
	DIR *dir = opendir(path);
	unsigned n = 0;

	assert_non_null(dir);
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

static inline unsigned count_fds(void)
{
	return count_entries("/proc/self/fd");
}

static inline unsigned count_threads(void)
{
	return count_entries("/proc/self/task");
}

/* Children of any thread of this process, zombies too. */
static inline unsigned count_children(void)
{
	DIR *dir = opendir("/proc/self/task");
	struct dirent *entry;
	unsigned n = 0;

	assert_non_null(dir);
	while ((entry = readdir(dir))) {
		char path[300], word[32];
		FILE *file;

		snprintf(path, sizeof(path), "/proc/self/task/%s/children", entry->d_name);
		file = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
		while (file && fscanf(file, "%31s", word) == 1)
			n++;
		if (file)
			fclose(file);
	}
	closedir(dir);
	return n;
}

/* The first line of a file under /proc, without its end. */
static inline void proc_line(pid_t pid, const char *name, char *line, size_t size)
{
	char path[64];
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/%s", pid, name);
	file = fopen(path, "r");
	assert_non_null(file);
	assert_non_null(fgets(line, (int)size, file));
	line[strcspn(line, "\n")] = '\0';
	fclose(file);
}

/* A line of /proc/PID/status, by its name. */
static inline void proc_status(pid_t pid, const char *name, char *value, size_t size)
{
	char path[64], line[512];
	size_t length = strlen(name);
	FILE *file;

	snprintf(path, sizeof(path), "/proc/%d/status", pid);
	file = fopen(path, "r");
	assert_non_null(file);
	value[0] = '\0';
	while (fgets(line, sizeof(line), file)) {
		if (strncmp(line, name, length) || line[length] != ':')
			continue;
		line[strcspn(line, "\n")] = '\0';
		snprintf(value, size, "%s", line + length + 1 + strspn(line + length + 1, "\t "));
	}
	fclose(file);
}

/* A page that workers which are copies of us share with us. */
static inline void *shared_page(void)
{
	void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);

	assert_ptr_not_equal(page, MAP_FAILED);
	return page;
}

static inline int open_pidfd(pid_t pid)
{
	return (int)syscall(SYS_pidfd_open, pid, 0);
}

/* 1: dead within `ms`. */
static inline int dies_within(int pidfd, int ms)
{
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };

	return poll(&poller, 1, ms);
}

static inline struct ft_worker_options process_options(void)
{
	return (struct ft_worker_options){ .size = sizeof(struct ft_worker_options),
					   .kind = FT_WORKER_PROCESS };
}

static inline struct ft_worker_options thread_options(void)
{
	return (struct ft_worker_options){ .size = sizeof(struct ft_worker_options),
					   .kind = FT_WORKER_THREAD };
}

static inline void join_free(struct ft_worker *worker, struct ft_worker_exit *how)
{
	struct ft_worker_exit mine;

	assert_int_equal(ft_worker_join(worker, ft_after(20 * SECOND)), 0);
	assert_int_equal(ft_worker_exit_status(worker, how ? how : &mine), 0);
	assert_int_equal(ft_worker_free(worker), 0);
}

/* Runs this very program again, with one argument; its standard output is
 * *out (read end of a pipe) if that is not NULL.  Dies with us. */
static inline pid_t run_self(const char *argument, const char *variable, const char *value,
			     int *out)
{
	int fd[2] = { -1, -1 };
	pid_t pid;

	if (out)
		assert_int_equal(pipe2(fd, O_CLOEXEC), 0);
	fflush(NULL);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (out)
			dup2(fd[1], 1);
		if (variable)
			setenv(variable, value, 1);
		execl("/proc/self/exe", "self", argument, (char *)NULL);
		_exit(127);
	}
	if (out) {
		close(fd[1]);
		*out = fd[0];
	}
	return pid;
}

/* As above, and wants it to succeed. */
static inline void pass_self(const char *argument, const char *variable, const char *value)
{
	pid_t pid = run_self(argument, variable, value, NULL);
	int status;

	assert_int_equal(waitpid(pid, &status, 0), pid);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
}

#endif
