# SPDX-License-Identifier: MIT
"""What freethreading aims at, row by row: how many times faster than a peer, or
the most that something may cost."""

#: row: (with processes, with threads); each the least ratio to the row's first
#: peer, a dict of ratios by peer, or ("most", value).
_PYTHON = {
    "py.lock.acquire": (2.5, 3),
    "py.rlock.acquire": (2.5, 3),
    "py.condition.acquire": (2.5, 3),
    "py.lock.with": (3.5, 2),
    "py.semaphore.acquire": (1.8, 12),
    "py.bounded_semaphore.acquire": (1.8, 12),
    "py.event.set": (15, 8),
    "py.semaphore.handoff": (8, 12),
    "py.lock.contended": (3, 1.5),
    "py.barrier.cross": (10, 10),
    "py.queue.alone": (12, 12),
    "py.simple_queue.alone": (15, 2.5),
    "py.queue.trip": (20, 10),
    "py.simple_queue.trip": (8, 20),
    "py.queue.stream": (12, 8),
    "py.simple_queue.stream": (5, 1.5),
    "py.queue.stream.kib": (8, 8),
    "py.queue.stream.mib": (8, 10),
    "py.worker.start": (25, 4),
    "py.worker.start.32": (40, 4),
    "py.worker.first": (1.8, 3),
    "py.pool.first": (1.8, 10),
    "py.pool.start": (12, 8),
    "py.pool.map": (1.5, 1.2),
    "py.pool.map.1": (15, 4),
    "py.pool.apply_async": (10, 8),
    "py.pool.apply": (35, 25),
    "py.pool.imap": (10, 3),
    "py.pool.imap_unordered": (10, 4),
    "py.pool.apply.bytes": (6, 100),
    "py.pool.apply.array": (20, 100),
    "py.executor.submit": (15, 5),
    "py.executor.trip": (25, 8),
    "py.executor.map": (15, 3),
    "py.executor.map.100": (3, 50),
    "py.pool.compute": ({"bare processes": 1 / 1.02}, {"bare processes": 1 / 1.05}),
    "py.memory.worker": (("most", 3072), ("most", 3072)),
    "py.scale.queue": (("most", 100), ("most", 100)),
    "py.import": (1 / 1.5, 1 / 1.5),
}

_HAND_OFF = {"bare cache line": 1 / 2}
_PARKED = {"bare futex": 1 / 1.2}
_NOT_SLOWER = {"glibc": 1, "nsync": 1}

_C = {
    "c.lock.alone": {"glibc": 1},
    "c.lock.2": {"glibc": 1},
    "c.lock.16": {"glibc": 1},
    "c.lock.2.threads": _NOT_SLOWER,
    "c.lock.16.threads": _NOT_SLOWER,
    "c.semaphore.handoff": _HAND_OFF,
    "c.semaphore.parked": _PARKED,
    "c.event.handoff": _HAND_OFF,
    "c.event.parked": _PARKED,
    "c.condition.handoff": _HAND_OFF,
    "c.condition.parked": _PARKED,
    "c.barrier.2": _HAND_OFF,
    "c.queue.alone": 5,
    "c.queue.stream": 5,
    "c.pool.map": ("most", 0.5),
    "c.pool.map.threads": {"GLib": 5},
}


def _find(row, backend):
    if row in _PYTHON:
        return _PYTHON[row][backend == "threading"]
    return _C.get(row)


def of(row, backend, ours, peer, first, ratio):
    """(what is aimed at, whether it is reached) for a row and a peer, or None.

    `ours` is our median, `ratio` the peer's to ours; either may be None."""
    goal = _find(row, backend)
    if isinstance(goal, tuple):
        if not first or ours is None:
            return None
        return f"≤ {goal[1]:g}", ours <= goal[1]
    least = goal.get(peer) if isinstance(goal, dict) else goal if first else None
    if least is None or ratio is None:
        return None
    return f"≥ {least:.3g}×", ratio >= least
