/* SPDX-License-Identifier: MIT */
#include "module.h"

#include "bound.h"
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

/* The first who asks has it imported: most programs never do. */
static PyObject *queue_error(struct core_state *state, enum core_queue_error which)
{
	PyObject *type = atomic_load(&state->queue_error[which]), *before = NULL;

	if (type || import_name("queue", which == CORE_FULL ? "Full" : "Empty", &type))
		return type;
	/* Another thread may have done the same. */
	if (atomic_compare_exchange_strong(&state->queue_error[which], &before, type))
		return type;
	Py_DECREF(type);
	return before;
}

void core_raise_queue(struct core_state *state, enum core_queue_error which)
{
	PyObject *type = queue_error(state, which);

	if (type)
		PyErr_SetNone(type);
}

static int import_names(struct core_state *state)
{
	state->dumps_names = Py_BuildValue("(s)", "buffer_callback");
	state->loads_names = Py_BuildValue("(s)", "buffers");
	return !state->dumps_names || !state->loads_names ||
			       import_name("pickle", "dumps", &state->dumps) ||
			       import_name("pickle", "loads", &state->loads) ||
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
	return *type ? 0 : -1;
}

/* What a `with` asks for; an Event or a Queue takes part in none. */
static int bind_methods(struct core_state *state, const struct core_types *types)
{
	return core_bound_install(state, types->lock) || core_bound_install(state, types->rlock) ||
			       core_bound_install(state, types->semaphore) ||
			       core_bound_install(state, types->bounded_semaphore)
		       ? -1
		       : 0;
}

/* A backend's primitives: types of _core, attributes of `home`. */
static int add_primitives(PyObject *module, PyObject *home, PyType_Spec *const *specs,
			  struct core_types *types)
{
	PyTypeObject **order[] = {
		&types->lock,	   &types->rlock,	      &types->condition, &types->event,
		&types->semaphore, &types->bounded_semaphore, &types->barrier,	 &types->queue,
		&types->simple_queue,
	};

	for (size_t i = 0; i < sizeof(order) / sizeof(order[0]); i++) {
		PyTypeObject *base = i == 5 ? types->semaphore : NULL;

		if (add_type(module, specs[i], base, order[i]) ||
		    PyModule_AddType(home, *order[i]))
			return -1;
	}
	return bind_methods(core_state(module), types);
}

/* The module `threads`: the primitives of the other backend. */
static int add_threads(PyObject *module, struct core_state *state)
{
	static PyType_Spec *const specs[] = {
		&core_thread_lock_spec,	     &core_thread_rlock_spec,
		&core_thread_condition_spec, &core_thread_event_spec,
		&core_thread_semaphore_spec, &core_thread_bounded_semaphore_spec,
		&core_thread_barrier_spec,   &core_thread_queue_spec,
		&core_thread_simple_queue_spec,
	};
	PyObject *threads = PyModule_New("freethreading._core.threads");
	int rc = -1;

	if (threads && add_primitives(module, threads, specs, &state->threads) == 0)
		rc = PyModule_AddObjectRef(module, "threads", threads);
	Py_XDECREF(threads);
	return rc;
}

static int add_types(PyObject *module, struct core_state *state)
{
	static PyType_Spec *const primitives[] = {
		&core_lock_spec,      &core_rlock_spec,		    &core_condition_spec,
		&core_event_spec,     &core_semaphore_spec,	    &core_bounded_semaphore_spec,
		&core_barrier_spec,   &core_queue_spec,		    &core_simple_queue_spec,
	};
	const struct {
		PyType_Spec *spec;
		PyTypeObject **type;
	} types[] = {
		{ &core_spawner_spec, &state->spawner },
		{ &core_child_spec, &state->child },
		{ &core_pool_spec, &state->pool },
		{ &core_ticket_spec, &state->ticket },
		{ &core_future_spec, &state->future },
		{ &core_result_spec, &state->result },
		{ &core_block_spec, &state->block },
		{ &core_flow_spec, &state->flow },
		{ &core_jobs_spec, &state->jobs },
		{ &core_call_spec, &state->call },
		{ &core_errand_spec, &state->errand },
		{ &core_batch_spec, &state->batch },
		{ &core_stream_spec, &state->stream },
		{ &core_stream_results_spec, &state->stream_results },
		{ &core_seat_spec, &state->seat },
		{ &core_task_spec, &state->task },
		{ &core_thread_spec, &state->thread },
	};

	if (add_type(module, &core_bound_spec, NULL, &state->bound) ||
	    add_type(module, &core_binder_spec, NULL, &state->binder))
		return -1;
	for (size_t i = 0; i < sizeof(types) / sizeof(types[0]); i++)
		if (add_type(module, types[i].spec, NULL, types[i].type) ||
		    PyModule_AddType(module, *types[i].type))
			return -1;
	if (add_primitives(module, module, primitives, &state->processes))
		return -1;
	return add_threads(module, state);
}

