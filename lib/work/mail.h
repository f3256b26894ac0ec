/* SPDX-License-Identifier: MIT */
/*
 * A mailbox: how a spare worker, which is a process already, gets its job.  It is
 * part of the spare's slot.  Floor 3.
 *
 * `mail` (atomic, a shared futex; in the bits of the generation, the slot's, so
 * that nobody takes another tenant's mail for its own):
 *
 *   EMPTY (0)  -> POSTED(g)  the program, after it wrote `letter`; it wakes the spare
 *   POSTED(g)  -> TAKEN(g)   the spare: it has read the letter and bears the name
 *                            in it, and is the worker; it wakes the program
 *   POSTED(g)  -> EMPTY      the program takes the letter back, since the spare is
 *                            dead, or stopped: the job was not run, and will not be
 *   any        -> EMPTY      the next who reserves the slot
 *
 * A spare that is not wanted any more is killed.
 */
#ifndef FT_WORK_MAIL_H
#define FT_WORK_MAIL_H

#include <freethreading/worker.h>

/* The head of a block; the payload follows. */
struct ft__letter {
	uint64_t size; /* of the payload */
	uint32_t has_cpus, zero;
	struct ft_cpus cpus;
	char name[FT_WORKER_NAME_MAX];
};
_Static_assert(sizeof(struct ft__letter) % 16 == 0, "the payload is aligned");

/* The program: 0: `letter` (a handle) was taken by spare `owner`.  -ESRCH: that is
 * dead, -ETIMEDOUT: it does not move; the letter was taken back. */
int ft__mail_post(uint32_t owner, uint64_t letter, int pidfd);

/* The spare: waits for a letter and takes it. */
const struct ft__letter *ft__mail_take(uint32_t owner);

/* The letter behind a handle, which may be anything; NULL: none. */
const struct ft__letter *ft__letter_at(uint64_t handle);

#endif
