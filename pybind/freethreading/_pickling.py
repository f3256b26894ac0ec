# SPDX-License-Identifier: MIT
"""Pickling of what travels to workers, with errors that say what to do."""

import io
import pickle

from ._core import portable

_REMEDY = (
    "What a worker gets must be picklable: use a module-level function instead of"
    " a lambda or nested function, and create locks, files and connections inside"
    " the worker or pass freethreading's own"
)


class _Check:
    """Stands in for a starting process, so that what may only travel to a new
    process (the standard library's own locks and queues) passes the check."""

    @staticmethod
    def duplicate_for_child(fd):
        return fd

    @staticmethod
    def DupFd(fd):  # noqa: N802 (the name that multiprocessing looks up)
        return fd


def unpicklable(what, error):
    """The ValueError for something that cannot be pickled."""
    return ValueError(f"{what} can't be pickled: {error}. {_REMEDY}.")


def dumps(obj):
    """Pickle for a running worker: plain pickle, which is fast; the standard
    library's reducers (sockets, connections) where plain pickle gives up."""
    try:
        return pickle.dumps(obj, 5)
    except Exception:
        from multiprocessing.reduction import ForkingPickler

        return ForkingPickler.dumps(obj, 5)


def dumps_spawning(popen, *objects):
    """Pickle objects one after the other for a process that is being started."""
    from multiprocessing import context
    from multiprocessing.reduction import ForkingPickler

    buffer = io.BytesIO()
    before = context.get_spawning_popen()
    context.set_spawning_popen(popen)
    try:
        for obj in objects:
            ForkingPickler(buffer, 5).dump(obj)
    finally:
        context.set_spawning_popen(before)
    return buffer.getvalue()


def check(**named):
    """Raise ValueError naming the first argument that cannot be pickled."""
    for name, obj in named.items():
        if portable(obj):
            continue
        try:
            pickle.dumps(obj, 5, buffer_callback=_leave)
        except Exception:
            _check_spawning(name, obj)


def _leave(buffer):
    """What is said of a buffer: that it needs no copy to be checked."""


def _check_spawning(name, obj):
    try:
        dumps_spawning(_Check, obj)
    except Exception as error:
        raise unpicklable(name, error) from error
