/* SPDX-License-Identifier: MIT */
/* What lib/ needs of ft_event beyond the public header.  Floor 2. */
#ifndef FT_SYNC_EVENT_H
#define FT_SYNC_EVENT_H

#include <freethreading/event.h>

void ft__event_settle(struct ft_event *event);

#endif
