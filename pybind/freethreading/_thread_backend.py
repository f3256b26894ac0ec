# SPDX-License-Identifier: MIT
"""The names of the package where workers are threads."""

import operator
import threading

from ._core import threads
from ._thread import Worker

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

Barrier = threads.Barrier
BoundedSemaphore = threads.BoundedSemaphore
Condition = threads.Condition
Event = threads.Event
Lock = threads.Lock
Queue = threads.Queue
RLock = threads.RLock
Semaphore = threads.Semaphore
SimpleQueue = threads.SimpleQueue

#: Names that are imported when they are asked for, as they take long, and where from.
LATER = {"WorkerPool": "_thread_pool", "WorkerPoolExecutor": "_thread_executor"}


def current_worker():
    """Return the worker object of the caller: a thread.

    In the main program that is the main thread, as `threading.current_thread`
    knows it.

    >>> current_worker().name
    'MainThread'
    """
    return threading.current_thread()


def active_children():
    """Return a list of all workers that run, except the caller.

    Threads are nobody's children: a thread that the caller has not started is
    among them as well.

    >>> active_children()
    []
    """
    current = threading.current_thread()
    return [thread for thread in enumerate() if thread is not current]


def enumerate():
    """Return a list of all active workers: every thread of the program.

    They come in the order in which they were started.

    >>> [worker.name for worker in enumerate()]
    ['MainThread']
    """
    everybody = threading.enumerate()
    # Those that have just been started are listed as they came to run.
    workers = (thread for thread in everybody if isinstance(thread, Worker))
    started = iter(sorted(workers, key=operator.attrgetter("_turn")))
    return [next(started) if isinstance(thread, Worker) else thread for thread in everybody]


def active_count():
    """Return how many workers are active, the caller included.

    >>> active_count()
    1
    """
    return threading.active_count()


def get_ident():
    """Return a number that identifies the current worker: its thread identifier.

    >>> import threading
    >>> get_ident() == threading.get_ident()
    True
    """
    return threading.get_ident()
