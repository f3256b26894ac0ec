/* SPDX-License-Identifier: MIT */
/*
 * What each of the collector's ladders provides.  Floor 4.
 */
#ifndef FT_POOL_RUNG_H
#define FT_POOL_RUNG_H

#include <freethreading/lock.h>

#include "pool/collector.h"

/* A process that is watched.  Under the collector's lock. */
struct ft__watch {
	int pidfd;       /* -1: the entry is free */
	bool armed;      /* the kernel has a request for it */
	bool dead;       /* it has died: nothing to arm */
	uint32_t number; /* tells this use of the entry from earlier ones */
};

struct ft__rung;
struct ft__uring;

struct ft__collector {
	struct ft__bell *bell;
	struct ft_lock lock;
	const struct ft__rung *rung; /* where we are; only ever goes down */
	bool opened;
	bool deaths;
	struct ft__watch *watches;
	uint32_t count;              /* entries; grows by doubling */
	uint32_t numbers;
	struct ft__uring *uring;     /* uring rungs */
	int epoll;                   /* epoll rung */
};

struct ft__rung {
	const char *name;
	const struct ft__rung *below; /* what hears the same bell, or NULL */
	/* By the thread that is about to wait. */
	int (*open)(struct ft__collector *collector);
	void (*close)(struct ft__collector *collector);
	/* Locked.  Asks the kernel at once; NULL: the next wait does. */
	int (*watch)(struct ft__collector *collector, struct ft__watch *watch);
	void (*unwatch)(struct ft__collector *collector, struct ft__watch *watch);
	/* As ft__collector_wait; any other error means: this rung is broken. */
	int (*wait)(struct ft__collector *collector, uint32_t seen, ft_deadline deadline);
};

extern const struct ft__rung ft__rung_uring_futex;
extern const struct ft__rung ft__rung_uring_poll;
extern const struct ft__rung ft__rung_epoll;

/* The watch a request was made for, if it is still there.  Locked. */
struct ft__watch *ft__watch_find(struct ft__collector *collector, uint32_t index,
				 uint32_t number);

#endif
