/* SPDX-License-Identifier: MIT */
/*
 * What this kernel and this sandbox allow, decided once per process at first
 * use.  The only place that decides: everybody else asks.  Floor 0.
 *
 * FT_PROBE overrides it for tests and for sick machines: a comma-separated
 * list of "-name", each switching one feature off, as if the kernel had
 * refused it ("FT_PROBE=-clone3,-io_uring").  Unknown names are ignored.
 * FT_CLONE=fork means the same as FT_PROBE=-clone, under the name that users
 * know; builds with ThreadSanitizer, which cannot follow a raw clone, have it
 * off.  Children by fork keep the parent's answers; exec'ed ones ask again.
 */
#ifndef FT_OS_PROBE_H
#define FT_OS_PROBE_H

#include <stdbool.h>

enum ft__feature {
	FT__CLONE,        /* "clone"           raw clone at all; off: glibc's fork() */
	FT__CLONE3,       /* "clone3"          5.3; Docker: ENOSYS */
	FT__PIDFD,        /* "pidfd"           5.4: CLONE_PIDFD, waitid(P_PIDFD) */
	FT__TID_ADDRESS,  /* "tid_address"     3.5, CHECKPOINT_RESTORE */
	FT__MEMFD_NOEXEC, /* "memfd_noexec"    6.3 */
	FT__URING,        /* "io_uring"        5.11 (EXT_ARG); Docker: EPERM */
	FT__URING_FUTEX,  /* "io_uring-futex"  6.7 */
	FT__URING_MULTI,  /* "io_uring-multishot" 5.13: POLL_ADD multishot */
	FT__MEMPOLICY,    /* "mempolicy"       2.6; Docker: EPERM */
	FT__FEATURES,
};

bool ft__have(enum ft__feature feature);

/* false: nobody could tell yet, for want of descriptors; ft__have says no then,
 * and asks again next time. */
bool ft__known(enum ft__feature feature);

/* For ft_info: name, first kernel, and the line that says why it is off. */
struct ft__feature_text {
	const char *name, *since, *why_off, *why_on;
};
const struct ft__feature_text *ft__feature_text(enum ft__feature feature);

/* 1: refused by FT_PROBE; 0: by the kernel, or not refused. */
int ft__feature_overridden(enum ft__feature feature);

#endif
