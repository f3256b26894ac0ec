# SPDX-License-Identifier: MIT
"""What runs in the spawner's helper process, and first of all in each worker.

Every page that a new worker writes to is copied for it, and executing Python
code writes to every object it meets.  So what can be done once in the helper
is done there, and what is left to a worker is here, in one module.
"""

import _thread
import atexit
import gc
import importlib
import itertools
import os
import pickle
import sys
import threading
from multiprocessing import context, process, spawn, util

from . import _backend, _core, _process, _seat, _spawner
from . import _member as _  # the process objects of pools' workers

_MAIN = ("init_main_from_name", "init_main_from_path")

_main_failed = False
_main_later = None  # the helper must not import it, each worker must

_threading_hooks = []
_serving = False

_the_bootstrap = process.BaseProcess._bootstrap


def _after_fork():
    """What threading does in a child of os.fork().  A worker has no need of it: it
    is a copy of a process that has one thread, and has the same one."""
    global _serving
    if not _serving:
        for hook in _threading_hooks:
            hook["after_in_child"]()
    _serving = False


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


def main(known, hooks, main_later=False):
    """Serve until the program has gone."""
    global _main_later, _serving
    if hooks:
        _threading_hooks[:] = hooks
        os.register_at_fork(after_in_child=_after_fork)
    _be_a_process()
    if main_later:
        _main_later = {key: known.pop(key) for key in _MAIN if key in known}
        known = dict(known)
    _import_main(known)
    if not main_later and _threads() > 1:
        _start_again(known)
    util._close_stdin()
    world = None if _main_failed or _main_later else _world()
    # What a new process has, unless the main module has made it otherwise.
    process._process_counter = itertools.count(1)
    process._children = set()
    util._finalizer_registry.clear()
    atexit.unregister(util._exit_function)
    # What all workers have in common is not for their collector to write to.
    gc.freeze()
    status = 1
    _serving = True
    try:
        status = _core.serve(_child, world)
    except BaseException:
        import traceback

        traceback.print_exc()
    # Not by way of exit handlers: what the program's modules have registered
    # is for the program to do, once.
    util._flush_std_streams()
    os._exit(status)


def _world():
    """What the core needs to run workers that nothing special is asked of; None where
    CPython keeps it elsewhere: then they take the long way, which asks for less."""
    try:
        return _known_world()
    except AttributeError:
        return None


def _known_world():
    current = process.current_process()
    return {
        "process": vars(process),
        "util": vars(util),
        "current": current,
        "config": current._config,
        "parent": process._ParentProcess("", 0, -1),
        "key_type": process.AuthenticationString,
        "base_bootstrap": _the_bootstrap,
        "base_run": process.BaseProcess.run,
        "after_fork": util._afterfork_registry.data,
        "finalizers": util._finalizer_registry,
        "main_thread": threading.main_thread(),
        "thread_count": _thread._count,
        "thread_exits": threading._threading_atexits,
        "run_exits": atexit._run_exitfuncs,
        "loads": pickle.loads,
        "bootstrap": _own_bootstrap,
        "after_forkers": util._run_after_forkers,
        "exit_function": util._exit_function,
        "shutdown": threading._shutdown,
        "rehearsal": pickle.dumps(_process.Process(target=_thread._count), 5),
        "caught": _caught,
        "change": _change,
        "context": context._default_context,
        "contexts": context._concrete_contexts,
    }


def _change(changes):
    """Become what the program has become since; the status to leave with, if any."""
    return None if _prepare(changes) else _seat.PREPARE_FAILED


def _child(payload):
    """In a new worker: become what the payload describes, whatever that takes."""
    if _main_failed or not (_main_later is None or _prepare(_main_later)):
        return _seat.PREPARE_FAILED
    key_size, changes_size = _spawner.HEAD.unpack_from(payload)
    key = payload[_spawner.HEAD.size :][:key_size]
    changes = payload[_spawner.HEAD.size + key_size :][:changes_size]
    current = process.current_process()
    current.authkey = key
    status = _change(pickle.loads(changes)) if changes else None
    if status is not None:
        return status
    current._inheriting = True
    try:
        worker = pickle.loads(payload[_spawner.HEAD.size + key_size + changes_size :])
    finally:
        del current._inheriting
    worker._config["authkey"] = current.authkey
    try:
        status = _own_bootstrap(worker)
        atexit._run_exitfuncs()
    finally:
        util._flush_std_streams()
    return status


def _own_bootstrap(worker):
    """For a worker that somebody wants to do something around: coverage does."""
    try:
        sentinel = os.pidfd_open(os.getppid())
    except OSError:  # refused: newborn.c says why this one is good enough
        sentinel = os.pipe()[0]
    return worker._bootstrap(parent_sentinel=sentinel)


def _caught(worker, error):
    """What a process does about the exception that ends it; its exit status."""
    if not isinstance(error, SystemExit):
        import traceback

        sys.stderr.write(f"Process {worker.name}:\n")
        traceback.print_exception(error)
        return 1
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code
    sys.stderr.write(f"{error.code}\n")
    return 1
