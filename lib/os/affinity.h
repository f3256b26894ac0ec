/* SPDX-License-Identifier: MIT */
/* The kernel's CPU masks as struct ft_cpus.  Floor 0. */
#ifndef FT_OS_AFFINITY_H
#define FT_OS_AFFINITY_H

#include <sys/types.h>

#include <freethreading/place.h>

/* tid 0: the calling thread.  0 or -errno. */
int ft__affinity_get(pid_t tid, struct ft_cpus *cpus);
int ft__affinity_set(pid_t tid, const struct ft_cpus *cpus);

#endif
