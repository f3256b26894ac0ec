/* SPDX-License-Identifier: MIT */
/*
 * Making processes.  Floor 0.
 *
 * Raw clone leaves glibc's state half-inherited; ft__clone repairs what it can
 * (the cached tid through CLONE_CHILD_SETTID, the robust list) and is safe
 * only where no other thread can hold a libc lock: in a single-threaded
 * process, or one whose only other thread is the library's supervisor while it
 * is parked.  ft__fork is glibc's fork() for everybody else.
 * Facts: kernel.md §3 of the design notes.
 */
#ifndef FT_OS_CLONE_H
#define FT_OS_CLONE_H

#include <stdbool.h>
#include <sys/types.h>

struct ft__child {
	pid_t pid; /* 0 in the child */
	int pidfd; /* close-on-exec; -1 in the child */
};

/* A copy of the caller by clone3, or clone where that is refused; `sibling`
 * adds CLONE_PARENT: the child's parent is the caller's parent.  Never runs
 * atfork handlers.  All signals are blocked across the call.  0 or -errno. */
int ft__clone(bool sibling, struct ft__child *child);

/* glibc's fork(), then pidfd_open: runs atfork handlers. */
int ft__fork(struct ft__child *child);

/* A new program, by a vfork-like clone (no copy of the caller's memory; by
 * fork() where FT__CLONE is off).
 * `keep` lists descriptors that stay open across exec; 0, 1 and 2 do anyway,
 * everything else is closed.  The signal mask is empty and handlers are reset
 * in the new program, apart from `ignore_sigint`.  0, or -errno of exec too. */
int ft__clone_exec(const char *path, const char *const *argv, const char *const *envp,
		   const int *keep, int nkeep, bool ignore_sigint, struct ft__child *child);

/* Threads of this process, by /proc/self/task; 0 if that cannot be read. */
int ft__thread_count(void);

#endif