/* Those who were pickled, as long as they live for other reasons. */
static int make_pickled(struct core_state *state)
{
	PyObject *type;

	if (import_name("weakref", "WeakValueDictionary", &type))
		return -1;
	state->pickled = PyObject_CallNoArgs(type);
	Py_DECREF(type);
	return state->pickled ? 0 : -1;
}

static int add_functions(PyObject *module, struct core_state *state)
{
	if (PyModule_AddFunctions(module, core_shared_functions) ||
	    PyModule_AddFunctions(module, core_cargo_functions) ||
	    PyModule_AddFunctions(module, core_serve_functions) ||
	    PyModule_AddFunctions(module, core_place_functions) ||
	    PyModule_AddFunctions(module, core_crew_functions) ||
	    PyModule_AddFunctions(module, core_portable_functions) ||
	    PyModule_AddFunctions(module, core_info_functions))
		return -1;
	state->attach = PyObject_GetAttrString(module, "attach");
	state->local = state->attach ? PyObject_GetAttrString(module, "local") : NULL;
	return state->local ? 0 : -1;
}

static int core_exec(PyObject *module)
{
	struct core_state *state = core_state(module);

	state->crew = core_crew_new();
	if (!state->crew || import_names(state) || make_pickled(state) ||
	    add_exception(module, state) || add_types(module, state))
		return -1;
	return add_functions(module, state);
}

static int traverse_types(const struct core_types *types, visitproc visit, void *arg)
{
	Py_VISIT(types->lock);
	Py_VISIT(types->rlock);
	Py_VISIT(types->condition);
	Py_VISIT(types->semaphore);
	Py_VISIT(types->bounded_semaphore);
	Py_VISIT(types->event);
	Py_VISIT(types->barrier);
	Py_VISIT(types->queue);
	Py_VISIT(types->simple_queue);
	return 0;
}

static int clear_types(struct core_types *types)
{
	Py_CLEAR(types->lock);
	Py_CLEAR(types->rlock);
	Py_CLEAR(types->condition);
	Py_CLEAR(types->semaphore);
	Py_CLEAR(types->bounded_semaphore);
	Py_CLEAR(types->event);
	Py_CLEAR(types->barrier);
	Py_CLEAR(types->queue);
	Py_CLEAR(types->simple_queue);
	return 0;
}

static int core_traverse(PyObject *module, visitproc visit, void *arg)
{
	struct core_state *state = core_state(module);
	int rc = traverse_types(&state->processes, visit, arg);

	if (!rc)
		rc = traverse_types(&state->threads, visit, arg);
	if (rc)
		return rc;
	Py_VISIT(state->dumps);
	Py_VISIT(state->loads);
	Py_VISIT(state->dumps_names);
	Py_VISIT(state->loads_names);
	Py_VISIT(state->queue_error[CORE_FULL]);
	Py_VISIT(state->queue_error[CORE_EMPTY]);
	Py_VISIT(state->owner_died);
	Py_VISIT(state->broken);
	Py_VISIT(state->attach);
	Py_VISIT(state->local);
	Py_VISIT(state->pickled);
	Py_VISIT(state->spawner);
	Py_VISIT(state->child);
	Py_VISIT(state->pool);
	Py_VISIT(state->ticket);
	Py_VISIT(state->future);
	Py_VISIT(state->result);
	Py_VISIT(state->block);
	Py_VISIT(state->flow);
	Py_VISIT(state->jobs);
	Py_VISIT(state->call);
	Py_VISIT(state->errand);
	Py_VISIT(state->batch);
	Py_VISIT(state->stream);
	Py_VISIT(state->stream_results);
	Py_VISIT(state->seat);
	Py_VISIT(state->task);
	Py_VISIT(state->thread);
	Py_VISIT(state->bound);
	Py_VISIT(state->binder);
	return 0;
}

static int core_clear(PyObject *module)
{
	struct core_state *state = core_state(module);

	clear_types(&state->processes);
	clear_types(&state->threads);
	Py_CLEAR(state->dumps);
	Py_CLEAR(state->loads);
	Py_CLEAR(state->dumps_names);
	Py_CLEAR(state->loads_names);
	Py_CLEAR(state->queue_error[CORE_FULL]);
	Py_CLEAR(state->queue_error[CORE_EMPTY]);
	Py_CLEAR(state->owner_died);
	Py_CLEAR(state->broken);
	Py_CLEAR(state->attach);
	Py_CLEAR(state->local);
	Py_CLEAR(state->pickled);
	Py_CLEAR(state->spawner);
	Py_CLEAR(state->child);
	Py_CLEAR(state->pool);
	Py_CLEAR(state->ticket);
	Py_CLEAR(state->future);
	Py_CLEAR(state->result);
	Py_CLEAR(state->block);
	Py_CLEAR(state->flow);
	Py_CLEAR(state->jobs);
	Py_CLEAR(state->call);
	Py_CLEAR(state->errand);
	Py_CLEAR(state->batch);
	Py_CLEAR(state->stream);
	Py_CLEAR(state->stream_results);
	Py_CLEAR(state->seat);
	Py_CLEAR(state->task);
	Py_CLEAR(state->thread);
	Py_CLEAR(state->bound);
	Py_CLEAR(state->binder);
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
