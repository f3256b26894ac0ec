/* SPDX-License-Identifier: MIT */
/* Processes by descriptor. */
#include "os/pidfd.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "os/probe.h"

/* PIDFD_GET_INFO with the exit status, Linux 6.15; not in our headers. */
struct pidfd_info {
	uint64_t mask;
	uint64_t cgroup;
	uint32_t ids[11]; /* pid, tgid, ppid and eight user and group ids */
	int32_t exit_code;
};
_Static_assert(sizeof(struct pidfd_info) == 64, "the size is part of the ioctl's number");
#define GET_INFO _IOWR(0xFF, 11, struct pidfd_info)
#define INFO_EXIT UINT64_C(8)

int ft__pidfd_open(pid_t pid)
{
	if (pid <= 0)
		return -ESRCH;
	if (!ft__have(FT__PIDFD))
		return -ENOSYS;

	long fd = syscall(SYS_pidfd_open, pid, 0);

	return fd < 0 ? -errno : (int)fd;
}

int ft__pidfd_dead(int pidfd)
{
	struct pollfd poller = { .fd = pidfd, .events = POLLIN };
	int rc;

	do
		rc = poll(&poller, 1, 0);
	while (rc < 0 && errno == EINTR);
	/* A descriptor that is no pidfd proves no death. */
	return rc > 0 && !(poller.revents & POLLNVAL);
}

int ft__pidfd_signal(int pidfd, pid_t pid, int signo)
{
	if (syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0) == 0)
		return 0;
	if (errno != EPERM && errno != ENOSYS && errno != EINVAL)
		return -errno;
	/* Refused; the number is the process's as long as that lives. */
	if (pid <= 0 || ft__pidfd_dead(pidfd))
		return -ESRCH;
	return kill(pid, signo) < 0 ? -errno : 0;
}

/* The parent took the status, or will: ask the kernel what it remembers. */
static void ask_status(int pidfd, struct ft__wait_status *status)
{
	struct pidfd_info info = { .mask = INFO_EXIT };

	if (ioctl(pidfd, GET_INFO, &info) != 0 || !(info.mask & INFO_EXIT))
		return;
	status->known = 1;
	if (WIFSIGNALED(info.exit_code))
		status->signo = WTERMSIG(info.exit_code);
	else
		status->code = WEXITSTATUS(info.exit_code);
}

int ft__pidfd_reap(int pidfd, struct ft__wait_status *status)
{
	siginfo_t info = { 0 };

	*status = (struct ft__wait_status){ 0 };
	/* __WALL: children that raise no SIGCHLD are not shown otherwise. */
	if (waitid((idtype_t)P_PIDFD, (id_t)pidfd, &info, WEXITED | WNOHANG | __WALL) == 0) {
		if (info.si_pid == 0)
			return 0;
		status->known = 1;
		if (info.si_code == CLD_EXITED)
			status->code = info.si_status;
		else
			status->signo = info.si_status;
		return 1;
	}
	if (!ft__pidfd_dead(pidfd))
		return 0;
	ask_status(pidfd, status);
	return 1;
}
