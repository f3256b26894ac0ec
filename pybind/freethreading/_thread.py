# SPDX-License-Identifier: MIT
"""Worker as a thread: a `threading.Thread` whose OS thread libfreethreading makes."""

import atexit
import itertools
import os
import sys
import threading

from . import _core, _pickling

# Since 3.13 a Thread asks an object, under the second of these names and since
# 3.14 under the first, whether it is done and lets it do the joining, and anything
# with those two methods serves.  Before, the thread itself leaves a lock behind
# that its thread state releases at its end, and whoever has started it must wait
# until it has done so.
_NAMES = ("_os_thread_handle", "_handle")
_HANDLE = next((name for name in _NAMES if hasattr(threading.main_thread(), name)), None)

# Since 3.14 a thread runs in a context of its own; before, the name is anybody's.
_CONTEXT = hasattr(sys.flags, "thread_inherit_context")

_turns = itertools.count()


class Worker(threading.Thread):
    """An activity that runs in a thread of its own.

    Parameters
    ----------
    group : None
        Always None, as for `threading.Thread`.
    target : callable, optional
        What `run` calls.  A subclass may override `run` instead.
    name : str, optional
        For people and logs; the kernel shows its first 15 bytes.  The default
        is what `threading.Thread` would choose, ``Thread-N (target)``.
    args, kwargs : tuple, dict
        The arguments that `run` gives to `target`.
    daemon : bool, optional
        The program does not wait for a daemonic worker at its end; it waits
        for any other.  The default is what the current worker is.

    Raises
    ------
    ValueError
        If `target`, `args` or `kwargs` can't be pickled, naming which.  They
        must be, on every backend, so that a program that works on one works
        on the other.  A thread gets the objects themselves, no copies.

    Beyond the common part (`start`, `join`, `is_alive`, `name`, `daemon`) a
    thread worker has what `threading.Thread` has, such as `ident` and
    `native_id`, and since Python 3.14 the argument `context`.

    Examples
    --------
    >>> w = Worker(target=print, args=("hello",))  # doctest: +SKIP
    >>> w.start(); w.join()                        # doctest: +SKIP
    hello
    """

    def __init__(
        self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None, **context
    ):
        super().__init__(group, target, name, args, kwargs, daemon=daemon, **context)
        _pickling.check(target=target, args=args, kwargs=kwargs)
        self._take(_core.ThreadHandle())

    def _take(self, handle):
        self._handle = self._os_thread_handle = handle

    def start(self):
        """Start the worker: `run` begins in a thread of its own.

        Raises RuntimeError if it has been started before, or if the system
        refuses another thread.
        """
        if not self._initialized:
            raise RuntimeError("thread.__init__() not called")
        with threading._active_limbo_lock:
            if self in threading._limbo or self._started.is_set():
                raise RuntimeError("threads can only be started once")
            threading._limbo[self] = self
            self._turn = next(_turns)
        try:
            self._inherit_context()
            self._handle.start(self._bootstrap, self._name, self._daemonic)
        except BaseException:
            with threading._active_limbo_lock:
                threading._limbo.pop(self, None)
            raise
        if _HANDLE:
            self._ident = self._handle.ident
        else:
            self._started.wait()
        self._started.set()

    def _inherit_context(self):
        if _CONTEXT and self._context is None:
            import contextvars

            inherit = sys.flags.thread_inherit_context
            self._context = contextvars.copy_context() if inherit else contextvars.Context()

    @property
    def native_id(self):
        """The kernel's number for this thread; None before `start`."""
        if self._native_id is None and self._started.is_set():
            self._native_id = self._handle.native_id
        return self._native_id

    def _after_fork(self, new_ident=None):
        # Called in the child, of each thread: this one goes on if new_ident is
        # there, and is known by a handle of the interpreter's from now on.
        if new_ident is not None:
            self._take(threading._make_thread_handle(new_ident))
        super()._after_fork(new_ident)


# Whether it is ours to wait for those that are no daemons: an interpreter with
# locks does it itself, and who has pressed Ctrl-C does not want to.
_waiting = _HANDLE is not None


def _await_workers():
    global _waiting
    # The main thread counts as ended when it begins to wait for the others:
    # some of them may be waiting for that.
    getattr(threading.main_thread(), _HANDLE)._set_done()
    _waiting = False
    _core.await_threads(ended=True, close=False)
    _waiting = True


def _close():
    # Threads that the interpreter waits for may have started workers meanwhile.
    # After the exit functions it is too late for anybody.
    _core.await_threads(ended=_waiting, close=True)


if _HANDLE:
    threading._register_atexit(_await_workers)
atexit.register(_close)
os.register_at_fork(before=_core.dismiss_threads, after_in_child=_core.forget_threads)
