# SPDX-License-Identifier: MIT
"""Rows: what two workers do with a primitive together."""

from . import tasks
from .kit import PRIMITIVES
from .partner import partner, together
from .row import row

_GROUP = "Primitives, two workers"


def _ask_semaphore(count, mine, yours):
    for _ in range(count):
        yours.release()
        mine.acquire()


@row("py.semaphore.handoff", _GROUP, "Semaphore hand-off, round trip", PRIMITIVES)
def semaphore_handoff(kit):
    mine, yours = kit.Semaphore(0), kit.Semaphore(0)
    with partner(kit, tasks.answer_semaphore, yours, mine) as other:
        yield together(other, _ask_semaphore, mine, yours)


@row("py.lock.contended", _GROUP, "contended Lock, per section", PRIMITIVES, sample=0.005)
def lock_contended(kit):
    lock = kit.Lock()
    with partner(kit, tasks.sections, lock) as other:
        both = together(other, tasks.sections, lock)
        yield lambda count: both((count + 1) // 2) * count / ((count + 1) // 2 * 2)


@row("py.barrier.cross", _GROUP, "Barrier(2) crossing", PRIMITIVES)
def barrier_cross(kit):
    barrier = kit.Barrier(2)
    with partner(kit, tasks.cross, barrier) as other:
        yield together(other, tasks.cross, barrier)
