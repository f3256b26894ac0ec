/* SPDX-License-Identifier: MIT */
#include "work/mail.h"

#include <errno.h>
#include <string.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <freethreading/arena.h>

#include "mem/slot.h"
#include "os/futex.h"
#include "os/pidfd.h"
#include "sync/wait.h"

#define EMPTY 0u
#define POSTED(owner) (((owner) & FT__SLOT_GENERATION) | 1u)
#define TAKEN(owner) (((owner) & FT__SLOT_GENERATION) | 2u)

#define LOOK_NS INT64_C(2000000)	/* between looks whether the spare is alive */
#define PATIENCE_NS INT64_C(1000000000) /* with one that is alive and does not move */

/* The spare's wake may die with it: the clock wakes us as well.  Whatever is there
 * instead came after TAKEN. */
static bool await_taken(const uint32_t *mail, uint32_t posted, ft_deadline deadline)
{
	struct ft__spin spin = { 0 };
	bool taken;

	/* Partner: the CAS in ft__mail_take. */
	while (!(taken = ft__load32_acquire(mail) != posted))
		if (!ft__spin(&spin) && ft__futex_wait(mail, posted, true, deadline) == -ETIMEDOUT)
			break;
	ft__spin_end(&spin);
	return taken;
}

/* Partner: the CAS in ft__mail_take; one of the two comes first. */
static bool take_back(uint32_t *mail, uint32_t posted)
{
	return ft__cas32_seq_cst(mail, &posted, EMPTY);
}

int ft__mail_post(uint32_t owner, uint64_t letter, int pidfd)
{
	struct ft__slot *slot = ft__slot_of(owner);
	uint32_t seen = EMPTY, posted = POSTED(owner);
	ft_deadline end = ft_after(PATIENCE_NS);

	if (ft__pidfd_dead(pidfd))
		return -ESRCH;
	slot->letter = letter;
	FT__POINT();
	/* Partner: the load in ft__mail_take, which then reads the letter. */
	if (!ft__cas32_seq_cst(&slot->mail, &seen, posted))
		return -ESRCH;
	ft__futex_wake(&slot->mail, 1, true);
	while (!await_taken(&slot->mail, posted, ft_after(LOOK_NS))) {
		if (ft__pidfd_dead(pidfd))
			return take_back(&slot->mail, posted) ? -ESRCH : 0;
		if (ft_now() > end && take_back(&slot->mail, posted))
			return -ETIMEDOUT;
	}
	return 0;
}

const struct ft__letter *ft__letter_at(uint64_t handle)
{
	const struct ft__letter *letter;
	void *block;

	if (ft_block_at(handle, &block) || ft_block_size(block) < sizeof(*letter))
		return NULL;
	letter = block;
	return ft_block_size(block) - sizeof(*letter) < letter->size ? NULL : letter;
}

/* The letter is the program's until it is taken: what is not one ends us. */
const struct ft__letter *ft__mail_take(uint32_t owner)
{
	struct ft__slot *slot = ft__slot_of(owner);
	uint32_t posted = POSTED(owner), seen;
	const struct ft__letter *letter;
	char name[FT_WORKER_NAME_MAX];

	do {
		/* Partner: the CAS in ft__mail_post. */
		while ((seen = ft__load32_acquire(&slot->mail)) != posted)
			ft__futex_wait(&slot->mail, seen, true, FT_FOREVER);
		letter = ft__letter_at(slot->letter);
		if (!letter)
			_exit(255);
		memcpy(name, letter->name, sizeof(name));
		name[sizeof(name) - 1] = '\0';
		prctl(PR_SET_NAME, name);
		memcpy(slot->name, name, sizeof(name));
		FT__POINT();
		/* Partners: await_taken, take_back. */
	} while (!ft__cas32_seq_cst(&slot->mail, &seen, TAKEN(owner)));
	ft__futex_wake(&slot->mail, 1, true);
	return letter;
}
