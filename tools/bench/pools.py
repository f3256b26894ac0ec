# SPDX-License-Identifier: MIT
"""Rows: pools of two workers."""

import os
from time import perf_counter

from . import tasks
from .kit import MAPS, POOLS, Absent
from .programs import once, program
from .row import declare, row

_GROUP = "Pools of two"
_BULK = 100_000  # tasks of a sample that goes over in chunks
_MANY = 2_000  # tasks of a sample that goes over one by one
_BIG = 8 << 20


def timed(operation):
    """A run that calls operation(count)."""

    def run(count):
        start = perf_counter()
        operation(count)
        return perf_counter() - start

    return run


@row("py.pool.first", _GROUP, "first start + map of a program", POOLS, count=once)
def pool_first(kit):
    yield lambda count: program(kit, "pool")


@row("py.pool.start", _GROUP, "later start + map", POOLS, count=once)
def pool_start(kit):
    def run(count):
        start = perf_counter()
        with kit.pool(2) as pool:
            pool.map(abs, range(2))
            return perf_counter() - start

    yield run


@row("py.pool.with", _GROUP, "start, map and leave", POOLS)
def pool_with(kit):
    def start_and_leave(count):
        for _ in range(count):
            with kit.pool(2) as pool:
                pool.map(abs, range(2))

    yield timed(start_and_leave)


@row("py.pool.map", _GROUP, "map, a task", MAPS, count=lambda x: _BULK)
def pool_map(kit):
    with kit.pool(2) as pool:
        yield timed(lambda count: pool.map(tasks.square, range(count)))


@row("py.pool.map.1", _GROUP, "map with chunksize 1, a task", MAPS, count=lambda x: _MANY)
def pool_map_1(kit):
    with kit.pool(2) as pool:
        yield timed(lambda count: pool.map(tasks.square, range(count), chunksize=1))


@row("py.pool.starmap", _GROUP, "starmap with chunksize 1, a task", POOLS, count=lambda x: _MANY)
def pool_starmap(kit):
    with kit.pool(2) as pool:
        yield timed(
            lambda count: pool.starmap(tasks.plus, zip(range(count), range(count)), chunksize=1)
        )


@row("py.pool.apply_async", _GROUP, "apply_async, a task", POOLS, count=lambda x: _MANY)
def pool_apply_async(kit):
    with kit.pool(2) as pool:

        def submit(count):
            results = [pool.apply_async(tasks.square, (i,)) for i in range(count)]
            for result in results:
                result.get()

        yield timed(submit)


def _apply(kit, function, *args):
    with kit.pool(2) as pool:

        def trips(count):
            for _ in range(count):
                pool.apply(function, args)

        yield timed(trips)


@row("py.pool.apply", _GROUP, "apply, round trip", POOLS)
def pool_apply(kit):
    yield from _apply(kit, tasks.square, 3)


@row("py.pool.imap", _GROUP, "imap, a task", POOLS, count=lambda x: _MANY)
def pool_imap(kit):
    with kit.pool(2) as pool:

        def take_all(count):
            for _ in pool.imap(tasks.square, range(count)):
                pass

        yield timed(take_all)


@row("py.pool.imap_unordered", _GROUP, "imap_unordered, a task", POOLS, count=lambda x: _MANY)
def pool_imap_unordered(kit):
    with kit.pool(2) as pool:

        def take_all(count):
            for _ in pool.imap_unordered(tasks.square, range(count)):
                pass

        yield timed(take_all)


@row("py.pool.apply.bytes", _GROUP, "apply with 8 MiB bytes in and out", POOLS)
def pool_apply_bytes(kit):
    yield from _apply(kit, tasks.echo, os.urandom(_BIG))


@row("py.pool.apply.array", _GROUP, "apply with an 8 MiB array in and out", POOLS)
def pool_apply_array(kit):
    try:
        import numpy
    except ImportError:
        raise Absent("NumPy is not installed (Debian: python3-numpy)") from None
    yield from _apply(kit, tasks.echo, numpy.zeros(_BIG // 8))


# ---- work that only computes ----

_CPUS = len(os.sched_getaffinity(0))
_SPIN = 20000  # rounds of a task: about a millisecond


def _compute_alone(order, report):
    """A bare process: does as many tasks as it reads, one report each time."""
    while True:
        text = os.read(order, 16)
        if not text:
            os._exit(0)
        for _ in range(int(text)):
            tasks.spin(_SPIN)
        os.write(report, b".")


def _bare_process(before):
    """(order, report, pid) of a fork; `before`: its elder siblings."""
    (read_order, order), (report, write_report) = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        for number in (order, report, *(elder[0] for elder in before)):
            os.close(number)
        try:
            _compute_alone(read_order, write_report)
        finally:
            os._exit(1)
    os.close(read_order)
    os.close(write_report)
    return order, report, pid


def _compute_bare(kit):
    processes = []
    for _ in range(_CPUS):
        processes.append(_bare_process(processes))

    def work(count):
        for order, _, _ in processes:
            os.write(order, b"%16d" % (count // _CPUS))
        for _, report, _ in processes:
            if not os.read(report, 1):
                raise RuntimeError("a bare process died")

    try:
        yield timed(work)
    finally:
        for order, report, pid in processes:
            os.close(order)
            os.close(report)
            os.waitpid(pid, 0)


def _compute(kit):
    with kit.pool(_CPUS) as pool:
        yield timed(lambda count: pool.map(tasks.spin, [_SPIN] * count, chunksize=1))


declare(
    "py.pool.compute",
    _GROUP,
    "1 ms of computing, mapped to all CPUs",
    _compute,
    needs=MAPS,
    rivals=[("bare processes", _compute_bare)],
    count=lambda x: 64 * _CPUS,
)
