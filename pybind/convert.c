/* SPDX-License-Identifier: MIT */
#include "convert.h"

#include <errno.h>
#include <stdint.h>

#include "shared.h"

#define NS 1000000000

static Py_ssize_t name_index(const char *const *names, PyObject *key)
{
	for (Py_ssize_t i = 0; names[i]; i++)
		if (PyUnicode_CompareWithASCIIString(key, names[i]) == 0)
			return i;
	return -1;
}

static int take_keyword(const char *function, const char *const *names, PyObject *key,
			PyObject *value, PyObject **out)
{
	Py_ssize_t i = name_index(names, key);

	if (i < 0)
		PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument '%U'",
			     function, key);
	else if (out[i])
		PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument '%s'",
			     function, names[i]);
	else
		out[i] = value;
	return PyErr_Occurred() ? -1 : 0;
}

int core_args(const char *function, const char *const *names, Py_ssize_t required,
	      PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames, PyObject **out)
{
	Py_ssize_t count = 0, keywords = kwnames ? PyTuple_GET_SIZE(kwnames) : 0;

	for (; names[count]; count++)
		out[count] = count < nargs ? args[count] : NULL;
	if (nargs > count) {
		PyErr_Format(PyExc_TypeError, "%s() takes at most %zd arguments (%zd given)",
			     function, count, nargs);
		return -1;
	}
	for (Py_ssize_t i = 0; i < keywords; i++)
		if (take_keyword(function, names, PyTuple_GET_ITEM(kwnames, i), args[nargs + i],
				 out))
			return -1;
	for (Py_ssize_t i = 0; i < required; i++)
		if (!out[i]) {
			PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'",
				     function, names[i]);
			return -1;
		}
	return 0;
}

static int whole_seconds(PyObject *timeout, ft_deadline *deadline)
{
	int overflow;
	long long seconds = PyLong_AsLongLongAndOverflow(timeout, &overflow);

	if (seconds == -1 && PyErr_Occurred())
		return -1;
	if (overflow > 0 || seconds > INT64_MAX / NS)
		*deadline = FT_FOREVER;
	else if (overflow < 0 || seconds <= 0)
		*deadline = FT_NOW;
	else
		*deadline = ft_after(seconds * NS);
	return 0;
}

int core_deadline(PyObject *timeout, ft_deadline *deadline)
{
	double ns;
	int64_t whole;

	*deadline = FT_FOREVER;
	if (!timeout || timeout == Py_None)
		return 0;
	if (PyLong_Check(timeout))
		return whole_seconds(timeout, deadline);
	ns = PyFloat_AsDouble(timeout) * NS;
	if (PyErr_Occurred()) {
		if (PyErr_ExceptionMatches(PyExc_TypeError))
			PyErr_Format(PyExc_TypeError,
				     "timeout must be a number of seconds or None, not %.100s",
				     Py_TYPE(timeout)->tp_name);
		return -1;
	}
	if (ns != ns) {
		PyErr_SetString(PyExc_ValueError, "timeout must not be NaN");
		return -1;
	}
	if (ns >= (double)INT64_MAX)
		return 0;
	whole = ns > 0 ? (int64_t)ns : 0;
	*deadline = ft_after((double)whole < ns ? whole + 1 : whole);
	return 0;
}

int core_block_deadline(PyObject *block, PyObject *timeout, ft_deadline *deadline)
{
	int blocks = block ? PyObject_IsTrue(block) : 1;

	if (blocks < 0)
		return -1;
	*deadline = FT_NOW;
	return blocks ? core_deadline(timeout, deadline) : 0;
}

static int is_minus_one(PyObject *timeout)
{
	int overflow;

	if (PyLong_Check(timeout))
		return PyLong_AsLongAndOverflow(timeout, &overflow) == -1 && !overflow;
	return PyFloat_Check(timeout) && PyFloat_AS_DOUBLE(timeout) == -1;
}

