# SPDX-License-Identifier: MIT
"""Parallel workers for Python on Linux, on one runtime for threads and processes.

A drop-in for `threading`, `multiprocessing` and `concurrent.futures`: the same
names, on process workers where the interpreter has a GIL and on thread workers
where it has none.

>>> from freethreading import WorkerPool
>>> def square(x):
...     return x * x
>>> if __name__ == "__main__":          # doctest: +SKIP
...     with WorkerPool() as pool:
...         print(pool.map(square, range(5)))
[0, 1, 4, 9, 16]

`python -m freethreading` prints what it found on this machine.  For C there is
``man 7 freethreading``.
"""

import os as _os
from multiprocessing import process as _process_module

from . import _backend
from ._core import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    OwnerDiedError,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
    version as _version,
)

__version__ = _version()

_BACKEND = _backend.choose()

if _BACKEND == "threading":
    raise ImportError(
        "freethreading has no thread workers for Python yet: set FT_BACKEND=processes"
    )

from ._errors import WorkerDiedError
from ._executor import WorkerPoolExecutor
from ._pool import WorkerPool
from ._process import Worker

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "OwnerDiedError",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "Worker",
    "WorkerDiedError",
    "WorkerPool",
    "WorkerPoolExecutor",
    "active_children",
    "active_count",
    "current_worker",
    "enumerate",
    "get_backend",
    "get_ident",
]

Worker.__module__ = __name__
WorkerPool.__module__ = __name__
WorkerPoolExecutor.__module__ = __name__
WorkerDiedError.__module__ = __name__


def get_backend():
    """Return ``"multiprocessing"`` (process workers) or ``"threading"``."""
    return _BACKEND


def current_worker():
    """Return the worker object of the caller: in the main program that is the
    main process, as `multiprocessing.current_process` knows it."""
    return _process_module.current_process()


def active_children():
    """Return a list of the workers that this one has started and that still run."""
    return _process_module.active_children()


def enumerate():
    """Return a list of all active workers: the children and the caller."""
    return [*active_children(), current_worker()]


def active_count():
    """Return how many workers are active, the caller included."""
    return len(enumerate())


def get_ident():
    """Return a number that identifies the current worker: its process id."""
    return _os.getpid()
