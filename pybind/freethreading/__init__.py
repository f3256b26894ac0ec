# SPDX-License-Identifier: MIT
"""Parallel workers for Python on Linux, on one runtime for threads and processes.

A drop-in for `threading`, `multiprocessing` and `concurrent.futures`: the same
names, on process workers where the interpreter has a GIL and on thread workers
where it has none.

>>> from freethreading import WorkerPool
>>> def square(x):
...     return x * x
>>> if __name__ == "__main__":          # doctest: +SKIP
...     with WorkerPool() as pool:
...         print(pool.map(square, range(5)))
[0, 1, 4, 9, 16]

Set FT_BACKEND=threads or FT_BACKEND=processes in the environment to choose the
workers yourself.  On a free-threaded interpreter CPython warns of an extension
module that turns the GIL on: imported before this package it makes workers
processes; later it slows threads down, and changes no result.

`python -m freethreading` prints what was found on this machine, which workers
were chosen and why.  For C there is ``man 7 freethreading``.
"""

from importlib import import_module as _import_module

from . import _backend
from ._core import OwnerDiedError, version as _version

# Also when the module is reloaded: the names are the new backend's then, and
# objects of the old one go on as they were.
_BACKEND, _REASON = _backend.decide()

if _BACKEND == "threading":
    from . import _thread_backend as _names
    from ._thread_backend import *
else:
    from . import _process_backend as _names
    from ._process_backend import *

_LATER = {"WorkerDiedError": "_errors", **_names.LATER}

__all__ = sorted([*_names.__all__, *_LATER, "OwnerDiedError", "get_backend"])
__version__ = _version()


def get_backend():
    """Return what workers are: ``"multiprocessing"`` (processes) or ``"threading"``.

    >>> get_backend() in ("multiprocessing", "threading")
    True
    """
    return _BACKEND


def __getattr__(name):
    if name in _LATER:
        return getattr(_import_module(f"{__name__}.{_LATER[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__():
    return sorted({*globals(), *_LATER})
