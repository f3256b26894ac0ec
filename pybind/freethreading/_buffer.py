# SPDX-License-Identifier: MIT
"""`Executor.map` with a `buffersize`, on both backends: calls are submitted as
their results are asked for, so that the iterables may be endless."""

import collections
import itertools
import time

__all__ = ["check", "results", "value"]


def check(buffersize):
    """What the standard library says of a `buffersize` that can't be one."""
    if buffersize is None:
        return
    if not isinstance(buffersize, int):
        raise TypeError("buffersize must be an integer or None")
    if buffersize < 1:
        raise ValueError("buffersize must be None or > 0")


def results(executor, fn, iterables, chunksize, buffersize, deadline):
    """Submit `buffersize` tasks now; yield the results of all, one more for each."""
    calls = zip(*iterables)
    if chunksize == 1:
        tasks = ((fn, *args) for args in calls)
    else:
        tasks = ((_call_each, fn, *chunk) for chunk in _chunks(calls, chunksize))
    pending = collections.deque(
        executor.submit(*task) for task in itertools.islice(tasks, buffersize)
    )
    values = _each(executor, tasks, pending, deadline)
    return values if chunksize == 1 else itertools.chain.from_iterable(values)


def _call_each(fn, *calls):
    return [fn(*args) for args in calls]


def _chunks(calls, size):
    while chunk := list(itertools.islice(calls, size)):
        yield chunk


def _each(executor, tasks, pending, deadline):
    """Keeps the executor: forgotten before the last task, it would lose the rest."""
    try:
        while pending:
            pending.extend(executor.submit(*task) for task in itertools.islice(tasks, 1))
            yield value(pending.popleft(), deadline)
    finally:
        for future in pending:
            future.cancel()


def value(future, deadline):
    """What has been handed out is kept neither by a generator nor by a future."""
    try:
        return future.result(None if deadline is None else deadline - time.monotonic())
    finally:
        future.cancel()
