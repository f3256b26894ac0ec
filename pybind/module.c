/* SPDX-License-Identifier: MIT */
#include "module.h"

#include "crew.h"

static struct PyModuleDef core_module;

struct core_state *core_state(PyObject *module)
{
	return PyModule_GetState(module);
}

struct core_state *core_state_of_type(PyTypeObject *type)
{
	PyObject *module;

	for (; type; type = type->tp_base) {
		if (!PyType_HasFeature(type, Py_TPFLAGS_HEAPTYPE))
			break;
		module = PyType_GetModule(type);
		if (module && PyModule_GetDef(module) == &core_module)
			return core_state(module);
		PyErr_Clear();
	}
	PyErr_SetString(PyExc_TypeError, "no type of freethreading._core");
	return NULL;
}

void core_raise_owner_died(struct core_state *state, pid_t pid, const char *outcome)
{
	PyObject *number = PyLong_FromLong(pid), *text = NULL, *error = NULL;

	if (number)
		text = PyUnicode_FromFormat(
			"the worker with pid %S died while it held this lock; what the lock "
			"protects may be half-changed (%s)",
			number, outcome);
	if (text)
		error = PyObject_CallOneArg(state->owner_died, text);
	if (error && PyObject_SetAttrString(error, "pid", number) == 0)
		PyErr_SetObject(state->owner_died, error);
	Py_XDECREF(number);
	Py_XDECREF(text);
	Py_XDECREF(error);
}

static int import_name(const char *from, const char *name, PyObject **object)
{
	PyObject *module = PyImport_ImportModule(from);

	*object = module ? PyObject_GetAttrString(module, name) : NULL;
	Py_XDECREF(module);
	return *object ? 0 : -1;
}

static int import_names(struct core_state *state)
{
	return import_name("pickle", "dumps", &state->dumps) ||
			       import_name("pickle", "loads", &state->loads) ||
			       import_name("queue", "Full", &state->full) ||
			       import_name("queue", "Empty", &state->empty) ||
			       import_name("threading", "BrokenBarrierError", &state->broken)
		       ? -1
		       : 0;
}

static int add_exception(PyObject *module, struct core_state *state)
{
	PyObject *attributes = Py_BuildValue("{s:i}", "pid", 0);

	if (!attributes)
		return -1;
	state->owner_died = PyErr_NewExceptionWithDoc(
		"freethreading._core.OwnerDiedError",
		"A worker died while it held the lock that was asked for.\n\n"
		"What the lock protects may be half-changed.  The lock is free again, and the\n"
		"next acquire works as ever.  `pid` is the dead worker's process id.",
		PyExc_RuntimeError, attributes);
	Py_DECREF(attributes);
	return state->owner_died ?
		       PyModule_AddObjectRef(module, "OwnerDiedError", state->owner_died) :
		       -1;
}

static int add_type(PyObject *module, PyType_Spec *spec, PyTypeObject *base, PyTypeObject **type)
{
	*type = (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, (PyObject *)base);
	return *type ? PyModule_AddType(module, *type) : -1;
}

static int add_types(PyObject *module, struct core_state *state)
{
	const struct {
		PyType_Spec *spec;
		PyTypeObject **type;
	} types[] = {
		{ &core_lock_spec, &state->lock },
		{ &core_rlock_spec, &state->rlock },
		{ &core_condition_spec, &state->condition },
		{ &core_semaphore_spec, &state->semaphore },
		{ &core_event_spec, &state->event },
		{ &core_barrier_spec, &state->barrier },
		{ &core_queue_spec, &state->queue },
		{ &core_simple_queue_spec, &state->simple_queue },
		{ &core_spawner_spec, &state->spawner },
		{ &core_child_spec, &state->child },
		{ &core_pool_spec, &state->pool },
		{ &core_ticket_spec, &state->ticket },
		{ &core_future_spec, &state->future },
		{ &core_seat_spec, &state->seat },
		{ &core_task_spec, &state->task },
		{ &core_thread_spec, &state->thread },
	};

	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (add_type(module, types[i].spec, NULL, types[i].type))
			return -1;
	return add_type(module, &core_bounded_semaphore_spec, state->semaphore,
			&state->bounded_semaphore);
}

