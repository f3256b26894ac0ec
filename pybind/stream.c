/* SPDX-License-Identifier: MIT */
#include "stream.h"

#include "convert.h"
#include "transfer.h"

#define WINDOW_LEAST 8
#define WINDOW_MOST 1024 /* of those that grow */
#define GRAB 64          /* items that a worker has in its hands, at most */
#define LOOK_NS INT64_C(100000000)

/* What a worker has in its hands: items, then their outcomes. */
struct grab {
	void *things[GRAB];
	uint64_t first, count; /* the number of the first */
};

static struct core_stream *stream_of(PyObject *op)
{
	return (struct core_stream *)op;
}

static void lock(struct core_stream *self)
{
	core_lock(&self->lock);
}

static void unlock(struct core_stream *self)
{
	(void)ft_lock_release(&self->lock);
}

static int unwanted(const struct core_stream *self)
{
	return self->dropped || core_jobs_ended(self->jobs);
}

/* ---- all of this with the lock ---- */

/* How many more items may be read. */
static uint64_t room(const struct core_stream *self)
{
	uint64_t ahead = self->outcomes.last - self->outcomes.first + self->items.last -
			 self->items.first;

	if (atomic_load_explicit(&self->jobs->hurry, memory_order_relaxed))
		return UINT64_MAX;
	return ahead < self->window ? self->window - ahead : 0;
}

/* What was read, and is in nobody's hands; for a source that is read by the
 * workers, what would be. */
static uint64_t work(const struct core_stream *self)
{
	if (unwanted(self))
		return 0;
	if (self->fed_by_thread)
		return self->items.last - self->items.first;
	return self->exhausted ? 0 : room(self);
}

static int wake_wanted(struct core_stream *self)
{
	int waiting = self->waiting;

	self->waiting = 0;
	return waiting;
}

static void source_ends(struct core_stream *self, PyObject *error)
{
	self->error = error;
	self->exhausted = 1;
}

static PyObject *error_now(void)
{
	return PyErr_Occurred() ? core_exception_take() : NULL;
}

/* The next item, with its outcome's place; NULL: none now. */
static PyObject *item_next(struct core_stream *self)
{
	PyObject *item;

	self->full |= !self->fed_by_thread && !self->exhausted && !room(self);
	if (!work(self) || core_row_push(&self->outcomes, NULL))
		return NULL;
	item = self->fed_by_thread ? core_row_pop(&self->items) : PyIter_Next(self->source);
	if (item)
		return item;
	self->outcomes.last--;
	source_ends(self, error_now());
	return NULL;
}

static void grab(struct core_stream *self, struct grab *hands)
{
	uint64_t most = self->chunk < GRAB ? self->chunk : GRAB;
	PyObject *item;

	hands->first = self->outcomes.last;
	hands->count = 0;
	while (hands->count < most && (item = item_next(self)))
		hands->things[hands->count++] = item;
}

/* True if the consumer has to be told. */
static int publish(struct core_stream *self, const struct grab *hands)
{
	struct core_row *row = &self->outcomes;

	for (uint64_t i = 0; i < hands->count; i++) {
		uint64_t at = self->ordered ? hands->first + i : self->ended++;

		row->things[at & (row->size - 1)] = hands->things[i];
	}
	return hands->count && row->things[row->first & (row->size - 1)] && wake_wanted(self);
}

/* ---- the workers' side ---- */

/* True: there is a place for a helper, which the caller fills. */
static int join(struct core_stream *self)
{
	if (self->helpers >= self->jobs->rest.count)
		return 0;
	self->helpers++;
	return 1;
}

/* Those that are there, or else the consumer, will do if it fails. */
static void call_helper(struct core_stream *self)
{
	int wake;

	if (!core_jobs_put(self->jobs, (PyObject *)self))
		return;
	PyErr_Clear();
	lock(self);
	self->helpers--;
	wake = wake_wanted(self);
	unlock(self);
	if (wake)
		ft_event_set(&self->progress);
}

