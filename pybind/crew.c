/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include <errno.h>

#include "convert.h"

/* Neither call fails with these flags and a struct that is there. */
static void crew_init(struct core_crew *crew)
{
	(void)ft_lock_init(&crew->lock, FT_PRIVATE);
	(void)ft_condition_init(&crew->empty, FT_PRIVATE | FT_INTERRUPTIBLE);
	crew->members = 0;
}

struct core_crew *core_crew_new(void)
{
	struct core_crew *crew = PyMem_RawCalloc(1, sizeof(*crew));

	if (crew)
		crew_init(crew);
	else
		PyErr_NoMemory();
	return crew;
}

void core_crew_free(struct core_crew *crew)
{
	if (crew && crew->members == 0)
		PyMem_RawFree(crew);
}

static void lock(struct core_crew *crew)
{
	/* Only a wait for ever that is no signal's business: 0. */
	while (ft_lock_acquire(&crew->lock, FT_FOREVER))
		;
}

static void unlock(struct core_crew *crew)
{
	(void)ft_lock_release(&crew->lock);
}

int core_crew_enter(struct core_crew *crew, uint32_t *generation)
{
	int rc = 0;

	lock(crew);
	if (crew->closed)
		rc = -ESHUTDOWN;
	else
		crew->members++;
	*generation = crew->generation;
	unlock(crew);
	return rc;
}

void core_crew_leave(struct core_crew *crew, uint32_t generation)
{
	lock(crew);
	if (generation == crew->generation && --crew->members == 0)
		ft_condition_notify_all(&crew->empty);
	unlock(crew);
}

struct crew_wait {
	struct core_crew *crew;
	int close;
};

static int wait_call(void *ctx, ft_deadline deadline)
{
	const struct crew_wait *wait = ctx;
	int rc = 0;

	lock(wait->crew);
	while (wait->crew->members && !rc)
		rc = ft_condition_wait(&wait->crew->empty, &wait->crew->lock, deadline);
	if (!rc && wait->close)
		wait->crew->closed = 1;
	unlock(wait->crew);
	return rc;
}

static PyObject *await_threads(PyObject *module, PyObject *close)
{
	struct crew_wait wait = { core_state(module)->crew, PyObject_IsTrue(close) };

	if (wait.close < 0)
		return NULL;
	return core_none(core_wait(wait_call, &wait, FT_FOREVER, 0));
}

static PyObject *forget_threads(PyObject *module, PyObject *unused)
{
	struct core_crew *crew = core_state(module)->crew;

	(void)unused;
	crew_init(crew);
	crew->generation++;
	Py_RETURN_NONE;
}

PyMethodDef core_crew_functions[] = {
	{ "await_threads", await_threads, METH_O,
	  "await_threads($module, close, /)\n--\n\n"
	  "Waits until every thread worker of this interpreter that is not a daemon has ended,\n"
	  "and every daemon has begun.  With `close` true no other can be started from then on." },
	{ "forget_threads", forget_threads, METH_NOARGS,
	  "forget_threads($module, /)\n--\n\n"
	  "To be called in a child of fork(), in which the other threads are not." },
	{ NULL, NULL, 0, NULL },
};