static int add_functions(PyObject *module, struct core_state *state)
{
	if (PyModule_AddFunctions(module, core_shared_functions) ||
	    PyModule_AddFunctions(module, core_serve_functions) ||
	    PyModule_AddFunctions(module, core_place_functions) ||
	    PyModule_AddFunctions(module, core_crew_functions) ||
	    PyModule_AddFunctions(module, core_info_functions))
		return -1;
	state->attach = PyObject_GetAttrString(module, "attach");
	return state->attach ? 0 : -1;
}

static int core_exec(PyObject *module)
{
	struct core_state *state = core_state(module);

	state->crew = core_crew_new();
	if (!state->crew || import_names(state) || add_exception(module, state) ||
	    add_types(module, state))
		return -1;
	return add_functions(module, state);
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct core_state *state = core_state(module);

	Py_VISIT(state->dumps);
	Py_VISIT(state->loads);
	Py_VISIT(state->full);
	Py_VISIT(state->empty);
	Py_VISIT(state->owner_died);
	Py_VISIT(state->broken);
	Py_VISIT(state->attach);
	Py_VISIT(state->lock);
	Py_VISIT(state->rlock);
	Py_VISIT(state->condition);
	Py_VISIT(state->semaphore);
	Py_VISIT(state->bounded_semaphore);
	Py_VISIT(state->event);
	Py_VISIT(state->barrier);
	Py_VISIT(state->queue);
	Py_VISIT(state->simple_queue);
	Py_VISIT(state->spawner);
	Py_VISIT(state->child);
	Py_VISIT(state->pool);
	Py_VISIT(state->ticket);
	Py_VISIT(state->future);
	Py_VISIT(state->seat);
	Py_VISIT(state->task);
	Py_VISIT(state->thread);
	return 0;
}

static int core_clear(PyObject *module)
{
	struct core_state *state = core_state(module);

	Py_CLEAR(state->dumps);
	Py_CLEAR(state->loads);
	Py_CLEAR(state->full);
	Py_CLEAR(state->empty);
	Py_CLEAR(state->owner_died);
	Py_CLEAR(state->broken);
	Py_CLEAR(state->attach);
	Py_CLEAR(state->lock);
	Py_CLEAR(state->rlock);
	Py_CLEAR(state->condition);
	Py_CLEAR(state->semaphore);
	Py_CLEAR(state->bounded_semaphore);
	Py_CLEAR(state->event);
	Py_CLEAR(state->barrier);
	Py_CLEAR(state->queue);
	Py_CLEAR(state->simple_queue);
	Py_CLEAR(state->spawner);
	Py_CLEAR(state->child);
	Py_CLEAR(state->pool);
	Py_CLEAR(state->ticket);
	Py_CLEAR(state->future);
	Py_CLEAR(state->seat);
	Py_CLEAR(state->task);
	Py_CLEAR(state->thread);
	return 0;
}

static void core_free(void *module)
{
	core_clear(module);
	core_crew_free(core_state(module)->crew);
}

static PyModuleDef_Slot core_slots[] = {
	{ Py_mod_exec, core_exec },
#ifdef Py_mod_multiple_interpreters
	{ Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED },
#endif
#ifdef Py_mod_gil
	{ Py_mod_gil, Py_MOD_GIL_NOT_USED },
#endif
	{ 0, NULL },
};

static struct PyModuleDef core_module = {
	PyModuleDef_HEAD_INIT,
	.m_name = "freethreading._core",
	.m_doc = "The native part of freethreading: libfreethreading's objects for Python.\n\n"
		 "All times are in seconds; None waits for ever and a negative number not at all.",
	.m_size = sizeof(struct core_state),
	.m_slots = core_slots,
	.m_traverse = core_traverse,
	.m_clear = core_clear,
	.m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void)
{
	return PyModuleDef_Init(&core_module);
}
