/* SPDX-License-Identifier: MIT */
/*
 * Where workers may run.  The inherited mask is the frame of everything here:
 * sets are cut out of it, never added to it.  libnuma is only asked which CPUs
 * a node has; its functions that pin widen the mask and are not used.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#ifdef HAVE_LIBNUMA
#include <numa.h>
#include <sys/syscall.h>
#include <unistd.h>
#endif

#include "os/affinity.h"
#include "os/probe.h"
#include "work/place.h"

#ifdef HAVE_LIBNUMA
/* numa_available() believes in NUMA where a sandbox refuses every call, so the
 * probe decides.  libnuma prints when a cpumap cannot be read; a node is shown
 * to it only after sysfs has answered for that node. */
static int node_cpus_libnuma(const char *root, unsigned node, struct ft_cpus *cpus)
{
	struct bitmask *mask;
	int rc = ft__node_cpus_sysfs(root, node, cpus);

	if (rc || (int)node > numa_max_node())
		return rc;
	mask = numa_allocate_cpumask();
	if (mask && numa_node_to_cpus((int)node, mask) == 0) {
		*cpus = (struct ft_cpus){ 0 };
		for (unsigned i = 0; i < mask->size && i < FT_CPUS_MAX; i++)
			if (numa_bitmask_isbitset(mask, i))
				ft__cpus_add(cpus, i);
	}
	if (mask)
		numa_free_cpumask(mask);
	return 0;
}
#endif

static ft__node_cpus *node_source(void)
{
#ifdef HAVE_LIBNUMA
	if (ft__have(FT__MEMPOLICY) && numa_available() >= 0)
		return node_cpus_libnuma;
#endif
	return ft__node_cpus_sysfs;
}

int ft_cpus_usable(struct ft_cpus *cpus)
{
	return cpus ? ft__affinity_get(0, cpus) : -EINVAL;
}

unsigned ft__workers_wanted(void)
{
	const char *text = getenv("FT_NUM_WORKERS");
	char *end;
	unsigned long value;

	if (!text || *text < '0' || *text > '9')
		return 0;
	value = strtoul(text, &end, 10);
	return *end || value > FT_CPUS_MAX ? 0 : (unsigned)value;
}

unsigned ft_cpu_count(void)
{
	struct ft_cpus usable;
	unsigned count = 1, quota = ft__quota(""), wanted = ft__workers_wanted();

	if (ft_cpus_usable(&usable) == 0)
		count = ft_cpus_count(&usable);
	if (quota && quota < count)
		count = quota;
	if (wanted && wanted < count)
		count = wanted;
	return count ? count : 1;
}

/* The topology of the usable CPUs; freed by the caller. */
static int look(struct ft_cpus *usable, struct ft__topology **topology)
{
	int rc = ft_cpus_usable(usable);

	if (rc)
		return rc;
	*topology = malloc(sizeof(**topology));
	if (!*topology)
		return -ENOMEM;
	ft__topology_read("", usable, node_source(), *topology);
	return 0;
}

unsigned ft_node_count(void)
{
	struct ft__topology *topology;
	struct ft_cpus usable;
	unsigned nodes;

	if (look(&usable, &topology))
		return 1;
	nodes = topology->nodes;
	free(topology);
	return nodes ? nodes : 1;
}

/* Finds the first CPU entry of the next core, or node, after entry i. */
static unsigned next_core(const struct ft__topology *t, unsigned i)
{
	unsigned j = i + 1;

	while (j < t->cpus && t->cpu[j].core == t->cpu[i].core && t->cpu[j].node == t->cpu[i].node)
		j++;
	return j;
}

static unsigned next_node(const struct ft__topology *t, unsigned i)
{
	unsigned j = i + 1;

	while (j < t->cpus && t->cpu[j].node == t->cpu[i].node)
		j++;
	return j;
}

static void fill(const struct ft__topology *t, unsigned from, unsigned to, struct ft_cpus *cpus)
{
	*cpus = (struct ft_cpus){ 0 };
	for (unsigned i = from; i < to; i++)
		ft__cpus_add(cpus, t->cpu[i].cpu);
}

static void deal_cores(const struct ft__topology *t, unsigned count, struct ft_cpus *cpus)
{
	for (unsigned i = 0, at = 0; i < count; i++, at = next_core(t, at))
		fill(t, at, next_core(t, at), &cpus[i]);
}

static void deal_nodes(const struct ft__topology *t, unsigned count, struct ft_cpus *cpus)
{
	for (unsigned i = 0, at = 0; i < count; i++) {
		fill(t, at, next_node(t, at), &cpus[i]);
		at = next_node(t, at);
		if (at >= t->cpus)
			at = 0;
	}
}

/* Round r takes the r-th core of every node that has so many. */
static void deal_spread(const struct ft__topology *t, unsigned count, struct ft_cpus *cpus)
{
	unsigned done = 0;

	for (unsigned round = 0; done < count; round++) {
		for (unsigned node = 0; node < t->cpus && done < count; node = next_node(t, node)) {
			unsigned at = node;

			for (unsigned r = 0; r < round && at < next_node(t, node); r++)
				at = next_core(t, at);
			if (at < next_node(t, node))
				fill(t, at, next_core(t, at), &cpus[done++]);
		}
	}
}

void ft__place_deal(enum ft_place_policy policy, const struct ft__topology *topology,
		    const struct ft_cpus *usable, unsigned quota, unsigned count,
		    struct ft_cpus *cpus)
{
	bool throttled = quota && quota < topology->cpus;

	if (policy == FT_PLACE_NONE || count > topology->cores || throttled) {
		for (unsigned i = 0; i < count; i++)
			cpus[i] = *usable;
		return;
	}
	if (policy == FT_PLACE_CORES)
		deal_cores(topology, count, cpus);
	else if (policy == FT_PLACE_SPREAD)
		deal_spread(topology, count, cpus);
	else
		deal_nodes(topology, count, cpus);
}

int ft_place_plan(enum ft_place_policy policy, unsigned count, struct ft_cpus *cpus)
{
	struct ft__topology *topology;
	struct ft_cpus usable;
	int rc;

	if (!count || !cpus || (unsigned)policy > FT_PLACE_NODES)
		return -EINVAL;
	rc = look(&usable, &topology);
	if (rc)
		return rc;
	ft__place_deal(policy, topology, &usable, ft__quota(""), count, cpus);
	free(topology);
	return 0;
}
