# SPDX-License-Identifier: MIT
"""WorkerPool on processes: multiprocessing.pool.Pool's interface on ft_pool."""

import itertools
import sys
import threading
import warnings
from collections import deque
from multiprocessing import TimeoutError, util

from . import _core, _member, _pickling, _spawner, _task
from ._errors import broken

__all__ = ["AsyncResult", "WorkerPool"]

# How far the imap family runs ahead of its consumer: enough to keep workers
# busy with tiny tasks, bounded in items and in bytes for everything else.
_AHEAD_ITEMS = 1024
_AHEAD_BYTES = 32 << 20

_GRACE = 1.0  # seconds between SIGTERM and SIGKILL of a terminated worker

_groups = itertools.count(1)


class Notifier:
    """The thread that hands finished tasks to whoever asked to be called.

    Exists only once somebody has: results that are waited for are collected
    by the waiter itself.
    """

    def __init__(self, core):
        self._core = core
        self._thread = None
        self._lock = threading.Lock()

    def ensure(self):
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_notify, args=(self._core,), name="freethreading-notifier"
                )
                self._thread.daemon = True
                self._thread.start()

    def join(self):
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()


def _notify(core):
    while True:
        try:
            ticket = core.next()
        except EOFError:
            return
        if ticket is None:
            continue
        try:
            ticket.user(ticket)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        del ticket


def open_core(workers, members, name, tasks_per_worker=0):
    """The native pool, with its workers on their way."""
    return _core.Pool(
        workers,
        members.start,
        name=name,
        place=_member.place(workers),
        tasks_per_worker=tasks_per_worker,
    )


