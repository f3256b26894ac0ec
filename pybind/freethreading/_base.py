# SPDX-License-Identifier: MIT
"""What WorkerPool is on both backends: its methods, their defaults and checks.

A backend derives from `WorkerPool` here and says how it calls (`_call`, `_map`,
`_imap`) and how it ends (`_close`, `_stop`, `_await`).
"""

import operator
import warnings

from . import _core, _pickling

__all__ = ["WorkerPool"]

#: Whether the threads that serve a pool are daemons.  Other interpreters than the
#: main one can only end once no thread is left.
DAEMONS = _core.is_main_interpreter()


def worker_count(name, workers):
    """How many workers an argument asks for; by default as many as there are CPUs."""
    if workers is None:
        return _core.cpu_count()
    if workers < 1:
        raise ValueError(f"{name} must be at least 1, not {workers}")
    return operator.index(workers)


def retry_count(retries):
    """How often a task may begin anew after its worker's death."""
    if not isinstance(retries, int) or retries < 0:
        raise ValueError(f"retries must be an integer of at least 0, not {retries!r}")
    return retries


def check_initializer(initializer, initargs):
    if initializer is not None and not callable(initializer):
        raise TypeError("initializer must be a callable")
    _pickling.check(initializer=initializer, initargs=initargs)


# What the standard executors take, and has no effect here.
_IGNORED = ("thread_name_prefix", "mp_context")


def executor_workers(workers):
    """How many workers an executor's `max_workers` asks for."""
    if workers is None:
        return _core.cpu_count()
    if workers <= 0:
        raise ValueError("max_workers must be greater than 0")
    return int(workers)


def executor_limit(kwargs):
    """After how many calls an executor replaces a worker, 0 for never; empties kwargs."""
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


class WorkerPool:
    """A pool of workers for parallel calls.

    Parameters
    ----------
    workers : int, optional
        How many; by default as many as the program has CPUs to run on, which
        respects affinity masks and container quotas.
    initializer, initargs : callable, tuple
        Called once in each worker before its first task.
    retries : int, optional
        How often a task whose worker died begins anew in another one, before
        it raises `WorkerDiedError`; by default never.  What it had done by then
        it does again.  Threads don't die.

    Raises
    ------
    ValueError
        If `workers` is less than 1, or `initializer` or `initargs` can't be
        pickled.

    Leaving a ``with`` block terminates the pool.  A worker that dies takes
    only the task with it that it was running: that one raises
    `WorkerDiedError`, another worker takes its seat, the pool goes on.
    """

    _core = None
    _state = "NEW"

    def __init__(self, workers=None, initializer=None, initargs=(), *, retries=0):
        self._workers = worker_count("workers", workers)
        self._retries = retry_count(retries)
        self._initargs = tuple(initargs)
        self._initializer = initializer
        check_initializer(initializer, self._initargs)

    def _check_running(self):
        if self._state != "RUN":
            raise ValueError("Pool not running")

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
        return self._call(func, tuple(args), kwds or None, callback, error_callback)

    # -- many calls ----------------------------------------------------------

    def _many(self, star, func, iterable, chunksize, callback=None, error_callback=None):
        self._check_running()
        items = iterable if hasattr(iterable, "__len__") else list(iterable)
        chunksize = self._chunksize(len(items), chunksize)
        return self._map(star, func, items, chunksize, callback, error_callback)

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
        return self._many(False, func, iterable, chunksize).get()

    def map_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Like `map`, but return an `AsyncResult` at once."""
        return self._many(False, func, iterable, chunksize, callback, error_callback)

    def starmap(self, func, iterable, chunksize=None):
        """Like `map`, with each item unpacked as arguments: ``func(*item)``."""
        return self._many(True, func, iterable, chunksize).get()

    def starmap_async(self, func, iterable, chunksize=None, callback=None, error_callback=None):
        """Like `starmap`, but return an `AsyncResult` at once."""
        return self._many(True, func, iterable, chunksize, callback, error_callback)

    def imap(self, func, iterable, chunksize=1):
        """An iterator over the results, in order.

        The iterable is consumed as results are asked for, a bounded way
        ahead, so it may be endless.
        """
        self._check_running()
        return self._imap(True, func, iterable, _positive(chunksize))

    def imap_unordered(self, func, iterable, chunksize=1):
        """Like `imap`, but results come as soon as they are ready."""
        self._check_running()
        return self._imap(False, func, iterable, _positive(chunksize))

    # -- the end -------------------------------------------------------------

    def close(self):
        """Take no more tasks; the workers leave when all are done."""
        if self._state == "RUN":
            self._state = "CLOSE"
            self._close()

    def terminate(self):
        """Stop the workers at once; what has not been done is cancelled."""
        self._state = "TERMINATE"
        self._stop()

    def join(self):
        """Wait until the workers have left, after `close` or `terminate`."""
        if self._state == "RUN":
            raise ValueError("Pool is still running")
        self._await()

    def __enter__(self):
        self._check_running()
        return self

    def __exit__(self, exc_type, exc, traceback):
        self.terminate()

    def __del__(self):
        if self._state == "RUN" and warnings is not None:
            warnings.warn(
                f"unclosed running multiprocessing pool {self!r}", ResourceWarning, source=self
            )

    def __reduce__(self):
        raise NotImplementedError("a pool can't be passed to another process or pickled")

    def __repr__(self):
        return f"<{type(self).__name__} state={self._state} workers={self._workers}>"


def _positive(chunksize):
    if chunksize < 1:
        raise ValueError(f"Chunksize must be 1+, not {chunksize}")
    return int(chunksize)
