/* SPDX-License-Identifier: MIT */
/*
 * What the kernel keeps for each thread, and a new one has from its creator:
 * where it may run, how it is scheduled, where its memory comes from.  Floor 0.
 */
#ifndef FT_OS_TRAITS_H
#define FT_OS_TRAITS_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/place.h>

struct ft__traits {
	struct ft_cpus cpus;
	struct {
		uint32_t size, policy;
		uint64_t flags;
		int32_t nice;
		uint32_t priority;
		uint64_t runtime, deadline, period;
		uint32_t util_min, util_max;
	} schedule; /* the kernel's struct sched_attr */
};

/* Those of the calling thread.  False: they can't be known, or there is
 * something of its own about it that no other thread has from its creator (a
 * memory policy, an alternate signal stack). */
bool ft__traits_get(struct ft__traits *traits);
bool ft__traits_equal(const struct ft__traits *one, const struct ft__traits *other);

#endif
