# SPDX-License-Identifier: MIT
"""Pool workers as threads: who serves the queue of a pool's jobs."""

import sys
import threading

from . import _core, _thread
from ._errors import BrokenThreadPool

__all__ = ["Members"]


class Member(_thread.Worker):
    """A thread of a pool, named as the standard library names it."""

    def __init__(self, members, number, name, daemon):
        threading.Thread.__init__(self, target=worker, name=name, daemon=daemon)
        self._args = (members, number)
        self._take(_core.ThreadHandle())


def worker(members, number):
    members.serve(number)


class Members:
    """The threads of one pool.

    It knows nothing of the pool, so that one that is forgotten can end them.
    `report(error)` is called in a thread whose initializer raised.
    """

    def __init__(self, jobs, initializer, initargs, report, *, limit=0, prefix=None, daemon=True):
        self._jobs = jobs
        self._initializer = initializer
        self._initargs = initargs
        self._report = report
        self._limit = limit
        self._prefix = prefix
        self._daemon = daemon
        self._lock = threading.Lock()
        self._threads = {}
        self._hired = 0
        self._present = 0
        self._last = None

    def start(self, count):
        """Start the threads, or none."""
        try:
            for number in range(count):
                self._hire(number)
        except BaseException:
            self._jobs.terminate()
            raise

    def _hire(self, number):
        with self._lock:
            name = self._prefix and f"{self._prefix}_{self._hired}"
            thread = Member(self, number, name, self._daemon)
            thread.start()
            self._threads[number] = thread
            self._hired += 1
            self._present += 1

    # -- in a thread ---------------------------------------------------------

    def serve(self, number):
        """A thread's life."""
        try:
            if self._begin() and self._jobs.serve(number, self._limit):
                self._succeed(number)
        finally:
            self._leave()

    def _begin(self):
        if self._initializer is None:
            return True
        try:
            self._initializer(*self._initargs)
        except BaseException as error:
            self._report(error)
            self._jobs.give_up(
                BrokenThreadPool(
                    "the pool is broken: the initializer raised an exception in a worker"
                    f" ({error!r})"
                )
            )
            return False
        return True

    def _succeed(self, number):
        try:
            self._hire(number)
        except BaseException as error:
            # The others go on; with none left, nothing would ever be done.
            sys.excepthook(type(error), error, error.__traceback__)
            with self._lock:
                alone = self._present == 1
            if alone:
                self._jobs.give_up(
                    BrokenThreadPool(f"the pool is broken: no worker can be started ({error})")
                )

    def _leave(self):
        with self._lock:
            self._present -= 1
            last = self._last if not self._present else None
        if last is not None:
            last()

    # -- for the pool --------------------------------------------------------

    def at_last(self, function):
        """Call function() when the last thread leaves, or now if it has left."""
        with self._lock:
            if self._present:
                self._last = function
                return
        function()

    def terminate(self):
        """Drop what has not started.  The last thread has not left before that."""
        with self._lock:
            self._present += 1
        try:
            self._jobs.terminate()
        finally:
            self._leave()

    def join(self):
        """Wait until all have left, after their jobs were closed."""
        while thread := self._any():
            thread.join()

    def _all(self):
        with self._lock:
            return list(self._threads.items())

    def _any(self):
        return next((thread for _, thread in self._all() if thread.is_alive()), None)
