# SPDX-License-Identifier: MIT
"""WorkerPoolExecutor on processes: a concurrent.futures.Executor on ft_pool."""

import threading
import time
import weakref
from concurrent import futures
from concurrent.futures import _base

from . import _core, _member, _pickling, _pool, _spawner, _task
from ._errors import broken

__all__ = ["WorkerPoolExecutor"]

_IGNORED = ("thread_name_prefix", "mp_context")

_open_executors = weakref.WeakSet()


class _Future(futures.Future):
    """A Future that takes its cancellation to the pool."""

    _ticket = None

    def cancel(self):
        """Cancel the call if it has not started.  True if it never will."""
        with self._condition:
            if self._state in (_base.CANCELLED, _base.CANCELLED_AND_NOTIFIED):
                return True
            if self._state != _base.PENDING or not self._ticket.cancel():
                return False
        return super().cancel()

    def running(self):
        """Whether a worker is running it now."""
        with self._condition:
            return self._state == _base.PENDING and self._ticket.worker_pid != 0

    def _settle(self, ticket):
        if not self.set_running_or_notify_cancel():
            return
        success, value = _task.outcome(ticket)
        if success:
            self.set_result(value)
        elif isinstance(value, futures.CancelledError):
            self.set_exception(value)
        else:
            self.set_exception(self._executor_explain(value))
        self._ticket = _DONE


class _Done:
    worker_pid = 0

    @staticmethod
    def cancel():
        return False


_DONE = _Done()


class WorkerPoolExecutor(futures.Executor):
    """Runs calls in a pool of workers and returns `concurrent.futures.Future`s.

    Parameters
    ----------
    max_workers : int, optional
        How many workers; by default as many as the program has CPUs.
    initializer, initargs : callable, tuple
        Called once in each worker before its first call.
    **kwargs
        What the standard executors take: `max_tasks_per_child` replaces a
        worker after so many calls.  `thread_name_prefix` and `mp_context` are
        accepted and have no effect here: workers are processes, and they come
        from this library's own spawner.

    Raises
    ------
    ValueError
        If `max_workers` is less than 1, or `initializer` or `initargs` can't
        be pickled.
    TypeError
        For any other keyword.

    Workers start with the first `submit`.  A worker that dies takes only the
    call with it that it was running: that future raises `WorkerDiedError`
    (a BrokenProcessPool), another worker takes the seat.
    """

    def __init__(self, max_workers=None, initializer=None, initargs=(), **kwargs):
        if max_workers is None:
            max_workers = _core.cpu_count()
        if max_workers <= 0:
            raise ValueError("max_workers must be greater than 0")
        if initializer is not None and not callable(initializer):
            raise TypeError("initializer must be a callable")
        self._tasks_per_worker = _tasks_per_worker(kwargs)
        _pickling.check(initializer=initializer, initargs=tuple(initargs))
        _spawner.warm_up()
        self._max_workers = int(max_workers)
        self._members = _member.Members(
            _member.ForkServerProcess, initializer, tuple(initargs)
        )
        self._lock = threading.Lock()
        self._core = None
        self._notifier = None
        self._shutdown = False
        self._pending = weakref.WeakSet()

    def _ensure_open(self):
        if self._core is None:
            self._core = _pool.open_core(
                self._max_workers, self._members, "ft-exec", self._tasks_per_worker
            )
            self._notifier = _pool.Notifier(self._core)
            self._notifier.ensure()
            _open_executors.add(self)

    def submit(self, fn, /, *args, **kwargs):
        """Have ``fn(*args, **kwargs)`` called in a worker.

        Returns a `concurrent.futures.Future`.  Raises ValueError if the call
        can't be pickled, RuntimeError after `shutdown`, and BrokenProcessPool
        once no worker can be started.
        """
        return self._submit(_task.pack(_task.CALL, fn, args, kwargs or None))

    def _submit(self, payload):
        future = _Future()
        future._executor_explain = self._members.explain
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            self._ensure_open()
            try:
                future._ticket = self._core.submit(payload, notify=True, user=future._settle)
            except RuntimeError as error:
                raise broken(self._members.broken or error) from error
            self._pending.add(future)
        return future

    def map(self, fn, *iterables, timeout=None, chunksize=1):
        """An iterator like ``map(fn, *iterables)``, computed by the workers.

        `chunksize` items travel as one task.  Raises TimeoutError from the
        iterator if a result is not there `timeout` seconds after this call.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        deadline = None if timeout is None else timeout + time.monotonic()
        _pickling.check(fn=fn)
        chunks = _pool._chunked(zip(*iterables), chunksize)
        pending = [self._submit(_task.pack(_task.STARMAP, fn, chunk)) for chunk in chunks]
        return _results(pending, deadline)

    def shutdown(self, wait=True, *, cancel_futures=False):
        """Take no more calls, and free the workers once all are done.

        With `wait`, return only then.  With `cancel_futures`, drop calls that
        have not started.
        """
        with self._lock:
            self._shutdown = True
            core = self._core
        if core is None:
            return
        if cancel_futures:
            for future in list(self._pending):
                future.cancel()
        core.close()
        if wait:
            self._join()

    def _join(self):
        self._core.join()
        self._notifier.join()
        self._members.reap()


def _results(pending, deadline):
    """Yield from the chunks in order; cancel what is left when dropped."""
    pending.reverse()
    try:
        while pending:
            future = pending.pop()
            try:
                left = None if deadline is None else deadline - time.monotonic()
                values = future.result(left)
            finally:
                future.cancel()
            yield from values
    finally:
        for future in pending:
            future.cancel()


def _tasks_per_worker(kwargs):
    limit = kwargs.pop("max_tasks_per_child", None)
    for name in _IGNORED:
        kwargs.pop(name, None)
    if kwargs:
        name = next(iter(kwargs))
        raise TypeError(f"WorkerPoolExecutor() got an unexpected keyword argument {name!r}")
    if limit is None:
        return 0
    if not isinstance(limit, int):
        raise TypeError("max_tasks_per_child must be an integer")
    if limit <= 0:
        raise ValueError("max_tasks_per_child must be >= 1")
    return limit


def _shutdown_all():
    """As the standard library does: futures that are pending when the
    interpreter ends are still computed."""
    for executor in list(_open_executors):
        executor.shutdown()


threading._register_atexit(_shutdown_all)
