# SPDX-License-Identifier: MIT
"""Rows that are curves: how costs grow with tasks, workers and payloads."""

from time import perf_counter

from . import tasks
from .kit import MAPS, POOLS, PRIMITIVES, QUEUES
from .partner import Partner
from .pools import timed
from .programs import program
from .row import row

_TASKS = tuple((10**n, f"10^{n} tasks") for n in range(3, 8))
_WORKERS = tuple((n, f"{n} workers" if n > 1 else "1 worker") for n in (1, 2, 4, 8, 16, 32, 64))
_ITEMS = ((10**5, "100,000 items"), (10**6, "1,000,000 items"))
_PAYLOADS = (
    (1, "1 B"),
    (1 << 10, "1 KiB"),
    (1 << 15, "32 KiB"),
    (1 << 20, "1 MiB"),
    (1 << 24, "16 MiB"),
    (1 << 27, "128 MiB"),
    (1 << 30, "1 GiB"),
)


@row(
    "py.scale.tasks",
    "Scale: map with chunksize 1, a task, by number of tasks",
    "",
    MAPS,
    points=_TASKS,
    quick=10**5,
    count=lambda x: x,
)
def scale_tasks(kit, x):
    with kit.pool(2) as pool:
        yield timed(lambda count: pool.map(tasks.square, range(count), chunksize=1))


@row(
    "py.scale.chunks",
    "Scale: map, a task, by number of tasks",
    "",
    MAPS,
    points=_TASKS,
    quick=10**6,
    count=lambda x: x,
)
def scale_chunks(kit, x):
    with kit.pool(2) as pool:
        yield timed(lambda count: pool.map(tasks.square, range(count)))


@row(
    "py.scale.workers",
    "Scale: map with chunksize 1, a task, by workers of the pool",
    "",
    MAPS,
    points=_WORKERS,
    quick=16,
    count=lambda x: 2_000,
)
def scale_workers(kit, x):
    with kit.pool(x) as pool:
        yield timed(lambda count: pool.map(tasks.square, range(count), chunksize=1))


@row(
    "py.scale.lock",
    "Scale: contended Lock, a section, by workers",
    "",
    PRIMITIVES,
    points=_WORKERS,
    quick=16,
    count=lambda x: 16_000,
)
def scale_lock(kit, x):
    lock = kit.Lock()
    partners = []
    try:
        for _ in range(x - 1):
            partners.append(Partner(kit, tasks.sections, (lock,)))
        yield _all_at_once(partners, lock)
    finally:
        for partner in partners:
            partner.leave()


def _all_at_once(partners, lock):
    """`count` sections in all.  The lock is held until everybody waits for it."""

    def run(count):
        each = -(-count // (len(partners) + 1))
        lock.acquire()
        for partner in partners:
            partner.begin(each)
        start = perf_counter()
        lock.release()
        tasks.sections(each, lock)
        ends = [perf_counter(), *(partner.end() for partner in partners)]
        return (max(ends) - start) * count / (each * len(ends))

    return run


@row(
    "py.scale.payload",
    "Scale: apply with bytes in and out, round trip, by size",
    "",
    POOLS,
    points=_PAYLOADS,
    quick=1 << 24,
    linear=1 << 20,
)
def scale_payload(kit, x):
    payload = bytes(x)
    with kit.pool(2) as pool:

        def trips(count):
            for _ in range(count):
                pool.apply(tasks.echo, (payload,))

        yield timed(trips)


@row(
    "py.scale.queue",
    "Scale: memory of a queued item beyond its 64 bytes, in bytes",
    "",
    QUEUES,
    points=_ITEMS,
    quick=10**5,
    unit="B",
    value=True,
)
def scale_queue(kit, x):
    yield lambda: program(kit, str(x))
