# SPDX-License-Identifier: MIT
"""Rows: what it takes in memory, and to import it."""

from .kit import POOLS
from .programs import once, output, program
from .row import declare, row

_GROUP = "Memory and start"


@row(
    "py.memory.worker",
    _GROUP,
    "idle worker of 8, unique KiB",
    POOLS,
    unit="KiB",
    value=True,
)
def memory_worker(kit):
    yield lambda: program(kit, "idle")


_IMPORT = "from time import perf_counter as now; start = now(); import {}; print(now() - start)"


def _importing(module):
    def open(kit):
        yield lambda count: output("-c", _IMPORT.format(module))

    return open


declare(
    "py.import",
    _GROUP,
    "import",
    _importing("freethreading"),
    only_ours=True,
    rivals=[
        ("multiprocessing", _importing("multiprocessing")),
        ("threading", _importing("threading")),
    ],
    count=once,
)
