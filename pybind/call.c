/* SPDX-License-Identifier: MIT */
#include "call.h"

#include "convert.h"
#include "answer.h"
#include "transfer.h"

struct core_call {
	struct core_answer answer;
	PyObject *func, *args, *kwargs; /* until it runs */
};

static struct core_call *call_of(PyObject *op)
{
	return (struct core_call *)op;
}

static void forget(struct core_call *self)
{
	Py_CLEAR(self->func);
	Py_CLEAR(self->args);
	Py_CLEAR(self->kwargs);
}

static void call_run(PyObject *op, struct core_jobs *jobs)
{
	struct core_call *self = call_of(op);
	PyObject *value = PyObject_Call(self->func, self->args, self->kwargs);
	PyObject *error = value ? NULL : core_exception_take();

	forget(self);
	if (error)
		core_exception_give(error);
	if (!self->answer.notify)
		core_rest_soon(&jobs->rest);
	core_answer_end(&self->answer, value);
}

static void call_drop(PyObject *op, struct core_jobs *jobs)
{
	core_jobs_raise(jobs);
	core_answer_end(&call_of(op)->answer, NULL);
	forget(call_of(op));
}

PyObject *core_call_new(struct core_jobs *jobs, PyObject *func, PyObject *args, PyObject *kwargs,
			PyObject *const *given)
{
	PyObject *op = core_answer_new(jobs->state->call, given);
	struct core_call *self = call_of(op);

	if (!op)
		return NULL;
	self->answer.job.run = call_run;
	self->answer.job.drop = call_drop;
	self->func = core_transfer_new(func);
	self->args = core_transfer_new(args);
	core_transfer_items(args);
	self->kwargs = core_transfer_keywords(kwargs);
	if (core_jobs_put(jobs, op))
		Py_CLEAR(op);
	return op;
}

static int call_traverse(PyObject *op, visitproc visit, void *arg)
{
	Py_VISIT(call_of(op)->func);
	Py_VISIT(call_of(op)->args);
	Py_VISIT(call_of(op)->kwargs);
	return core_answer_traverse(op, visit, arg);
}

static int call_clear(PyObject *op)
{
	forget(call_of(op));
	return core_answer_clear(op);
}

static void call_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	forget(call_of(op));
	core_answer_finish(op);
	type->tp_free(op);
	Py_DECREF(type);
}

PyDoc_STRVAR(call_doc, "A call that was given to Jobs, and what came of it.");

static PyType_Slot call_slots[] = {
	{ Py_tp_doc, (void *)call_doc },
	{ Py_tp_dealloc, call_dealloc },
	{ Py_tp_traverse, call_traverse },
	{ Py_tp_clear, call_clear },
	{ Py_tp_methods, core_answer_methods },
	{ Py_tp_members, core_answer_members },
	{ 0, NULL },
};

PyType_Spec core_call_spec = {
	.name = "freethreading._core.Call",
	.basicsize = sizeof(struct core_call),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = call_slots,
};
