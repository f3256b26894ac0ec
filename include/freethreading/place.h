/* SPDX-License-Identifier: MIT */
/*
 * Where workers run: the CPUs that this program may use, and how to spread
 * workers over them.  A place never widens what was inherited: taskset,
 * cpusets, Slurm and cgroup quotas win, we only subdivide.
 *
 *     struct ft_cpus cpus[4];
 *     if (ft_place_plan(FT_PLACE_CORES, 4, cpus) == 0)
 *             options.cpus = &cpus[i];
 *
 * All functions are thread-safe; none is async-signal-safe.
 */
#ifndef FREETHREADING_PLACE_H
#define FREETHREADING_PLACE_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

#define FT_CPUS_MAX 4096

/* A set of CPUs, by value; bit c of word c/64 is CPU c. */
struct ft_cpus {
	uint64_t bits[FT_CPUS_MAX / 64];
};

/* How ft_place_plan deals out the usable CPUs. */
enum ft_place_policy {
	FT_PLACE_NONE,  /* every worker may run on every usable CPU */
	FT_PLACE_CORES, /* one core a worker, cores of one node first (compact) */
	FT_PLACE_SPREAD, /* one core a worker, nodes in turn */
	FT_PLACE_NODES, /* one NUMA node a worker, nodes in turn */
};

/* The CPUs this process may run on, as the kernel says now. */
FT_API int ft_cpus_usable(struct ft_cpus *cpus);

FT_API unsigned ft_cpus_count(const struct ft_cpus *cpus);

/* Reads "0-3,8,10-11".  -EINVAL for anything else, -ERANGE beyond FT_CPUS_MAX. */
FT_API int ft_cpus_parse(const char *list, struct ft_cpus *cpus);

/* Writes the same notation, always terminated; returns the length it needs. */
FT_API int ft_cpus_format(const struct ft_cpus *cpus, char *text, size_t size);

/* How many workers keep this program's CPUs busy: the least of usable CPUs,
 * cgroup CPU quota (rounded up) and FT_NUM_WORKERS; at least 1. */
FT_API unsigned ft_cpu_count(void);

/* NUMA nodes among the usable CPUs; 1 where there is no NUMA or no libnuma. */
FT_API unsigned ft_node_count(void);

/* One CPU set for each of `count` workers.  Where workers outnumber cores, or a
 * quota is below the CPUs, pinning would only hurt: every set is then all
 * usable CPUs.  0 or -EINVAL. */
FT_API int ft_place_plan(enum ft_place_policy policy, unsigned count, struct ft_cpus *cpus);

FT_END_DECLS

#endif
