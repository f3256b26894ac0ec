/* SPDX-License-Identifier: MIT */
/*
 * Which pages a copy of a process has written to, and pages that the next copies
 * get at once.  Floor 0.
 *
 * After a clone, parent and child share their pages until one of the two writes to
 * one: then a fault copies it, and the fault costs more than the copy.  A page that
 * is pinned (for a device) must not move under its owner's hands: clone copies it
 * for the child, with no fault.
 */
#ifndef FT_OS_PAGES_H
#define FT_OS_PAGES_H

#include <stdint.h>

/* The kernel counts pinned memory towards the user's limit, often 8 MiB for all. */
#define FT__PAGES_MOST 256
#define FT__PAGES_BYTES (1u << 20)

struct ft__pages {
	uint32_t n;         /* entries of `at` */
	uint32_t anonymous; /* how many of them, from the first, are in no file's mapping */
	char *at[FT__PAGES_MOST];
};

/* In a copy: the pages of private memory that it has written to, or its original
 * has, since then; FT__PAGES_MOST and FT__PAGES_BYTES at most, and none of very large
 * mappings: these hold data.  0 or -errno. */
int ft__pages_own(struct ft__pages *pages);

/* Pins those pages that are there.  A descriptor: the pin lasts until nobody has it
 * any more, and a moment longer; copies inherit it, but not the pin.  Or -errno. */
int ft__pages_pin(const struct ft__pages *pages);

#endif
