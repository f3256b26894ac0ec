# SPDX-License-Identifier: MIT
"""WorkerPool on processes: multiprocessing.pool.Pool's interface on ft_pool."""

import functools
import itertools
import sys
import threading
import weakref
from multiprocessing import TimeoutError, util

from . import _base, _core, _member, _pickling, _spawner, _task

__all__ = ["AsyncResult", "WorkerPool"]

# Of an interpreter whose end waits for their notifiers.
_open_pools = weakref.WeakSet()

_GRACE = 1.0  # seconds between SIGTERM and SIGKILL of a terminated worker


class Notifier:
    """The thread that hands finished tasks to whoever asked to be called, and looks
    after the pool while nobody waits for anything.

    Results that are waited for are collected by the waiter itself.
    """

    def __init__(self, core, end=None):
        self._core = core
        self._end = end  # called by the thread when no task is left
        self._thread = None
        self._lock = threading.Lock()

    def ensure(self):
        if self._thread is not None:
            return
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(
                    target=_notify, args=(self._core, self._end), name="freethreading-notifier"
                )
                self._thread.daemon = _base.DAEMONS
                self._thread.start()
                self._end = None  # it may well refer to us

    def join(self):
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()


def _notify(core, end):
    while True:
        try:
            ticket = core.next()
        except EOFError:
            break
        except Exception:  # no worker can be started: what waits is told why
            continue
        if ticket is None:
            continue
        try:
            if isinstance(ticket, _core.Future):
                ticket._settle()
            else:
                ticket.user(ticket)
        except BaseException:
            sys.excepthook(*sys.exc_info())
        del ticket
    if end is not None:
        end()


def open_core(workers, members, name, tasks_per_worker=0, retries=0):
    """The native pool, with its workers on their way."""
    return _core.Pool(
        workers,
        members.start,
        name=name,
        place=_member.place(workers),
        tasks_per_worker=tasks_per_worker,
        retries=retries,
        pack=_task.pack,
        failure=functools.partial(_task.failure, members),
    )


class AsyncResult(_core.Result):
    """What will come of a task: returned by the ``*_async`` methods."""

    __slots__ = ()


class _CallingResult:
    """The same for those who asked to be called: complete once they were."""

    def __init__(self, pool, join, callback, error_callback):
        self._pool = pool
        self._tickets = ()
        self._join = join
        self._callback = callback
        self._error_callback = error_callback
        self._lock = threading.Lock()
        self._outcome = None
        self._called = threading.Event()

    def _one_done(self, ticket):
        with self._lock:
            self._left -= 1
            if self._left:
                return
        self._finish()

    def _finish(self):
        outcomes = [ticket.outcome() for ticket in self._tickets]
        failed = next((o for o in outcomes if not o[0]), None)
        self._outcome = failed or (True, self._join([v for _, v in outcomes]))
        self._tickets = ()
        success, value = self._outcome
        callback = self._callback if success else self._error_callback
        try:
            if callback is not None:
                callback(value)
        finally:
            self._called.set()

    def ready(self):
        """Whether the task has ended, well or not."""
        return self._called.is_set()

    def successful(self):
        """Whether it ended without an exception.

        Raises ValueError if it has not ended yet.
        """
        if not self.ready():
            raise ValueError(f"{self!r} not ready")
        return self._outcome[0]

    def wait(self, timeout=None):
        """Wait until it has ended, for at most `timeout` seconds."""
        self._called.wait(timeout)

    def get(self, timeout=None):
        """Wait, then return the result or raise what the task raised.

        Raises `multiprocessing.TimeoutError` after `timeout` seconds, and
        `WorkerDiedError` if the worker died while it ran the task.
        """
        if not self._called.wait(timeout):
            raise TimeoutError
        success, value = self._outcome
        if success:
            return value
        raise value


def _chunked(iterable, size):
    iterator = iter(iterable)
    while chunk := tuple(itertools.islice(iterator, size)):
        yield chunk


class IMapIterator(_core.Flow):
    """Results of ``imap`` and ``imap_unordered``, as they are asked for."""

    __slots__ = ()


def _single(values):
    return values[0]


def _flat(values):
    return list(itertools.chain.from_iterable(values))


class WorkerPool(_base.WorkerPool):
    __doc__ = _base.WorkerPool.__doc__

    def __init__(self, workers=None, initializer=None, initargs=(), *, retries=0):
        super().__init__(workers, initializer, initargs, retries=retries)
        _spawner.warm_up()
        self._members = _member.Members(
            _member.ForkServerPoolWorker, initializer, self._initargs
        )
        self._core = open_core(
            self._workers, self._members, "ft-pool", retries=self._retries
        )
        self._state = "RUN"
        self._notifier = Notifier(self._core)
        self._finalizer = util.Finalize(
            self, _end, args=(self._core, self._members), exitpriority=15
        )
        if not _base.DAEMONS:
            _open_pools.add(self)

    # -- what the base class asks for ----------------------------------------

    def apply(self, func, args=(), kwds=None):
        """Call ``func(*args, **kwds)`` in a worker and return its result.

        Raises ValueError if they can't be pickled, and whatever `func` raises.
        """
        self._check_running()
        return self._core.apply(func, args if type(args) is tuple else tuple(args), kwds)

    def _call(self, func, args, kwds, callback, error_callback):
        self._notifier.ensure()
        if callback is None and error_callback is None:
            return self._core.call(AsyncResult, self, func, args, kwds)
        result = _CallingResult(self, _single, callback, error_callback)
        with result._lock:
            ticket = self._core.ticket(
                _task.CALL, func, args, kwds, True, result._one_done, 0
            )
            result._left = 1
            result._tickets = [ticket]
        return result

    def _map(self, star, func, items, chunksize, callback, error_callback):
        if not len(items):
            _pickling.check(func=func)
        kind = _task.STARMAP if star else _task.MAP
        if callback is None and error_callback is None:
            return self._core.map(AsyncResult, self, kind, func, items, chunksize)
        return self._map_calling(kind, func, items, chunksize, callback, error_callback)

    def _map_calling(self, kind, func, items, chunksize, callback, error_callback):
        self._notifier.ensure()
        result = _CallingResult(self, _flat, callback, error_callback)
        chunks = list(_chunked(items, chunksize))
        with result._lock:  # the notifier must find all tickets there
            result._left = len(chunks)
            result._tickets = [
                self._core.ticket(kind, func, chunk, None, True, result._one_done, 0)
                for chunk in chunks
            ]
        if not chunks:
            result._finish()
        return result

    def _imap(self, ordered, func, iterable, chunksize):
        _pickling.check(func=func)
        ahead = min(2 * self._workers + 1, 1024)
        return self._core.flow(IMapIterator, self, ordered, func, iterable, chunksize, ahead)

    def _close(self):
        self._core.close()

    def _stop(self):
        self._finalizer()

    def _await(self):
        self._core.join()
        self._notifier.join()
        self._members.reap()


def _end(core, members):
    core.terminate(_GRACE)
    core.join()
    members.reap()


def _end_all():
    for pool in list(_open_pools):
        pool._finalizer()


if not _base.DAEMONS:
    threading._register_atexit(_end_all)
