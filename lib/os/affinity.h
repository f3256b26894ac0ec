/* SPDX-License-Identifier: MIT */
/* The kernel's CPU masks as struct ft_cpus.  Floor 0. */
#ifndef FT_OS_AFFINITY_H
#define FT_OS_AFFINITY_H

#include <sched.h>
#include <stdint.h>
#include <sys/types.h>

#include <freethreading/place.h>

/* tid 0: the calling thread.  0 or -errno. */
int ft__affinity_get(pid_t tid, struct ft_cpus *cpus);
int ft__affinity_set(pid_t tid, const struct ft_cpus *cpus);

/* The CPU that the caller runs on, + 1; 0 if that can't be told.  It may be
 * another one a moment later. */
static inline uint32_t ft__cpu_here(void)
{
	int cpu = sched_getcpu();

	return cpu < 0 ? 0 : (uint32_t)cpu + 1;
}

#endif
