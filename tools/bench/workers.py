# SPDX-License-Identifier: MIT
"""Rows: starting workers."""

from time import perf_counter

from .kit import WORKERS
from .programs import once, program
from .row import row

_GROUP = "Workers"
_AT_ONCE = 32


def _start_join(kit, number):
    # A builtin: workers have nothing to import.
    workers = [kit.Worker(target=abs, args=(1,)) for _ in range(number)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()


@row("py.worker.start", _GROUP, "Worker start+join", WORKERS)
def worker_start(kit):
    def run(count):
        start = perf_counter()
        for _ in range(count):
            _start_join(kit, 1)
        return perf_counter() - start

    yield run


@row("py.worker.start.32", _GROUP, "32 Workers at once, each", WORKERS, count=lambda x: _AT_ONCE)
def worker_start_many(kit):
    def run(count):
        start = perf_counter()
        _start_join(kit, count)
        return perf_counter() - start

    yield run


@row("py.worker.first", _GROUP, "first Worker of a program", WORKERS, count=once)
def worker_first(kit):
    yield lambda count: program(kit, "worker")


@row("py.worker.program", _GROUP, "whole program with one Worker", WORKERS, count=once)
def workerprogram(kit):
    def run(count):
        start = perf_counter()
        program(kit, "worker")
        return perf_counter() - start

    yield run
