/* SPDX-License-Identifier: MIT */
/* Which usable CPUs share a core, and which cores share a NUMA node. */
#include <stdlib.h>

#include "work/place.h"

static int read_cpus(const char *root, const char *path, struct ft_cpus *cpus)
{
	char line[FT_CPUS_MAX * 2];
	int rc = ft__read_line(root, path, line, sizeof(line));

	return rc ? rc : ft_cpus_parse(line, cpus);
}

int ft__node_cpus_sysfs(const char *root, unsigned node, struct ft_cpus *cpus)
{
	char path[64];

	snprintf(path, sizeof(path), "/sys/devices/system/node/node%u/cpulist", node);
	return read_cpus(root, path, cpus);
}

/* The lowest CPU that shares a core with this one. */
static unsigned core_of(const char *root, unsigned cpu)
{
	static const char *const names[2] = { "core_cpus_list", "thread_siblings_list" };
	struct ft_cpus siblings;
	char path[96];

	for (int i = 0; i < 2; i++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%u/topology/%s", cpu,
			 names[i]);
		if (read_cpus(root, path, &siblings) || !ft__cpus_has(&siblings, cpu))
			continue;
		for (unsigned first = 0; first < cpu; first++)
			if (ft__cpus_has(&siblings, first))
				return first;
		break;
	}
	return cpu;
}

static int compare(const void *a, const void *b)
{
	const struct ft__cpu *x = a, *y = b;

	if (x->node != y->node)
		return x->node < y->node ? -1 : 1;
	if (x->core != y->core)
		return x->core < y->core ? -1 : 1;
	return (x->cpu > y->cpu) - (x->cpu < y->cpu);
}

static void set_nodes(const char *root, ft__node_cpus *node_cpus, struct ft__topology *topology)
{
	struct ft_cpus online, cpus; /* node numbers come as the same kind of list */

	if (read_cpus(root, "/sys/devices/system/node/online", &online))
		return;
	for (unsigned node = 0; node < FT_CPUS_MAX; node++) {
		if (!ft__cpus_has(&online, node) || node_cpus(root, node, &cpus))
			continue;
		for (unsigned i = 0; i < topology->cpus; i++)
			if (ft__cpus_has(&cpus, topology->cpu[i].cpu))
				topology->cpu[i].node = (uint16_t)node;
	}
}

void ft__topology_read(const char *root, const struct ft_cpus *usable, ft__node_cpus *node_cpus,
		       struct ft__topology *topology)
{
	struct ft__cpu *cpu = topology->cpu;

	topology->cpus = topology->cores = topology->nodes = 0;
	for (unsigned i = 0; i < FT_CPUS_MAX; i++)
		if (ft__cpus_has(usable, i))
			cpu[topology->cpus++] = (struct ft__cpu){
				.cpu = (uint16_t)i,
				.core = (uint16_t)core_of(root, i),
			};
	set_nodes(root, node_cpus, topology);
	qsort(cpu, topology->cpus, sizeof(*cpu), compare);
	for (unsigned i = 0; i < topology->cpus; i++) {
		bool node = !i || cpu[i].node != cpu[i - 1].node;

		topology->nodes += node;
		topology->cores += node || cpu[i].core != cpu[i - 1].core;
	}
}
