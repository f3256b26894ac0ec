/* SPDX-License-Identifier: MIT */
#include "work/spare.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <unistd.h>

#include <freethreading/arena.h>

#include "mem/block.h"
#include "mem/slot.h"
#include "os/atomic.h"
#include "work/private_fd.h"
#include "work/supervisor.h"

#define LOOK_MS 5

void ft__stock_note(struct ft__stock *stock)
{
	ft_deadline now = ft_now();

	stock->run = stock->run && now - stock->last < FT__SPARE_IDLE_NS ? stock->run + 1 : 1;
	stock->last = now;
}

/* More than there are CPUs to make them would only take CPUs from the program. */
static uint32_t most(void)
{
	struct ft_cpus usable;
	unsigned cpus = ft_cpus_usable(&usable) ? 1 : ft_cpus_count(&usable);

	return cpus < FT__SPARES ? cpus : FT__SPARES;
}

unsigned ft__stock_count(const struct ft__stock *stock, enum ft__spare_state state)
{
	unsigned n = 0;

	for (int i = 0; i < FT__SPARES; i++)
		n += stock->spare[i].state == state;
	return n;
}

uint32_t ft__stock_wanted(const struct ft__stock *stock)
{
	uint32_t have =
	    ft__stock_count(stock, FT__SPARE_ASKED) + ft__stock_count(stock, FT__SPARE_READY);
	uint32_t want = stock->run < 3 ? 0 : stock->run - 2;

	if (have >= want || have >= FT__SPARES)
		return 0;
	if (want > most())
		want = most();
	return have < want ? want - have : 0;
}

static struct ft__spare *find(struct ft__stock *stock, enum ft__spare_state state)
{
	for (int i = 0; i < FT__SPARES; i++)
		if (stock->spare[i].state == state)
			return &stock->spare[i];
	return NULL;
}

static void forget(struct ft__spare *spare)
{
	if (spare->worker)
		ft__worker_put(spare->worker);
	*spare = (struct ft__spare){.state = FT__SPARE_NONE};
}

static void bury(struct ft__stock *stock)
{
	for (int i = 0; i < FT__SPARES; i++) {
		struct ft__spare *spare = &stock->spare[i];

		if (spare->state == FT__SPARE_DYING && ft__supervisor_settle(spare->worker))
			forget(spare);
	}
}

struct ft__spare *ft__stock_new(struct ft__stock *stock)
{
	struct ft__spare *spare;

	bury(stock);
	spare = find(stock, FT__SPARE_NONE);

	if (!spare)
		return NULL;
	spare->worker = ft__worker_new(FT_WORKER_PROCESS, FT__SPARE_NAME);
	if (!spare->worker)
		return NULL;
	spare->worker->owner = ft__slot_reserve(FT__SPARE_NAME);
	if (!spare->worker->owner) {
		forget(spare);
		return NULL;
	}
	spare->state = FT__SPARE_ASKED;
	return spare;
}

void ft__spare_cancel(struct ft__spare *spare)
{
	ft__slot_free(spare->worker->owner);
	forget(spare);
}

bool ft__spare_revoke(uint32_t owner)
{
	struct ft__slot now = {0}, freed = {.word = owner & FT__SLOT_GENERATION};
	struct ft__slot *slot = ft__slot_of(owner);

	now.head = ft__load64_acquire(&slot->head); /* partner: slot.c, every CAS */
	if (now.word == (freed.word | FT__SLOT_RESERVED) &&
	    ft__cas64_seq_cst(&slot->head, &now.head, freed.head)) /* same */
		ft__supervisor_expect_stranger();
	return !ft__slot_alive(owner);
}

static void dismiss(struct ft__spare *spare)
{
	ft__pidfd_signal(spare->worker->pidfd, spare->worker->pid, SIGKILL);
	spare->state = FT__SPARE_DYING;
}

/* From here on it is the supervisor's; if that cannot watch it, it is dead. */
static void watch(struct ft__spare *spare, int32_t pid, int pidfd)
{
	spare->worker->pid = pid;
	spare->worker->pidfd = ft__private_fd(pidfd);
	spare->state = ft__supervisor_watch(spare->worker) ? FT__SPARE_DYING : FT__SPARE_READY;
}

/* There is no room for a descriptor to know it by, or, with pid 0, it is gone. */
static void give_up(struct ft__spare *spare, int32_t pid)
{
	spare->worker->pid = pid;
	ft__supervisor_bury(spare->worker);
	forget(spare);
}

void ft__stock_arrived(struct ft__stock *stock, uint32_t owner, int32_t pid, int pidfd)
{
	struct ft__spare *spare = stock->spare;

	while (spare < stock->spare + FT__SPARES &&
	       (spare->state != FT__SPARE_ASKED || spare->worker->owner != owner))
		spare++;
	if (spare == stock->spare + FT__SPARES) {
		if (pidfd >= 0)
			close(pidfd);
		return;
	}
	if (pid > 0 && pidfd < 0)
		pidfd = ft__pidfd_open(pid);
	if (pid <= 0)
		ft__spare_cancel(spare);
	else if (pidfd < 0)
		give_up(spare, pid);
	else
		watch(spare, pid, pidfd);
}

/* It was born, or it never will be. */
static void lost(struct ft__spare *spare)
{
	uint32_t owner = spare->worker->owner;
	int pidfd, pid;

	if (ft__spare_revoke(owner)) {
		forget(spare);
		return;
	}
	pid = ft__slot_of(owner)->pid;
	pidfd = ft__pidfd_open(pid);
	/* Somebody else may have reaped it, and the number be another's. */
	if (pidfd < 0)
		give_up(spare, pidfd == -ESRCH ? 0 : pid);
	else
		watch(spare, pid, pidfd);
}

void ft__stock_lost(struct ft__stock *stock)
{
	for (int i = 0; i < FT__SPARES; i++)
		if (stock->spare[i].state == FT__SPARE_ASKED)
			lost(&stock->spare[i]);
}

int ft__stock_adopt(struct ft__stock *stock, struct ft_worker *worker, struct ft__letter *letter)
{
	uint32_t reserved = worker->owner;
	struct ft__spare *spare;

	while ((spare = find(stock, FT__SPARE_READY))) {
		struct ft_worker *record = spare->worker;

		if (ft__mail_post(record->owner, ft_block_handle(letter), record->pidfd) == 0) {
			ft__death_hand_over(record, worker, letter);
			ft__slot_free(reserved);
			forget(spare);
			return 0;
		}
		dismiss(spare);
	}
	return -ESRCH;
}

void ft__stock_dismiss(struct ft__stock *stock)
{
	for (int i = 0; i < FT__SPARES; i++)
		if (stock->spare[i].state == FT__SPARE_READY)
			dismiss(&stock->spare[i]);
	bury(stock);
}

void ft__stock_empty(struct ft__stock *stock)
{
	struct ft__spare *spare;

	ft__stock_lost(stock);
	ft__stock_dismiss(stock);
	while ((spare = find(stock, FT__SPARE_DYING))) {
		struct pollfd poller = {.fd = spare->worker->pidfd, .events = POLLIN};

		poll(&poller, 1, LOOK_MS);
		ft__stock_dismiss(stock);
	}
}
