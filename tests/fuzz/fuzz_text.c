/* SPDX-License-Identifier: MIT */
/*
 * Text that comes from outside: variables of the environment, lists of CPUs, and
 * files of the kernel.  Whatever it says, the answer is one that may be.
 */
#include "fuzz.h"

#include <freethreading.h>

#include "../unit/folder.h"
#include "os/probe.h"
#include "work/place.h"
#include "work/spawner.h"

#define CHILD_EVERY 64 /* inputs that cost a process */
#define FILES_EVERY 16 /* inputs that cost files */

static char root[FOLDER_NAME];

static void set(const char *name, const char *text)
{
	INSIST(setenv(name, text, 1) == 0);
}

/* ---- lists ---- */

static void list_of_cpus(const char *text)
{
	char again[16384];
	struct ft_cpus cpus = { 0 }, same = { 0 };
	int rc = ft_cpus_parse(text, &cpus), length;

	INSIST(rc == 0 || rc == -EINVAL || rc == -ERANGE);
	if (rc)
		return;
	length = ft_cpus_format(&cpus, again, sizeof(again));
	INSIST(length >= 0 && (size_t)length < sizeof(again));
	INSIST(ft_cpus_parse(again, &same) == 0);
	INSIST(memcmp(&cpus, &same, sizeof(cpus)) == 0);
	INSIST(ft_cpus_format(&cpus, again, 3) == length && strlen(again) < 3);
}

/* ---- variables ---- */

static void variables(const char *text, bool count)
{
	struct ft_cpus usable;
	unsigned cpus;

	set("FT_NUM_WORKERS", text);
	INSIST(ft__workers_wanted() <= FT_CPUS_MAX);
	if (count) {
		INSIST(ft_cpus_usable(&usable) == 0);
		cpus = ft_cpu_count();
		INSIST(cpus >= 1 && cpus <= ft_cpus_count(&usable));
	}
	unsetenv("FT_NUM_WORKERS");
	set("FT_PROBE", text);
	for (unsigned feature = 0; feature < FT__FEATURES; feature++) {
		char word[64];

		snprintf(word, sizeof(word), "-%s", ft__feature_text(feature)->name);
		INSIST(!ft__feature_overridden(feature) || strstr(text, word));
	}
	unsetenv("FT_PROBE");
}

static int be_an_arena(void *arg)
{
	struct ft_arena_info info;

	set("FT_ARENA_SIZE", arg);

	int rc = ft_arena_info(&info);

	REQUIRE(rc == 0 || rc == -ENOMEM || rc == -EFBIG);
	REQUIRE(rc || (info.size > 0 && ft_arena_check(NULL) == 0));
	return 0;
}

static int never(void *ctx, const void *payload, size_t size)
{
	(void)ctx;
	(void)payload;
	(void)size;
	return 1;
}

/* Somebody starts us as if he were a program that wants a helper. */
static int be_a_helper(void *arg)
{
	struct ft_spawner_hooks hooks = { .size = sizeof(hooks), .child = never };

	set(FT__SPAWNER_ENV, arg);
	close_range(3, ~0u, 0);
	REQUIRE(ft_spawner_serve(&hooks) < 0);
	return 0;
}

/* ---- files ---- */

static void write_file(const char *path, const char *data, size_t size)
{
	folder_write(root, path, data, size);
}

static void rename_file(const char *from, const char *to)
{
	char old[2 * FOLDER_NAME], name[2 * FOLDER_NAME];

	folder_path(root, from, old);
	folder_path(root, to, name);
	INSIST(rename(old, name) == 0);
}

static void begin_files(void)
{
	if (!root[0])
		folder_make(root);
}

/* One of the files is what came, the others as they should be. */
static void quota(unsigned which, const char *data, size_t size)
{
	static const char *const paths[] = { "/proc/self/cgroup", "/proc/self/mountinfo",
					     "/m/g/cpu.max", "/m/g/cpu.cfs_quota_us" };
	static const char mounts[] = "1 2 0:1 / /m rw - cgroup2 c rw\n"
				     "1 2 0:1 / /m rw - cgroup c rw,cpu\n";
	static const char *const right[] = { "0::/g\n1:cpu:/g\n", mounts, "150000 100000\n",
					     "300000\n" };

	for (unsigned i = 0; i < 4; i++) {
		bool fuzzed = i == which % 4;

		write_file(paths[i], fuzzed ? data : right[i], fuzzed ? size : strlen(right[i]));
	}
	write_file("/m/g/cpu.cfs_period_us", "100000\n", 7);
	INSIST(which % 4 == 0 || which % 4 == 1 || ft__quota(root) > 0);
	(void)ft__quota(root);
}

static int no_node(const char *where, unsigned node, struct ft_cpus *cpus)
{
	(void)where;
	(void)node;
	ft_cpus_parse("0-3", cpus);
	return 0;
}

static void topology(const char *data, size_t size)
{
	static struct ft__topology topology;
	struct ft_cpus usable = { 0 };

	INSIST(ft_cpus_parse("0-3", &usable) == 0);
	write_file("/list", data, size);
	rename_file("/list", "/sys/devices/system/cpu/cpu2/topology/core_cpus_list");
	write_file("/sys/devices/system/node/online", data, size);
	ft__topology_read(root, &usable, no_node, &topology);
	INSIST(topology.cpus == 4 && topology.nodes >= 1 && topology.cores >= 1);
	INSIST(topology.nodes <= 4 && topology.cores <= 4);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	static unsigned inputs;
	char *text = malloc(size + 1);

	INSIST(text);
	memcpy(text, data, size);
	text[size] = '\0';
	list_of_cpus(text);
	variables(text, inputs % FILES_EVERY == 0);
	if (inputs % CHILD_EVERY == 0) {
		INSIST(child_run(be_an_arena, text) == 0);
		INSIST(child_run(be_a_helper, text) == 0);
	}
	if (inputs % FILES_EVERY == 0) {
		begin_files();
		quota(inputs / FILES_EVERY, text, size);
		topology(text, size);
	}
	inputs++;
	free(text);
	return 0;
}

#ifndef FT_LIBFUZZER
static const struct fuzz_sample samples[] = {
	SAMPLE("0-3,5,7-12,1023"), SAMPLE("8"), SAMPLE("4294967297"), SAMPLE("64M"),
	SAMPLE("16777216k"), SAMPLE("-uring,-pidfd,-clone3"), SAMPLE("passive"),
	SAMPLE("3,4,5,1,6,65537"), SAMPLE("0::/g\n"), SAMPLE("max 100000\n"),
	SAMPLE("4:cpuacct,cpu:/a/b\n0::/a\\040b\n"), SAMPLE("0-1\n"),
	SAMPLE("36 35 98:0 /mnt1 /m rw,noatime master:1 - cgroup2 /dev/root rw,cpu\n"),
	SAMPLE("1 2 0:1 / /m\\040x rw - cgroup c rw,cpu,cpuacct\n1 2 0:1 / /m rw - cgroup2 c rw\n"),
};
#endif

FUZZ_MAIN("text", 10000, samples)
