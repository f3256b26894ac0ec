/* SPDX-License-Identifier: MIT */
#include "crew.h"

#include <errno.h>

#include "convert.h"

#define PATIENCE_NS INT64_C(1000000000)

/* Neither call fails with these flags and a struct that is there. */
static void crew_init(struct core_crew *crew)
{
	(void)ft_lock_init(&crew->lock, FT_PRIVATE);
	(void)ft_condition_init(&crew->fewer, FT_PRIVATE | FT_INTERRUPTIBLE);
	crew->newborns = 0;
	crew->members = 0;
	crew->kept = 0;
	crew->keepsakes = NULL;
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
	if (crew && !crew->members && !crew->kept && !crew->disowned)
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

int core_crew_enter(struct core_berth *berth)
{
	struct core_crew *crew = berth->crew;
	int rc = 0;

	lock(crew);
	if (crew->closed) {
		rc = -ESHUTDOWN;
	} else {
		crew->newborns++;
		crew->members += !berth->daemon;
	}
	berth->generation = crew->generation;
	unlock(crew);
	return rc;
}

/* One less of them; after a fork() they are others. */
static void take_from(const struct core_berth *berth, uint32_t *count)
{
	struct core_crew *crew = berth->crew;

	lock(crew);
	if (berth->generation == crew->generation && --*count == 0)
		ft_condition_notify_all(&crew->fewer);
	unlock(crew);
}

void core_crew_born(const struct core_berth *berth)
{
	take_from(berth, &berth->crew->newborns);
}

void core_crew_leave(const struct core_berth *berth)
{
	if (!berth->daemon)
		take_from(berth, &berth->crew->members);
}

static void link_in(struct core_crew *crew, struct core_keepsake *keepsake)
{
	keepsake->next = crew->keepsakes;
	keepsake->link = &crew->keepsakes;
	if (keepsake->next)
		keepsake->next->link = &keepsake->next;
	crew->keepsakes = keepsake;
	crew->kept++;
}

static void unlink_from(struct core_keepsake *keepsake)
{
	*keepsake->link = keepsake->next;
	if (keepsake->next)
		keepsake->next->link = keepsake->link;
	keepsake->link = NULL;
}

int core_crew_keep(struct core_keepsake *keepsake, const struct core_berth *berth)
{
	struct core_crew *crew = berth->crew;
	int rc = 0;

	lock(crew);
	keepsake->berth = *berth;
	if (crew->closed || berth->generation != crew->generation)
		rc = -ESHUTDOWN;
	else
		link_in(crew, keepsake);
	unlock(crew);
	return rc;
}

int core_crew_take(struct core_keepsake *keepsake, int leaving)
{
	struct core_crew *crew = keepsake->berth.crew;
	int ours;

	lock(crew);
	ours = keepsake->berth.generation == crew->generation && keepsake->link;
	if (ours) {
		unlink_from(keepsake);
		crew->kept -= !leaving;
	}
	unlock(crew);
	return ours;
}

void core_crew_unkeep(const struct core_keepsake *keepsake)
{
	take_from(&keepsake->berth, &keepsake->berth.crew->kept);
}

struct crew_wait {
	struct core_crew *crew;
	int ended;
};

static int wait_call(void *ctx, ft_deadline deadline)
{
	const struct crew_wait *wait = ctx;
	struct core_crew *crew = wait->crew;
	int rc = 0;

	lock(crew);
	while (!rc && (crew->newborns || (wait->ended && crew->members)))
		rc = ft_condition_wait(&crew->fewer, &crew->lock, deadline);
	unlock(crew);
	return rc;
}

static void disown(struct core_crew *crew)
{
	while (crew->keepsakes) {
		unlink_from(crew->keepsakes);
		crew->kept--;
		crew->disowned = 1;
	}
}

/* No signal ends this wait. */
static void await_none(struct core_crew *crew, const uint32_t *count)
{
	int rc = 0;

	while (*count && (!rc || rc == -EINTR))
		rc = ft_condition_wait(&crew->fewer, &crew->lock, FT_FOREVER);
}

/* Done even if a signal's handler has raised: who came later would find the
 * interpreter in pieces. */
static void close_crew(struct core_crew *crew)
{
	lock(crew);
	await_none(crew, &crew->newborns);
	crew->closed = 1;
	disown(crew);
	await_none(crew, &crew->kept);
	unlock(crew);
	(void)ft_worker_dismiss(FT_NOW);
}

static PyObject *await_threads(PyObject *module, PyObject *const *args, Py_ssize_t nargs,
			       PyObject *kwnames)
{
	static const char *const names[] = { "ended", "close", NULL };
	struct crew_wait wait = { .crew = core_state(module)->crew };
	PyObject *given[2];
	int rc, close;

	if (core_args("await_threads", names, 2, args, nargs, kwnames, given))
		return NULL;
	wait.ended = PyObject_IsTrue(given[0]);
	close = PyObject_IsTrue(given[1]);
	if (wait.ended < 0 || close < 0)
		return NULL;
	rc = core_wait(wait_call, &wait, FT_FOREVER, 0);
	if (close) {
		Py_BEGIN_ALLOW_THREADS
		close_crew(wait.crew);
		Py_END_ALLOW_THREADS
	}
	return core_none(rc);
}

static int dismiss_call(void *unused, ft_deadline deadline)
{
	(void)unused;
	return ft_worker_dismiss(deadline);
}

static PyObject *dismiss_threads(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	/* In vain where one is held up: it only takes part in what is to come. */
	(void)core_wait_away(dismiss_call, NULL, ft_after(PATIENCE_NS));
	Py_RETURN_NONE;
}

static PyObject *is_main_interpreter(PyObject *module, PyObject *unused)
{
	(void)module;
	(void)unused;
	return PyBool_FromLong(PyInterpreterState_Get() == PyInterpreterState_Main());
}

static PyObject *forget_threads(PyObject *module, PyObject *unused)
{
	struct core_crew *crew = core_state(module)->crew;

	(void)unused;
	/* One may be of the thread that has called fork(). */
	if (crew->kept)
		crew->disowned = 1;
	crew_init(crew);
	crew->generation++;
	Py_RETURN_NONE;
}

PyMethodDef core_crew_functions[] = {
	{ "await_threads", CORE_FAST(await_threads),
	  "await_threads($module, /, ended, close)\n--\n\n"
	  "Waits until each thread worker of this interpreter has begun, and, with `ended` true,\n"
	  "until those that are not daemons have ended.  With `close` true none can be started\n"
	  "from then on; even if a signal's handler has raised, that waits, and no signal ends\n"
	  "it, until all that were started have begun, and until the thread states that OS\n"
	  "threads are deleting are gone." },
	{ "dismiss_threads", dismiss_threads, METH_NOARGS,
	  "dismiss_threads($module, /)\n--\n\n"
	  "To be called before fork(): the threads of workers that have ended leave, which they\n"
	  "otherwise do when no other worker has begun for a moment." },
	{ "forget_threads", forget_threads, METH_NOARGS,
	  "forget_threads($module, /)\n--\n\n"
	  "To be called in a child of fork(), in which the other threads are not." },
	{ "is_main_interpreter", is_main_interpreter, METH_NOARGS,
	  "is_main_interpreter($module, /)\n--\n\n"
	  "True in the interpreter that the process began with." },
	{ NULL, NULL, 0, NULL },
};
