/* SPDX-License-Identifier: MIT */
/* Processes by descriptor.  Floor 0. */
#ifndef FT_OS_PIDFD_H
#define FT_OS_PIDFD_H

#include <stdbool.h>
#include <sys/types.h>

/* Close-on-exec; -errno: -ESRCH for what is no number of a process, too. */
int ft__pidfd_open(pid_t pid);

/* To the process of the descriptor, which is `pid`.  0 or -errno. */
int ft__pidfd_signal(int pidfd, pid_t pid, int signo);

struct ft__wait_status {
	int code;  /* exit status, if signo is 0 */
	int signo; /* or the signal that killed it */
	int known; /* 0: it is dead, but somebody else took the status */
};

/* Reaps a dead child, without blocking.  1: reaped (or reaped by somebody
 * else: known is 0, unless the kernel (6.15+) still tells); 0: alive. */
int ft__pidfd_reap(int pidfd, struct ft__wait_status *status);

/* 1: the process is dead (a zombie too), 0: alive.  Any holder may ask. */
int ft__pidfd_dead(int pidfd);

#endif
