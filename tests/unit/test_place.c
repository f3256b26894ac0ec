/* SPDX-License-Identifier: MIT */
#include "worker_tools.h"

#include <sched.h>

#include "folder.h"
#include "work/place.h"

/* ---- a root directory of our own ---- */

static char root[FOLDER_NAME];

static void write_file(const char *path, const char *text)
{
	folder_write(root, path, text, strlen(text));
}

/* ---- sets ---- */

static void assert_cpus(const struct ft_cpus *cpus, const char *list)
{
	char text[256];

	ft_cpus_format(cpus, text, sizeof(text));
	assert_string_equal(text, list);
}

static void lists_go_both_ways(void **state)
{
	static const char *const lists[] = { "",      "0",   "0-3",         "63-64",
					     "0-1,3", "4095", "0-3,8,10-11", "1,3,5,7" };
	struct ft_cpus cpus;

	(void)state;
	for (size_t i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
		assert_int_equal(ft_cpus_parse(lists[i], &cpus), 0);
		assert_cpus(&cpus, lists[i]);
	}
	assert_int_equal(ft_cpus_parse("0-4095", &cpus), 0);
	assert_int_equal(ft_cpus_count(&cpus), 4096);
	assert_int_equal(ft_cpus_parse("3,1-2,2", &cpus), 0);
	assert_cpus(&cpus, "1-3");
}

static void bad_lists_change_nothing(void **state)
{
	static const char *const bad[] = { "x",	 "1-", "3-1", "1,,2", "1,",
					   ",1", "-1", "1 ",  "1;2" };
	struct ft_cpus cpus = { { 5 } };

	(void)state;
	for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++)
		assert_int_equal(ft_cpus_parse(bad[i], &cpus), -EINVAL);
	assert_int_equal(ft_cpus_parse("4096", &cpus), -ERANGE);
	assert_int_equal(ft_cpus_parse("0-99999999999999999999", &cpus), -ERANGE);
	assert_int_equal(ft_cpus_parse(NULL, &cpus), -EINVAL);
	assert_int_equal(ft_cpus_parse("1", NULL), -EINVAL);
	assert_cpus(&cpus, "0,2");
}

static void short_buffers_are_terminated(void **state)
{
	struct ft_cpus cpus;
	char text[8] = "1234567";

	(void)state;
	ft_cpus_parse("0-3,8,10-11", &cpus);
	assert_int_equal(ft_cpus_format(&cpus, NULL, 0), 11);
	assert_int_equal(ft_cpus_format(&cpus, text, 5), 11);
	assert_string_equal(text, "0-3,");
	assert_int_equal(ft_cpus_format(&cpus, NULL, 5), -EINVAL);
	assert_int_equal(ft_cpus_format(NULL, text, 5), -EINVAL);
	assert_int_equal(ft_cpus_count(NULL), 0);
}

/* ---- quotas ---- */

#define V2_MOUNT "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw\n"

