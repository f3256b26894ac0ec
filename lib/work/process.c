/* SPDX-License-Identifier: MIT */
/*
 * Process workers that are copies of the caller, and how every process worker
 * begins and ends.
 */
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdio_ext.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "mem/slot.h"
#include "os/affinity.h"
#include "os/atomic.h"
#include "os/clone.h"
#include "sync/bell.h"
#include "work/lifeline.h"
#include "work/private_fd.h"
#include "work/supervisor.h"
#include "work/worker.h"

/* In a worker: its own slot, and the handle it was started by, if this is a
 * copy of the process that has the handle. */
static uint32_t own_slot;
static const struct ft_worker *me;

const struct ft_worker *ft__process_me(void)
{
	return me;
}

void ft__process_birth(const struct ft_worker *worker, struct ft__birth *birth)
{
	*birth = (struct ft__birth){
		.owner = worker->owner,
		.parent = getpid(),
		.has_cpus = worker->has_cpus,
		.cpus = worker->cpus,
	};
	memcpy(birth->name, worker->name, sizeof(birth->name));
}

/* PR_SET_PDEATHSIG means the thread that made us: right only if that thread
 * ends with its process. */
static int tie(const struct ft__birth *birth)
{
	int rc = ft__lifeline_arm(birth->sibling);

	if (rc == -ESRCH)
		return rc;
	if (!birth->mortal && rc == 0)
		return 0;
	if (prctl(PR_SET_PDEATHSIG, SIGKILL))
		return -errno;
	return getppid() == birth->parent ? 0 : -ESRCH;
}

int ft__process_begin(const struct ft__birth *birth)
{
	int rc;

	ft__supervisor_forget();
	rc = tie(birth);
	if (!rc)
		rc = ft__arena_adopt(birth->owner);
	if (rc)
		return rc;
	own_slot = birth->owner;
	me = NULL;
	if (!birth->sibling)
		ft__bell_adopt();
	/* The starter found these CPUs usable; if a cpuset has changed since,
	 * running elsewhere is better than not at all. */
	if (birth->has_cpus)
		ft__affinity_set(0, &birth->cpus);
	if (birth->name[0])
		prctl(PR_SET_NAME, birth->name);
	/* What the original has in its buffer, it will write itself. */
	__fpurge(stdout);
	return 0;
}

_Noreturn void ft__process_leave(int status)
{
	struct ft__slot *slot = ft__slot_of(own_slot);

	fflush(stdout);
	/* Partner: the supervisor's load after it knows of our death. */
	if (slot)
		ft__store32_release(&slot->left, 0x100u | (uint32_t)(status & 0xff));
	_exit(status & 0xff);
}

_Noreturn static void born(struct ft_worker *worker, const struct ft__birth *birth)
{
	if (ft__process_begin(birth))
		_exit(255);
	me = worker;
	ft__process_leave(worker->main(worker->arg));
}

/* A raw clone where it is safe and allowed, fork() otherwise. */
static int copy(struct ft__child *child)
{
	int rc = -ENOSYS;

	if (ft__supervisor_pause_if_alone()) {
		rc = ft__clone(false, child);
		if (rc || child->pid)
			ft__supervisor_resume();
	}
	return rc == -ENOSYS ? ft__fork(child) : rc;
}

int ft__process_start(struct ft_worker *worker)
{
	struct ft__birth birth;
	struct ft__child child;
	int rc;

	ft__process_birth(worker, &birth);
	rc = copy(&child);
	if (rc)
		return rc;
	if (!child.pid)
		born(worker, &birth);
	worker->pid = child.pid;
	worker->pidfd = ft__private_fd(child.pidfd);
	return ft__supervisor_watch(worker);
}