class AsyncResult:
    """What will come of a task: returned by the ``*_async`` methods."""

    def __init__(self, pool, count, join, callback, error_callback):
        self._pool = pool
        self._tickets = ()
        self._join = join
        self._callback = callback
        self._error_callback = error_callback
        self._lock = threading.Lock()
        self._outcome = None
        self._left = count
        notified = callback is not None or error_callback is not None
        self._called = threading.Event() if notified else None

    def _one_done(self, ticket):
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._finish()

    def _finish(self):
        success, value = self._resolve()
        callback = self._callback if success else self._error_callback
        try:
            if callback is not None:
                callback(value)
        finally:
            self._called.set()

    def _resolve(self):
        with self._lock:
            if self._outcome is None:
                outcomes = [_task.outcome(ticket) for ticket in self._tickets]
                failed = next((o for o in outcomes if not o[0]), None)
                self._outcome = failed or (True, self._join([v for _, v in outcomes]))
                self._tickets = ()
        return self._outcome

    def ready(self):
        """Whether the task has ended, well or not."""
        if self._called is not None:
            return self._called.is_set()
        return self._outcome is not None or all(t.done() for t in self._tickets)

    def successful(self):
        """Whether it ended without an exception.

        Raises ValueError if it has not ended yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._resolve()[0]

    def wait(self, timeout=None):
        """Wait until it has ended, for at most `timeout` seconds."""
        if self._called is not None:
            self._called.wait(timeout)
        elif self._outcome is None:
            self._pool._core.wait_all(self._tickets, timeout)

    def get(self, timeout=None):
        """Wait, then return the result or raise what the task raised.

        Raises `multiprocessing.TimeoutError` after `timeout` seconds, and
        `WorkerDiedError` if the worker died while it ran the task.
        """
        self.wait(timeout)
        if not self.ready():
            raise TimeoutError
        success, value = self._resolve()
        if success:
            return value
        raise self._pool._members.explain(value)


class _Ahead:
    """Feeds tasks of a lazy iterable to the pool, a bounded way ahead."""

    def __init__(self, pool, function, iterable, chunksize, group):
        self._pool = pool
        self._function = function
        self._chunks = _chunked(iterable, chunksize)
        self._group = group
        self._least = 2 * pool._workers + 1
        self.count = self._bytes = 0
        self.error = None
        self.ended = False

    def _has_room(self):
        if self.count < self._least:
            return True
        return self.count < _AHEAD_ITEMS and self._bytes < _AHEAD_BYTES

    def fill(self, accept):
        while not self.ended and self._has_room():
            try:
                chunk = next(self._chunks)
            except StopIteration:
                self.ended = True
                return
            except BaseException as error:
                self.ended, self.error = True, error
                return
            self._submit(chunk, accept)

    def _submit(self, chunk, accept):
        payload = _task.pack(_task.EACH, self._function, chunk)
        self.count += 1
        self._bytes += len(payload)
        accept(self._pool._submit(payload, group=self._group, user=len(payload)))

    def taken(self, ticket):
        self.count -= 1
        self._bytes -= ticket.user


def _chunked(iterable, size):
    iterator = iter(iterable)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


class IMapIterator:
    """Results in the order of the iterable, as they are asked for."""

    _group = 0

    def __init__(self, pool, function, iterable, chunksize):
        self._pool = pool
        self._ready = deque()  # outcomes of a chunk, not yet handed out
        self._tickets = deque()
        self._lock = threading.Lock()
        self._ahead = _Ahead(pool, function, iterable, chunksize, self._group)
        self._ahead.fill(self._tickets.append)

    def __iter__(self):
        return self

    def __next__(self):
        return self.next()

    def next(self, timeout=None):
        """The next result; `multiprocessing.TimeoutError` if it takes longer
        than `timeout` seconds.  An exception is raised at its item's turn, and
        the iteration may go on after it."""
        with self._lock:
            if not self._ready:
                self._take_chunk(timeout)
            success, value = self._ready.popleft()
        if success:
            return value
        raise self._pool._members.explain(value)

    def _take_chunk(self, timeout):
        if self._ahead.count == 0:
            self._end()
        ticket = self._wait(timeout)
        self._ahead.taken(ticket)
        self._ahead.fill(self._tickets.append)
        success, value = _task.outcome(ticket)
        self._ready.extend(value if success else [(False, value)])

    def _end(self):
        error, self._ahead.error = self._ahead.error, None
        raise error or StopIteration

    def _wait(self, timeout):
        if not self._tickets[0].wait(timeout):
            raise TimeoutError
        return self._tickets.popleft()


class IMapUnorderedIterator(IMapIterator):
    """Results in the order of their completion."""

    def __init__(self, pool, function, iterable, chunksize):
        self._group = next(_groups)
        super().__init__(pool, function, iterable, chunksize)

    def _wait(self, timeout):
        try:
            ticket = self._pool._core.next(timeout, self._group)
        except EOFError:
            ticket = None
        if ticket is None:
            raise TimeoutError
        self._tickets.remove(ticket)
        return ticket

    def __del__(self):
        # What nobody will ask for any more must not wait in the pool.
        for ticket in getattr(self, "_tickets", ()):
            ticket.cancel()
        try:
            while self._pool._core.next(0, self._group) is not None:
                pass
        except (AttributeError, EOFError, ValueError):
            pass  # never begun, or the pool is gone already


def _single(values):
    return values[0]


def _flat(values):
    return list(itertools.chain.from_iterable(values))


class WorkerPool:
    """A pool of workers for parallel calls.

    Parameters
    ----------
    workers : int, optional
        How many; by default as many as the program has CPUs to run on, which
        respects affinity masks and container quotas.
    initializer, initargs : callable, tuple
        Called once in each worker before its first task.

    Raises
    ------
    ValueError
        If `workers` is less than 1, or `initializer` or `initargs` can't be
        pickled.

    Leaving a ``with`` block terminates the pool.  A worker that dies takes
    only the task with it that it was running: that one raises
    `WorkerDiedError`, another worker takes its seat, the pool goes on.
    """

    def __init__(self, workers=None, initializer=None, initargs=()):
        self._core = None
        if workers is None:
            workers = _core.cpu_count()
        if workers < 1:
            raise ValueError(f"workers must be at least 1, not {workers}")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        _pickling.check(initializer=initializer, initargs=tuple(initargs))
        _spawner.warm_up()
        self._workers = int(workers)
        self._state = "RUN"
        self._members = _member.Members(
            _member.ForkServerPoolWorker, initializer, tuple(initargs)
        )
        self._core = open_core(self._workers, self._members, "ft-pool")
        self._notifier = Notifier(self._core)
        self._finalizer = util.Finalize(
            self, _end, args=(self._core, self._members), exitpriority=15
        )

    # -- submitting ----------------------------------------------------------

    def _submit(self, payload, notify=False, user=None, group=0):
        self._check_running()
        if notify:
            self._notifier.ensure()
        try:
            return self._core.submit(payload, notify=notify or bool(group), user=user, group=group)
        except RuntimeError as error:
            raise broken(self._members.broken or error) from error

    def _submit_many(self, payloads):
        self._check_running()
        try:
            return self._core.submit_many(payloads)
        except RuntimeError as error:
            raise broken(self._members.broken or error) from error

    def _check_running(self):
        if self._state != "RUN":
            raise ValueError("Pool not running")

    def _async(self, payloads, join, callback, error_callback):
        notified = callback is not None or error_callback is not None
        result = AsyncResult(self, len(payloads), join, callback, error_callback)
        with result._lock:  # the notifier must find all tickets there
            if notified:
                user = result._one_done
                result._tickets = [self._submit(p, True, user) for p in payloads]
            else:
                result._tickets = self._submit_many(payloads)
        if not payloads and notified:
            result._finish()
        return result

    # -- one call ------------------------------------------------------------

    def apply(self, func, args=(), kwds=None):
        """Call ``func(*args, **kwds)`` in a worker and return its result.

        Raises ValueError if they can't be pickled, and whatever `func` raises.
        """
        return self.apply_async(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds=None, callback=None, error_callback=None):
        """Like `apply`, but return an `AsyncResult` at once.

        `callback` is called with the result, `error_callback` with the
        exception, in a thread of this process; they should be quick.
        """
        self._check_running()
        payload = _task.pack(_task.CALL, func, tuple(args), kwds or None)
        return self._async([payload], _single, callback, error_callback)

    # -- many calls ----------------------------------------------------------

    def _map(self, kind, func, iterable, chunksize, callback=None, error_callback=None):
        self._check_running()
        items = iterable if hasattr(iterable, "__len__") else list(iterable)
        chunksize = self._chunksize(len(items), chunksize)
        if not len(items):
            _pickling.check(func=func)
        payloads = [_task.pack(kind, func, chunk) for chunk in _chunked(items, chunksize)]
        return self._async(payloads, _flat, callback, error_callback)

    def _chunksize(self, length, chunksize):
        if chunksize is None:
            chunksize, extra = divmod(length, self._workers * 4)
            chunksize += bool(extra)
            return max(chunksize, 1)
        return _positive(chunksize)

    def map(self, func, iterable, chunksize=None):
        """Return ``[func(x) for x in iterable]``, computed by the workers.

        `chunksize` is how many items travel as one task; by default the
        iterable is cut into four tasks a worker.
        """
        return self._map(_task.MAP, func, iterable, chunksize).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Like `map`, but return an `AsyncResult` at once."""
        return self._map(_task.MAP, func, iterable, chunksize, callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        """Like `map`, with each item unpacked as arguments: ``func(*item)``."""
        return self._map(_task.STARMAP, func, iterable, chunksize).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Like `starmap`, but return an `AsyncResult` at once."""
        return self._map(_task.STARMAP, func, iterable, chunksize, callback, error_callback)

    def imap(self, func, iterable, chunksize=1):
        """An iterator over the results, in order.

        The iterable is consumed as results are asked for, a bounded way
        ahead, so it may be endless.
        """
        return self._imap(IMapIterator, func, iterable, chunksize)

    def imap_unordered(self, func, iterable, chunksize=1):
        """Like `imap`, but results come as soon as they are ready."""
        return self._imap(IMapUnorderedIterator, func, iterable, chunksize)

    def _imap(self, kind, func, iterable, chunksize):
        self._check_running()
        _pickling.check(func=func)
        return kind(self, func, iterable, _positive(chunksize))

    # -- the end -------------------------------------------------------------

    def close(self):
        """Take no more tasks; the workers leave when all are done."""
        if self._state == "RUN":
            self._state = "CLOSE"
            self._core.close()

    def terminate(self):
        """Stop the workers at once; what has not been done is cancelled."""
        self._state = "TERMINATE"
        self._finalizer()

    def join(self):
        """Wait until the workers have left, after `close` or `terminate`."""
        if self._state == "RUN":
            raise ValueError("Pool is still running")
        self._core.join()
        self._notifier.join()
        self._members.reap()

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.terminate()

    def __del__(self):
        if self._core is not None and self._state == "RUN" and warnings is not None:
            warnings.warn(
                f"unclosed running pool {self!r}", ResourceWarning, source=self
            )

    def __reduce__(self):
        raise NotImplementedError("a pool can't be passed to another process or pickled")

    def __repr__(self):
        return f"<{type(self).__name__} state={self._state} workers={self._workers}>"


def _positive(chunksize):
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")
    return int(chunksize)


def _end(core, members):
    core.terminate(_GRACE)
    core.join()
    members.reap()
