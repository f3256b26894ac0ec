# SPDX-License-Identifier: MIT
"""What runs in the spawner's helper process, and first of all in each worker.

Every page that a new worker writes to is copied for it, and executing Python
code writes to every object it meets.  So what can be done once in the helper
is done there, and what is left to a worker is here, in one module.
"""

import _thread
import atexit
import importlib
import itertools
import os
import pickle
import sys
import threading
from multiprocessing import process, spawn, util

from . import _backend, _core, _process, _spawner

#: A worker leaves with this status when the program's main module could not be
#: imported in it: starting another one would end the same way.
PREPARE_FAILED = 120

_MAIN = ("init_main_from_name", "init_main_from_path")

_main_failed = False
_main_later = None  # the helper must not import it, each worker must

_the_bootstrap = process.BaseProcess._bootstrap


def _be_a_process():
    """A program of process workers has such workers all the way down, also where
    a fresh interpreter would choose threads."""
    _backend.inherited = "multiprocessing"
    package = sys.modules[__package__]
    if package.get_backend() != _backend.inherited:
        importlib.reload(package)


def _prepare(data):
    """Become like the program, as far as data says; True if that went well."""
    current = process.current_process()
    current._inheriting = True
    try:
        spawn.prepare(data)
        return True
    except BaseException:
        import traceback

        traceback.print_exc()
        return False
    finally:
        del current._inheriting
        util._flush_std_streams()


def _import_main(known):
    """Import the program's main module as ``__mp_main__``, once for all workers."""
    global _main_failed
    if not _prepare(known):
        _main_failed = True
        print(
            "freethreading: the main module failed while it was imported for the"
            " workers: see the traceback above",
            file=sys.stderr,
            flush=True,
        )


def _threads():
    try:
        return len(os.listdir("/proc/self/task"))
    except OSError:
        return 1


def _start_again(known):
    """An import has started threads (BLAS does), and a process with threads
    can't be cloned safely: be a fresh interpreter that leaves main alone."""
    flags = util._args_from_interpreter_flags()
    code = _spawner._COMMAND.format(sys_path=sys.path, known=known)
    code = f"{code[:-1]}, True)"
    os.execv(sys.executable, [sys.executable, *flags, "-c", code])


def main(known, main_later=False):
    """Serve until the program has gone."""
    global _main_later
    _be_a_process()
    if main_later:
        _main_later = {key: known.pop(key) for key in _MAIN if key in known}
        known = dict(known)
    before = {**known}
    _import_main(known)
    if not main_later and _threads() > 1:
        _start_again(before)
    util._close_stdin()
    # What a new process has, unless the main module has made it otherwise.
    process._process_counter = itertools.count(1)
    process._children = set()
    util._finalizer_registry.clear()
    atexit.unregister(util._exit_function)
    status = 1
    try:
        status = _core.serve(_child)
    except BaseException:
        import traceback

        traceback.print_exc()
    # Not by way of exit handlers: what the program's modules have registered
    # is for the program to do, once.
    util._flush_std_streams()
    os._exit(status)


def _child(payload):
    """In a new worker: become the process that the payload describes."""
    if _main_failed or not (_main_later is None or _prepare(_main_later)):
        return PREPARE_FAILED
    key_size, changes_size = _spawner.HEAD.unpack_from(payload)
    changes = _spawner.HEAD.size + key_size
    current = process._current_process
    key = process.AuthenticationString(payload[_spawner.HEAD.size : changes])
    current._config["authkey"] = key
    if changes_size and not _prepare(pickle.loads(payload[changes : changes + changes_size])):
        return PREPARE_FAILED
    current._inheriting = True
    try:
        worker = pickle.loads(memoryview(payload)[changes + changes_size :])
    except BaseException:
        import traceback

        traceback.print_exc()
        util._flush_std_streams()
        return 1
    finally:
        del current._inheriting
    worker._config["authkey"] = key
    return _run(worker)


def _run(worker):
    parent = os.pidfd_open(os.getppid())
    if type(worker)._bootstrap is not _the_bootstrap:
        # Somebody wants to do something around it: coverage does.
        status = worker._bootstrap(parent_sentinel=parent)
    else:
        status = _bootstrap(worker, parent)
    try:
        atexit._run_exitfuncs()
    finally:
        util._flush_std_streams()
    return status


def _bootstrap(worker, parent):
    """BaseProcess._bootstrap, less what main() has done for all workers."""
    status = 1
    try:
        process._current_process = worker
        process._parent_process = process._ParentProcess(
            worker._parent_name, worker._parent_pid, parent
        )
        threading._main_thread._set_native_id()
        if util._afterfork_registry:
            util._run_after_forkers()
        try:
            worker.run()
            status = 0
        finally:
            if util._finalizer_registry or process._children or util._logger:
                util._exit_function()
    except SystemExit as error:
        status = _exit_status(error.code)
    except BaseException:
        import traceback

        sys.stderr.write(f"Process {worker.name}:\n")
        traceback.print_exc()
    finally:
        if _thread._count() or threading._threading_atexits:
            threading._shutdown()
    return status


def _exit_status(code):
    if code is None:
        return 0
    if isinstance(code, int):
        return code
    sys.stderr.write(f"{code}\n")
    return 1
