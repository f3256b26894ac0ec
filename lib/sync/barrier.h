/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_barrier beyond the public header.  Floor 2. */
#ifndef FT_SYNC_BARRIER_H
#define FT_SYNC_BARRIER_H

#include <freethreading/barrier.h>

/* The supervisor's part: `dead` (an owner id) was inside.  Takes no lock. */
void ft__barrier_settle(struct ft_barrier *barrier, uint32_t dead);

#endif
