/* SPDX-License-Identifier: MIT */
/* What was found on this machine, as a table and as a page of text. */
#include <freethreading/info.h>

#include <errno.h>
#include <sys/resource.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "os/probe.h"
#include "os/text.h"
#include "pool/collector.h"
#include "work/place.h"

int ft_info_feature(unsigned i, struct ft_feature *feature)
{
	const struct ft__feature_text *text;

	if (!feature)
		return -EINVAL;
	if (i >= FT__FEATURES)
		return -ENOENT;
	text = ft__feature_text((enum ft__feature)i);
	*feature = (struct ft_feature){
		.name = text->name, .on = ft__have((enum ft__feature)i), .since = text->since
	};
	feature->why = feature->on ? text->why_on : text->why_off;
	if (!feature->on && ft__feature_overridden((enum ft__feature)i))
		feature->why = "switched off by FT_PROBE or FT_CLONE";
	return 0;
}

static void add_system(struct ft__text *text)
{
	struct utsname name;

	ft__text_add(text, "freethreading  %s\n", ft_version());
	if (uname(&name) == 0)
		ft__text_add(text, "kernel         %s %s %s\n", name.sysname, name.release,
			     name.machine);
}

static void add_cpus(struct ft__text *text)
{
	unsigned quota = ft__quota(""), wanted = ft__workers_wanted();
	struct ft_cpus usable;
	char list[256] = "unknown";

	if (ft_cpus_usable(&usable) == 0)
		ft_cpus_format(&usable, list, sizeof(list));
	ft__text_add(text, "CPUs           %s (of %ld online)\n", list,
		     sysconf(_SC_NPROCESSORS_ONLN));
	ft__text_add(text, "NUMA nodes     %u\n", ft_node_count());
	ft__text_add(text, quota ? "cgroup quota   %u CPUs\n" : "cgroup quota   none\n", quota);
	if (wanted)
		ft__text_add(text, "FT_NUM_WORKERS %u\n", wanted);
	ft__text_add(text, "workers        %u\n", ft_cpu_count());
}

static void add_limit(struct ft__text *text, const char *name, int resource)
{
	struct rlimit limit;

	if (getrlimit((__rlimit_resource_t)resource, &limit))
		return;
	if (limit.rlim_cur == RLIM_INFINITY)
		ft__text_add(text, "%-14s unlimited\n", name);
	else
		ft__text_add(text, "%-14s %llu\n", name, (unsigned long long)limit.rlim_cur);
}

static void add_features(struct ft__text *text)
{
	struct ft_feature feature;

	ft__text_add(text, "collector      %s\n", ft__collector_name());
	for (unsigned i = 0; ft_info_feature(i, &feature) == 0; i++)
		ft__text_add(text, "%-18s %-3s  Linux %-5s %s\n", feature.name,
			     feature.on ? "on" : "off", feature.since, feature.why);
}

int ft_info_text(char *buffer, size_t size)
{
	struct ft__text text = { .at = buffer, .size = size };

	if (!buffer && size)
		return -EINVAL;
	add_system(&text);
	add_cpus(&text);
	add_limit(&text, "open files", RLIMIT_NOFILE);
	add_limit(&text, "processes", RLIMIT_NPROC);
	add_limit(&text, "address space", RLIMIT_AS);
	add_features(&text);
	return (int)text.length;
}
