/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_rlock beyond the public header.  Floor 2. */
#ifndef FT_SYNC_RLOCK_H
#define FT_SYNC_RLOCK_H

#include <freethreading/rlock.h>

/* For a wait in the middle: the owner releases it whatever its depth, which it
 * gets back when it acquires again.  The second answers as ft_lock_acquire. */
uint32_t ft__rlock_release_all(struct ft_rlock *rlock);
int ft__rlock_restore(struct ft_rlock *rlock, uint32_t depth, ft_deadline deadline);

#endif
