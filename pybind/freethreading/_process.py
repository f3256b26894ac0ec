# SPDX-License-Identifier: MIT
"""Worker as a process: a multiprocessing process that the spawner clones."""

import os
import signal
from multiprocessing import process

from . import _pickling, _spawner


class _Popen:
    """The handle of a started process, in the shape that BaseProcess expects."""

    method = _spawner.METHOD

    def __init__(self, process_obj):
        from multiprocessing import util

        util._flush_std_streams()
        spawner = _spawner.ensure()
        payload, named = _spawner.payload(self, process_obj)
        # Until the worker has unpickled them, its target, its arguments and what these
        # made to be pickled may be known only to us: what they refer to in shared memory
        # must not be freed.
        self._keep = (process_obj._target, process_obj._args, process_obj._kwargs, named)
        self.child = spawner.spawn(payload, process_obj._name, process_obj._cpus)
        self.pid = self.child.pid
        self.sentinel = self.child.sentinel
        self.returncode = None

    @staticmethod
    def duplicate_for_child(fd):
        return fd

    @staticmethod
    def DupFd(fd):  # noqa: N802 (the name that multiprocessing looks up)
        from multiprocessing import resource_sharer

        return resource_sharer.DupFd(fd)

    def poll(self, flag=os.WNOHANG):
        if self.returncode is None:
            self.returncode = self.child.exitcode
            if self.returncode is not None:
                self._keep = None
        return self.returncode

    def wait(self, timeout=None):
        if self.returncode is None and not self.child.wait(timeout):
            return None
        return self.poll()

    def terminate(self):
        self.child.kill(signal.SIGTERM)

    def kill(self):
        self.child.kill(signal.SIGKILL)

    def interrupt(self):
        self.child.kill(signal.SIGINT)

    def close(self):
        self.child = None


class Process(process.BaseProcess):
    """What all of our processes share; see `Worker`."""

    _start_method = None
    _cpus = None

    @staticmethod
    def _Popen(process_obj):
        return _Popen(process_obj)

    def start(self):
        """Start the worker: `run` begins in a process of its own.

        Raises AssertionError if it has been started before.
        """
        # A daemonic process may have workers of its own: they die with it, so
        # the standard library's reason to forbid them does not hold here.
        current = process.current_process()
        daemon = current._config.pop("daemon", None)
        try:
            super().start()
        finally:
            if daemon is not None:
                current._config["daemon"] = daemon

    def __getstate__(self):
        state = self.__dict__.copy()
        state.pop("_cpus", None)
        # The key travels by itself: it is needed before this can be unpickled.
        state["_config"] = {k: v for k, v in state["_config"].items() if k != "authkey"}
        return state


class Worker(Process):
    """An activity that runs in a process of its own.

    Parameters
    ----------
    group : None
        Always None; there for `threading.Thread`'s signature.
    target : callable, optional
        What `run` calls.  A subclass may override `run` instead.
    name : str, optional
        For people, logs and ``ps``; ``Worker-N`` if not given.
    args, kwargs : tuple, dict
        The arguments that `run` gives to `target`.
    daemon : bool, optional
        A daemonic worker is terminated when the program ends; the program
        waits for any other.  The default is what the current worker is.

    Raises
    ------
    ValueError
        If `target`, `args` or `kwargs` can't be pickled, naming which.  They
        must be, on every backend, so that a program that works on one works
        on the other.

    Beyond the common part (`start`, `join`, `is_alive`, `name`, `daemon`) a
    process worker has what `multiprocessing.Process` has: `pid`, `exitcode`,
    `terminate`, `kill`, `close` and `sentinel`, which here is a pidfd.

    Examples
    --------
    >>> w = Worker(target=print, args=("hello",))  # doctest: +SKIP
    >>> w.start(); w.join(); w.exitcode            # doctest: +SKIP
    0
    """

    def __init__(
        self, group=None, target=None, name=None, args=(), kwargs=None, *, daemon=None
    ):
        kwargs = {} if kwargs is None else kwargs
        super().__init__(group, target, name, args, kwargs, daemon=daemon)
        _pickling.check(target=target, args=self._args, kwargs=self._kwargs)
        _spawner.warm_up()
