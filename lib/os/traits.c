/* SPDX-License-Identifier: MIT */
#include "os/traits.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "os/affinity.h"

/* A kernel without NUMA (ENOSYS), or a sandbox that forbids the question and so
 * the setting, has the default for everybody. */
static bool has_memory_policy(void)
{
	int mode = 0;

	return syscall(SYS_get_mempolicy, &mode, NULL, 0UL, NULL, 0UL) == 0 && mode != 0;
}

static bool has_signal_stack(void)
{
	stack_t stack;

	return sigaltstack(NULL, &stack) == 0 && !(stack.ss_flags & SS_DISABLE);
}

bool ft__traits_get(struct ft__traits *traits)
{
	memset(traits, 0, sizeof(*traits));
	if (syscall(SYS_sched_getattr, 0, &traits->schedule, sizeof(traits->schedule), 0) ||
	    ft__affinity_get(0, &traits->cpus))
		return false;
	return !has_memory_policy() && !has_signal_stack();
}

bool ft__traits_equal(const struct ft__traits *one, const struct ft__traits *other)
{
	return memcmp(one, other, sizeof(*one)) == 0;
}
