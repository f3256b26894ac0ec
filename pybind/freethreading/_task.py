# SPDX-License-Identifier: MIT
"""Tasks as they travel: what is left to Python when C packs, runs and unpacks.

A reply's status says which kind of reply it is; 0 is a value, in C's own words.
The collector never unpickles: whoever wants the result does.
"""

import os
import pickle
from errno import ECANCELED, EOWNERDEAD

from . import _pickling
from ._seat import RAISED, UNSENDABLE

#: enum core_kind_of_task
CALL, CALL_KW, MAP, STARMAP, EACH = range(5)


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


def failure(members, status, ticket):
    """The exception of a task that ended with a status that is not 0; without a
    ticket, of a pool that takes no tasks."""
    if ticket is None:
        return members.given_up()
    if status == -EOWNERDEAD and not ticket.worker_pid:
        return members.given_up(ticket.death())
    return members.explain(_failure(status, ticket))


def _failure(status, ticket):
    if status == -ECANCELED:
        from concurrent.futures import CancelledError

        return CancelledError()
    if status == -EOWNERDEAD:
        return _death(ticket)
    if status not in (RAISED, UNSENDABLE):
        return OSError(-status, f"the task's result got lost: {os.strerror(-status)}")
    try:
        content = pickle.loads(ticket.result())
    except BaseException as error:
        return error
    if status == UNSENDABLE:
        from multiprocessing.pool import MaybeEncodingError

        return MaybeEncodingError(*content)
    return content


def _death(ticket):
    from ._errors import WorkerDiedError

    pid, signo, code, name = ticket.death()
    return WorkerDiedError(pid, signo, -signo if signo else code, ticket.id, name)
