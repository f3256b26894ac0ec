# SPDX-License-Identifier: MIT
"""Another worker that does its side of an operation between two."""

import contextlib
import time

from . import tasks


class Partner:
    """A worker of the kit that does `role(count, *args)` when told to."""

    def __init__(self, kit, role, args):
        self._orders = kit.SimpleQueue()
        self._reports = kit.SimpleQueue()
        self._worker = kit.Worker(
            target=tasks.serve, args=(self._orders, self._reports, role, args)
        )
        self._worker.start()

    def begin(self, count):
        """Tell it to start; returns when it is about to."""
        self._orders.put(count)
        self._reports.get()

    def end(self):
        """Wait for it; returns when it was through."""
        return self._reports.get()

    def leave(self):
        self._orders.put(None)
        self._worker.join()


@contextlib.contextmanager
def partner(kit, role, *args):
    """A partner that leaves at the end of the block."""
    partner = Partner(kit, role, args)
    try:
        yield partner
    finally:
        partner.leave()


def together(partner, role, *args):
    """A run in which the caller does `role` and the partner its own; it lasts
    until both are through."""

    def run(count):
        partner.begin(count)
        start = time.perf_counter()
        role(count, *args)
        mine = time.perf_counter()
        return max(mine, partner.end()) - start

    return run
