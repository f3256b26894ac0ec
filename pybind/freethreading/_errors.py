# SPDX-License-Identifier: MIT
"""The exceptions that freethreading adds to those of the standard library."""

import signal as _signal
from concurrent.futures.process import BrokenProcessPool
from concurrent.futures.thread import BrokenThreadPool

from ._core import OwnerDiedError

__all__ = ["OwnerDiedError", "WorkerDiedError"]


def broken(reason):
    """The exception for a pool whose workers can't do any work."""
    return BrokenProcessPool(f"the pool is broken: {reason}")


def given_up(pid, signo, code, name):
    """Why a pool has given up whose last worker to die died like this; pid 0: none
    could be started."""
    if not pid:
        return "no worker can be started"
    how = _how(signo, code)
    return (
        "workers end faster than they work; the last one,"
        f" {name!r} (pid {pid}), {how} before it took a task"
    )


def _signal_name(signo):
    try:
        return _signal.Signals(signo).name
    except ValueError:
        return f"signal {signo}"


def _how(signo, code):
    return f"was killed by {_signal_name(signo)}" if signo else f"left with exit code {code}"


class WorkerDiedError(BrokenProcessPool):
    """The worker that ran a task ended before the task did.

    Only that task is lost: its pool or executor has started another worker
    and goes on.  Whatever the task had done by then stays done, so run it
    again only if that is harmless.

    Attributes
    ----------
    pid : int
        Process id of the worker that died.
    signal : int
        Number of the signal that killed it, or 0 if it left by itself.
    exitcode : int
        Its exit code as `Worker.exitcode` would give it: the status it left
        with, or the negated signal number.
    task : int
        The lost task's number in its pool, counting from 1.
    name : str
        The worker's name as the kernel shows it (at most 15 bytes).
    """

    __module__ = "freethreading"

    def __init__(self, pid=0, signal=0, exitcode=0, task=0, name=""):
        super().__init__(pid, signal, exitcode, task, name)
        self.pid = pid
        self.signal = signal
        self.exitcode = exitcode
        self.task = task
        self.name = name

    def __str__(self):
        how = _how(self.signal, self.exitcode)
        return (
            f"worker {self.name!r} (pid {self.pid}) {how} while it ran task {self.task};"
            " that task is lost, the others go on"
        )