/* For threads, with a timeout that is not None. */
static int timed_deadline(PyObject *const given[2], const char *useless, int forever,
			  ft_deadline *deadline)
{
	int blocks = given[0] ? PyObject_IsTrue(given[0]) : 1;
	int endless = forever && is_minus_one(given[1]);

	/* What is no time at all is told first by locks. */
	if (blocks < 0 || (forever && core_deadline(given[1], deadline)))
		return -1;
	if (!blocks && !endless) {
		PyErr_SetString(PyExc_ValueError, useless);
		return -1;
	}
	*deadline = blocks ? FT_FOREVER : FT_NOW;
	return endless ? 0 : core_deadline(given[1], deadline);
}

int core_acquire_deadline(const struct core_shared *self, PyObject *const given[2],
			  const char *useless, int forever, ft_deadline *deadline)
{
	if (self->threads && given[1] && given[1] != Py_None)
		return timed_deadline(given, useless, forever, deadline);
	if (core_deadline(given[1], deadline))
		return -1;
	return core_block_deadline(given[0], given[1], deadline);
}

/* What queue.Queue does not take, if it would have looked at it. */
static int check_timeout(PyObject *timeout, ft_deadline deadline)
{
	PyObject *zero;
	int negative;

	if (deadline != FT_NOW || !timeout || timeout == Py_None)
		return 0;
	zero = PyLong_FromLong(0);
	negative = zero ? PyObject_RichCompareBool(timeout, zero, Py_LT) : -1;
	Py_XDECREF(zero);
	if (negative > 0)
		PyErr_SetString(PyExc_ValueError, "'timeout' must be a non-negative number");
	return negative ? -1 : 0;
}

int core_queue_deadline(PyObject *block, PyObject *timeout, ft_deadline *deadline)
{
	int blocks = block ? PyObject_IsTrue(block) : 1;

	*deadline = FT_NOW;
	if (blocks <= 0)
		return blocks;
	return core_deadline(timeout, deadline) || check_timeout(timeout, *deadline) ? -1 : 0;
}

static int add_cpu(PyObject *item, struct ft_cpus *cpus)
{
	long cpu = PyLong_AsLong(item);

	if (cpu == -1 && PyErr_Occurred())
		return -1;
	if (cpu < 0 || cpu >= FT_CPUS_MAX) {
		PyErr_Format(PyExc_ValueError, "there is no CPU %ld: the last can be %d", cpu,
			     FT_CPUS_MAX - 1);
		return -1;
	}
	cpus->bits[cpu / 64] |= UINT64_C(1) << (cpu % 64);
	return 0;
}

int core_cpus_from(PyObject *iterable, struct ft_cpus *cpus)
{
	PyObject *items = PySequence_Tuple(iterable);
	int rc = items ? 0 : -1;

	*cpus = (struct ft_cpus){ { 0 } };
	for (Py_ssize_t i = 0; !rc && i < PyTuple_GET_SIZE(items); i++)
		rc = add_cpu(PyTuple_GET_ITEM(items, i), cpus);
	Py_XDECREF(items);
	return rc;
}

static int set_add(PyObject *set, long cpu)
{
	PyObject *number = PyLong_FromLong(cpu);
	int rc = number ? PySet_Add(set, number) : -1;

	Py_XDECREF(number);
	return rc;
}

PyObject *core_cpus_to(const struct ft_cpus *cpus, PyTypeObject *type)
{
	PyObject *set = type == &PyFrozenSet_Type ? PyFrozenSet_New(NULL) : PySet_New(NULL);

	for (long cpu = 0; set && cpu < FT_CPUS_MAX; cpu++)
		if (cpus->bits[cpu / 64] >> (cpu % 64) & 1 && set_add(set, cpu))
			Py_CLEAR(set);
	return set;
}

static const struct remedy {
	int error;
	const char *text;
} remedies[] = {
	{ EAGAIN, "the number of processes is limited: raise RLIMIT_NPROC (ulimit -u) or the "
		  "cgroup's pids.max" },
	{ EMFILE, "the number of open files is limited: raise RLIMIT_NOFILE (ulimit -n)" },
	{ ENOMEM, "raise RLIMIT_AS (ulimit -v) or the cgroup's memory.max, or use fewer workers" },
	{ EPIPE, "the helper process ended before it answered: its standard error says why, "
		 "unless it was killed again and again" },
	{ ENOENT, "the first word of argv must be the path of a program" },
	{ EACCES, "the first word of argv must be a program that may be executed" },
	{ EPROTO, "this process was not started by a Spawner" },
	{ EBUSY, "the helper process has more than one thread: import the module that starts "
		 "threads in the workers instead" },
	{ EUCLEAN, "shared memory was overwritten: end this program, and look for code that "
		   "writes out of bounds" },
};

