# SPDX-License-Identifier: MIT
"""The names of the package where workers are processes."""

import os
from multiprocessing import process

from ._core import (
    Barrier,
    BoundedSemaphore,
    Condition,
    Event,
    Lock,
    Queue,
    RLock,
    Semaphore,
    SimpleQueue,
)
from ._process import Worker

__all__ = [
    "Barrier",
    "BoundedSemaphore",
    "Condition",
    "Event",
    "Lock",
    "Queue",
    "RLock",
    "Semaphore",
    "SimpleQueue",
    "Worker",
    "active_children",
    "active_count",
    "current_worker",
    "enumerate",
    "get_ident",
]

#: Names that are imported when they are asked for, as they take long, and where from.
LATER = {"WorkerPool": "_pool", "WorkerPoolExecutor": "_executor"}


def current_worker():
    """Return the worker object of the caller: a process.

    In the main program that is the main process, as
    `multiprocessing.current_process` knows it.

    >>> current_worker().name
    'MainProcess'
    """
    return process.current_process()


def active_children():
    """Return a list of the workers that this one has started and that still run.

    >>> active_children()
    []
    """
    return process.active_children()


def enumerate():
    """Return a list of all active workers: the children, and at the end the caller.

    >>> [worker.name for worker in enumerate()]
    ['MainProcess']
    """
    return [*process.active_children(), process.current_process()]


def active_count():
    """Return how many workers are active, the caller included.

    >>> active_count()
    1
    """
    return len(process.active_children()) + 1


def get_ident():
    """Return a number that identifies the current worker: its process id.

    >>> import os
    >>> get_ident() == os.getpid()
    True
    """
    return os.getpid()
