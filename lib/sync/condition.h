/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_condition beyond the public header.  Floor 2. */
#ifndef FT_SYNC_CONDITION_H
#define FT_SYNC_CONDITION_H

#include <freethreading/condition.h>

#include "mem/slot.h"

/* The supervisor's part, after a death; neither takes the lock.  Of a slot: its
 * thread may have been waiting, and may have had a notification. */
void ft__condition_bury(struct ft__slot *slot);

/* Of a noted condition: a notifier may have owed wake-ups. */
void ft__condition_settle(const struct ft_condition *condition);

/* Pays what ft_condition_notify left to the release of the lock: who is woken
 * while the notifier has it could only sleep again, on the lock. */
void ft__condition_pay(struct ft__self *self);

#endif
