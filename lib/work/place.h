/* SPDX-License-Identifier: MIT */
/*
 * What this machine and its control groups give us, read from a root directory
 * so that tests can bring their own ("" is the real one).  Floor 3.
 */
#ifndef FT_WORK_PLACE_H
#define FT_WORK_PLACE_H

#include <stdbool.h>
#include <stdio.h>

#include <freethreading/place.h>

/* work/cpus.c */
static inline bool ft__cpus_has(const struct ft_cpus *cpus, unsigned cpu)
{
	return cpu < FT_CPUS_MAX && (cpus->bits[cpu / 64] >> (cpu % 64) & 1);
}
static inline void ft__cpus_add(struct ft_cpus *cpus, unsigned cpu)
{
	if (cpu < FT_CPUS_MAX)
		cpus->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
}
/* a = a ∩ b; false if nothing is left. */
bool ft__cpus_and(struct ft_cpus *a, const struct ft_cpus *b);

/* work/quota.c: CPUs that the tightest cgroup quota (v1 or v2) on the way up to
 * the root allows, rounded up; 0: no quota. */
unsigned ft__quota(const char *root);

/* work/topology.c: the usable CPUs, sorted by node, then core, then number. */
struct ft__cpu {
	uint16_t cpu;
	uint16_t core; /* the lowest CPU of its core: a name for the core */
	uint16_t node;
};
struct ft__topology {
	unsigned cpus, cores, nodes;
	struct ft__cpu cpu[FT_CPUS_MAX];
};
/* Tells the CPUs of an online NUMA node; -errno if that cannot be read. */
typedef int ft__node_cpus(const char *root, unsigned node, struct ft_cpus *cpus);
ft__node_cpus ft__node_cpus_sysfs;
void ft__topology_read(const char *root, const struct ft_cpus *usable, ft__node_cpus *node_cpus,
		       struct ft__topology *topology);

/* work/place.c: ft_place_plan with everything given.  quota 0: none. */
void ft__place_deal(enum ft_place_policy policy, const struct ft__topology *topology,
		    const struct ft_cpus *usable, unsigned quota, unsigned count,
		    struct ft_cpus *cpus);
/* FT_NUM_WORKERS, or 0. */
unsigned ft__workers_wanted(void);

/* Reads the first line of root+path (without its end); -errno. */
int ft__read_line(const char *root, const char *path, char *line, size_t size);

#endif