static void run_grab(struct core_stream *self, struct grab *hands)
{
	for (uint64_t i = 0; i < hands->count; i++) {
		PyObject *item = hands->things[i], *value = NULL;

		if (core_jobs_ended(self->jobs))
			core_jobs_raise(self->jobs);
		else
			value = core_job_call(self->func, item, self->star);
		Py_DECREF(item);
		if (value)
			hands->things[i] = core_transfer(value);
		else
			hands->things[i] = (void *)((uintptr_t)core_exception_take() | CORE_RAISED);
	}
}

/* Hands over what was done and takes more.  True: there is more. */
static int turn(struct core_stream *self, struct grab *hands)
{
	int wake, over;

	lock(self);
	wake = publish(self, hands);
	grab(self, hands);
	over = !hands->count;
	if (over) {
		self->helpers--;
		wake |= wake_wanted(self);
	}
	unlock(self);
	if (wake)
		ft_event_set(&self->progress);
	return !over;
}

static int hand_over(struct core_stream *self, struct grab *hands)
{
	int wake;

	lock(self);
	wake = publish(self, hands);
	unlock(self);
	hands->count = 0;
	if (wake)
		ft_event_set(&self->progress);
	return 1;
}

/* Out of the queue's list, once nobody will be called to help any more. */
static void tidy(struct core_stream *self)
{
	int finished;

	lock(self);
	finished = unwanted(self) ||
		   (self->exhausted && self->items.first == self->items.last);
	unlock(self);
	if (finished)
		core_jobs_remove(self->jobs, self);
}

static void stream_run(PyObject *op, struct core_jobs *jobs)
{
	struct core_stream *self = stream_of(op);
	struct grab hands = { .count = 0 };

	while (turn(self, &hands)) {
		run_grab(self, &hands);
		/* What it was goes to the end of the queue. */
		if (self->single && hand_over(self, &hands) && !core_jobs_put(jobs, op))
			return;
		PyErr_Clear();
	}
	tidy(self);
}

/* ---- the feeder ---- */

static int room_call(void *room, ft_deadline deadline)
{
	return ft_event_wait(room, deadline);
}

/* False: nobody wants more. */
static int await_room(struct core_stream *self)
{
	for (;;) {
		int wanted, free;

		ft_event_clear(&self->room);
		lock(self);
		wanted = !unwanted(self);
		free = room(self) != 0;
		self->full |= !free;
		unlock(self);
		if (!wanted || free)
			return wanted;
		(void)core_wait(room_call, &self->room, ft_after(LOOK_NS), 0);
	}
}

/* Hands over what was read.  False, with an exception: no memory. */
static int feed_chunk(struct core_stream *self, struct core_row *held)
{
	PyObject *item = NULL;
	int failed = 0, helper = held->first != held->last;

	lock(self);
	while (!failed && held->first != held->last) {
		item = core_row_pop(held);
		failed = core_row_push(&self->items, item);
	}
	helper = helper && !failed && join(self);
	unlock(self);
	if (helper)
		call_helper(self);
	if (!failed)
		return 1;
	Py_DECREF(item);
	PyErr_NoMemory();
	return 0;
}

/* Reads a chunk.  False: it was not a whole one, maybe with an exception. */
static int read_chunk(struct core_stream *self, struct core_row *held)
{
	PyObject *item;

	for (uint64_t i = 0; i < self->whole; i++) {
		item = PyIter_Next(self->source);
		if (!item)
			return 0;
		if (core_row_push(held, core_transfer(item))) {
			Py_DECREF(item);
			PyErr_NoMemory();
			return 0;
		}
	}
	return 1;
}

static PyObject *stream_feed(PyObject *op, PyObject *unused)
{
	struct core_stream *self = stream_of(op);
	struct core_row held = { 0 };
	PyObject *error;
	int wake;

	(void)unused;
	while (await_room(self) && read_chunk(self, &held) && feed_chunk(self, &held))
		continue;
	if (!PyErr_Occurred())
		feed_chunk(self, &held);
	error = error_now();
	core_row_clear(&held);
	lock(self);
	source_ends(self, error);
	wake = wake_wanted(self);
	unlock(self);
	if (wake)
		ft_event_set(&self->progress);
	tidy(self);
	Py_RETURN_NONE;
}

