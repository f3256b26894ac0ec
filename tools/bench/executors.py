# SPDX-License-Identifier: MIT
"""Rows: executors of two workers."""

from . import tasks
from .kit import EXECUTORS
from .pools import timed
from .row import row

_GROUP = "Executors of two"
_BULK = 10_000  # tasks of a sample that goes over in chunks
_MANY = 1_000  # tasks of a sample that goes over one by one


@row("py.executor.submit", _GROUP, "submit, a task", EXECUTORS, count=lambda x: _MANY)
def executor_submit(kit):
    with kit.executor(2) as executor:

        def submit(count):
            futures = [executor.submit(tasks.square, i) for i in range(count)]
            for future in futures:
                future.result()

        yield timed(submit)


@row("py.executor.trip", _GROUP, "submit and result, round trip", EXECUTORS)
def executor_trip(kit):
    with kit.executor(2) as executor:

        def trips(count):
            for i in range(count):
                executor.submit(tasks.square, i).result()

        yield timed(trips)


def _map(kit, chunksize):
    with kit.executor(2) as executor:

        def take_all(count):
            for _ in executor.map(tasks.square, range(count), chunksize=chunksize):
                pass

        yield timed(take_all)


@row("py.executor.map", _GROUP, "map, a task", EXECUTORS, count=lambda x: _MANY)
def executor_map(kit):
    yield from _map(kit, 1)


@row(
    "py.executor.map.100",
    _GROUP,
    "map with chunksize 100, a task",
    EXECUTORS,
    count=lambda x: _BULK,
)
def executor_map_100(kit):
    yield from _map(kit, 100)
