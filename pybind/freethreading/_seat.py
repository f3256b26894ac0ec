# SPDX-License-Identifier: MIT
"""The life of a pool's worker, and how it replies to what C can't reply to.

The helper has this module imported for all workers: what only an error needs is
imported by the first one.  The program's side is in _task and _member.
"""

import pickle
import signal
from errno import EBADMSG, EREMOTEIO
from multiprocessing import util

from . import _core, _pickling

#: A worker leaves with this status when the program's main module could not be
#: imported in it: starting another one would end the same way.
PREPARE_FAILED = 120

#: A worker leaves with this status when the initializer raised.
INIT_FAILED = 121

RAISED = -EREMOTEIO  # a pickled exception
UNSENDABLE = -EBADMSG  # the pickled repr of what could not be pickled, and why


def serve(handle, replies, initializer, initargs):
    """A pool worker's life.  Ctrl-C is for the program, which ends the pool."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if initializer is not None:
        try:
            initializer(*initargs)
        except BaseException:
            import traceback

            traceback.print_exc()
            util._flush_std_streams()
            raise SystemExit(INIT_FAILED) from None
    seat = _core.Seat(handle)
    try:
        seat.work(replies.raised, replies.send, replies.portable)
    finally:
        seat.close()


def _safe_repr(value, convert=repr):
    try:
        return convert(value)
    except BaseException as error:
        what, how = type(value).__name__, convert.__name__
        return f"<{what} object, whose {how}() raises {type(error).__name__}>"


def _lines(how, error, *rest):
    try:
        import traceback

        return getattr(traceback, how)(type(error), error, *rest)
    except Exception as reason:  # no descriptor left to import it by
        line = f"{type(error).__name__}: {_safe_repr(error, str)}"
        return [f"{line}\n(no traceback: {reason})\n"]


class _Portable:
    """Pickles to an exception with a remote traceback as its cause."""

    def __init__(self, rebuild, what, text):
        self.how = rebuild, (*what, text)

    def __reduce__(self):
        return self.how


def _raised(error, text):
    from multiprocessing.pool import RemoteTraceback

    error.__cause__ = RemoteTraceback(text)
    return error


def _raised_in_executor(error, text):
    from concurrent.futures.process import _RemoteTraceback

    error.__cause__ = _RemoteTraceback(text)
    return error


def _unsendable(reason, value, text):
    from multiprocessing.pool import MaybeEncodingError

    return _raised(MaybeEncodingError(reason, value), text)


class PoolReplies:
    """What a worker of a pool replies, in the words of multiprocessing.pool."""

    _rebuild = staticmethod(_raised)

    @classmethod
    def raised(cls, error):
        """The reply of a call that raised."""
        return RAISED, pickle.dumps(cls.portable(error), 5)

    @classmethod
    def send(cls, error, value):
        """The reply for a value that plain pickle refuses with an error."""
        try:
            return 0, _pickling.dumps(value)
        except BaseException:
            return cls._refuse(error, value)

    @staticmethod
    def _refuse(error, value):
        return UNSENDABLE, pickle.dumps((repr(error), _safe_repr(value)), 5)

    @classmethod
    def portable(cls, error):
        """An exception in a form that is sure to arrive: itself with its traceback
        as text, or, if it does not survive pickling, a description of it."""
        text = "".join(_lines("format_exception", error, error.__traceback__))
        text = f'\n"""\n{text}"""'
        # The frames stay here; their locals could be anything.
        error.__traceback__ = None
        try:
            pickle.loads(pickle.dumps(error, 5))
            return _Portable(cls._rebuild, (error,), text)
        except BaseException as reason:
            return cls._stand_in(error, reason, text)

    @staticmethod
    def _stand_in(error, reason, text):
        line = "".join(_lines("format_exception_only", error)).strip()
        return _Portable(_unsendable, (_safe_repr(reason), _safe_repr(line)), text)


class ExecutorReplies(PoolReplies):
    """The same in the words of concurrent.futures.process."""

    _rebuild = staticmethod(_raised_in_executor)

    @classmethod
    def _refuse(cls, error, value):
        return cls.raised(error)

    @staticmethod
    def _stand_in(error, reason, text):
        """What pickle raises, as for a value; the cause tells both stories."""
        why = "".join(_lines("format_exception", reason, reason.__traceback__))
        text = f"{text[:-3]}\nIt can't be pickled and unpickled:\n\n{why}{text[-3:]}"
        reason.__traceback__ = reason.__context__ = None
        try:
            pickle.loads(pickle.dumps(reason, 5))
        except BaseException:
            reason = pickle.PicklingError(_safe_repr(reason))
        return _Portable(_raised_in_executor, (reason,), text)
