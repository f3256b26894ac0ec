/* SPDX-License-Identifier: MIT */
/*
 * Spares: workers that a spawner has made ahead, and that wait for a job
 * (mail.h).  Each has its slot from birth and is watched by the supervisor, so
 * its death is noticed as that of any worker.  All of this is the program's side,
 * private to it, under the spawner's lock.  Floor 3.
 *
 * A spawner has none before its third start in quick succession, and none that
 * nobody has asked for within FT__SPARE_IDLE_NS after its last.
 *
 *   NONE  -> ASKED   a slot is reserved, the helper has the request
 *   ASKED -> READY   it has answered: the spare is watched
 *   ASKED -> NONE    it died or refused: the slot is revoked and freed
 *   READY -> NONE    the spare has taken a job: a worker's record has its place
 *   ASKED, READY -> DYING   killed
 *   DYING -> NONE    settled by the supervisor
 */
#ifndef FT_WORK_SPARE_H
#define FT_WORK_SPARE_H

#include "work/mail.h"
#include "work/worker.h"

#define FT__SPARES	  4 /* of one spawner, at most */
#define FT__SPARE_IDLE_NS INT64_C(500000000)
#define FT__SPARE_NAME	  "ft-spare"

enum ft__spare_state { FT__SPARE_NONE, FT__SPARE_ASKED, FT__SPARE_READY, FT__SPARE_DYING };

struct ft__spare {
	enum ft__spare_state state;
	struct ft_worker *worker; /* its record */
};

struct ft__stock {
	struct ft__spare spare[FT__SPARES];
	ft_deadline last; /* when a worker was started last */
	uint32_t run;	  /* how many were started before it, each soon after the other */
};

/* A worker is being started: counts it. */
void ft__stock_note(struct ft__stock *stock);

/* How many more to ask for now. */
uint32_t ft__stock_wanted(const struct ft__stock *stock);

unsigned ft__stock_count(const struct ft__stock *stock, enum ft__spare_state state);

/* A new one to ask for, with its slot; NULL: not now. */
struct ft__spare *ft__stock_new(struct ft__stock *stock);

/* It could not be asked for. */
void ft__spare_cancel(struct ft__spare *spare);

/* The helper has answered: `pid` or -errno, and the pidfd or -1. */
void ft__stock_arrived(struct ft__stock *stock, uint32_t owner, int32_t pid, int pidfd);

/* The helper is dead: no more answers. */
void ft__stock_lost(struct ft__stock *stock);

/* Gives the letter to a spare, and the spare's place to the worker, which is watched
 * then, and owns the letter.  0, or -ESRCH: there is none that can take it. */
int ft__stock_adopt(struct ft__stock *stock, struct ft_worker *worker, struct ft__letter *letter);

/* Kills those that are READY, and forgets those that are dead. */
void ft__stock_dismiss(struct ft__stock *stock);

/* The same, and waits for the deaths. */
void ft__stock_empty(struct ft__stock *stock);

/* Frees a slot that nobody has taken yet; who comes too late finds it stale and
 * leaves.  False: somebody has. */
bool ft__spare_revoke(uint32_t owner);

#endif
