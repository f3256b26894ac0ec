# SPDX-License-Identifier: MIT
"""Rows: what one worker does with a primitive that nobody else uses."""

from time import perf_counter

from . import tasks
from .kit import PRIMITIVES
from .row import declare, row

_GROUP = "Primitives, one worker"


def _empty_call(kit):
    empty = tasks.empty

    def run(count):
        start = perf_counter()
        for _ in range(count):
            empty()
        return perf_counter() - start

    yield run


declare("py.limit.call", "The machine", "an empty Python call", rivals=[("Python", _empty_call)])


def _acquire_release(lock):
    def run(count):
        start = perf_counter()
        for _ in range(count):
            lock.acquire()
            lock.release()
        return perf_counter() - start

    return run


@row("py.lock.acquire", _GROUP, "Lock acquire+release", PRIMITIVES)
def lock_acquire(kit):
    yield _acquire_release(kit.Lock())


@row("py.rlock.acquire", _GROUP, "RLock acquire+release", PRIMITIVES)
def rlock_acquire(kit):
    yield _acquire_release(kit.RLock())


@row("py.condition.acquire", _GROUP, "Condition acquire+release", PRIMITIVES)
def condition_acquire(kit):
    yield _acquire_release(kit.Condition())


@row("py.lock.with", _GROUP, "with lock", PRIMITIVES)
def with_lock(kit):
    lock = kit.Lock()

    def run(count):
        start = perf_counter()
        for _ in range(count):
            with lock:
                pass
        return perf_counter() - start

    yield run


@row("py.semaphore.acquire", _GROUP, "Semaphore acquire+release", PRIMITIVES)
def semaphore_acquire(kit):
    yield _acquire_release(kit.Semaphore(1))


@row("py.bounded_semaphore.acquire", _GROUP, "BoundedSemaphore acquire+release", PRIMITIVES)
def bounded_semaphore_acquire(kit):
    yield _acquire_release(kit.BoundedSemaphore(1))


@row("py.event.set", _GROUP, "Event set+is_set", PRIMITIVES)
def event_set(kit):
    event = kit.Event()

    def run(count):
        start = perf_counter()
        for _ in range(count):
            event.set()
            event.is_set()
        return perf_counter() - start

    yield run
