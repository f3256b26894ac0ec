# SPDX-License-Identifier: MIT
"""Tasks as they travel: what the pool's side packs, what the worker's side runs.

A task's argument is the pickle of ``(kind, function, args, kwargs)``; its reply
is the pickle of what came of it, and its status says which kind of reply it is.
The collector never unpickles: whoever wants the result does.
"""

import pickle
import traceback
from concurrent.futures import CancelledError
from errno import EBADMSG, ECANCELED, EOWNERDEAD, EREMOTEIO
from multiprocessing.pool import (
    ExceptionWithTraceback,
    MaybeEncodingError,
    RemoteTraceback,
)

from . import _pickling
from ._errors import WorkerDiedError

CALL, MAP, STARMAP, EACH = range(4)

# A reply's status.  0: the pickled value.
_RAISED = -EREMOTEIO  # a pickled exception
_UNSENDABLE = -EBADMSG  # the repr of what could not be pickled, and why


def pack(kind, function, args, kwargs=None):
    """The bytes of a task; ValueError if they can't be made."""
    try:
        return _pickling.dumps((kind, function, args, kwargs))
    except Exception as error:
        if kind == CALL:
            _pickling.check(func=function, args=args, kwds=kwargs)
        else:
            _pickling.check(func=function, iterable=args)
        raise _pickling.unpicklable("the task", error) from error


def _each(function, items):
    """Run every item and keep each one's outcome, for lazy iterators."""
    outcomes = []
    for item in items:
        try:
            outcomes.append((True, function(item)))
        except Exception as error:
            outcomes.append((False, _portable(error)))
    return outcomes


def _execute(kind, function, args, kwargs):
    if kind == CALL:
        return function(*args, **kwargs) if kwargs else function(*args)
    if kind == MAP:
        return [function(item) for item in args]
    if kind == STARMAP:
        return [function(*items) for items in args]
    return _each(function, args)


def run(payload):
    """Run one task in a worker; returns its reply, or (status, reply)."""
    try:
        value = _execute(*pickle.loads(payload))
    except BaseException as error:
        return _RAISED, pickle.dumps(_portable(error), 5)
    try:
        return _pickling.dumps(value)
    except BaseException as error:
        return _UNSENDABLE, pickle.dumps((repr(error), _safe_repr(value)), 5)


def _safe_repr(value):
    try:
        return repr(value)
    except BaseException as error:
        return f"<{type(value).__name__} object, whose repr() raises {type(error).__name__}>"


def _portable(error):
    """An exception in a form that is sure to arrive: itself with its traceback
    as text, or, if it does not survive pickling, a description of it."""
    wrapped = ExceptionWithTraceback(error, error.__traceback__)
    # The frames stay here; their locals could be anything.
    error.__traceback__ = None
    try:
        pickle.loads(pickle.dumps(wrapped, 5))
        return wrapped
    except BaseException as reason:
        lines = traceback.format_exception_only(type(error), error)
        substitute = MaybeEncodingError(reason, "".join(lines).strip())
        return _WithCause(substitute, wrapped.tb)


class _WithCause:
    """Pickles to an exception with a remote traceback as its cause."""

    def __init__(self, error, text):
        self.error = error
        self.text = text

    def __reduce__(self):
        return _with_cause, (type(self.error), self.error.args, self.text)


def _with_cause(kind, args, text):
    error = kind(*args)
    error.__cause__ = RemoteTraceback(text)
    return error


def outcome(ticket):
    """(True, value) or (False, exception) of a task that is done."""
    status = ticket.status()
    if status == 0:
        try:
            return True, pickle.loads(ticket.result())
        except BaseException as error:
            return False, error
    return False, _failure(status, ticket)


def _failure(status, ticket):
    if status == -ECANCELED:
        return CancelledError()
    if status == -EOWNERDEAD:
        return _death(ticket)
    try:
        content = pickle.loads(ticket.result())
    except BaseException as error:
        return error
    if status == _UNSENDABLE:
        return MaybeEncodingError(*content)
    return content


def _death(ticket):
    pid, signo, code, name = ticket.death()
    return WorkerDiedError(pid, signo, -signo if signo else code, ticket.id, name)
