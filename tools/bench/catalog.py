# SPDX-License-Identifier: MIT
"""All rows that are measured in Python, in the order of the table."""

import importlib

from .row import ROWS

#: The files that declare rows.
_FILES = (
    "primitives",
    "handoffs",
    "queues",
    "workers",
    "pools",
    "executors",
    "footprints",
    "scale",
)


def rows():
    """Every row by name."""
    for name in _FILES:
        importlib.import_module("bench." + name)
    return ROWS
