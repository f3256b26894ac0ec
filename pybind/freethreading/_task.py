# SPDX-License-Identifier: MIT
"""Tasks as they travel: what is left to Python when C packs, runs and unpacks.

A reply's status says which kind of reply it is; 0 is a value, in C's own words.
The collector never unpickles: whoever wants the result does.
"""

import os
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
from ._errors import WorkerDiedError, broken

#: enum core_kind_of_task
CALL, CALL_KW, MAP, STARMAP, EACH = range(5)

_RAISED = -EREMOTEIO  # a pickled exception
_UNSENDABLE = -EBADMSG  # the pickled repr of what could not be pickled, and why


def pack(kind, function, args, kwargs):
    """The pickle of a call that plain pickle refuses; ValueError if others do, too."""
    try:
        return _pickling.dumps((function, args, kwargs))
    except Exception as error:
        if kind in (CALL, CALL_KW):
            _pickling.check(func=function, args=args, kwds=kwargs)
        else:
            _pickling.check(func=function, iterable=args)
        raise _pickling.unpicklable("the task", error) from error


class PoolReplies:
    """In a worker of a pool: what it replies, in the words of multiprocessing.pool."""

    _wrap = ExceptionWithTraceback

    @classmethod
    def raised(cls, error):
        """The reply of a call that raised."""
        return _RAISED, pickle.dumps(cls.portable(error), 5)

    @classmethod
    def send(cls, error, value):
        """The reply for a value that plain pickle refuses with an error."""
        try:
            return 0, _pickling.dumps(value)
        except BaseException:
            return cls._unsendable(error, value)

    @staticmethod
    def _unsendable(error, value):
        return _UNSENDABLE, pickle.dumps((repr(error), _safe_repr(value)), 5)

    @classmethod
    def portable(cls, error):
        """An exception in a form that is sure to arrive: itself with its traceback
        as text, or, if it does not survive pickling, a description of it."""
        wrapped = cls._wrap(error, error.__traceback__)
        # The frames stay here; their locals could be anything.
        error.__traceback__ = None
        try:
            pickle.loads(pickle.dumps(wrapped, 5))
            return wrapped
        except BaseException as reason:
            lines = traceback.format_exception_only(type(error), error)
            substitute = MaybeEncodingError(reason, "".join(lines).strip())
            return _WithCause(substitute, wrapped.tb)


class ExecutorReplies(PoolReplies):
    """In a worker of an executor: the same in the words of concurrent.futures.process,
    which is imported for these only."""

    @staticmethod
    def _wrap(error, trace):
        from concurrent.futures.process import _ExceptionWithTraceback

        return _ExceptionWithTraceback(error, trace)

    @classmethod
    def _unsendable(cls, error, value):
        return cls.raised(error)


def _safe_repr(value):
    try:
        return repr(value)
    except BaseException as error:
        return f"<{type(value).__name__} object, whose repr() raises {type(error).__name__}>"


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


def failure(members, status, ticket):
    """The exception of a task that ended with a status that is not 0; without a
    ticket, of a pool that takes no tasks."""
    if ticket is None:
        return broken(members.broken or "workers end faster than they work")
    return members.explain(_failure(status, ticket))


def _failure(status, ticket):
    if status == -ECANCELED:
        return CancelledError()
    if status == -EOWNERDEAD:
        return _death(ticket)
    if status not in (_RAISED, _UNSENDABLE):
        return OSError(-status, f"the task's result got lost: {os.strerror(-status)}")
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