/* ---- the consumer's side ---- */

/* With the lock: no more outcomes will come. */
static int over(const struct core_stream *self)
{
	if (self->helpers)
		return 0;
	if (core_jobs_ended(self->jobs))
		return 1;
	return self->exhausted && self->items.first == self->items.last &&
	       self->outcomes.first == self->outcomes.last;
}

static void raise_end(struct core_stream *self)
{
	PyObject *error;
	int complete;

	lock(self);
	error = self->error;
	self->error = NULL;
	complete = self->exhausted && self->items.first == self->items.last;
	unlock(self);
	if (error)
		core_exception_give(error);
	else if (complete)
		PyErr_SetNone(PyExc_StopIteration);
	else
		core_jobs_raise(self->jobs);
}

/* With the lock: a consumer that has to wait though the workers have waited
 * for it is too far behind for what they do. */
static void widen(struct core_stream *self)
{
	if (self->full && self->grows && self->window < WINDOW_MOST)
		self->window *= 2;
	self->full = 0;
}

static int move_outcomes(struct core_stream *self, struct core_row *ready)
{
	struct core_row *row = &self->outcomes;
	int moved = 0;

	while (row->first != row->last && row->things[row->first & (row->size - 1)] &&
	       !core_row_push(ready, row->things[row->first & (row->size - 1)])) {
		(void)core_row_pop(row);
		moved = 1;
	}
	return moved;
}

int core_stream_take(struct core_stream *self, struct core_row *ready)
{
	int rc, helper, feed;

	lock(self);
	rc = move_outcomes(self, ready);
	if (!rc && over(self))
		rc = -1;
	if (!rc) {
		widen(self);
		ft_event_clear(&self->progress);
		self->waiting = 1;
	}
	/* With much to do or nobody at it. */
	helper = work(self) && (!self->helpers || room(self) >= self->window / 2) && join(self);
	feed = self->fed_by_thread && room(self) >= self->window / 2;
	unlock(self);
	if (helper)
		call_helper(self);
	if (feed)
		ft_event_set(&self->room);
	if (rc < 0)
		raise_end(self);
	return rc;
}

void core_stream_abandon(struct core_stream *self)
{
	lock(self);
	self->dropped = 1;
	unlock(self);
	ft_event_set(&self->room);
	tidy(self);
}

void core_stream_hurry(struct core_stream *self)
{
	int helper, wake;

	lock(self);
	helper = work(self) && join(self);
	wake = unwanted(self) && wake_wanted(self);
	unlock(self);
	if (helper)
		call_helper(self);
	if (wake)
		ft_event_set(&self->progress);
	ft_event_set(&self->room);
}

/* ---- the object ---- */

static int is_harmless(PyObject *iterator)
{
	return Py_IS_TYPE(iterator, &PyListIter_Type) || Py_IS_TYPE(iterator, &PyTupleIter_Type) ||
	       Py_IS_TYPE(iterator, &PyRangeIter_Type) ||
	       Py_IS_TYPE(iterator, &PyLongRangeIter_Type) ||
	       Py_IS_TYPE(iterator, &PySetIter_Type) || Py_IS_TYPE(iterator, &PyDictIterKey_Type);
}

static void configure(struct core_stream *self, const struct core_stream_plan *plan)
{
	uint64_t both = 2 * (uint64_t)self->jobs->rest.count;

	self->star = plan->star;
	self->ordered = plan->ordered;
	self->single = plan->single;
	self->persist = plan->persist;
	self->chunk = plan->chunk < GRAB ? (uint64_t)plan->chunk : GRAB;
	self->whole = (uint64_t)plan->chunk;
	self->grows = !plan->window;
	self->window = self->grows ? both * self->chunk : (uint64_t)plan->window;
	if (self->grows && self->window < WINDOW_LEAST)
		self->window = WINDOW_LEAST;
	(void)!ft_lock_init(&self->lock, FT_PRIVATE);
	ft_event_init(&self->progress, FT_PRIVATE | FT_INTERRUPTIBLE);
	ft_event_init(&self->room, FT_PRIVATE | FT_INTERRUPTIBLE);
}

