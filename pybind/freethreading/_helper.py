# SPDX-License-Identifier: MIT
"""What runs in the spawner's helper process, and first of all in each worker."""

import importlib
import io
import os
import pickle
import signal
import sys
import traceback
from multiprocessing import process, spawn, util

from . import _backend, _core

#: A worker leaves with this status when the program's main module could not be
#: imported in it: starting another one would end the same way.
PREPARE_FAILED = 120

_main_failed = False


def _import_main(main):
    """Import the program's main module as ``__mp_main__``, once for all workers."""
    global _main_failed
    current = process.current_process()
    current._inheriting = True
    try:
        if "init_main_from_name" in main:
            spawn._fixup_main_from_name(main["init_main_from_name"])
        elif "init_main_from_path" in main:
            spawn._fixup_main_from_path(main["init_main_from_path"])
    except BaseException:
        _main_failed = True
        print(
            "freethreading: the main module failed while it was imported for the"
            " workers:",
            file=sys.stderr,
        )
        traceback.print_exc()
    finally:
        del current._inheriting
        util._flush_std_streams()


def _threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _start_again_without_main():
    """An import has started threads (BLAS does), and a process with threads
    can't be cloned safely: be a fresh interpreter that leaves main alone."""
    flags = util._args_from_interpreter_flags()
    code = (
        f"import sys; sys.path[:] = {sys.path!r};"
        " from freethreading import _helper; _helper.main({})"
    )
    os.execv(sys.executable, [sys.executable, *flags, "-c", code])


def _be_a_process():
    """A program of process workers has such workers all the way down, also where
    a fresh interpreter would choose threads."""
    _backend.inherited = "multiprocessing"
    package = sys.modules[__package__]
    if package.get_backend() != _backend.inherited:
        importlib.reload(package)


def main(main_module):
    """Serve until the program has gone."""
    _be_a_process()
    if main_module:
        _import_main(main_module)
        if _threads() > 1:
            _start_again_without_main()
    util._close_stdin()
    status = 1
    try:
        status = _core.serve(_child)
    except BaseException:
        traceback.print_exc()
    # Not by way of exit handlers: what the program's modules have registered
    # is for the program to do, once.
    util._flush_std_streams()
    os._exit(status)


def _child(payload):
    """In a new worker: become the process that the payload describes."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if _main_failed:
        return PREPARE_FAILED
    current = process.current_process()
    stream = io.BytesIO(payload)
    current._inheriting = True
    try:
        spawn.prepare(pickle.load(stream))
    except BaseException:
        traceback.print_exc()
        util._flush_std_streams()
        return PREPARE_FAILED
    try:
        worker = pickle.load(stream)
    except BaseException:
        traceback.print_exc()
        util._flush_std_streams()
        return 1
    finally:
        del current._inheriting
    return _run(worker)


def _run(worker):
    import atexit

    status = 1
    try:
        status = worker._bootstrap(parent_sentinel=os.pidfd_open(os.getppid()))
    finally:
        atexit._run_exitfuncs()
        util._flush_std_streams()
    return status
