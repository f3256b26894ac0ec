# SPDX-License-Identifier: MIT
"""WorkerPoolExecutor on threads: a concurrent.futures.Executor on Jobs."""

import itertools
import threading
import time
import weakref
from concurrent import futures

from . import _base, _buffer, _core, _pickling, _thread_member
from ._future import Future
from ._thread_pool import feed

__all__ = ["WorkerPoolExecutor"]

_numbers = itertools.count()
_open_executors = weakref.WeakSet()


class WorkerPoolExecutor(futures.Executor):
    """Runs calls in a pool of workers and returns `concurrent.futures.Future`s.

    Parameters
    ----------
    max_workers : int, optional
        How many workers; by default as many as the program has CPUs.
    initializer, initargs : callable, tuple
        Called once in each worker before its first call.
    **kwargs
        What the standard executors take: `thread_name_prefix` is what the
        workers' names begin with, `max_tasks_per_child` replaces a worker
        after so many calls.  `mp_context` is accepted and has no effect here:
        workers are threads.

    Raises
    ------
    ValueError
        If `max_workers` is less than 1, or `initializer` or `initargs` can't
        be pickled.
    TypeError
        For any other keyword.

    Workers start with the first call, which must be picklable as on processes,
    but gets its arguments themselves, and no copies.
    """

    def __init__(self, max_workers=None, initializer=None, initargs=(), **kwargs):
        prefix = kwargs.pop("thread_name_prefix", None)
        _base.retry_count(kwargs.pop("retries", 0))
        self._limit = _base.executor_limit(kwargs)
        self._max_workers = _base.executor_workers(max_workers)
        _base.check_initializer(initializer, tuple(initargs))
        self._lock = threading.Lock()
        self._shutdown = False
        self._jobs = _core.Jobs(self._max_workers, _check, Future)
        self._members = _thread_member.Members(
            self._jobs,
            initializer,
            tuple(initargs),
            _report,
            limit=self._limit,
            prefix=prefix or f"ThreadPoolExecutor-{next(_numbers)}",
            daemon=False,
        )
        self._open = False

    def _ensure_open(self):
        with self._lock:
            if self._open:
                return
            if self._shutdown:
                raise _refusal()
            self._members.start(self._max_workers)
            _open_executors.add(self)
            self._open = True

    def submit(self, fn, /, *args, **kwargs):
        """Have ``fn(*args, **kwargs)`` called in a worker.

        Returns a `concurrent.futures.Future`.  Raises ValueError if the call
        can't be pickled, RuntimeError after `shutdown`, and BrokenThreadPool
        once the initializer has failed.
        """
        if not self._open:
            self._ensure_open()
        try:
            return self._jobs.submit(fn, args, kwargs)
        except ValueError:
            if self._shutdown:
                raise _refusal() from None
            raise

    def map(self, fn, *iterables, timeout=None, chunksize=1, buffersize=None):
        """An iterator like ``map(fn, *iterables)``, computed by the workers.

        A worker takes `chunksize` items at a time.  Raises TimeoutError from
        the iterator if a result is not there `timeout` seconds after this call.

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
        items = list(zip(*iterables))
        if not self._open:
            self._ensure_open()
        try:
            results = self._jobs.stream(
                fn, items, True, chunksize, True, len(items) + 1, bool(self._limit), True
            )
        except ValueError:
            raise _refusal() from None
        feed(results)
        return _each(results, deadline)

    def shutdown(self, wait=True, cancel_futures=False):
        """Take no more calls, and free the workers once all are done.

        With `wait`, return only then.  With `cancel_futures`, drop calls that
        have not started.
        """
        with self._lock:
            self._shutdown = True
        if cancel_futures:
            self._jobs.terminate()
        else:
            self._jobs.close()
        if wait:
            self._jobs.hurry()
            self._members.join()

    def __del__(self):
        jobs = getattr(self, "_jobs", None)
        if jobs is not None:
            jobs.close()


def _check(fn, args, kwargs):
    _pickling.check(fn=fn, args=args, kwargs=kwargs)


def _refusal():
    return RuntimeError("cannot schedule new futures after shutdown")


def _each(results, deadline):
    """Yield from the results; the first exception ends it, and the calls."""
    try:
        if deadline is None:
            yield from results
            return
        from multiprocessing import TimeoutError as TimedOut

        while True:
            try:
                value = results.next(deadline - time.monotonic())
            except StopIteration:
                return
            except TimedOut:
                raise futures.TimeoutError() from None
            yield value
    finally:
        results.cancel()


def _report(error):
    futures._base.LOGGER.critical("Exception in initializer:", exc_info=error)


def _shutdown_all():
    """As the standard library does: futures that are pending when the
    interpreter ends are still computed."""
    for executor in list(_open_executors):
        executor.shutdown()


threading._register_atexit(_shutdown_all)
