/* SPDX-License-Identifier: MIT */
/* freethreading: workers, primitives and pools for Linux.  See
 * freethreading(7).  This is the only header to include. */
#ifndef FREETHREADING_H
#define FREETHREADING_H

#include <freethreading/api.h>
#include <freethreading/version.h>
#include <freethreading/base.h>
#include <freethreading/arena.h>
#include <freethreading/lock.h>
#include <freethreading/rlock.h>
#include <freethreading/semaphore.h>
#include <freethreading/condition.h>
#include <freethreading/event.h>
#include <freethreading/barrier.h>
#include <freethreading/queue.h>
#include <freethreading/simple_queue.h>
#include <freethreading/place.h>
#include <freethreading/worker.h>
#include <freethreading/spawner.h>
#include <freethreading/pool.h>
#include <freethreading/info.h>

#endif
