/* SPDX-License-Identifier: MIT */
/*
 * The lifeline: process workers die when the process that started them does,
 * and not when one of its threads does, which is what PR_SET_PDEATHSIG means.
 * Floor 3.
 *
 * A process has one pipe, whose write end nobody else keeps.  A worker opens
 * the read end anew (an open file of its own) and asks the kernel for SIGKILL
 * when something happens on it; nothing does until the last writer is gone.
 */
#ifndef FT_WORK_LIFELINE_H
#define FT_WORK_LIFELINE_H

#include <stdbool.h>
#include <sys/types.h>

/* Makes this process's pipe.  0 or -errno. */
int ft__lifeline_ready(void);

/* The read end, for an exec'ed helper; and there: where it came to. */
int ft__lifeline_fd(void);
void ft__lifeline_inherit(int fd);

/* In a child, first of all: lets go of the parent's write end. */
void ft__lifeline_forget(void);

/* In a helper, before it clones a worker, and after that: opens the worker's read end
 * for it, since a new process is slow at its first look into /proc. */
void ft__lifeline_lay(void);
/* Ties it to the worker, which may be stopped before it does so itself; it holds
 * whatever becomes of the helper, since the two share it.  0: there is no worker.
 * -ESRCH: the program is gone, and so must the worker be. */
int ft__lifeline_laid(pid_t worker);

/* In a new worker: ties it to the process that started it.  `sibling`: made by
 * a helper, whose own lifeline leads to that process.  0; -ESRCH: it is gone
 * already; other -errno: no lifeline can be had (no /proc). */
int ft__lifeline_arm(bool sibling);

#endif
