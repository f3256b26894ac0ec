# SPDX-License-Identifier: MIT
"""Rows: what is measured in Python, declared next to how it is done."""

import contextlib
import dataclasses
import typing


@dataclasses.dataclass(frozen=True)
class Row:
    """One operation.

    `open(kit)` (for a curve: `open(kit, x)`) is a context manager that gives
    run(count): it does the operation `count` times and returns the seconds
    that this took.  With `value` it gives run(), which returns what is measured.
    """

    name: str
    group: str
    title: str
    open: typing.Optional[typing.Callable] = None
    needs: str = ""  # an ability of kits
    only_ours: bool = False  # no other kit can do it
    rivals: tuple = ()  # (name, open) of peers that are no kits
    unit: str = "us"
    value: bool = False
    sample: float = 0.001  # seconds that a sample lasts at least
    count: typing.Optional[typing.Callable] = None  # operations in a sample, of x
    points: tuple = ()  # of a curve: (x, what the table calls it)
    quick: float = float("inf")  # the last x of a quick run
    linear: float = float("inf")  # the x from which an operation's time grows with x


#: All rows by name, in the order of their declaration.
ROWS = {}


def declare(name, group, title, open=None, rivals=(), **options):
    """Add a row; `open`, and those of rivals, are generator functions."""
    ROWS[name] = Row(
        name,
        group,
        title,
        open and contextlib.contextmanager(open),
        rivals=tuple((rival, contextlib.contextmanager(how)) for rival, how in rivals),
        **options,
    )


def row(name, group, title, needs, **options):
    """Declare the decorated generator function as a row."""

    def decorate(function):
        declare(name, group, title, function, needs=needs, **options)
        return function

    return decorate
