# SPDX-License-Identifier: MIT
"""WorkerPool on processes: multiprocessing.pool.Pool's interface on ft_pool."""

import itertools
import sys
import threading
from collections import deque
from multiprocessing import TimeoutError, util

from . import _base, _core, _member, _pickling, _spawner, _task
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


class WorkerPool(_base.WorkerPool):
    __doc__ = _base.WorkerPool.__doc__

    def __init__(self, workers=None, initializer=None, initargs=()):
        super().__init__(workers, initializer, initargs)
        _spawner.warm_up()
        self._members = _member.Members(
            _member.ForkServerPoolWorker, initializer, self._initargs
        )
        self._core = open_core(self._workers, self._members, "ft-pool")
        self._state = "RUN"
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

    # -- what the base class asks for ----------------------------------------

    def _call(self, func, args, kwds, callback, error_callback):
        payload = _task.pack(_task.CALL, func, args, kwds)
        return self._async([payload], _single, callback, error_callback)

    def _map(self, star, func, items, chunksize, callback, error_callback):
        if not len(items):
            _pickling.check(func=func)
        kind = _task.STARMAP if star else _task.MAP
        payloads = [_task.pack(kind, func, chunk) for chunk in _chunked(items, chunksize)]
        return self._async(payloads, _flat, callback, error_callback)

    def _imap(self, ordered, func, iterable, chunksize):
        _pickling.check(func=func)
        kind = IMapIterator if ordered else IMapUnorderedIterator
        return kind(self, func, iterable, chunksize)

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