static void begin(struct core_stream *self)
{
	Py_ssize_t items = PyObject_LengthHint(self->iterable, PY_SSIZE_T_MAX);

	if (items < 0) {
		PyErr_Clear();
		items = PY_SSIZE_T_MAX;
	}
	/* Nobody else knows the stream yet, but for who helps already. */
	for (Py_ssize_t i = 0; i < (Py_ssize_t)self->jobs->rest.count && i < items; i++) {
		lock(self);
		self->helpers++;
		unlock(self);
		call_helper(self);
	}
}

struct core_stream *core_stream_new(struct core_jobs *jobs, const struct core_stream_plan *plan)
{
	PyTypeObject *type = jobs->state->stream;
	PyObject *op = type->tp_alloc(type, 0);
	struct core_stream *self = stream_of(op);

	if (!op)
		return NULL;
	self->job.run = stream_run;
	self->job.drop = stream_run; /* finds that nothing is wanted */
	self->jobs = (struct core_jobs *)Py_NewRef((PyObject *)jobs);
	self->func = Py_NewRef(plan->func);
	/* Kept, so that the end of the iteration ends no object's life. */
	self->iterable = Py_NewRef(plan->iterable);
	self->source = PyObject_GetIter(plan->iterable);
	configure(self, plan);
	if (!self->source) {
		Py_DECREF(op);
		return NULL;
	}
	self->fed_by_thread = !is_harmless(self->source);
	if (core_jobs_add(jobs, self)) {
		Py_DECREF(op);
		return NULL;
	}
	if (!self->fed_by_thread)
		begin(self);
	return self;
}

static int stream_traverse(PyObject *op, visitproc visit, void *arg)
{
	struct core_stream *self = stream_of(op);
	int rc;

	Py_VISIT(Py_TYPE(op));
	Py_VISIT((PyObject *)self->jobs);
	Py_VISIT(self->func);
	Py_VISIT(self->iterable);
	Py_VISIT(self->source);
	Py_VISIT(self->error);
	rc = core_row_traverse(&self->items, visit, arg);
	return rc ? rc : core_row_traverse(&self->outcomes, visit, arg);
}

/* The queue is let go last of all: whoever runs the stream needs it. */
static int stream_clear(PyObject *op)
{
	struct core_stream *self = stream_of(op);

	Py_CLEAR(self->func);
	Py_CLEAR(self->iterable);
	Py_CLEAR(self->source);
	Py_CLEAR(self->error);
	core_row_clear(&self->items);
	core_row_clear(&self->outcomes);
	return 0;
}

static void stream_dealloc(PyObject *op)
{
	PyTypeObject *type = Py_TYPE(op);

	PyObject_GC_UnTrack(op);
	stream_clear(op);
	Py_DECREF((PyObject *)stream_of(op)->jobs);
	type->tp_free(op);
	Py_DECREF(type);
}

static PyMethodDef stream_methods[] = {
	{ "feed", stream_feed, METH_NOARGS,
	  "feed($self, /)\n--\n\n"
	  "Reads the iterable until its end, or until nobody wants more." },
	{ NULL, NULL, 0, NULL },
};

PyDoc_STRVAR(stream_doc, "Calls of one function for an iterable that is read as they go.");

static PyType_Slot stream_slots[] = {
	{ Py_tp_doc, (void *)stream_doc },
	{ Py_tp_dealloc, stream_dealloc },
	{ Py_tp_traverse, stream_traverse },
	{ Py_tp_clear, stream_clear },
	{ Py_tp_methods, stream_methods },
	{ 0, NULL },
};

PyType_Spec core_stream_spec = {
	.name = "freethreading._core.Stream",
	.basicsize = sizeof(struct core_stream),
	.flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE |
		 Py_TPFLAGS_DISALLOW_INSTANTIATION,
	.slots = stream_slots,
};
