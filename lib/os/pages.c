/* SPDX-License-Identifier: MIT */
#include "os/pages.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

#include "os/probe.h"

/* Documentation/admin-guide/mm/pagemap.rst */
#define PRESENT (UINT64_C(1) << 63)
#define FILED (UINT64_C(1) << 61) /* a file's page, or shared memory */
#define EXCLUSIVE (UINT64_C(1) << 56)

#define CHUNK 512u                         /* pages looked at in one go */
#define LARGE ((uintptr_t)32 * 1024 * 1024) /* a mapping that holds data */

static uintptr_t page_size(void)
{
	return (uintptr_t)sysconf(_SC_PAGESIZE);
}

/* How many words of the map it has read. */
static size_t look(int map, uintptr_t at, uint64_t *word, size_t n)
{
	ssize_t got = pread(map, word, n * sizeof(*word),
			    (off_t)(at / page_size() * sizeof(*word)));

	return got < 0 ? 0 : (size_t)got / sizeof(*word);
}

static void add_own(struct ft__pages *pages, int map, uintptr_t at, uintptr_t end)
{
	const uint64_t bits = PRESENT | FILED | EXCLUSIVE;
	uint64_t word[CHUNK];
	size_t most = FT__PAGES_BYTES / page_size();

	most = most < FT__PAGES_MOST ? most : FT__PAGES_MOST;
	while (at < end) {
		size_t left = (end - at) / page_size();
		size_t n = look(map, at, word, left < CHUNK ? left : CHUNK);

		if (!n)
			return;
		for (size_t i = 0; i < n && pages->n < most; i++)
			if ((word[i] & bits) == (PRESENT | EXCLUSIVE))
				pages->at[pages->n++] = (char *)(at + i * page_size());
		at += n * page_size();
	}
}

/* Of files' mappings, or of the others. */
static void add_mappings(struct ft__pages *pages, FILE *list, int map, bool of_files)
{
	unsigned long at, end, inode;
	char line[256], may[5];
	bool whole = true;

	rewind(list);
	while (fgets(line, sizeof(line), list)) {
		bool begins = whole;

		whole = strchr(line, '\n') != NULL;
		if (begins &&
		    sscanf(line, "%lx-%lx %4s %*s %*s %lu", &at, &end, may, &inode) == 4 &&
		    may[1] == 'w' && may[3] == 'p' && end - at <= LARGE && !!inode == of_files)
			add_own(pages, map, at, end);
	}
}

int ft__pages_own(struct ft__pages *pages)
{
	FILE *list = fopen("/proc/self/maps", "re");
	int map = list ? open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC) : -1;
	int rc = map < 0 ? -errno : 0;

	pages->n = pages->anonymous = 0;
	if (!rc) {
		add_mappings(pages, list, map, false);
		pages->anonymous = pages->n;
		add_mappings(pages, list, map, true);
		close(map);
	}
	if (list)
		fclose(list);
	return rc;
}

/* As few buffers as will do; how many. */
static unsigned describe(const struct ft__pages *pages, unsigned n, struct iovec *buffer)
{
	int map = open("/proc/self/pagemap", O_RDONLY | O_CLOEXEC);
	unsigned buffers = 0;
	uint64_t word;

	for (unsigned i = 0; i < n && map >= 0; i++) {
		struct iovec *last = buffer + buffers - 1;

		if (!look(map, (uintptr_t)pages->at[i], &word, 1) ||
		    (word & (PRESENT | FILED)) != PRESENT)
			continue;
		if (buffers && (char *)last->iov_base + last->iov_len == pages->at[i])
			last->iov_len += page_size();
		else
			buffer[buffers++] = (struct iovec){ pages->at[i], page_size() };
	}
	if (map >= 0)
		close(map);
	return buffers;
}

static int pin(int ring, const struct ft__pages *pages, unsigned n)
{
	struct iovec buffer[FT__PAGES_MOST];
	unsigned buffers = describe(pages, n, buffer);

	if (!buffers)
		return -ENOENT;
	return syscall(SYS_io_uring_register, ring, IORING_REGISTER_BUFFERS, buffer, buffers) ?
		       -errno :
		       0;
}

int ft__pages_pin(const struct ft__pages *pages)
{
	struct io_uring_params params = { 0 };
	int ring, rc;

	if (!ft__have(FT__URING))
		return -ENOSYS;
	ring = (int)syscall(SYS_io_uring_setup, 1, &params);
	if (ring < 0)
		return -errno;
	rc = pin(ring, pages, pages->n);
	/* Kernels before 6.5 do not pin a file's pages, be they copies. */
	if (rc == -EOPNOTSUPP)
		rc = pin(ring, pages, pages->anonymous);
	if (!rc)
		return ring;
	close(ring);
	return rc;
}
