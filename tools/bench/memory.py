# SPDX-License-Identifier: MIT
"""How much memory things take, as the kernel counts it."""

import os

from . import tasks

_WORKERS = 8
_PAYLOAD = 64


def _rollup(pid, prefix):
    """KiB of the fields of smaps_rollup that begin with prefix."""
    with open(f"/proc/{pid}/smaps_rollup") as rollup:
        return sum(int(line.split()[1]) for line in rollup if line.startswith(prefix))


def _private(pid):
    return _rollup(pid, ("Private_Clean", "Private_Dirty"))


def _pids(pool):
    """The processes in which the pool's workers run."""
    seen = set()
    for _ in range(100):
        seen.update(pool.map(tasks.pid, range(10 * _WORKERS), chunksize=1))
        if len(seen) == _WORKERS or os.getpid() in seen:
            break
    return seen


def of_idle_worker(kit):
    """KiB that a process has for itself alone; of a thread, what it added."""
    before = _private(os.getpid())
    with kit.pool(_WORKERS) as pool:
        pids = _pids(pool)
        if os.getpid() in pids:
            return (_private(os.getpid()) - before) / _WORKERS
        return sum(map(_private, pids)) / len(pids)


def of_queued_item(kit, items):
    """Bytes beyond its payload, of so many different items."""
    before = _rollup(os.getpid(), "Rss")
    queue = kit.Queue()
    for i in range(items):
        queue.put(b"%*d" % (_PAYLOAD, i))
    grown = (_rollup(os.getpid(), "Rss") - before) * 1024
    if hasattr(queue, "cancel_join_thread"):
        queue.cancel_join_thread()
    return grown / items - _PAYLOAD
