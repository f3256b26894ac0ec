# SPDX-License-Identifier: MIT
"""WorkerPoolExecutor on processes: a concurrent.futures.Executor on ft_pool."""

import os
import threading
import time
import weakref
from concurrent import futures

from . import _base, _buffer, _member, _pickling, _pool, _spawner
from ._future import Future

__all__ = ["WorkerPoolExecutor"]

_engines = set()


class _Engine:
    """What an executor has started.  It outlives one that is dropped while calls are
    pending: those are still computed, as the standard library does."""

    def __init__(self, workers, members, tasks_per_worker, retries):
        self.core = _pool.open_core(
            workers, members, "ft-exec", tasks_per_worker, retries
        )
        self._members = members
        self._notifier = _pool.Notifier(self.core, self._end)
        _engines.add(self)
        self._notifier.ensure()

    def close(self):
        self.core.close()

    def join(self):
        self.core.join()
        self._notifier.join()

    def _end(self):
        self.core.join()
        self._members.reap()
        _engines.discard(self)


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
        worker after so many calls.  And `retries`, which they do not know: how
        often a call whose worker died begins anew in another one.
        `thread_name_prefix` and `mp_context` are accepted and have no effect
        here: workers are processes, and they come from this library's own
        spawner.

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

    `terminate_workers` and `kill_workers` are there on every Python, as in
    3.14's ProcessPoolExecutor, but for the calls that are running: their
    futures raise CancelledError, as all others do, where there they raise
    BrokenProcessPool.  Executors on threads have neither.
    """

    def __init__(self, max_workers=None, initializer=None, initargs=(), **kwargs):
        self._retries = _base.retry_count(kwargs.pop("retries", 0))
        self._limit = _base.executor_limit(kwargs)
        self._max_workers = _base.executor_workers(max_workers)
        _base.check_initializer(initializer, tuple(initargs))
        _spawner.warm_up()
        self._members = _member.Members(
            _member.ForkServerProcess, initializer, tuple(initargs)
        )
        self._lock = threading.Lock()
        self._engine = None
        self._core = None
        self._shutdown = False

    def _open(self):
        with self._lock:
            if self._shutdown:
                raise RuntimeError("cannot schedule new futures after shutdown")
            if self._core is None:
                self._engine = _Engine(
                    self._max_workers, self._members, self._limit, self._retries
                )
                self._core = self._engine.core
                dropped = weakref.finalize(self, self._engine.close)
                dropped.atexit = False
            return self._core

    def submit(self, fn, /, *args, **kwargs):
        """Have ``fn(*args, **kwargs)`` called in a worker.

        Returns a `concurrent.futures.Future`.  Raises ValueError if the call
        can't be pickled, RuntimeError after `shutdown`, and BrokenProcessPool
        once no worker can be started.
        """
        return (self._core or self._open()).future(Future, fn, args, kwargs)

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """An iterator like ``map(fn, *iterables)``, computed by the workers.

        `chunksize` items travel as one task.  Raises TimeoutError from the
        iterator if a result is not there `timeout` seconds after this call.

        All of the iterables is read at once, or with `buffersize` as much as
        makes so many tasks ahead of the results that have been asked for.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        _buffer.check(buffersize)
        deadline = None if timeout is None else timeout + time.monotonic()
        _pickling.check(fn=fn)
        if buffersize is not None:
            return _buffer.results(self, fn, iterables, chunksize, buffersize, deadline)
        core = self._core or self._open()
        items = zip(*iterables)
        if chunksize == 1:
            return _results([core.future(Future, fn, args, None) for args in items], deadline)
        chunks = _pool._chunked(items, chunksize)
        pending = [core.future_each(Future, fn, chunk) for chunk in chunks]
        return _flat(_results(pending, deadline))

    def terminate_workers(self):
        """Shut down at once: cancel every call, running or not, and end the workers.

        They get SIGTERM, and those that are left a second later SIGKILL.
        Returns without waiting for their end; `shutdown` does that.
        """
        self._stop(_pool._GRACE)

    def kill_workers(self):
        """Shut down at once, as `terminate_workers`, with SIGKILL from the start."""
        self._stop(0)

    def _stop(self, grace):
        self.shutdown(wait=False, cancel_futures=True)
        if self._engine is not None:
            self._engine.core.terminate(grace)

    def shutdown(self, wait=True, cancel_futures=False):
        """Take no more calls, and free the workers once all are done.

        With `wait`, return only then.  With `cancel_futures`, drop calls that
        have not started.
        """
        with self._lock:
            self._shutdown = True
            self._core = None
            engine = self._engine
        if engine is None:
            return
        if cancel_futures:
            engine.core.cancel()
        engine.close()
        if wait:
            engine.join()


# What has been handed out is kept neither by the generators nor by a future.


def _flat(chunks):
    for values in chunks:
        values.reverse()
        while values:
            yield values.pop()


def _results(pending, deadline):
    """Yield the results in order; cancel what is left when dropped."""
    pending.reverse()
    try:
        while pending:
            yield _buffer.value(pending.pop(), deadline)
    finally:
        for future in pending:
            future.cancel()


def _shutdown_all():
    """As the standard library does: futures that are pending when the
    interpreter ends are still computed."""
    for engine in list(_engines):
        engine.close()
    for engine in list(_engines):
        engine.join()


threading._register_atexit(_shutdown_all)
os.register_at_fork(after_in_child=_engines.clear)
