/* SPDX-License-Identifier: MIT */
/* CPU masks by raw system calls: glibc's cpu_set_t ends at 1024 CPUs. */
#include "os/affinity.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kernels refuse masks smaller than their own; none has more CPUs than this. */
#define KERNEL_CPUS 65536

int ft__affinity_get(pid_t tid, struct ft_cpus *cpus)
{
	uint64_t mask[KERNEL_CPUS / 64];

	long size = syscall(SYS_sched_getaffinity, tid, sizeof(mask), mask);

	if (size < 0)
		return -errno;
	memset(cpus, 0, sizeof(*cpus));
	memcpy(cpus, mask, (size_t)size < sizeof(*cpus) ? (size_t)size : sizeof(*cpus));
	return 0;
}

int ft__affinity_set(pid_t tid, const struct ft_cpus *cpus)
{
	return syscall(SYS_sched_setaffinity, tid, sizeof(*cpus), cpus) < 0 ? -errno : 0;
}
