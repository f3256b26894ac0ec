/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_semaphore beyond the public header.  Floor 2. */
#ifndef FT_SYNC_SEMAPHORE_H
#define FT_SYNC_SEMAPHORE_H

#include <freethreading/semaphore.h>

/* The supervisor's part: a dead process may have owed wake-ups. */
void ft__semaphore_settle(struct ft_semaphore *semaphore);

#endif
