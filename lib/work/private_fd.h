/* SPDX-License-Identifier: MIT */
/*
 * Descriptors that are this process's business alone: children that do not
 * exec would keep them open otherwise.  Floor 3.
 */
#ifndef FT_WORK_PRIVATE_FD_H
#define FT_WORK_PRIVATE_FD_H

/* Raises (os/fd.h) and remembers an open descriptor; returns where it lies now,
 * or, without a word to errno, what is negative. */
int ft__private_fd(int fd);

/* Forgets and closes it; negative ones are ignored. */
void ft__private_fd_close(int fd);

/* In a child: closes all of the parent's.  Async-signal-safe. */
void ft__private_fd_forget(void);

#endif
