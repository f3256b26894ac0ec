# SPDX-License-Identifier: MIT
"""What the executors return."""

from concurrent import futures

from . import _core

__all__ = ["Future"]


class Future(_core.Future, futures.Future):
    """The outcome of a call: a `concurrent.futures.Future` in all respects."""
