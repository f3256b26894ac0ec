/* SPDX-License-Identifier: MIT */
/*
 * ft_lock: mutual exclusion between threads or processes, robust against the
 * death of its owner.
 *
 *     static struct ft_lock lock;                 // or in shared memory
 *     ft_lock_init(&lock, FT_PRIVATE);
 *     int rc = ft_lock_acquire(&lock, FT_FOREVER);
 *     if (rc == 0 || rc == -EOWNERDEAD) {         // -EOWNERDEAD: held as well,
 *             ...                                 // but repair the data first
 *             ft_lock_release(&lock);
 *     }
 *
 * The word (a futex):
 *
 *   bits 0-29  OWNER    who holds it: a thread's owner id (FT_SHARED) or its
 *                       number (FT_PRIVATE), which it keeps across fork(); 0: free
 *   bit 30     DIED     the owner named by OWNER died holding it
 *   bit 31     WAITERS  somebody may be parked on the word
 *
 *   pattern           meaning               who leaves it, and how
 *   0                 free                  acquirer: CAS to me
 *   WAITERS           free, maybe sleepers  acquirer: CAS to me|WAITERS
 *   owner             held, no sleepers     waiter: CAS adds WAITERS
 *                                           owner: CAS to 0
 *   owner|WAITERS     held, maybe sleepers  owner: one FUTEX_WAKE_OP stores
 *                                           WAITERS and wakes one sleeper
 *   DIED|owner[|W]    owner is dead         acquirer: CAS to me|W, -EOWNERDEAD
 *
 * Legality.  WAITERS may be set with nobody parked; it must never be clear
 * while somebody is parked, unless a thread that is awake is bound to look at
 * the word again before it sleeps or leaves (the woken one is).  DIED is set
 * only after the kernel proved the owner's death.
 *
 * Death.  Before an acquirer touches the word it notes the lock in its slot's
 * journal; the note goes when it has released or given up.  After a death the
 * supervisor turns each noted word that names the dead into DIED, and wakes
 * every sleeper of each noted lock: that covers a wake-up that died with the
 * unlocker or with the one just woken.  A lock outside the arena cannot be
 * noted by offset; its sleepers look at the owner's slot every
 * FT_LOCK_RECHECK_NS instead.  The same holds for a lock that a thread could not
 * note because its journal was full: that thread sets `polled` before it touches
 * the word, and never parks on it, since a wake-up that died with it would be
 * lost; the others read `polled` after the word that they are about to park on.
 *
 * Algorithm: tests/model/robust_lock.pml (Spin, crash at any step); it is
 * glibc's robust mutex with the contended unlock as one FUTEX_WAKE_OP, the
 * hole of store-then-wake being closed that way.
 *
 * Fork: a child of a plain fork() gets -ECHILD for FT_SHARED locks.
 * Signals: no function is async-signal-safe.
 */
#ifndef FREETHREADING_LOCK_H
#define FREETHREADING_LOCK_H

#include <freethreading/base.h>

FT_BEGIN_DECLS

/* Anybody may release, acquiring twice blocks, and a thread that ends leaves it
 * held as long as its process lives: what Python's Lock means.
 * Without it a foreign release is -EPERM and acquiring twice is -EDEADLK. */
#define FT_LOCK_UNOWNED 0x100u

#define FT_LOCK_OWNER_MASK 0x3fffffffu
#define FT_LOCK_DIED 0x40000000u
#define FT_LOCK_WAITERS 0x80000000u

struct ft_lock {
	uint32_t word;  /* futex, table above */
	uint32_t flags; /* const after init */
	uint32_t died;  /* pid of the last owner that died holding it; written
			 * under DIED by the supervisor or the next owner */
	uint32_t polled; /* 1: see "Death" above; set by who could not note it, never
			  * cleared */
};

/* 0, -EINVAL.  The lock must stay where it is while anybody may use it. */
FT_API int ft_lock_init(struct ft_lock *lock, uint32_t flags);

/*
 * Acquires.  0; -EOWNERDEAD: acquired, and the previous owner died holding it
 * (told once; ft_lock_died says who); -ETIMEDOUT; -EINTR (FT_INTERRUPTIBLE
 * only); -EDEADLK; -EINVAL; -ECHILD.
 */
FT_API FT_NODISCARD int ft_lock_acquire(struct ft_lock *lock, ft_deadline deadline);

/* 0; -EPERM: the caller does not hold it (with FT_LOCK_UNOWNED: nobody does). */
FT_API int ft_lock_release(struct ft_lock *lock);

/* 1 if somebody holds it now, else 0.  Async-signal-safe. */
FT_API int ft_lock_held(const struct ft_lock *lock);

/* 1 if the calling thread holds it, else 0. */
FT_API int ft_lock_mine(const struct ft_lock *lock);

/* The pid of the process whose thread holds it, 0 if none does. */
FT_API pid_t ft_lock_owner(const struct ft_lock *lock);

/* The pid of the last owner that died holding it, 0 if none did. */
FT_API pid_t ft_lock_died(const struct ft_lock *lock);

FT_END_DECLS

#endif
