/* SPDX-License-Identifier: MIT */
/*
 * The files below some roots, sorted by path and cut into batches.  A part of
 * 10_index.c.
 */
#ifndef INDEX_TREE_H
#define INDEX_TREE_H

#include <dirent.h>
#include <stdio.h>

#include <freethreading.h>

#include "count.h"

#define BATCH_FILES 64
#define BATCH_BYTES 1048576

struct file {
	char *path;
	uint64_t size;
};

struct batch {
	size_t first, count; /* of tree->files */
	uint64_t bytes;
	int tries;
};

struct tree {
	struct file *files;
	struct batch *batches;
	char **folders; /* still to be read */
	size_t nfiles, nbatches, nfolders;
	size_t files_size, batches_size, folders_size;
	uint64_t bytes;
	uint64_t skipped[KINDS]; /* what the walk itself found */
};

static void die(const char *what, int error)
{
	fprintf(stderr, "10_index: %s: %s\n", what, ft_strerror(error));
	exit(1);
}

/* Makes room for one more; ends the program if there is no memory. */
static void *room_for_one(void *array, size_t count, size_t *size, size_t each)
{
	if (count < *size)
		return array;
	*size = *size ? 2 * *size : 256;
	array = realloc(array, *size * each);
	if (!array)
		die("out of memory", ENOMEM);
	return array;
}

static char *path_join(const char *folder, const char *name)
{
	size_t length = strlen(folder);
	size_t size = length + strlen(name) + 2;
	char *path = malloc(size);
	int slash = *name && length && folder[length - 1] != '/';

	if (!path)
		die("out of memory", ENOMEM);
	snprintf(path, size, "%s%s%s", folder, slash ? "/" : "", name);
	return path;
}

static void tree_add_file(struct tree *tree, char *path, uint64_t size)
{
	tree->files =
	    room_for_one(tree->files, tree->nfiles, &tree->files_size, sizeof(*tree->files));
	tree->files[tree->nfiles++] = (struct file){path, size};
	tree->bytes += size;
}

static void tree_add_folder(struct tree *tree, char *path)
{
	tree->folders = room_for_one(tree->folders, tree->nfolders, &tree->folders_size,
				     sizeof(*tree->folders));
	tree->folders[tree->nfolders++] = path;
}

/* Takes `path` over.  Only a path of the command line is followed. */
static void tree_visit(struct tree *tree, char *path, int follow)
{
	struct stat st;

	if (follow ? stat(path, &st) : lstat(path, &st)) {
		tree->skipped[kind_of_error(errno)]++;
		free(path);
	} else if (S_ISREG(st.st_mode)) {
		tree_add_file(tree, path, (uint64_t)st.st_size);
	} else if (S_ISDIR(st.st_mode)) {
		tree_add_folder(tree, path);
	} else {
		tree->skipped[S_ISLNK(st.st_mode) ? SYMLINK : SPECIAL]++;
		free(path);
	}
}

static void tree_read_folder(struct tree *tree, char *path)
{
	DIR *dir = opendir(path);
	const struct dirent *entry;

	if (!dir)
		tree->skipped[kind_of_error(errno)]++;
	while (dir && (entry = readdir(dir)))
		if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
			tree_visit(tree, path_join(path, entry->d_name), 0);
	if (dir)
		closedir(dir);
	free(path);
}

static int by_path(const void *a, const void *b)
{
	return strcmp(((const struct file *)a)->path, ((const struct file *)b)->path);
}

/* Adds all files at and below a path of the command line. */
static void tree_walk(struct tree *tree, const char *root)
{
	tree_visit(tree, path_join(root, ""), 1);
	while (tree->nfolders)
		tree_read_folder(tree, tree->folders[--tree->nfolders]);
}

static void tree_cut(struct tree *tree)
{
	struct batch *batch = NULL;

	if (tree->nfiles)
		qsort(tree->files, tree->nfiles, sizeof(*tree->files), by_path);
	for (size_t i = 0; i < tree->nfiles; i++) {
		if (!batch || batch->count == BATCH_FILES || batch->bytes >= BATCH_BYTES) {
			tree->batches = room_for_one(tree->batches, tree->nbatches,
						     &tree->batches_size, sizeof(*batch));
			batch = &tree->batches[tree->nbatches++];
			*batch = (struct batch){.first = i};
		}
		batch->count++;
		batch->bytes += tree->files[i].size;
	}
}

static void tree_free(struct tree *tree)
{
	for (size_t i = 0; i < tree->nfiles; i++)
		free(tree->files[i].path);
	free(tree->files);
	free(tree->batches);
	free(tree->folders);
}

#endif
