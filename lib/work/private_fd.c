/* SPDX-License-Identifier: MIT */
#include <stddef.h>
#include <stdint.h>
#include <unistd.h>

#include "os/atomic.h"
#include "os/fd.h"
#include "work/private_fd.h"

/* A bit for each descriptor.  Those above stay open in children that do not
 * exec: more memory would not be worth it. */
#define FDS 65536u

static uint64_t ours[FDS / 64];
static uint32_t high; /* no bit in a word at or above is set */

static void raise_high(uint32_t word)
{
	/* Only a child reads `high` while nobody writes it: any order will do. */
	uint32_t seen = ft__load32_relaxed(&high);

	while (seen <= word && !ft__cas32_seq_cst(&high, &seen, word + 1))
		;
}

int ft__private_fd(int fd)
{
	fd = ft__fd_raise(fd);
	if (fd >= 0 && (uint32_t)fd < FDS) {
		raise_high((uint32_t)fd / 64);
		/* No partner: forget reads after a fork. */
		ft__or64_seq_cst(&ours[fd / 64], UINT64_C(1) << (fd % 64));
	}
	return fd;
}

void ft__private_fd_close(int fd)
{
	if (fd < 0)
		return;
	if ((uint32_t)fd < FDS) /* no partner, as above */
		ft__and64_seq_cst(&ours[fd / 64], ~(UINT64_C(1) << (fd % 64)));
	close(fd);
}

void ft__private_fd_forget(void)
{
	for (uint32_t word = 0; word < high; word++) {
		for (; ours[word]; ours[word] &= ours[word] - 1)
			close((int)(word * 64) + __builtin_ctzll(ours[word]));
	}
	high = 0;
}
