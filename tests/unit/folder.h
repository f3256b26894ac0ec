/* SPDX-License-Identifier: MIT */
/* A folder of a test's own, with files in it that stand for the kernel's. */
#ifndef TESTS_FOLDER_H
#define TESTS_FOLDER_H

#include <stdio.h>
#include <sys/stat.h>

#include "child.h"

#define FOLDER_NAME 256

/* Where TMPDIR says.  For what ends by folder_remove(). */
static inline void folder_make(char name[FOLDER_NAME])
{
	const char *where = getenv("TMPDIR");

	snprintf(name, FOLDER_NAME, "%s/ft-test-XXXXXX", where ? where : "/tmp");
	REQUIRE(mkdtemp(name));
}

static inline void folder_remove(const char *name)
{
	char command[FOLDER_NAME + 16];

	snprintf(command, sizeof(command), "rm -rf '%s'", name);
	REQUIRE(system(command) == 0);
}

/* The name of a file in it, once the folders on the way are there. */
static inline void folder_path(const char *folder, const char *path, char name[2 * FOLDER_NAME])
{
	snprintf(name, (size_t)2 * FOLDER_NAME, "%s%s", folder, path);
	for (char *at = name + strlen(folder) + 1; (at = strchr(at, '/')); at++) {
		*at = '\0';
		REQUIRE(mkdir(name, 0755) == 0 || errno == EEXIST);
		*at = '/';
	}
}

static inline void folder_write(const char *folder, const char *path, const char *data,
				size_t size)
{
	char name[2 * FOLDER_NAME];
	FILE *file;

	folder_path(folder, path, name);
	file = fopen(name, "w");
	REQUIRE(file && fwrite(data, 1, size, file) == size && fclose(file) == 0);
}

#endif
