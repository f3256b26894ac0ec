/* SPDX-License-Identifier: MIT */
/*
 * What program and helper say to each other, over a SOCK_SEQPACKET pair: for each
 * request one reply, in the same order.  Floor 3.
 */
#ifndef FT_WORK_SPAWNER_H
#define FT_WORK_SPAWNER_H

#include <freethreading/spawner.h>

#include "work/worker.h"

/* The variable that tells an exec'ed helper its descriptors and numbers. */
#define FT__SPAWNER_ENV "FT_SPAWNER"
#define FT__SPAWNER_FORMAT "%d,%d,%d,%d,%d,%u"
/* In this order. */
struct ft__spawner_env {
	int sock, arena, bell;
	pid_t parent;
	int lifeline;
	uint32_t owner; /* the helper's own slot */
};

struct ft__spawn_request {
	uint64_t main;   /* a copy of the program: its function */
	uint64_t letter; /* handle (work/mail.h); 0: a spare, which waits for one */
	struct ft__birth birth;
};

/* Comes with the worker's pidfd if pid > 0. */
struct ft__spawn_reply {
	int32_t pid;    /* or -errno */
	uint32_t owner; /* of the request */
};

/* work/spawner_serve.c, in a helper that is a copy of the program, made with
 * all signals blocked: serves on the socket, under the program's signal mask;
 * returns the helper's exit status. */
int ft__spawner_serve_copy(int sock, uint64_t mask);

/* The supervisor's clock: spares that nobody has asked for are sent away.  When to
 * look again, or FT_FOREVER. */
ft_deadline ft__spawner_tick(void);

/* In a child: the parent's spawners are not ours.  Async-signal-safe. */
void ft__spawner_forget(void);

#endif
