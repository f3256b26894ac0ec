/* SPDX-License-Identifier: MIT */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "os/fd.h"
#include "work/lifeline.h"

static struct {
	pthread_mutex_t lock; /* for making the pipe */
	int read, write;      /* our pipe, or our parent's right after a fork */
	int above;            /* a read end of the pipe of who started us */
	int next;             /* another one, for the worker that a helper is making */
} lifeline = { PTHREAD_MUTEX_INITIALIZER, -1, -1, -1, -1 };

int ft__lifeline_ready(void)
{
	int fd[2], rc = 0;

	pthread_mutex_lock(&lifeline.lock);
	if (lifeline.write < 0) {
		rc = pipe2(fd, O_CLOEXEC) ? -errno : 0;
		if (!rc) {
			lifeline.read = ft__fd_raise(fd[0]);
			lifeline.write = ft__fd_raise(fd[1]);
		}
	}
	pthread_mutex_unlock(&lifeline.lock);
	return rc;
}

int ft__lifeline_fd(void)
{
	return lifeline.read;
}

void ft__lifeline_inherit(int fd)
{
	lifeline.above = fd;
}

void ft__lifeline_forget(void)
{
	pthread_mutex_init(&lifeline.lock, NULL);
	if (lifeline.write >= 0)
		close(lifeline.write);
	lifeline.write = -1;
}

/* Registering comes before looking: a parent that is gone by then is seen by
 * the look, one that goes later makes the kernel kill us. */
static int tie(int fd, pid_t pid)
{
	char byte;
	int flags = fcntl(fd, F_GETFL);

	if (flags < 0 || fcntl(fd, F_SETOWN, pid) || fcntl(fd, F_SETSIG, SIGKILL) ||
	    fcntl(fd, F_SETFL, flags | O_ASYNC))
		return -errno;
	return read(fd, &byte, 1) == 0 ? -ESRCH : 0;
}

/* An open file of its own, with the same pipe. */
static int open_anew(int fd)
{
	char path[32];

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
	return fd < 0 ? -errno : fd;
}

void ft__lifeline_lay(void)
{
	lifeline.next = open_anew(lifeline.above);
}

int ft__lifeline_laid(pid_t worker)
{
	int rc = worker > 0 && lifeline.next >= 0 ? tie(lifeline.next, worker) : 0;

	if (lifeline.next >= 0)
		close(lifeline.next);
	lifeline.next = -1;
	return rc;
}

int ft__lifeline_arm(bool sibling)
{
	int fd = sibling ? lifeline.next : -1, rc;

	if (fd < 0)
		fd = open_anew(sibling ? lifeline.above : lifeline.read);
	rc = fd < 0 ? fd : tie(fd, getpid());
	if (lifeline.read >= 0)
		close(lifeline.read);
	if (lifeline.above >= 0)
		close(lifeline.above);
	lifeline.read = lifeline.next = -1;
	lifeline.above = fd;
	return rc;
}
