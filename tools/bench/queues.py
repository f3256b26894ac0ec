# SPDX-License-Identifier: MIT
"""Rows: queues, in one worker and between two."""

from time import perf_counter

from . import tasks
from .kit import QUEUES, WORKERS
from .partner import partner, together
from .row import row

_GROUP = "Queues"
_INTS = 5_000  # items of a sample


def _put_get(queue):
    def run(count):
        start = perf_counter()
        for i in range(count):
            queue.put(i)
            queue.get()
        return perf_counter() - start

    return run


@row("py.queue.alone", _GROUP, "Queue put+get, same worker", QUEUES)
def queue_alone(kit):
    yield _put_get(kit.Queue())


@row("py.simple_queue.alone", _GROUP, "SimpleQueue put+get, same worker", WORKERS)
def simple_queue_alone(kit):
    yield _put_get(kit.SimpleQueue())


def _ask_queue(count, mine, yours):
    for i in range(count):
        yours.put(i)
        mine.get()


def _trips(kit, make):
    mine, yours = make(), make()
    with partner(kit, tasks.answer_queue, yours, mine) as other:
        yield together(other, _ask_queue, mine, yours)


@row("py.queue.trip", _GROUP, "Queue round trip", QUEUES)
def queue_trip(kit):
    yield from _trips(kit, kit.Queue)


@row("py.simple_queue.trip", _GROUP, "SimpleQueue round trip", WORKERS)
def simple_queue_trip(kit):
    yield from _trips(kit, kit.SimpleQueue)


def _put_ints(count, queue):
    for i in range(count):
        queue.put(i)


def _put_item(count, queue, item):
    for _ in range(count):
        queue.put(item)


def _stream(kit, queue, role, *args):
    """From the caller to a partner, until that has got the last item."""
    with partner(kit, tasks.take, queue) as other:
        yield together(other, role, queue, *args)


@row("py.queue.stream", _GROUP, "Queue stream of ints, an item", QUEUES, count=lambda x: _INTS)
def queue_stream(kit):
    yield from _stream(kit, kit.Queue(), _put_ints)


@row(
    "py.simple_queue.stream",
    _GROUP,
    "SimpleQueue stream of ints, an item",
    WORKERS,
    count=lambda x: _INTS,
)
def simple_queue_stream(kit):
    yield from _stream(kit, kit.SimpleQueue(), _put_ints)


@row(
    "py.queue.stream.kib",
    _GROUP,
    "Queue stream of 1 KiB bytes, an item",
    QUEUES,
    count=lambda x: 2_000,
)
def queue_stream_kib(kit):
    yield from _stream(kit, kit.Queue(), _put_item, bytes(1 << 10))


@row(
    "py.queue.stream.mib",
    _GROUP,
    "Queue stream of 1 MiB bytes, an item",
    QUEUES,
    count=lambda x: 50,
)
def queue_stream_mib(kit):
    yield from _stream(kit, kit.Queue(), _put_item, bytes(1 << 20))