static PyObject *raise_os(int rc, const char *what)
{
	PyObject *text = NULL, *exception = NULL;

	for (size_t i = 0; !text && i < sizeof(remedies) / sizeof(remedies[0]); i++)
		if (remedies[i].error == -rc)
			text = PyUnicode_FromFormat("%s: %s (%s)", what, ft_strerror(rc),
						    remedies[i].text);
	if (!text && !PyErr_Occurred())
		text = PyUnicode_FromFormat("%s: %s", what, ft_strerror(rc));
	if (text)
		exception = PyObject_CallFunction(PyExc_OSError, "iO", -rc, text);
	if (exception)
		PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	Py_XDECREF(text);
	Py_XDECREF(exception);
	return NULL;
}

/* The one table of answers.  Without a text it is ft_strerror's; what is not
 * listed becomes an OSError. */
static const struct answer {
	int error;
	PyObject **type;
	const char *text;
} answers[] = {
	{ ECHILD, &PyExc_RuntimeError,
	  "freethreading can't be used in a child made by os.fork(): start workers with "
	  "freethreading.Worker, or use os.posix_spawn/subprocess" },
	{ ENOMEM, &PyExc_MemoryError, "no memory left for freethreading's arena" },
	{ EINVAL, &PyExc_ValueError, NULL },
	{ EDEADLK, &PyExc_RuntimeError, NULL },
	{ ESTALE, &PyExc_ValueError,
	  "this object no longer exists: the process that held it has ended, or nobody held it "
	  "any more (keep a reference while others use it)" },
};

PyObject *core_raise(int rc)
{
	if (PyErr_Occurred())
		return NULL;
	for (size_t i = 0; i < sizeof(answers) / sizeof(answers[0]); i++)
		if (answers[i].error == -rc) {
			PyErr_SetString(*answers[i].type,
					answers[i].text ? answers[i].text : ft_strerror(rc));
			return NULL;
		}
	return raise_os(rc, "freethreading");
}

PyObject *core_raise_os(int rc, const char *what)
{
	if (PyErr_Occurred() || rc == -ECHILD || rc == -EINVAL)
		return core_raise(rc);
	return raise_os(rc, what);
}

#if PY_VERSION_HEX >= 0x030c0000
PyObject *core_exception_take(void)
{
	return PyErr_GetRaisedException();
}
#else
PyObject *core_exception_take(void)
{
	PyObject *type, *value, *traceback;

	PyErr_Fetch(&type, &value, &traceback);
	PyErr_NormalizeException(&type, &value, &traceback);
	if (traceback)
		PyException_SetTraceback(value, traceback);
	Py_XDECREF(type);
	Py_XDECREF(traceback);
	return value;
}
#endif

void core_exception_give(PyObject *exception)
{
	PyErr_SetObject((PyObject *)Py_TYPE(exception), exception);
	Py_DECREF(exception);
}

int core_wait_away(core_call *call, void *ctx, ft_deadline deadline)
{
	int rc;

	for (;;) {
		Py_BEGIN_ALLOW_THREADS
		rc = call(ctx, deadline);
		Py_END_ALLOW_THREADS
		if (rc != -EINTR || PyErr_CheckSignals())
			return rc;
	}
}

void core_lock(struct ft_lock *lock)
{
	while (ft_lock_acquire(lock, FT_NOW) == -ETIMEDOUT) {
		Py_BEGIN_ALLOW_THREADS
		if (ft_lock_acquire(lock, FT_FOREVER) == 0)
			(void)ft_lock_release(lock);
		Py_END_ALLOW_THREADS
	}
}

PyObject *core_pickling(PyObject *function, PyObject *const *args, size_t count, PyObject *names)
{
	int late = !function;

#if PY_VERSION_HEX < 0x030c0000
	late = late || _Py_IsFinalizing();
#endif
	if (!late)
		return PyObject_Vectorcall(function, args, count, names);
	PyErr_SetString(PyExc_RuntimeError, "the interpreter is about to end: it is too late to "
					    "send or receive objects");
	return NULL;
}
