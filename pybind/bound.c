/* SPDX-License-Identifier: MIT */
#include "bound.h"

#include "shared.h"

/* What a type has in the place of the method itself. */
struct binder {
	PyObject_HEAD
	PyMethodDescrObject *method;
	PyTypeObject *type; /* of what it makes */
	vectorcallfunc call;
	int which; /* of the spare ones */
};

static struct core_bound *swap(struct core_bounds *bounds, int which, struct core_bound *bound)
{
#ifdef Py_GIL_DISABLED
	/* Seq_cst: pairs with itself, as the object passes from thread to thread. */
	return atomic_exchange(&bounds->spare[which], bound);
#else
	struct core_bound *before = bounds->spare[which];

	bounds->spare[which] = bound;
	return before;
#endif
}

/* ---- the bound method ---- */

static PyObject *call_plain(PyObject *op, PyObject *const *args, size_t nargs, PyObject *names)
{
	struct core_bound *bound = (struct core_bound *)op;
	Py_ssize_t count = PyVectorcall_NARGS(nargs) + (names ? PyTuple_GET_SIZE(names) : 0);

	(void)args;
	if (!count)
		return bound->method->d_method->ml_meth(bound->op, NULL);
	PyErr_Format(PyExc_TypeError, "%s() takes no arguments (%zd given)",
		     bound->method->d_method->ml_name, count);
	return NULL;
}

static PyObject *call_fast(PyObject *op, PyObject *const *args, size_t nargs, PyObject *names)
{
	struct core_bound *bound = (struct core_bound *)op;
	PyMethodDef *def = bound->method->d_method;

	if (!names || !PyTuple_GET_SIZE(names))
		return ((_PyCFunctionFast)(void (*)(void))def->ml_meth)(bound->op, args,
									PyVectorcall_NARGS(nargs));
	PyErr_Format(PyExc_TypeError, "%s() takes no keyword arguments", def->ml_name);
	return NULL;
}

/* The same as the interpreter would have made it. */
static PyObject *own_kind(PyMethodDescrObject *method, PyObject *op, PyObject *type)
{
	return Py_TYPE(method)->tp_descr_get((PyObject *)method, op, type);
}

static PyObject *bound_as_usual(PyObject *op)
{
	struct core_bound *bound = (struct core_bound *)op;

	return own_kind(bound->method, bound->op, (PyObject *)Py_TYPE(bound->op));
}

static PyObject *bound_getattro(PyObject *op, PyObject *name)
{
	PyObject *usual = bound_as_usual(op);
	PyObject *value = usual ? PyObject_GetAttr(usual, name) : NULL;

	Py_XDECREF(usual);
	return value;
}

static PyObject *bound_repr(PyObject *op)
{
	PyObject *usual = bound_as_usual(op);
	PyObject *text = usual ? PyObject_Repr(usual) : NULL;

	Py_XDECREF(usual);
	return text;
}

static Py_hash_t bound_hash(PyObject *op)
{
	PyObject *usual = bound_as_usual(op);
	Py_hash_t hash = usual ? PyObject_Hash(usual) : -1;

	Py_XDECREF(usual);
	return hash;
}

static PyObject *bound_compare(PyObject *op, PyObject *other, int how)
{
	PyObject *usual = bound_as_usual(op), *others, *answer = NULL;

	others = Py_TYPE(other) == Py_TYPE(op) ? bound_as_usual(other) : Py_NewRef(other);
	if (usual && others)
		answer = PyObject_RichCompare(usual, others, how);
	Py_XDECREF(usual);
	Py_XDECREF(others);
	return answer;
}

static void bound_free(struct core_bound *bound)
{
	PyTypeObject *type = Py_TYPE(bound);

	type->tp_free((PyObject *)bound);
	Py_DECREF(type);
}

static void bound_dealloc(PyObject *op)
{
	struct core_bound *bound = (struct core_bound *)op, *other;
	PyObject *owner = bound->op;

	other = swap(&((struct core_shared *)owner)->bounds, bound->which, bound);
	if (other)
		bound_free(other);
	Py_DECREF(owner);
}

void core_bounds_free(struct core_bounds *bounds)
{
	for (int i = 0; i < 2; i++) {
		struct core_bound *bound = swap(bounds, i, NULL);

		if (bound)
			bound_free(bound);
	}
}

static PyMemberDef bound_members[] = {
	{ "__vectorcalloffset__", T_PYSSIZET, offsetof(struct core_bound, call), READONLY, NULL },
	{ NULL, 0, 0, 0, NULL },
};

