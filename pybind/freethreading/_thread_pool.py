# SPDX-License-Identifier: MIT
"""WorkerPool on threads: multiprocessing.pool.ThreadPool's interface on Jobs."""

import atexit
import queue
import sys
import threading
import traceback
import weakref

from . import _base, _core, _pickling, _thread_member

__all__ = ["WorkerPool"]

_open_pools = weakref.WeakSet()


class _Callbacks:
    """The thread that calls the callbacks of a pool, one after the other.

    Exists only once somebody has given one.
    """

    def __init__(self, members):
        self._members = members
        self._lock = threading.Lock()
        self._results = None
        self._thread = None

    def ensure(self):
        """What to tell a worker: where it puts its result."""
        if self._results is None:
            self._begin()
        return self._results.put

    def _begin(self):
        with self._lock:
            if self._results is not None:
                return
            results = queue.SimpleQueue()
            self._thread = threading.Thread(
                target=_settle, args=(results,), name="freethreading-callbacks", daemon=_base.DAEMONS
            )
            self._thread.start()
            self._members.at_last(lambda: results.put(None))
            self._results = results

    def join(self):
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join()


def _settle(results):
    while (result := results.get()) is not None:
        try:
            result.settle()
        except BaseException:
            sys.excepthook(*sys.exc_info())
        del result


def feed(results):
    """Give a stream the thread that reads its iterable, if it wants one."""
    if results.feeder is not None:
        feeder = threading.Thread(
            target=results.feeder.feed, name="freethreading-feeder", daemon=_base.DAEMONS
        )
        feeder.start()


def _check(func, args, kwds):
    _pickling.check(func=func, args=args, kwds=kwds)


class WorkerPool(_base.WorkerPool):
    __doc__ = _base.WorkerPool.__doc__

    def __init__(self, workers=None, initializer=None, initargs=(), *, retries=0):
        super().__init__(workers, initializer, initargs, retries=retries)
        self._jobs = _core.Jobs(self._workers, _check, _core.Future)
        self._members = _thread_member.Members(
            self._jobs,
            initializer,
            self._initargs,
            traceback.print_exception,
            daemon=_base.DAEMONS,
        )
        self._members.start(self._workers)
        self._callbacks = _Callbacks(self._members)
        self._state = "RUN"
        _open_pools.add(self)

    # -- what the base class asks for ----------------------------------------

    def _notify(self, callback, error_callback):
        if callback is None and error_callback is None:
            return None
        return self._callbacks.ensure()

    def apply(self, func, args=(), kwds=None):
        return self._jobs.call(func, args, kwds).get()

    def apply_async(self, func, args=(), kwds=None, callback=None, error_callback=None):
        if callback is None and error_callback is None:
            return self._jobs.call(func, args, kwds)
        notify = self._callbacks.ensure()
        return self._jobs.call(func, args, kwds, notify, callback, error_callback)

    apply.__doc__ = _base.WorkerPool.apply.__doc__
    apply_async.__doc__ = _base.WorkerPool.apply_async.__doc__

    def _map(self, star, func, items, chunksize, callback, error_callback):
        _pickling.check(func=func)
        notify = self._notify(callback, error_callback)
        return self._jobs.batch(func, items, star, chunksize, notify, callback, error_callback)

    def _imap(self, ordered, func, iterable, chunksize):
        _pickling.check(func=func)
        results = self._jobs.stream(func, iterable, ordered, chunksize, owner=self)
        feed(results)
        return results

    def _close(self):
        self._jobs.close()

    def _stop(self):
        self._members.terminate()

    def _await(self):
        self._jobs.hurry()
        self._members.join()
        self._callbacks.join()

    def __del__(self):
        super().__del__()
        if self._state == "RUN":
            self._jobs.close()


def _terminate_all():
    for pool in list(_open_pools):
        pool.terminate()


# Before threads fall silent in the middle of what they do, or are waited for.
if _base.DAEMONS:
    atexit.register(_terminate_all)
else:
    threading._register_atexit(_terminate_all)
