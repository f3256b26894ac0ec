/* SPDX-License-Identifier: MIT */
/* What a Condition does with its Lock or RLock. */
#ifndef FT_PYBIND_LOCK_H
#define FT_PYBIND_LOCK_H

#include "shared.h"

#define CORE_LOCK_USELESS "can't specify a timeout for a non-blocking call"

/* As acquire and release: True or False, None, or NULL with an exception. */
PyObject *core_lock_take(struct core_shared *lock, ft_deadline deadline);
PyObject *core_lock_drop(struct core_shared *lock);
PyObject *core_rlock_take(struct core_shared *rlock, ft_deadline deadline);
PyObject *core_rlock_drop(struct core_shared *rlock);

/* Whose it is, in multiprocessing's words: a new string, or NULL. */
PyObject *core_lock_owner_name(const struct ft_lock *lock);

#endif
