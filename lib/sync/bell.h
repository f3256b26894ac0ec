/* SPDX-License-Identifier: MIT */
/*
 * A bell: how workers tell a sleeping collector that there is something to
 * collect, at no system call while it is awake.  Floor 2.
 *
 *   field   who writes                         partner
 *   asleep  leader: mode before it sleeps, 0   ringer: swap to 0 after it
 *           after; ringer: 0                   published (seq_cst both sides)
 *   word    ringer: +1 before it wakes         leader: parks on the value read
 *           (a futex where rings can wait      before its last look
 *           on futexes)
 *
 * A ringer that dies between the swap and the wake strands nobody: the leader
 * also waits for deaths, and whoever else finds a dead one first rings again.
 *
 * Where io_uring cannot wait on a futex (kernels before 6.7, Docker), the wake
 * is a write to an eventfd.  A process has one of its own, which its workers
 * inherit; nobody reads it, each write is an edge for every watcher.
 */
#ifndef FT_SYNC_BELL_H
#define FT_SYNC_BELL_H

#include <stdbool.h>
#include <stdint.h>

#define FT__BELL_EACH 1u /* ring for every result */
#define FT__BELL_LAZY 2u /* ring when a worker runs out of work, or has many */

struct ft__bell {
	uint32_t word;
	uint32_t asleep; /* 0: awake; FT__BELL_EACH; FT__BELL_LAZY */
	uint32_t owner;  /* the process that waits; const */
	uint32_t by_fd;  /* 1: woken by an eventfd, 0: by the futex; const */
};

/* By the process that waits.  0 or -errno. */
int ft__bell_init(struct ft__bell *bell);

/* Rings if the leader sleeps.  `lazy`: there is a reason for LAZY sleepers too. */
void ft__bell_ring(struct ft__bell *bell, bool lazy);

/* Wakes the leader, whatever `asleep` says: a ringer has died, perhaps in the middle. */
void ft__bell_again(struct ft__bell *bell);

/* The eventfd that rings this process's bells, made on first use; -1 where the
 * futex is enough; -errno.  Workers inherit it, exec'ed helpers are told. */
int ft__bell_fd(void);

/* In an exec'ed helper: what the program's ft__bell_fd() was. */
void ft__bell_inherit(int fd);

/* In a new worker process: that descriptor rings the parent now, not us. */
void ft__bell_adopt(void);

#endif
