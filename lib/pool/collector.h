/* SPDX-License-Identifier: MIT */
/*
 * The collector: waits, in one system call, for a doorbell, the deaths of some
 * processes, a wake-up from another thread (it rings the same doorbell) and a
 * deadline.  Level-triggered: it only says "something happened", the caller
 * looks at the rings and at the workers.  Floor 4.
 *
 * Three ladders, chosen once per process from the probe:
 *   uring-futex  io_uring: FUTEX_WAIT on the bell, POLL_ADD on each pidfd   6.7
 *   uring-poll   io_uring: multishot POLL_ADD on the eventfd, same pidfds   5.13
 *   epoll        epoll on the eventfd (edge-triggered) and the pidfds
 * In the last two a bell is rung by writing to an eventfd that all workers
 * inherit; nobody reads it, each write is an edge for every watcher.  A ladder
 * that fails while it is used is left for the next one that can hear the bell;
 * where bells are futexes that is the futex itself, looking at the processes
 * every few milliseconds.
 *
 * Nothing is opened before the first sleep.  One thread at a time may wait (the
 * pool's leader); it may be another one each time: the ring has no
 * SINGLE_ISSUER.  Requests belong to the thread that submitted them and die with
 * it, so a new leader cancels and arms afresh.
 * SYNC_CANCEL(ANY|ALL) before close: an armed futex wait would eat a wake.
 */
#ifndef FT_POOL_COLLECTOR_H
#define FT_POOL_COLLECTOR_H

#include <stdbool.h>
#include <stdint.h>

#include <freethreading/base.h>

#include "sync/bell.h"

struct ft__collector;

int ft__collector_open(struct ft__collector **collector, struct ft__bell *bell);
void ft__collector_close(struct ft__collector *collector);
/* While nobody waits: closes its descriptors.  The next wait opens them again. */
void ft__collector_rest(struct ft__collector *collector);
/* The ladder this process begins with. */
const char *ft__collector_name(void);

/* Watch a process until it died once.  Any thread, at any time. */
int ft__collector_watch(struct ft__collector *collector, int pidfd);
/* No more: before the descriptor is closed. */
void ft__collector_unwatch(struct ft__collector *collector, int pidfd);

/* Whether a watched process has died since this was asked last. */
bool ft__collector_deaths(struct ft__collector *collector);

/* Sleeps if the bell's word is still `seen`.  0: look again (perhaps for
 * nothing); -ETIMEDOUT; -EINTR. */
int ft__collector_wait(struct ft__collector *collector, uint32_t seen, ft_deadline deadline);

#endif
