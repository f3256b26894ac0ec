/* SPDX-License-Identifier: MIT */
/*
 * CPU quotas of control groups.  /proc/self/cgroup says where we are in each
 * hierarchy, /proc/self/mountinfo where the hierarchies are mounted.  Both
 * versions may be there at once (hybrid mounts), so both are asked, at every
 * level up to the mount's root: the tightest one counts.
 */
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>

#include "work/place.h"

int ft__read_line(const char *root, const char *path, char *line, size_t size)
{
	char name[PATH_MAX];
	FILE *file;
	int rc = 0;

	if (snprintf(name, sizeof(name), "%s%s", root, path) >= (int)sizeof(name))
		return -ENAMETOOLONG;
	file = fopen(name, "re");
	if (!file)
		return -errno;
	if (!fgets(line, (int)size, file))
		rc = -ENODATA;
	else
		line[strcspn(line, "\n")] = '\0';
	fclose(file);
	return rc;
}

static unsigned divide_up(int64_t quota, int64_t period)
{
	if (quota <= 0 || period <= 0)
		return 0;
	quota = quota / period + (quota % period != 0);
	return quota < UINT_MAX ? (unsigned)quota : 0;
}

/* "max 100000" or "150000 100000". */
static unsigned quota_v2(const char *root, const char *directory)
{
	char path[PATH_MAX], line[64];
	int64_t quota, period;

	if (snprintf(path, sizeof(path), "%s/cpu.max", directory) >= (int)sizeof(path) ||
	    ft__read_line(root, path, line, sizeof(line)) ||
	    sscanf(line, "%" SCNd64 " %" SCNd64, &quota, &period) != 2)
		return 0;
	return divide_up(quota, period);
}

/* -1 in the first file means that there is no quota. */
static unsigned quota_v1(const char *root, const char *directory)
{
	static const char *const names[2] = { "cpu.cfs_quota_us", "cpu.cfs_period_us" };
	char path[PATH_MAX], line[64];
	int64_t value[2];

	for (int i = 0; i < 2; i++) {
		if (snprintf(path, sizeof(path), "%s/%s", directory, names[i]) >=
			    (int)sizeof(path) ||
		    ft__read_line(root, path, line, sizeof(line)) ||
		    sscanf(line, "%" SCNd64, &value[i]) != 1)
			return 0;
	}
	return divide_up(value[0], value[1]);
}

/* Is `word` one of the comma-separated words of `list`? */
static bool has_word(const char *list, const char *word)
{
	size_t length = strlen(word);

	for (const char *at = list; at; at = strchr(at, ',')) {
		at += *at == ',';
		if (!strncmp(at, word, length) && (at[length] == ',' || !at[length]))
			return true;
	}
	return false;
}

/* Our path in the v2 hierarchy, or in the v1 hierarchy of "cpu". */
static bool own_group(const char *root, bool v2, char *group, size_t size)
{
	char name[PATH_MAX], *line = NULL;
	size_t room = 0;
	bool found = false;
	FILE *file;

	snprintf(name, sizeof(name), "%s/proc/self/cgroup", root);
	file = fopen(name, "re");
	while (file && !found && getline(&line, &room, file) > 0) {
		char *controllers = strchr(line, ':');
		char *path = controllers ? strchr(++controllers, ':') : NULL;

		if (!path)
			continue;
		*path++ = '\0';
		path[strcspn(path, "\n")] = '\0';
		found = v2 ? !*controllers && line[0] == '0' : has_word(controllers, "cpu");
		if (found && snprintf(group, size, "%s", path) >= (int)size)
			break;
	}
	free(line);
	if (file)
		fclose(file);
	return found;
}

/* mountinfo writes blanks and backslashes as \ooo. */
static void unescape(char *text)
{
	char *to = text;

	for (const char *from = text; *from; to++) {
		if (from[0] == '\\' && from[1] >= '0' && from[1] <= '3' && from[2] && from[3]) {
			*to = (char)((from[1] - '0') << 6 | (from[2] - '0') << 3 | (from[3] - '0'));
			from += 4;
		} else {
			*to = *from++;
		}
	}
	*to = '\0';
}

struct mount {
	char *root, *point;
};

/* "36 35 98:0 /root /point options [optional…] - type source superoptions" */
static bool parse_mount(char *line, bool v2, struct mount *mount)
{
	char *tail = strstr(line, " - "), *type, *super, *save = NULL;

	if (!tail)
		return false;
	*tail = '\0';
	type = strtok_r(tail + 3, " \n", &save);
	strtok_r(NULL, " \n", &save);
	super = strtok_r(NULL, " \n", &save);
	if (!type || !super || strcmp(type, v2 ? "cgroup2" : "cgroup") ||
	    (!v2 && !has_word(super, "cpu")))
		return false;
	strtok_r(line, " ", &save);
	for (int i = 0; i < 2; i++)
		strtok_r(NULL, " ", &save);
	mount->root = strtok_r(NULL, " ", &save);
	mount->point = strtok_r(NULL, " ", &save);
	if (!mount->root || !mount->point)
		return false;
	unescape(mount->root);
	unescape(mount->point);
	return true;
}

/* The part of `group` below the mount's root; "" if it is not below it, as in
 * a container that sees the host's paths: the mount itself is our group then. */
static const char *below(const char *group, const char *mount_root)
{
	size_t length = strcmp(mount_root, "/") ? strlen(mount_root) : 0;

	if (strncmp(group, mount_root, length) || (group[length] && group[length] != '/') ||
	    strstr(group, "/..") || !strcmp(group, "/"))
		return "";
	return group + length;
}

/* The tightest quota from the group up to the mount point. */
static unsigned tightest(const char *root, bool v2, const struct mount *mount, const char *group)
{
	unsigned (*quota)(const char *, const char *) = v2 ? quota_v2 : quota_v1;
	size_t stop = strlen(mount->point);
	unsigned least = 0;
	char directory[PATH_MAX];

	if (snprintf(directory, sizeof(directory), "%s%s", mount->point,
		     below(group, mount->root)) >= (int)sizeof(directory))
		return 0;
	for (;;) {
		unsigned here = quota(root, directory);
		char *slash = strrchr(directory, '/');

		if (here && (!least || here < least))
			least = here;
		if (!slash || strlen(directory) <= stop)
			return least;
		*slash = '\0';
	}
}

static unsigned quota_of(const char *root, bool v2)
{
	char name[PATH_MAX], group[PATH_MAX], *line = NULL;
	struct mount mount;
	unsigned least = 0;
	size_t room = 0;
	FILE *file;

	if (!own_group(root, v2, group, sizeof(group)))
		return 0;
	snprintf(name, sizeof(name), "%s/proc/self/mountinfo", root);
	file = fopen(name, "re");
	while (file && getline(&line, &room, file) > 0) {
		if (!parse_mount(line, v2, &mount))
			continue;
		least = tightest(root, v2, &mount, group);
		break;
	}
	free(line);
	if (file)
		fclose(file);
	return least;
}

unsigned ft__quota(const char *root)
{
	unsigned v1 = quota_of(root, false), v2 = quota_of(root, true);

	return !v1 || (v2 && v2 < v1) ? v2 : v1;
}
