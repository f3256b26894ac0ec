# SPDX-License-Identifier: MIT
"""Pool workers: the processes that sit in a pool's seats."""

from . import _core, _process, _seat

#: enum ft_place_policy of <freethreading/place.h>
_PLACE_NONE, _PLACE_CORES = 0, 1

_REASONS = {
    _seat.PREPARE_FAILED: (
        "the program's main module can't be imported in a worker (see the traceback"
        " above). A program that starts workers must guard its main part with"
        ' if __name__ == "__main__":'
    ),
    _seat.INIT_FAILED: "the initializer raised an exception in a worker (see the traceback above)",
}


class ForkServerPoolWorker(_process.Process):
    """A worker of a WorkerPool, named as the standard library names it."""

    replies = _seat.PoolReplies


class ForkServerProcess(_process.Process):
    """A worker of a WorkerPoolExecutor, named as the standard library names it."""

    replies = _seat.ExecutorReplies


class Members:
    """Starts the workers of one pool, and knows why they can't be started."""

    def __init__(self, kind, initializer, initargs):
        self._kind = kind
        self._serve = (kind.replies, initializer, initargs)
        self._seats = {}  # in the order in which they started
        self._death = None
        self.broken = None

    def start(self, seat, handle, cpus):
        """Called by the pool, from whichever thread drives it."""
        before = self._seats.get(seat)
        if before is not None:
            self._check(before)
        worker = self._kind(target=_seat.serve, args=(handle, *self._serve), daemon=True)
        worker._cpus = cpus
        worker.start()
        self._seats.pop(seat, None)
        self._seats[seat] = worker
        return worker._popen.child

    def _check(self, before):
        before.join(0)
        self.broken = self.broken or _REASONS.get(before.exitcode)
        if self.broken:
            from ._errors import broken

            raise broken(self.broken)

    def given_up(self, death=None):
        """The exception of a pool whose workers die before they take a task: the
        death of the last one is what a task that waited has."""
        from ._errors import broken, given_up

        if self.broken:
            return broken(self.broken)
        self._death = self._death or death or self._last_death()
        text = given_up(*self._death)
        if self._serve[1] is not None:
            text += ": see what the initializer does"
        return broken(text)

    def _last_death(self):
        """As far as it can be told from who sat in the seats last."""
        ended = [w for w in reversed(list(self._seats.values())) if w.exitcode is not None]
        if not ended:
            return 0, 0, 0, ""
        worker = max(ended, key=lambda worker: worker.exitcode != 0)
        code = worker.exitcode
        return worker.pid, max(-code, 0), code, worker._popen.child.name

    def explain(self, error):
        """The lost task of a pool that can't work has a better reason."""
        if self.broken:
            from ._errors import WorkerDiedError, broken

            if isinstance(error, WorkerDiedError):
                return broken(self.broken)
        return error

    def reap(self):
        """Forget the workers, which have left, as active_children() would."""
        workers = list(self._seats.values())
        self._seats.clear()
        for worker in workers:
            worker.join(0)


def place(workers):
    """Pin one worker to each core where they fill the machine; leave fewer (or
    more) of them to the scheduler, which sees what else is running."""
    return _PLACE_CORES if workers == _core.cpu_count() else _PLACE_NONE