static void v2_tightest_on_the_way_up(void **state)
{
	(void)state;
	folder_make(root);
	write_file("/proc/self/cgroup", "0::/a/b/c\n");
	write_file("/proc/self/mountinfo", "1 1 8:1 / / rw - ext4 /dev/sda rw\n" V2_MOUNT);
	assert_int_equal(ft__quota(root), 0);
	write_file("/sys/fs/cgroup/a/b/c/cpu.max", "400000 100000\n");
	assert_int_equal(ft__quota(root), 4);
	write_file("/sys/fs/cgroup/a/cpu.max", "150000 100000\n");
	assert_int_equal(ft__quota(root), 2);
	write_file("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
	assert_int_equal(ft__quota(root), 2);
	write_file("/sys/fs/cgroup/a/b/c/cpu.max", "50000 100000\n");
	assert_int_equal(ft__quota(root), 1);
	write_file("/sys/fs/cgroup/a/b/c/cpu.max", "nonsense\n");
	assert_int_equal(ft__quota(root), 2);
	folder_remove(root);
}

static void v1_knows_its_hierarchy(void **state)
{
	(void)state;
	folder_make(root);
	write_file("/proc/self/cgroup", "5:cpuset:/x\n4:cpu,cpuacct:/job\n3:memory:/job\n");
	write_file("/proc/self/mountinfo",
		   "31 30 0:27 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n"
		   "32 30 0:28 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "-1\n");
	write_file("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_period_us", "100000\n");
	assert_int_equal(ft__quota(root), 0);
	write_file("/sys/fs/cgroup/cpu,cpuacct/job/cpu.cfs_quota_us", "250000\n");
	assert_int_equal(ft__quota(root), 3);
	folder_remove(root);
}

static void hybrid_mounts_are_both_asked(void **state)
{
	(void)state;
	folder_make(root);
	write_file("/proc/self/cgroup", "1:cpu:/job\n0::/job\n");
	write_file("/proc/self/mountinfo",
		   "32 30 0:28 / /cg/cpu rw - cgroup cgroup rw,cpu\n"
		   "33 30 0:29 / /cg/unified\\040x rw - cgroup2 cgroup2 rw\n");
	write_file("/cg/cpu/job/cpu.cfs_quota_us", "300000\n");
	write_file("/cg/cpu/job/cpu.cfs_period_us", "100000\n");
	assert_int_equal(ft__quota(root), 3);
	write_file("/cg/unified x/job/cpu.max", "200000 100000\n");
	assert_int_equal(ft__quota(root), 2);
	write_file("/cg/unified x/job/cpu.max", "500000 100000\n");
	assert_int_equal(ft__quota(root), 3);
	folder_remove(root);
}

static void containers_see_their_mount(void **state)
{
	(void)state;
	folder_make(root);
	/* The mount shows only our part of the tree. */
	write_file("/proc/self/cgroup", "0::/docker/123/sub\n");
	write_file("/proc/self/mountinfo",
		   "30 23 0:26 /docker/123 /sys/fs/cgroup rw - cgroup2 cgroup rw\n");
	write_file("/sys/fs/cgroup/sub/cpu.max", "200000 100000\n");
	assert_int_equal(ft__quota(root), 2);
	/* A path that leads out of what we see. */
	write_file("/proc/self/cgroup", "0::/../../other\n");
	write_file("/sys/fs/cgroup/cpu.max", "700000 100000\n");
	assert_int_equal(ft__quota(root), 7);
	/* A mount whose root only looks like a prefix. */
	write_file("/proc/self/cgroup", "0::/docker/1234\n");
	assert_int_equal(ft__quota(root), 7);
	folder_remove(root);
	assert_int_equal(ft__quota("/nonexistent"), 0);
}

/* ---- topology: two nodes, two cores each, two threads a core ---- */

static struct ft__topology topology;

/* CPUs 0 and 4 are core 0, 1 and 5 core 1, …; cores 0 and 2 are on node 0. */
static void make_machine(const char *usable)
{
	struct ft_cpus cpus;
	char path[96], list[16];

	folder_make(root);
	for (int cpu = 0; cpu < 8; cpu++) {
		snprintf(path, sizeof(path), "/sys/devices/system/cpu/cpu%d/topology/%s", cpu,
			 cpu % 2 ? "core_cpus_list" : "thread_siblings_list");
		snprintf(list, sizeof(list), "%d,%d\n", cpu % 4, cpu % 4 + 4);
		write_file(path, list);
	}
	write_file("/sys/devices/system/node/online", "0,3\n");
	write_file("/sys/devices/system/node/node0/cpulist", "0,2,4,6\n");
	write_file("/sys/devices/system/node/node3/cpulist", "1,3,5,7\n");
	assert_int_equal(ft_cpus_parse(usable, &cpus), 0);
	ft__topology_read(root, &cpus, ft__node_cpus_sysfs, &topology);
	folder_remove(root);
}

static void deal(enum ft_place_policy policy, const char *usable, unsigned quota, unsigned count,
		 const char *const *lists)
{
	struct ft_cpus all, cpus[8];

	make_machine(usable);
	ft_cpus_parse(usable, &all);
	ft__place_deal(policy, &topology, &all, quota, count, cpus);
	for (unsigned i = 0; i < count; i++)
		assert_cpus(&cpus[i], lists[i]);
}

static void topology_is_read(void **state)
{
	(void)state;
	make_machine("0-7");
	assert_int_equal(topology.cpus, 8);
	assert_int_equal(topology.cores, 4);
	assert_int_equal(topology.nodes, 2);
	assert_int_equal(topology.cpu[0].cpu, 0);
	assert_int_equal(topology.cpu[1].cpu, 4);
	assert_int_equal(topology.cpu[4].node, 3);
	make_machine("1,5-7");
	assert_int_equal(topology.cores, 3);
	assert_int_equal(topology.nodes, 2);
	make_machine("5");
	assert_int_equal(topology.cores, 1);
	assert_int_equal(topology.nodes, 1);
}

static void cores_fill_a_node_first(void **state)
{
	(void)state;
	deal(FT_PLACE_CORES, "0-7", 0, 4, (const char *[]){ "0,4", "2,6", "1,5", "3,7" });
	deal(FT_PLACE_CORES, "0-7", 8, 2, (const char *[]){ "0,4", "2,6" });
	deal(FT_PLACE_CORES, "4-7", 0, 3, (const char *[]){ "4", "6", "5" });
}

static void spread_takes_nodes_in_turn(void **state)
{
	(void)state;
	deal(FT_PLACE_SPREAD, "0-7", 0, 4, (const char *[]){ "0,4", "1,5", "2,6", "3,7" });
	deal(FT_PLACE_SPREAD, "0,2-4,6", 0, 3, (const char *[]){ "0,4", "3", "2,6" });
}

static void nodes_are_dealt_whole(void **state)
{
	(void)state;
	deal(FT_PLACE_NODES, "0-7", 0, 3, (const char *[]){ "0,2,4,6", "1,3,5,7", "0,2,4,6" });
}

static void pinning_is_dropped_where_it_hurts(void **state)
{
	(void)state;
	deal(FT_PLACE_NONE, "0-3", 0, 2, (const char *[]){ "0-3", "0-3" });
	deal(FT_PLACE_CORES, "0-1,4", 0, 3, (const char *[]){ "0-1,4", "0-1,4", "0-1,4" });
	deal(FT_PLACE_SPREAD, "0-7", 7, 2, (const char *[]){ "0-7", "0-7" });
}

/* ---- this machine ---- */

static void counts_are_consistent(void **state)
{
	struct ft_cpus cpus;

	(void)state;
	unsetenv("FT_NUM_WORKERS");
	assert_int_equal(ft_cpus_usable(&cpus), 0);
	assert_in_range(ft_cpu_count(), 1, ft_cpus_count(&cpus));
	assert_in_range(ft_node_count(), 1, ft_cpus_count(&cpus));
	setenv("FT_NUM_WORKERS", "1", 1);
	assert_int_equal(ft_cpu_count(), 1);
	setenv("FT_NUM_WORKERS", "0", 1);
	assert_in_range(ft_cpu_count(), 1, ft_cpus_count(&cpus));
	setenv("FT_NUM_WORKERS", "many", 1);
	assert_in_range(ft_cpu_count(), 1, ft_cpus_count(&cpus));
	setenv("FT_NUM_WORKERS", "4000", 1);
	assert_in_range(ft_cpu_count(), 1, ft_cpus_count(&cpus));
	unsetenv("FT_NUM_WORKERS");
}

static void plans_never_widen_the_mask(void **state)
{
	struct ft_cpus before, one, plan[4];
	cpu_set_t set, old;
	unsigned cpu = 0;

	(void)state;
	assert_int_equal(sched_getaffinity(0, sizeof(old), &old), 0);
	assert_int_equal(ft_cpus_usable(&before), 0);
	while (!ft__cpus_has(&before, cpu))
		cpu++;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	assert_int_equal(sched_setaffinity(0, sizeof(set), &set), 0);
	assert_int_equal(ft_cpus_usable(&one), 0);
	assert_int_equal(ft_cpus_count(&one), 1);
	assert_int_equal(ft_cpu_count(), 1);
	assert_int_equal(ft_node_count(), 1);
	for (int policy = FT_PLACE_NONE; policy <= FT_PLACE_NODES; policy++) {
		assert_int_equal(ft_place_plan((enum ft_place_policy)policy, 4, plan), 0);
		for (int i = 0; i < 4; i++)
			assert_memory_equal(&plan[i], &one, sizeof(one));
	}
	assert_int_equal(sched_setaffinity(0, sizeof(old), &old), 0);
}

static void bad_plans(void **state)
{
	struct ft_cpus cpus;

	(void)state;
	assert_int_equal(ft_place_plan(FT_PLACE_CORES, 0, &cpus), -EINVAL);
	assert_int_equal(ft_place_plan(FT_PLACE_CORES, 1, NULL), -EINVAL);
	assert_int_equal(ft_place_plan((enum ft_place_policy)9, 1, &cpus), -EINVAL);
	assert_int_equal(ft_cpus_usable(NULL), -EINVAL);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(lists_go_both_ways),
		cmocka_unit_test(bad_lists_change_nothing),
		cmocka_unit_test(short_buffers_are_terminated),
		cmocka_unit_test(v2_tightest_on_the_way_up),
		cmocka_unit_test(v1_knows_its_hierarchy),
		cmocka_unit_test(hybrid_mounts_are_both_asked),
		cmocka_unit_test(containers_see_their_mount),
		cmocka_unit_test(topology_is_read),
		cmocka_unit_test(cores_fill_a_node_first),
		cmocka_unit_test(spread_takes_nodes_in_turn),
		cmocka_unit_test(nodes_are_dealt_whole),
		cmocka_unit_test(pinning_is_dropped_where_it_hurts),
		cmocka_unit_test(counts_are_consistent),
		cmocka_unit_test(plans_never_widen_the_mask),
		cmocka_unit_test(bad_plans),
	};

	limit_time();
	return cmocka_run_group_tests(tests, NULL, NULL);
}