static PyType_Slot bound_slots[] = {
	{ Py_tp_doc, (void *)"A method of `with`, bound to its object." },
	{ Py_tp_call, PyVectorcall_Call },
	{ Py_tp_getattro, bound_getattro },
	{ Py_tp_repr, bound_repr },
	{ Py_tp_hash, bound_hash },
	{ Py_tp_richcompare, bound_compare },
	{ Py_tp_dealloc, bound_dealloc },
	{ Py_tp_members, bound_members },
	{ 0, NULL },
};

PyType_Spec core_bound_spec = {
	.name = "freethreading._core.bound",
	.basicsize = sizeof(struct core_bound),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_VECTORCALL | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = bound_slots,
};

/* ---- the descriptor ---- */

static struct core_bound *bound_new(const struct binder *binder, PyObject *op)
{
	struct core_bound *bound = PyObject_New(struct core_bound, binder->type);

	if (!bound)
		return NULL;
	bound->call = binder->call;
	bound->method = binder->method;
	bound->which = binder->which;
	bound->op = Py_NewRef(op);
	return bound;
}

static PyObject *binder_get(PyObject *op, PyObject *instance, PyObject *type)
{
	struct binder *self = (struct binder *)op;
	struct core_bound *bound;

	if (!instance || Py_TYPE(instance) != PyDescr_TYPE(self->method))
		return own_kind(self->method, instance, type);
	bound = swap(&((struct core_shared *)instance)->bounds, self->which, NULL);
	if (!bound)
		return (PyObject *)bound_new(self, instance);
	/* As it was, but for the reference that it had. */
	_Py_NewReference((PyObject *)bound);
	Py_INCREF(instance);
	return (PyObject *)bound;
}

static PyObject *binder_getattro(PyObject *op, PyObject *name)
{
	return PyObject_GetAttr((PyObject *)((struct binder *)op)->method, name);
}

static PyObject *binder_repr(PyObject *op)
{
	return PyObject_Repr((PyObject *)((struct binder *)op)->method);
}

static PyObject *binder_call(PyObject *op, PyObject *args, PyObject *kwargs)
{
	return PyObject_Call((PyObject *)((struct binder *)op)->method, args, kwargs);
}

static int binder_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct binder *self = (struct binder *)op;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT(self->method);
	Py_VISIT(self->type);
	return 0;
}

static int binder_clear(PyObject *op)
{
	struct binder *self = (struct binder *)op;

	Py_CLEAR(self->method);
	Py_CLEAR(self->type);
	return 0;
}

static void binder_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	binder_clear(op);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyType_Slot binder_slots[] = {
	{ Py_tp_doc, (void *)"A method of `with`." },
	{ Py_tp_descr_get, binder_get },
	{ Py_tp_getattro, binder_getattro },
	{ Py_tp_repr, binder_repr },
	{ Py_tp_call, binder_call },
	{ Py_tp_traverse, binder_traverse },
	{ Py_tp_clear, binder_clear },
	{ Py_tp_dealloc, binder_dealloc },
	{ 0, NULL },
};

PyType_Spec core_binder_spec = {
	.name = "freethreading._core.binder",
	.basicsize = sizeof(struct binder),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = binder_slots,
};

static int install(struct core_state *state, PyTypeObject *type, const char *name, int which)
{
	PyObject *method = PyDict_GetItemString(type->tp_dict, name); /* borrowed */
	struct binder *binder;
	int flags, rc;

	if (!method) {
		PyErr_NoMemory(); /* for the key: each of these types has both */
		return -1;
	}
	binder = PyObject_GC_New(struct binder, state->binder);
	if (!binder)
		return -1;
	flags = ((PyMethodDescrObject *)method)->d_method->ml_flags;
	binder->method = (PyMethodDescrObject *)Py_NewRef(method);
	binder->type = (PyTypeObject *)Py_NewRef(state->bound);
	binder->call = flags & METH_NOARGS ? call_plain : call_fast;
	binder->which = which;
	PyObject_GC_Track(binder);
	rc = PyDict_SetItemString(type->tp_dict, name, (PyObject *)binder);
	Py_DECREF(binder);
	return rc;
}

int core_bound_install(struct core_state *state, PyTypeObject *type)
{
	/* Later interpreters call the methods without binding them. */
	if (PY_VERSION_HEX >= 0x030e0000 || PyType_IS_GC(type))
		return 0;
	if (install(state, type, "__enter__", 0) || install(state, type, "__exit__", 1))
		return -1;
	PyType_Modified(type);
	return 0;
}
