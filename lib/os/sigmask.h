/* SPDX-License-Identifier: MIT */
/*
 * The kernel's signal mask itself: libc's functions leave its own two signals
 * (cancellation, setuid) alone, which a cloned child must not.  Floor 0.
 */
#ifndef FT_OS_SIGMASK_H
#define FT_OS_SIGMASK_H

#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Async-signal-safe, all three. */
static inline void ft__sigmask_block_all(uint64_t *before)
{
	uint64_t all = ~UINT64_C(0);

	syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, before, sizeof(all));
}

static inline void ft__sigmask_restore(const uint64_t *before)
{
	syscall(SYS_rt_sigprocmask, SIG_SETMASK, before, NULL, sizeof(*before));
}

static inline void ft__sigmask_clear(void)
{
	uint64_t none = 0;

	ft__sigmask_restore(&none);
}

#endif
