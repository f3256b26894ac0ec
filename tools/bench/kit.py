# SPDX-License-Identifier: MIT
"""Kits: freethreading and its peers, behind the same names."""

import contextlib
import importlib.util
import warnings

OURS = "freethreading"

#: Why a peer that is not installed is missing, and the remedy.
_MISSING = {
    "joblib": "joblib is not installed (Debian: python3-joblib; else: pip install joblib)",
    "faster-fifo": "faster-fifo is not installed (pip install faster-fifo)",
}

#: What each kit can do; rows ask for one of these.
PRIMITIVES = "primitives"
QUEUES = "queues"
WORKERS = "workers"
MAPS = "maps"
POOLS = "pools"
EXECUTORS = "executors"


class Absent(Exception):
    """A kit cannot be measured here; says why."""


class Kit:
    """What a library offers for one job: classes for primitives, queues and
    workers, and context managers `pool(workers)` and `executor(workers)`."""

    def __init__(self, name, **members):
        self.name = name
        self.__dict__.update(members)


_PRIMITIVE_NAMES = (
    "Lock",
    "RLock",
    "Condition",
    "Semaphore",
    "BoundedSemaphore",
    "Event",
    "Barrier",
)


def _ours():
    import freethreading as ft

    members = {name: getattr(ft, name) for name in _PRIMITIVE_NAMES}
    return Kit(
        OURS,
        Queue=ft.Queue,
        SimpleQueue=ft.SimpleQueue,
        Worker=ft.Worker,
        pool=ft.WorkerPool,
        executor=ft.WorkerPoolExecutor,
        **members,
    )


def _threads():
    import queue
    import threading
    from concurrent.futures import ThreadPoolExecutor
    from multiprocessing.pool import ThreadPool

    members = {name: getattr(threading, name) for name in _PRIMITIVE_NAMES}
    return Kit(
        "threads",
        Queue=queue.Queue,
        SimpleQueue=queue.SimpleQueue,
        Worker=threading.Thread,
        pool=ThreadPool,
        executor=ThreadPoolExecutor,
        **members,
    )


def _processes(method):
    import multiprocessing.pool
    from concurrent.futures import ProcessPoolExecutor

    context = multiprocessing.get_context(method)
    members = {name: getattr(context, name) for name in _PRIMITIVE_NAMES}
    return Kit(
        method,
        Queue=context.Queue,
        SimpleQueue=context.SimpleQueue,
        Worker=context.Process,
        pool=context.Pool,
        executor=lambda workers: ProcessPoolExecutor(workers, mp_context=context),
        **members,
    )


class _JoblibPool:
    """joblib's way to say map."""

    def __init__(self, joblib, workers, backend):
        self._joblib = joblib
        self._workers = workers
        self._backend = backend

    def map(self, function, iterable, chunksize=None):
        delayed = self._joblib.delayed(function)
        calls = (delayed(item) for item in iterable)
        return self._parallel(chunksize or "auto")(calls)

    def _parallel(self, batch_size):
        return self._joblib.Parallel(self._workers, backend=self._backend, batch_size=batch_size)

    def terminate(self):
        if self._backend == "loky":
            from joblib.externals import loky

            loky.get_reusable_executor().shutdown()


def _joblib(threads):
    if importlib.util.find_spec("joblib") is None:
        raise Absent(_MISSING["joblib"])
    import joblib

    backend = "threading" if threads else "loky"

    @contextlib.contextmanager
    def pool(workers):
        pool = _JoblibPool(joblib, workers, backend)
        try:
            yield pool
        finally:
            pool.terminate()

    @contextlib.contextmanager
    def executor(workers):
        from joblib.externals import loky

        with loky.ProcessPoolExecutor(workers) as executor:
            yield executor

    return Kit("joblib", pool=pool, executor=executor)


def _faster_fifo():
    if importlib.util.find_spec("faster_fifo") is None:
        raise Absent(_MISSING["faster-fifo"])
    import faster_fifo
    import faster_fifo_reduction  # noqa: F401  teaches pickle about its queues

    peer = _processes("forkserver")
    return Kit(
        "faster-fifo",
        Queue=lambda: faster_fifo.Queue(max_size_bytes=128 << 20),
        SimpleQueue=peer.SimpleQueue,
        Worker=peer.Worker,
    )


_MAKERS = {
    OURS: lambda backend: _ours(),
    "threads": lambda backend: _threads(),
    "forkserver": lambda backend: _processes("forkserver"),
    "fork": lambda backend: _processes("fork"),
    "joblib": lambda backend: _joblib(backend == "threading"),
    "faster-fifo": lambda backend: _faster_fifo(),
}


def names(backend):
    """The kits of a backend: ours, the peer that goals refer to, the others."""
    if backend == "threading":
        return [OURS, "threads", "joblib"]
    return [OURS, "forkserver", "fork", "joblib", "faster-fifo"]


def able(ability, backend):
    """The names of the kits that have an ability."""
    few = {
        "joblib": {MAPS} if backend == "threading" else {MAPS, EXECUTORS},
        "faster-fifo": {QUEUES},
    }
    return [name for name in names(backend) if name not in few or ability in few[name]]


def make(name, backend):
    """The kit of that name.  Raises Absent."""
    # A peer's worker is forked while others have threads: its own business.
    warnings.filterwarnings("ignore", message=".*fork.*", category=DeprecationWarning)
    return _MAKERS[name](backend)
